"""Decode steps as one compiled function: the same numbers as step by step, whatever changes."""

import dataclasses

import mlx.core as mx
import numpy as np
import pytest
import torch
from core_checks import assert_close, text_ids, torch_ids
from test_core_adapters import write_adapter

from mlx_gemma4.adapters import apply_adapter
from mlx_gemma4.convert import convert
from mlx_gemma4.fusion import OFF, PORTABLE
from mlx_gemma4.testing import WINDOW
from mlx_gemma4.weights import load_model

EXACT = 1e-5  # sums over a buffer with spare rows are cut in other places
GROWS_AT = 256  # rows of the first buffer


@pytest.fixture
def own(tiny_models):
    """A model no other test uses: shared keys and values, per-layer inputs."""
    return load_model(tiny_models["e2b"].folder)


def stepped(model, cache, ids, *, replays: bool) -> mx.array:
    """Logits after each of ``ids``."""
    model.language_model.replays = replays
    return mx.concatenate([model.step(int(token), cache) for token in ids])


def filled(model, count: int, **options):
    cache = model.make_cache(**options)
    mx.eval(model.prefill(model.embed(text_ids(count)), cache), cache.arrays())
    return cache


def traces(model) -> int:
    return len(model.language_model._compiled._traced)


def test_replayed_steps_equal_plain_ones(tiny):
    """Past the window, past the growth of buffers, and past the rebuilding of windows."""
    before, ids = GROWS_AT - 6, text_ids(10, seed=2)
    plain = stepped(tiny.ours, filled(tiny.ours, before), ids, replays=False)
    cache = filled(tiny.ours, before)
    again = stepped(tiny.ours, cache, ids, replays=True)
    tiny.ours.language_model.replays = False
    assert traces(tiny.ours) >= 2
    assert_close(again, plain, EXACT)
    assert cache.offset == before + len(ids)


@pytest.mark.parity
def test_replayed_steps_equal_the_reference(tiny):
    ids = text_ids(WINDOW + 4)
    with torch.no_grad():
        expected = tiny.theirs(input_ids=torch_ids(ids)).logits[0]
    logits = stepped(tiny.ours, tiny.ours.make_cache(), ids, replays=True)
    tiny.ours.language_model.replays = False
    assert_close(logits, expected)


@pytest.mark.parametrize(("arch", "level"), [("e4b", "4bit"), ("26b", "mxfp4")])
def test_packed_weights(tiny_models, tmp_path, arch, level):
    model = load_model(convert(tiny_models[arch].folder, tmp_path / level, level))
    ids = text_ids(5, seed=3)
    plain = stepped(model, filled(model, 20), ids, replays=False)
    assert_close(stepped(model, filled(model, 20), ids, replays=True), plain, 2e-3)


def test_changed_weights_are_read(own):
    ids = text_ids(4, seed=4)
    before = stepped(own, filled(own, 9), ids, replays=True)
    layer = own.language_model.layers[1]
    layer.mlp.down_proj.weight = layer.mlp.down_proj.weight * 1.5
    own.language_model.norm.weight = own.language_model.norm.weight + 0.1
    after = stepped(own, filled(own, 9), ids, replays=True)
    assert_close(after, stepped(own, filled(own, 9), ids, replays=False), EXACT)
    assert mx.abs(after - before).max().item() > 1e-2


def test_an_adapter_is_followed(own, tiny_models, tmp_path):
    ids = text_ids(4, seed=5)
    before = stepped(own, filled(own, 9), ids, replays=True)
    folder = tiny_models["e2b"].folder
    apply_adapter(own, write_adapter(folder, tmp_path / "adapter", ["mlp.up_proj"]))
    after = stepped(own, filled(own, 9), ids, replays=True)
    assert_close(after, stepped(own, filled(own, 9), ids, replays=False), EXACT)
    assert mx.abs(after - before).max().item() > 1e-3


def test_chains_may_be_replaced_between_steps(own):
    calls = []

    def counting(*given):
        calls.append(1)
        return PORTABLE.gate_up(*given)

    ids = text_ids(6, seed=6)
    cache = filled(own, 9)
    first = stepped(own, cache, ids[:2], replays=True)
    own.use(dataclasses.replace(PORTABLE, gate_up=counting))
    second = stepped(own, cache, ids[2:4], replays=True)
    assert len(calls) == len(own.language_model.layers), "traced once, then replayed"
    own.use(OFF)
    third = stepped(own, cache, ids[4:], replays=True)
    plain = stepped(own, filled(own, 9), ids, replays=False)
    assert_close(mx.concatenate([first, second, third]), plain, EXACT)
    assert traces(own) == 2, "operation by operation means no trace"


def test_a_failing_trace_leaves_the_model_as_it_was(own):
    def failing(*_):
        raise RuntimeError("no such kernel")

    ids = text_ids(3, seed=9)
    cache = filled(own, 9)
    own.use(dataclasses.replace(PORTABLE, gate_up=failing))
    with pytest.raises(RuntimeError, match="no such kernel"):
        stepped(own, cache, ids, replays=True)
    assert not traces(own)
    own.use(PORTABLE)
    again = stepped(own, cache, ids, replays=True)
    assert_close(again, stepped(own, filled(own, 9), ids, replays=False), EXACT)


def test_trimmed_and_restored_caches(own):
    model, ids = own, text_ids(40, seed=7)
    cache = filled(model, 30)
    snapshot = cache.snapshot()
    first = stepped(model, cache, ids[:20], replays=True)
    assert cache.trim(7) == 7
    again = stepped(model, cache, ids[13:20], replays=True)
    assert_close(again, first[13:], EXACT)
    cache.restore(snapshot)
    assert_close(stepped(model, cache, ids[:20], replays=True), first, EXACT)
    with_eager = stepped(model, cache, ids[20:24], replays=False)
    plain = stepped(model, filled(model, 30), ids[:24], replays=False)
    assert_close(with_eager, plain[20:], EXACT)


def test_packed_rows_run_step_by_step(own):
    ids = text_ids(4, seed=8)
    packed = filled(own, 40, kv_bits=8)
    plain = stepped(own, filled(own, 40, kv_bits=8), ids, replays=False)
    assert_close(stepped(own, packed, ids, replays=True), plain, 1e-6)
    assert not traces(own)


def test_few_traces_are_kept(tiny_models):
    model = load_model(tiny_models["31b"].folder)
    for size in range(1, 7):
        stepped(model, filled(model, size * GROWS_AT - 2), [40], replays=True)
    assert traces(model) <= 4


def test_rows_are_written_in_place(tiny_models):
    """A step holds no second copy of the cache."""
    model = tiny_models["31b"].ours
    cache = filled(model, 6000)
    stepped(model, cache, [40], replays=True)
    mx.eval(stepped(model, cache, [41, 42], replays=True), cache.arrays())
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    mx.eval(stepped(model, cache, [43], replays=True), cache.arrays())
    model.language_model.replays = False
    full = max(layer.nbytes for layer in cache)
    assert mx.get_peak_memory() - before < full, np.array([before, full])
