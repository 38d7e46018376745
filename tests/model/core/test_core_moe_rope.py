"""Routing edge cases against a plain loop, and rotary frequencies."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from core_checks import assert_close

from mlx_gemma4.moe import Experts, Router, plain_route, plain_run_experts, route, run_experts
from mlx_gemma4.published import published_config
from mlx_gemma4.rope import Rope, periods
from mlx_gemma4.testing import tiny_config

TEXT = tiny_config("26b").text
COUNT, TOP = TEXT.num_experts, TEXT.top_k_experts


@pytest.fixture(scope="module")
def experts():
    module, rng = Experts(TEXT), np.random.default_rng(0)
    for linear in (module.gate_up_proj, module.down_proj):
        shape = linear.weight.shape
        linear.weight = mx.array(rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32))
    return module


def loop(module, z, chosen, weights):
    """One token and one expert at a time, in float64."""
    gate_up = np.array(module.gate_up_proj.weight, dtype=np.float64)
    down = np.array(module.down_proj.weight, dtype=np.float64)
    result = np.zeros_like(z, dtype=np.float64)
    for t, (row, which) in enumerate(zip(z, chosen, strict=True)):
        for k, e in enumerate(which):
            gate, up = np.split(gate_up[e] @ row, 2)
            act = 0.5 * gate * (1 + np.tanh(0.7978845608 * (gate + 0.044715 * gate**3)))
            result[t] += weights[t, k] * (down[e] @ (act * up))
    return result


def check(module, tokens, chosen):
    rng = np.random.default_rng(tokens)
    z = rng.normal(0, 1, (tokens, TEXT.hidden_size)).astype(np.float32)
    weights = rng.uniform(0, 1, chosen.shape).astype(np.float32)
    given = mx.array(z), mx.array(chosen.astype(np.uint32)), mx.array(weights)
    expected = loop(module, z, chosen, weights)
    for run in (run_experts, plain_run_experts):
        assert_close(run(*given, module.gate_up_proj, module.down_proj), expected)


@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 200])
def test_experts_equal_the_loop_sorted_or_not(experts, tokens):
    rng = np.random.default_rng(1)
    check(experts, tokens, np.stack([rng.permutation(COUNT)[:TOP] for _ in range(tokens)]))


@pytest.mark.parametrize("tokens", [1, 5, 64])
def test_two_experts_take_all_tokens_and_the_rest_none(experts, tokens):
    check(experts, tokens, np.tile(np.array([COUNT - 1, 0]), (tokens, 1)))


def test_4096_tokens_equal_themselves_in_parts(experts):
    rng = np.random.default_rng(2)
    z = mx.array(rng.normal(0, 1, (4096, TEXT.hidden_size)).astype(np.float32))
    chosen = mx.array(rng.integers(0, COUNT, (4096, TOP)).astype(np.uint32))
    weights = mx.ones((4096, TOP))
    matrices = experts.gate_up_proj, experts.down_proj
    parts = [
        run_experts(z[i : i + 7], chosen[i : i + 7], weights[i : i + 7], *matrices)
        for i in (0, 4089)
    ]
    whole = run_experts(z, chosen, weights, *matrices)
    assert_close(whole[:7], parts[0])
    assert_close(whole[4089:], parts[1])


@pytest.mark.parametrize("run", [route, plain_route])
def test_router_equals_softmax_over_all_then_renormalised(run):
    rng = np.random.default_rng(3)
    router = Router(TEXT)
    router.proj.weight = mx.array(rng.normal(0, 1, (COUNT, TEXT.hidden_size)).astype(np.float32))
    router.scale = mx.array(rng.uniform(0.5, 1.5, TEXT.hidden_size).astype(np.float32))
    router.per_expert_scale = mx.array(rng.uniform(0.5, 1.5, COUNT).astype(np.float32))
    a = rng.normal(0, 3, (50, TEXT.hidden_size)).astype(np.float32)
    x = mx.fast.rms_norm(mx.array(a), router.scale, 1e-6)
    chosen, weights = run(x, router.proj, router.per_expert_scale, router.factor, TOP)
    normed = a / np.sqrt((a.astype(np.float64) ** 2).mean(-1, keepdims=True) + 1e-6)
    scaled = normed * np.array(router.scale) * TEXT.hidden_size**-0.5
    logits = torch.tensor(scaled @ np.array(router.proj.weight, dtype=np.float64).T)
    probabilities = torch.softmax(logits, -1)
    best, index = torch.topk(probabilities, TOP)
    best = best / best.sum(-1, keepdim=True)
    dense = np.zeros((50, COUNT))
    np.put_along_axis(dense, index.numpy(), best.numpy(), 1)
    dense *= np.array(router.per_expert_scale)
    ours = np.zeros((50, COUNT))
    np.put_along_axis(ours, np.array(chosen).astype(int), np.array(weights), 1)
    assert_close(ours, dense)


def same(logits):
    return logits


@pytest.mark.parametrize("run", [route, plain_route])
@pytest.mark.parametrize("tied", [2, 5, COUNT])
def test_ties_choose_distinct_experts_with_equal_weights(tied, run):
    logits = np.full((3, COUNT), -5.0, dtype=np.float32)
    logits[:, :tied] = 2.0
    chosen, weights = run(mx.array(logits), same, mx.ones((COUNT,)), 1.0, TOP)
    for row in np.array(chosen):
        assert len(set(row.tolist())) == TOP
        assert set(row.tolist()) <= set(range(tied))
    assert_close(weights, np.full((3, TOP), 1 / TOP))


@pytest.mark.parametrize("run", [route, plain_route])
def test_huge_router_logits_stay_finite(run):
    logits = mx.array(np.array([[3e38, -3e38, *[0.0] * (COUNT - 2)]], dtype=np.float32))
    _, weights = run(logits, same, mx.ones((COUNT,)), 1.0, TOP)
    assert_close(weights.sum(), np.float32(1.0))


def test_rotary_frequencies_of_the_real_sizes():
    """The three figures of the model's own check-list, and 64 of 256 pairs rotating."""
    for arch in ("e2b", "31b"):
        text = published_config(arch).text
        full = next(s for s in text.layers if not s.is_sliding)
        sliding = text.layer(0)
        frequencies = 1 / periods(full.rope, full.head_dim)
        assert (frequencies > 0).sum() == 64
        assert frequencies[[0, 1, 63]] == pytest.approx([1.0, 0.9474635, 0.0333762], rel=2e-6)
        assert (periods(sliding.rope, 256) < np.inf).all()
        assert 1 / periods(sliding.rope, 256)[127] == pytest.approx(10_000 ** (-254 / 256))


@pytest.mark.parametrize("position", [0, 1, 511, 131_071, 262_143])
def test_rotation_at_any_position_equals_the_formula(position):
    spec = published_config("31b").text.layer(5)
    x = np.random.default_rng(4).normal(0, 1, (1, 2, 3, 512)).astype(np.float32)
    ours = Rope(spec.rope, 512)(mx.array(x), position)
    # Angles are float32 products, as in the reference; only cos and sin are exact here.
    at = (np.arange(3) + position).astype(np.float32)[:, None]
    angle = (at * (np.float32(1) / periods(spec.rope, 512))).astype(np.float64)
    cos, sin = np.cos(angle), np.sin(angle)
    first, second = x[..., :256], x[..., 256:]
    expected = np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
    assert_close(ours, expected, 1e-6)
