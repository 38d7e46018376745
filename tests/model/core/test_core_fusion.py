"""Each fused chain against the same chain operation by operation, and the seam that selects it."""

import dataclasses

import mlx.core as mx
import numpy as np
import pytest
from core_checks import assert_close, text_ids

from mlx_gemma4 import chains, wide_attention
from mlx_gemma4.chains import Heads
from mlx_gemma4.config import RopeSpec
from mlx_gemma4.fusion import OFF, PORTABLE
from mlx_gemma4.layers import FusedLinear, Linear, SplitLinear, output_rows
from mlx_gemma4.rope import Rope
from mlx_gemma4.testing import tiny_json

EPS = 1e-6
TOLERANCES = {mx.float32: 1e-5, mx.bfloat16: 2**-7}  # one rounding of bfloat16 more or less
TYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def draw(*shape, dtype=mx.float32, seed=0):
    values = np.random.default_rng([seed, *shape]).normal(0, 1, shape)
    return mx.array(values.astype(np.float32)).astype(dtype)


def close(ours, plain, dtype):
    assert ours.dtype == plain.dtype == dtype
    assert_close(ours.astype(mx.float32), plain.astype(mx.float32), TOLERANCES[dtype])


@TYPES
@pytest.mark.parametrize(("followers", "scaled"), [(0, False), (1, True), (3, False)])
def test_residual_norm(dtype, followers, scaled):
    x, residual = (draw(2, 5, 48, dtype=dtype, seed=s) for s in (1, 2))
    weights = [draw(48, dtype=dtype, seed=s) for s in range(3, 4 + followers)]
    scale = draw(1, dtype=dtype) if scaled else None
    given = residual, x, weights[0], EPS, scale, tuple(weights[1:])
    out, normed = chains.residual_norm(*given)
    expected, plain = chains.plain_residual_norm(*given)
    close(out, expected, dtype)
    assert len(normed) == followers
    for ours, theirs in zip(normed, plain, strict=True):
        close(ours, theirs, dtype)


@TYPES
def test_experts_tail(dtype):
    arrays = [draw(1, 3, 32, dtype=dtype, seed=s) for s in range(3)]
    weights = tuple(draw(32, dtype=dtype, seed=s) for s in range(3, 6))
    given = *arrays, weights, EPS, draw(1, dtype=dtype), (draw(32, dtype=dtype, seed=9),)
    (out, (normed,)), (expected, (plain,)) = (
        chains.experts_tail(*given),
        chains.plain_experts_tail(*given),
    )
    close(out, expected, dtype)
    close(normed, plain, dtype)


@TYPES
@pytest.mark.parametrize(("batch", "time", "offset"), [(1, 1, 4097), (2, 7, 1023)])
@pytest.mark.parametrize("values_are_keys", [False, True])
@pytest.mark.parametrize("spec", [RopeSpec(1e4, 32), RopeSpec(1e6, 8)], ids=["all", "some"])
def test_head_norm_rope(dtype, batch, time, offset, values_are_keys, spec):
    turns, heads = Rope(spec, 64).turns(offset, time), Heads(4, 2, values_are_keys)
    packed = draw(batch, time, heads.packed, 64, dtype=dtype)
    weights = draw(64, dtype=dtype, seed=1), draw(64, dtype=dtype, seed=2)
    ours = chains.head_norm_rope(packed, *weights, turns, heads, EPS)
    plain = chains.plain_head_norm_rope(packed, *weights, turns, heads, EPS)
    for one, other in zip(ours, plain, strict=True):
        assert one.shape == other.shape
        close(one, other, dtype)


@TYPES
def test_head_norm_rope_of_queries_alone_and_of_keys_alone(dtype):
    turns = Rope(RopeSpec(1e4, 32), 64).turns(37, 3)
    weights = draw(64, dtype=dtype, seed=1), draw(64, dtype=dtype, seed=2)
    heads = Heads(4, 2, False)
    packed = draw(1, 3, heads.packed, 64, dtype=dtype)
    q, stored = chains.head_norm_rope(packed, *weights, turns, heads, EPS)
    alone, nothing = chains.head_norm_rope(packed[:, :, :4], weights[0], None, turns, heads, EPS)
    assert nothing is None
    close(alone, q, dtype)
    _, kept = chains.head_norm_rope(packed[:, :, 4:], *weights, turns, Heads(0, 2, False), EPS)
    close(kept, stored, dtype)


def test_the_last_angles_are_those_of_the_last_rows():
    rope = Rope(RopeSpec(1e4, 32), 64)
    last, alone = rope.turns(90, 11).last(2), rope.turns(99, 2)
    assert last.offset == alone.offset
    assert mx.array_equal(last.table, alone.table)


@TYPES
@pytest.mark.parametrize("mask", [None, "causal", "array"])
@pytest.mark.parametrize("rows", [1, 4, 70])
def test_attention_of_wide_heads(dtype, mask, rows):
    q = draw(2, 8, rows, 512, dtype=dtype) * 0.2
    stored = draw(2, 4, 90, 512, dtype=dtype, seed=1)
    keys, values = stored[:, :2, 3:83] * 0.2, stored[:, 2:, 3:83]
    if mask == "array":
        mask = mx.array(np.random.default_rng(0).random((rows, 80)) < 0.7)
    given = q, keys, values, mask
    close(wide_attention.attend_wide(*given), wide_attention.plain_attend_wide(*given), dtype)


@pytest.mark.parametrize("bits", [None, 4, 8])
def test_some_outputs_of_a_matrix(bits):
    parts = [("a", 6), ("b", 10)]
    whole, x = FusedLinear(64, parts), draw(2, 3, 64)
    weight = draw(16, 64, seed=1)
    whole.weight = weight
    if bits:
        from mlx_gemma4.layers import Quantization

        whole.quantization = Quantization(64, bits)
        whole.weight, whole.scales, whole.biases = mx.quantize(weight, group_size=64, bits=bits)
    assert_close(output_rows(whole, x, 6, 16), whole(x)[..., 6:])
    assert_close(output_rows(whole, x, 0, 6), whole(x)[..., :6])


def test_some_outputs_of_a_matrix_in_pieces():
    pieces = [("a", Linear(8, 3)), ("b", Linear(8, 4))]
    for seed, (_, piece) in enumerate(pieces):
        piece.weight = draw(*piece.weight.shape, seed=seed)
    split, x = SplitLinear(pieces), draw(1, 2, 8)
    assert_close(output_rows(split, x, 3, 7), pieces[1][1](x))


def test_a_model_runs_the_functions_it_was_given():
    from mlx_gemma4.bench.shapes import random_model

    counted = []

    def counting(*given):
        counted.append(given[0].shape)
        return PORTABLE.head_norm_rope(*given)

    model = random_model(tiny_json("e2b") | {"vision_config": None, "audio_config": None})
    assert model.fusion is PORTABLE
    ids, cache = text_ids(4), model.make_cache()
    expected = model.step(int(ids[0]), cache)
    model.use(dataclasses.replace(PORTABLE, head_norm_rope=counting))
    assert mx.array_equal(model.step(int(ids[0]), model.make_cache()), expected)
    assert len(counted) == model.config.text.num_hidden_layers
    model.use(OFF)
    assert_close(model.step(int(ids[0]), model.make_cache()), expected)
    assert len(counted) == model.config.text.num_hidden_layers
