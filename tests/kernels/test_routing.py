"""Edges of routing: who gets which experts, and any number of tokens through them."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from mlx_gemma4.fusion import PORTABLE
from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.cases import Case, difference
from mlx_gemma4.kernels.experts import MOST_TOKENS
from mlx_gemma4.layers import Linear
from tests.kernels.harness.host import HostBackend, Library, RecordingBackend
from tests.kernels.test_kernels import Maker, expert_case, route_case

COUNT, TOP = 6, 2
BLOCK, ONE = "runs_down", "experts_down"


@pytest.fixture(scope="module")
def library() -> Library:
    recording = RecordingBackend()
    experts = [expert_case(tokens, "dense", top=top) for tokens in (1, 9) for top in (1, TOP)]
    for case in (*experts, tied(1), tied(3)):
        case.call(lambda *a, f=FUNCTIONS[case.field]: f(recording, *a))
    return Library(recording.instances)


def run(case: Case, library: Library) -> tuple[list[mx.array], list[str]]:
    host = HostBackend(library)
    return case.call(lambda *a: FUNCTIONS[case.field](host, *a)), host.ran


def chosen_by(kind: str, tokens: int) -> mx.array:
    rng = np.random.default_rng(tokens)
    if kind == "one pair takes all":
        return mx.full((tokens, TOP), 0, mx.uint32) + mx.array([3, 1], mx.uint32)
    if kind == "first and last":
        return mx.full((tokens, TOP), 0, mx.uint32) + mx.array([0, COUNT - 1], mx.uint32)
    if kind == "some unused":
        return mx.array(rng.permuted(np.tile([1, 2, 4], (tokens, 1)), axis=1)[:, :TOP].astype("u4"))
    rows = np.tile(np.arange(COUNT), (tokens, 1))
    return mx.array(rng.permuted(rows, axis=1)[:, :TOP].astype(np.uint32))


@pytest.mark.parametrize("kind", ["one pair takes all", "first and last", "some unused", "any"])
@pytest.mark.parametrize("tokens", [1, 2, 4, 5, 8, 31, 33, 63])
def test_experts(kind, tokens, library) -> None:
    case = expert_case(tokens, "dense", chosen=chosen_by(kind, tokens))
    got, ran = run(case, library)
    assert any((ONE if tokens == 1 else BLOCK) in label for label in ran)
    assert difference(case, got, case.call(PORTABLE.run_experts)) <= 1


@pytest.mark.parametrize("tokens", [1, 2, 9, 63, MOST_TOKENS, 4096])
def test_one_expert_takes_all_tokens(tokens, library) -> None:
    case = expert_case(tokens, "dense", top=1, chosen=mx.full((tokens, 1), 3, mx.uint32))
    got, ran = run(case, library)
    assert bool(ran) == (tokens < MOST_TOKENS)
    assert difference(case, got, case.call(PORTABLE.run_experts)) <= 1
    gate_up, down = case.arguments[3:]
    alone = Linear(gate_up.weight.shape[2], gate_up.weight.shape[1])
    alone.weight = gate_up.weight[3]
    expected = PORTABLE.gate_up(case.arguments[0], alone) @ down.weight[3].T
    assert difference(case, [expected * case.arguments[2]], got) <= 1


@pytest.mark.parametrize("tokens", [MOST_TOKENS, 100, 513, 4096])
def test_long_blocks_take_the_grouped_gather(tokens, library) -> None:
    case = expert_case(tokens, "dense", chosen=chosen_by("any", tokens))
    got, ran = run(case, library)
    assert not ran
    assert difference(case, got, case.call(PORTABLE.run_experts)) <= 1


@pytest.mark.parametrize("tokens", range(2, MOST_TOKENS, 7))
def test_each_chosen_expert_is_one_run(tokens, library) -> None:
    """What the block kernels read: a run per chosen expert, every assignment in exactly one."""
    from mlx_gemma4.kernels import experts

    chosen = chosen_by("some unused", tokens)
    order, runs = experts._plan(HostBackend(library), chosen.flatten(), COUNT, TOP)
    flat, order, runs = (np.array(a) for a in (chosen.flatten(), order, runs.reshape(-1, 3)))
    used = runs[runs[:, 2] > 0]
    assert sorted(order) == list(range(flat.size))
    assert list(used[:, 0]) == sorted(set(flat))
    for expert, start, length in used:
        assert (flat[order[start : start + length]] == expert).all()


def tied(tokens: int) -> Case:
    """A router that gives pairs of experts the same logits exactly."""
    case = route_case(tokens, "dense", count=16, top=4)
    x, proj, scales, factor, top = case.arguments
    proj.weight = mx.repeat(proj.weight[:8], 2, axis=0)
    return Case("route", "ties", (x, proj, scales, factor, top))


@pytest.mark.parametrize("tokens", [1, 3])
def test_ties_go_to_the_lower_index(tokens, library) -> None:
    case = tied(tokens)
    (experts, weights), _ = run(case, library)
    x, proj, scales, _, top = case.arguments
    logits = np.array(proj(x))
    right = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    assert (np.array(experts) == right).all()
    shares = np.array(weights / scales[experts])
    assert np.allclose(shares.sum(1), 1, atol=1e-6)
    assert np.allclose(shares[:, 0], shares[:, 1], atol=1e-7)


def test_all_logits_equal(library) -> None:
    case = tied(1)
    x, proj, scales, factor, top = case.arguments
    case = Case("route", "equal", (mx.zeros_like(x), proj, scales, factor, top))
    (experts, weights), _ = run(case, library)
    assert experts.tolist() == [[0, 1, 2, 3]]
    assert np.allclose(np.array(weights), np.array(scales[experts]) / 4)


def test_what_no_kernel_reads_goes_to_the_reference(library) -> None:
    make = Maker()
    case = route_case(1, "dense")
    x, proj, scales, factor, top = case.arguments
    proj.bias = make(128)
    _, ran = run(Case("route", "a bias", (x, proj, scales, factor, top)), library)
    assert not ran
