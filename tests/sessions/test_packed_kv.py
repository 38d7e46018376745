"""Keys and values in 8 and 4 bits: small error, exact to go back in, counted by the planner."""

import mlx.core as mx
import numpy as np
import pytest
from session_checks import next_logits, picture, say

from mlx_gemma4.cache import FullCache
from mlx_gemma4.errors import PromptError
from mlx_gemma4.kv_packed import PackedCache, attend_packed
from mlx_gemma4.messages import Image, message
from mlx_gemma4.plan import GIB, Machine, plan
from mlx_gemma4.published import published_config
from mlx_gemma4.session import Session
from mlx_gemma4.wide_attention import plain_attend_wide

ARCHITECTURES = ("e2b", "e4b", "12b", "26b", "31b")
BOUND = 0.06
"""Largest change of a tiny model's logits in 8 bits, as a share of the largest logit.

Random weights attend almost to single tokens, which amplifies errors.
"""
LONG = "The quick brown fox jumps over the lazy dog, and then it does so again. " * 3


def packed(cache, start: int) -> list[mx.array]:
    """What the packed layers hold of the tokens from ``start`` on."""
    layers = [layer for layer in cache if isinstance(layer, PackedCache)]
    assert layers
    return [array for layer in layers for array in layer.rows(start, cache.offset)]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_error_in_8_bits_is_bounded(arch, tiny):
    model, processor = tiny(arch)
    chat = [message("user", Image(picture(1)), LONG)]
    whole, small = Session(model, processor), Session(model, processor, kv_bits=8)
    for session in (whole, small):
        session.sync(chat)
    wanted, got = next_logits(whole, model), next_logits(small, model)
    error = float(abs(wanted - got).max()) / float(abs(wanted).max())
    assert 0 < error <= BOUND
    assert int(wanted.argmax()) == int(got.argmax())
    assert small._runner.cache.nbytes < whole._runner.cache.nbytes


@pytest.mark.parametrize("bits", [8, 4])
def test_a_packed_number_is_off_by_less_than_a_step(bits):
    rows = mx.random.normal((1, 2, 40, 128), key=mx.random.key(7))
    kv = PackedCache(bits).append(rows)
    seen = mx.concatenate([kv.keys.unpacked(), kv.values.unpacked()], axis=1)
    groups = rows.reshape(1, 2, 40, 2, 64)
    step = (groups.max(axis=-1) - groups.min(axis=-1)) / (2**bits - 1)
    error = abs(seen - rows).reshape(groups.shape).max(axis=-1)
    # Half a step, and up to another half at one end: MLX keeps the end farther from zero exact.
    assert float((error / step).max()) <= 1.0


@pytest.mark.parametrize("arch", ["e2b", "31b"])
def test_going_back_is_exact_to_the_bit(arch, tiny, counter):
    model, processor = tiny(arch)
    session = Session(model, processor, kv_bits=4)
    start = [message("user", LONG)]
    session.sync(start)
    first = [*start, message("model", say(session, 20)), message("user", LONG)]
    second = [*start, message("model", "No. " + LONG)]
    session.sync(first)
    tape = session._runner.tape
    session.sync(second)
    fork = tape.common_prefix(session._runner.tape)
    session.sync(first)
    kept = packed(session._runner.cache, fork)
    session.sync(second)
    count = counter(model)
    session.sync(first)
    assert count.rows == 0
    now = packed(session._runner.cache, fork)
    assert all(mx.array_equal(a, b) for a, b in zip(now, kept, strict=True))
    session._runner.rewind(session.tokens - 40)
    session._runner.advance()
    assert session._runner.pending == 0


def test_attention_reads_packed_rows_as_it_would_read_unpacked_ones():
    rows = mx.random.normal((1, 4, 50, 64), key=mx.random.key(1))
    cache = PackedCache(8)
    for low, high in ((0, 1), (1, 30), (30, 50)):
        kv = cache.append(rows[:, :, low:high])
    q = mx.random.normal((1, 8, 5, 64), key=mx.random.key(2))
    for mask in (None, "causal", mx.array(np.tri(5, 50, 40, dtype=bool))):
        wanted = plain_attend_wide(q, kv.keys.unpacked(), kv.values.unpacked(), mask)
        got = attend_packed(q, kv.keys, kv.values, mask)
        assert float(abs(wanted - got).max()) <= 1e-5 * float(abs(wanted).max())
    part = kv.keys.between(10, 20)
    assert part.shape == (1, 2, 10, 64)
    assert mx.array_equal(part.unpacked(), kv.keys.unpacked()[:, :, 10:20])


def test_a_packed_cache_grows_trims_and_copies_like_a_plain_one():
    rows = mx.random.normal((1, 2, 600, 64), key=mx.random.key(3))
    cache, plain = PackedCache(8), FullCache()
    for low, high in ((0, 300), (300, 301), (301, 600)):
        cache.append(rows[:, :, low:high])
        plain.append(rows[:, :, low:high])
    assert cache.offset == plain.offset == cache.trimmable == 600
    assert cache.nbytes < 0.3 * plain.nbytes
    tail = cache.rows(400, 600)
    before = cache.view().keys.unpacked()
    cache.trim(200)
    cache.append(rows[:, :, :50])
    assert cache.offset == 450
    cache.put(400, tail)
    assert cache.offset == 600
    assert mx.array_equal(cache.view().keys.unpacked(), before)


def test_a_number_of_bits_that_is_no_choice_is_refused(tiny):
    model, processor = tiny("e2b")
    with pytest.raises(PromptError, match="8 or 4 bits"):
        Session(model, processor, kv_bits=3)


def test_the_planner_counts_packed_keys_and_values_of_31b_at_256k():
    config = published_config("31b")
    machine = Machine("M4 Max", 64 * GIB, 40 * GIB, True)

    def kv(bits):
        return plan(config, context=262_144, quant="4bit", kv_bits=bits, machine=machine).kv

    window = kv(None) - 81_920 * 262_144
    assert 0 < window < GIB
    assert kv(8) - window == pytest.approx(81_920 * 262_144 * 8.5 / 16, rel=1e-3)
    assert kv(4) - window == pytest.approx(81_920 * 262_144 * 4.5 / 16, rel=1e-3)
    small = Machine("M4 Max", 48 * GIB, 40 * GIB, True)
    tight = plan(config, context=262_144, quant="4bit", machine=small)
    assert any("bit precision" in advice for advice in tight.advice)
