"""Exactness, distribution and cost of the sampler."""

import io
import math
import re

import mlx.core as mx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation import logits_process as reference

from mlx_gemma4 import sampling
from mlx_gemma4.errors import PromptError
from mlx_gemma4.sampling import Sampler, SamplingOptions, keep_at_least, top_k

VOCAB = 262_144


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40_000),
    st.integers(1, 300),
    st.integers(0, 2**31),
    st.sampled_from(["normal", "ties", "mostly -inf"]),
)
def test_top_k_is_exact(size, k, seed, kind):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=size).astype(np.float32)
    if kind == "ties":
        x = np.round(x)
    if kind == "mostly -inf":
        x[rng.random(size) < 0.99] = -np.inf
    k = min(k, size)
    values, ids = (np.array(a) for a in top_k(mx.array(x), k))
    assert np.array_equal(np.sort(values), np.sort(x)[-k:])
    finite = np.isfinite(values)
    assert np.array_equal(x[ids[finite]], values[finite])
    assert len(set(ids[finite].tolist())) == finite.sum()


def test_top_k_of_the_real_vocabulary():
    x = np.random.default_rng(0).normal(size=VOCAB).astype(np.float32)
    for k in (1, 64, 1000, 4096):
        values, ids = (np.array(a) for a in top_k(mx.array(x), k))
        assert set(ids.tolist()) == set(np.argsort(-x)[:k].tolist())
        assert np.array_equal(x[ids], values)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 400), st.floats(0.01, 0.999), st.integers(0, 2**31))
def test_threshold_keeps_the_smallest_sufficient_set(size, target, seed):
    x = np.random.default_rng(seed).normal(size=size).astype(np.float32) * 3
    p = np.exp(x.astype(np.float64))
    p /= p.sum()
    kept = np.isfinite(np.array(keep_at_least(mx.array(x), mx.softmax(mx.array(x)), target)))
    assert p[kept].sum() >= target - 1e-5
    assert p[kept].sum() - p[kept].min() < target + 1e-5
    assert kept.all() or x[kept].min() > x[~kept].max()


def expected(logits: np.ndarray, options: SamplingOptions, history: list[int]) -> np.ndarray:
    """The distribution by transformers' own processors, in its order."""
    scores = torch.tensor(30 * np.tanh(logits / 30))[None]
    ids = torch.tensor([history or [0]])
    if options.repetition_penalty != 1:
        scores = reference.RepetitionPenaltyLogitsProcessor(options.repetition_penalty)(ids, scores)
    scores = reference.TemperatureLogitsWarper(options.temperature)(ids, scores)
    if options.top_k:
        scores = reference.TopKLogitsWarper(options.top_k)(ids, scores)
    if options.top_p < 1:
        scores = reference.TopPLogitsWarper(options.top_p)(ids, scores)
    if options.min_p:
        scores = reference.MinPLogitsWarper(options.min_p)(ids, scores)
    return scores.softmax(-1)[0].numpy()


ALL_OPTIONS = [
    SamplingOptions(),
    SamplingOptions(temperature=0.5, top_k=5, top_p=0.7),
    SamplingOptions(temperature=2.0, top_k=0, top_p=0.8),
    SamplingOptions(top_k=0, top_p=1.0),
    SamplingOptions(top_k=0, top_p=1.0, min_p=0.1),
    SamplingOptions(top_k=20, top_p=1.0, min_p=0.05, temperature=1.5),
    SamplingOptions(top_k=10, top_p=0.9, repetition_penalty=1.3),
    SamplingOptions(top_k=1),
]


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
@pytest.mark.parametrize("whole", [False, True], ids=["candidates", "whole vocabulary"])
def test_distribution_equals_transformers(options, whole, monkeypatch):
    if whole:
        monkeypatch.setattr(sampling, "_MAX_CANDIDATES", 0)
    logits = np.random.default_rng(1).normal(size=200).astype(np.float32) * 8
    history = [3, 3, 150, 42]
    sampler = Sampler(options, softcap=30.0, history=history, vocab_size=200)
    ids, log_p = sampler.distribution(mx.array(logits)[None])
    ours = np.zeros(200)
    ours[np.array(ids)] = np.exp(np.array(log_p))
    np.testing.assert_allclose(ours, expected(logits, options, history), atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(seed=3, top_p=0.9, top_k=8),
        SamplingOptions(seed=4, top_k=0, top_p=0.95, temperature=1.5),
    ],
    ids=str,
)
def test_draws_follow_the_distribution(options, monkeypatch):
    """Pearson's chi-square at the 0.1 % level (Wilson-Hilferty quantile)."""
    monkeypatch.setattr(sampling, "_MAX_CANDIDATES", options.top_k)
    logits = np.linspace(2, -2, 12).astype(np.float32)
    draws = 600 if options.top_k else 150
    sampler = Sampler(options, softcap=30.0)
    tokens = mx.concatenate([sampler(mx.array(logits)) for _ in range(draws)])
    counts = np.bincount(np.array(tokens), minlength=12)
    p = expected(logits, options, [])
    assert counts[p == 0].sum() == 0
    kept = p > 0
    chi2 = (((counts - draws * p) ** 2)[kept] / (draws * p[kept])).sum()
    df = kept.sum() - 1
    limit = df * (1 - 2 / (9 * df) + 3.09 * math.sqrt(2 / (9 * df))) ** 3
    assert chi2 < limit


def test_seed_repeats_and_differs():
    logits = mx.zeros((1, 1000))

    def draw(seed):
        sampler = Sampler(SamplingOptions(seed=seed))
        return [sampler(logits).item() for _ in range(8)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_suppressed_and_disallowed_tokens_are_never_picked():
    logits = mx.array([9.0, 8.0, 7.0, 1.0])
    for options in (
        SamplingOptions(greedy=True),
        SamplingOptions(seed=0),
        SamplingOptions(top_k=0),
    ):
        sampler = Sampler(options, softcap=30.0, suppress=[0, 99], vocab_size=4)
        allowed = mx.array([True, False, False, True])
        assert {sampler(logits, allowed).item() for _ in range(5)} == {3}
        assert sampler(logits).item() != 0


def test_penalty_counts_the_tokens_picked():
    sampler = Sampler(
        SamplingOptions(greedy=True, repetition_penalty=2.0), history=[0], vocab_size=3
    )
    logits = mx.array([5.0, 4.0, 3.0])
    assert [sampler(logits).item() for _ in range(4)] == [1, 2, 0, 0]


class SortSpy:
    """Records how many elements each sort sees."""

    def __init__(self, monkeypatch):
        self.sizes = []
        for name in ("sort", "argsort", "partition", "argpartition", "topk"):
            monkeypatch.setattr(mx, name, self.wrap(getattr(mx, name)))

    def wrap(self, original):
        def sort(x, *args, **kwargs):
            self.sizes.append(x.size)
            return original(x, *args, **kwargs)

        return sort


def graph_nodes(*outputs: mx.array) -> list[str]:
    text = io.StringIO()
    mx.export_to_dot(text, *outputs)
    return re.findall(r'\[label ="([^"]+)", shape=rectangle\]', text.getvalue())


@pytest.mark.parametrize(
    ("options", "sorts"),
    [
        (SamplingOptions(), 3),  # two partitions of 4,096 and one sort of 64
        (SamplingOptions(top_k=0), 0),
        (SamplingOptions(top_k=0, top_p=1.0), 0),
        (SamplingOptions(top_k=100_000), 0),
        (SamplingOptions(repetition_penalty=1.1, min_p=0.1), 3),
        (SamplingOptions(greedy=True), 0),
    ],
    ids=str,
)
def test_no_sort_of_the_vocabulary(options, sorts, monkeypatch):
    spy = SortSpy(monkeypatch)
    token = Sampler(options, softcap=30.0, vocab_size=VOCAB)(mx.zeros((1, VOCAB)))
    assert len(spy.sizes) == sorts
    assert all(size <= VOCAB / 32 for size in spy.sizes)
    nodes = graph_nodes(token)
    assert sum("Sort" in node or "Partition" in node for node in nodes) == sorts  # none hidden
    if options.greedy:
        assert not {"Tanh", "LogSumExp", "Softmax"} & set(nodes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"seed": -1},
    ],
    ids=str,
)
def test_options_out_of_range(wrong):
    with pytest.raises(PromptError, match="must be"):
        SamplingOptions(**wrong)
