"""One prompt gives one result, however it is fed."""

import mlx.core as mx
import numpy as np
import pytest
from core_checks import assert_close, logits_of, text_ids

from mlx_gemma4 import attention
from mlx_gemma4.errors import PromptError
from mlx_gemma4.layers import Embedding
from mlx_gemma4.masks import plan_step
from mlx_gemma4.testing import WINDOW, tiny_config

LENGTHS = [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 3]


def chunked(model, ids, sizes):
    """Logits of all positions, fed in chunks of the given sizes (the last repeats)."""
    cache, embedded, outputs, start = model.make_cache(), model.embed(ids), [], 0
    while start < len(ids):
        stop = min(start + sizes[min(len(outputs), len(sizes) - 1)], len(ids))
        outputs.append(model.prefill(embedded.rows(start, stop), cache, last_only=False))
        start = stop
    assert cache.offset == len(ids)
    return model.logits(mx.concatenate(outputs, axis=1))[0]


@pytest.mark.parametrize("length", LENGTHS)
def test_one_shot_chunks_and_steps_agree(tiny, length):
    model, ids = tiny.ours, text_ids(length)
    whole = logits_of(model, ids, last_only=False)
    assert_close(chunked(model, ids, [length]), whole)
    assert_close(chunked(model, ids, [3, 7, 5]), whole)
    cache = model.make_cache()
    steps = mx.concatenate([model.step(int(token), cache) for token in ids])
    assert_close(steps, whole)


def test_only_the_last_row_is_the_same_row(tiny):
    model, ids = tiny.ours, text_ids(2 * WINDOW + 3)
    whole = logits_of(model, ids, last_only=False)
    assert_close(logits_of(model, ids), whole[-1:])
    cache = model.make_cache()
    embedded = model.embed(ids)
    model.extend(embedded.rows(0, 20), cache)
    hidden = model.prefill(embedded.rows(20, len(ids)), cache)
    assert_close(model.logits(hidden)[0], whole[-1:])
    ahead = model.step(40, cache)
    assert_close(ahead, logits_of(model, [*ids, 40]))


def test_trim_and_restore_lead_back_to_the_same_logits(tiny):
    model, ids = tiny.ours, text_ids(3 * WINDOW)
    cache, embedded = model.make_cache(slack=6), model.embed(ids)
    model.extend(embedded.rows(0, 30), cache)
    snapshot = cache.snapshot()
    expected = model.logits(model.prefill(embedded.rows(30, 40), cache))
    mx.eval(expected)
    assert cache.trim(4) == 4
    assert_close(model.logits(model.prefill(embedded.rows(36, 40), cache)), expected)
    cache.restore(snapshot)
    model.extend(model.embed(text_ids(5, seed=9)), cache)
    cache.restore(snapshot)
    assert_close(model.logits(model.prefill(embedded.rows(30, 40), cache)), expected)


def test_work_that_is_skipped_for_the_last_row(tiny, monkeypatch):
    """Rows entering each layer's scores: only the first M - 1 layers see the whole prompt."""
    model, counted = tiny.ours, []
    original = attention.score_band

    def counting(q, keys, *rest):
        counted.append(q.shape[2])
        return original(q, keys, *rest)

    monkeypatch.setattr(attention, "score_band", counting)
    rows = WINDOW // 4  # one band per layer
    model.prefill(model.embed(text_ids(rows)), None)
    text = model.config.text
    cut = text.kv_shared_from - 1
    assert counted == [rows] * cut + [1] * (text.num_hidden_layers - cut)


def test_score_elements_equal_the_plan(tiny, monkeypatch):
    model, elements = tiny.ours, []
    original = attention.score_band

    def counting(q, keys, *rest):
        elements.append(q.shape[2] * keys.shape[2])
        return original(q, keys, *rest)

    monkeypatch.setattr(attention, "score_band", counting)
    rows, text = 3 * WINDOW, model.config.text
    model.prefill(model.embed(text_ids(rows)), model.make_cache(), last_only=False)
    plan = plan_step(text, 0, rows)
    planned = [band.elements for s in text.layers for band in plan.bands(s.is_sliding)]
    assert elements == planned


def test_each_token_is_embedded_once(tiny, monkeypatch):
    model, embedded = tiny.ours, []
    original = Embedding.__call__

    def counting(self, ids):
        if self is model.language_model.embed_tokens:
            embedded.append(ids.size)
        return original(self, ids)

    monkeypatch.setattr(Embedding, "__call__", counting)
    cache = model.make_cache()
    model.prefill(model.embed(text_ids(11)), cache)
    model.step(30, cache)
    assert embedded == [11, 1]


def test_full_attention_in_small_score_blocks_is_the_same(tiny, monkeypatch):
    ids = text_ids(2 * WINDOW + 3)
    whole = logits_of(tiny.ours, ids, last_only=False)
    monkeypatch.setattr("mlx_gemma4.masks.SCORE_ELEMENTS", 64)
    assert len(plan_step(tiny.ours.config.text, 0, len(ids)).full) > 3
    assert_close(logits_of(tiny.ours, ids, last_only=False), whole)


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_no_constant_widens_the_hidden_states(tiny, dtype):
    from mlx_gemma4.weights import load_model

    model = load_model(tiny.folder, dtype)
    embedded = model.embed(text_ids(5))
    assert embedded.hidden.dtype == dtype
    cache = model.make_cache()
    hidden = model.prefill(embedded, cache)
    assert hidden.dtype == dtype
    assert {array.dtype for array in cache.arrays()} == {dtype}
    assert model.greedy_logits(hidden).dtype == dtype
    assert model.logits(hidden).dtype == mx.float32


def test_bad_prompts_are_named(tiny):
    model = tiny.ours
    for ids in ([], [-1], [10_000]):
        with pytest.raises(PromptError):
            model.embed(ids)
    with pytest.raises(PromptError, match="placeholder"):
        model.embed([5, model.config.image_token_id])
    with pytest.raises(PromptError, match="do not fit"):
        model.embed([5, 6], [(1, mx.zeros((2, 64)))])


def test_soft_cap_keeps_the_order():
    config = tiny_config("e2b").text
    from mlx_gemma4.layers import soft_cap

    logits = mx.array(np.linspace(-400, 400, 2001).astype(np.float32))
    capped = np.array(soft_cap(logits, config.final_logit_softcapping))
    assert np.abs(capped).max() <= 30
    assert (np.diff(capped) >= 0).all()
