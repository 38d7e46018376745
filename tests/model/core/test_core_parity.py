"""The decoder and the assembled model against transformers, in float32, for all five sizes."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from core_checks import Prompt, assert_close, logits_of, text_ids, torch_ids, using

from mlx_gemma4.fusion import FusionMode
from mlx_gemma4.masks import plan_step
from mlx_gemma4.rope import Rope
from mlx_gemma4.step import Step
from mlx_gemma4.testing import WINDOW
from mlx_gemma4.text import Stream

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def decoder(theirs):
    return theirs.model.language_model


def hidden_states(tiny, rows, seed=5):
    dims = tiny.ours.config.text.hidden_size
    return np.random.default_rng(seed).normal(0, 1, (1, rows, dims)).astype(np.float32)


def causal(rows, window=None):
    i, j = np.arange(rows)[:, None], np.arange(rows)[None]
    seen = (j <= i) & (True if window is None else j > i - window)
    return torch.tensor(np.where(seen, 0.0, -1e30).astype(np.float32))[None, None]


def test_embeddings_and_per_layer_inputs(tiny):
    ids = text_ids(9)
    embedded = tiny.ours.embed(ids)
    reference = decoder(tiny.theirs)
    rows = reference.embed_tokens(torch_ids(ids))
    assert_close(embedded.hidden, rows)
    if embedded.per_layer is not None:
        identity = reference.get_per_layer_inputs(torch_ids(ids), rows)
        assert_close(embedded.per_layer, reference.project_per_layer_inputs(rows, identity))


def test_every_layer_alone(tiny, fusion):
    """Attention, MLP, experts, gates and scalars of each layer on the same random input."""
    text, rows = tiny.ours.config.text, 2 * WINDOW + 3
    reference = decoder(tiny.theirs)
    decoder_ours = tiny.ours.language_model
    turns = {s.kind: Rope(s.rope, s.head_dim).turns(0, rows) for s in text.layers}
    step = Step(plan_step(text, 0, rows), turns, fusion)
    following = mx.random.uniform(0.5, 1.5, (text.hidden_size,), key=mx.random.key(1))
    x = hidden_states(tiny, rows)
    per_layer = None
    if dims := text.hidden_size_per_layer_input:
        per_layer = np.random.default_rng(6).normal(0, 1, (1, rows, dims)).astype(np.float32)
    donated, stored = {}, {}
    positions = torch.arange(rows)[None]
    stacks = text.layers, decoder_ours.layers, reference.layers
    for spec, ours, theirs in zip(*stacks, strict=True):
        inputs = None if per_layer is None else mx.array(per_layer)
        stream = Stream(mx.array(x), ours.input_layernorm(mx.array(x)))
        shared = donated.get(spec.kind) if spec.donor else None
        (y, normed), kv = ours(stream, inputs, step, following, None, shared)
        if spec.donor is None:
            donated[spec.kind] = kv
        expected = theirs(
            torch.tensor(x),
            **({} if per_layer is None else {"per_layer_input": torch.tensor(per_layer)}),
            shared_kv_states=stored,
            position_embeddings=reference.rotary_emb(torch.tensor(x), positions, spec.kind),
            attention_mask=causal(rows, text.sliding_window if spec.is_sliding else None),
        )
        assert_close(y, expected)
        assert_close(normed, mx.fast.rms_norm(y, following, text.rms_norm_eps))


def test_text_of_several_windows(tiny, fusion):
    ids = text_ids(3 * WINDOW + 5)
    expected = tiny.theirs(input_ids=torch_ids(ids)).logits[0]
    with using(tiny.ours, fusion) as ours:
        assert_close(logits_of(ours, ids, last_only=False), expected)
        assert_close(logits_of(ours, ids), expected[-1:])
        assert_close(decoded(ours, ids), expected)


def decoded(model, ids):
    """Logits of every position, one token at a time."""
    cache = model.make_cache()
    return mx.concatenate([model.step(int(token), cache) for token in ids])


@pytest.mark.parametrize("position", [131_071, 262_143])
def test_last_positions_of_the_context(tiny, position):
    """Short text whose last token sits at the very end of the context."""
    ids = text_ids(2 * WINDOW + 3)
    start = position + 1 - len(ids)
    at = torch.arange(start, position + 1)[None]
    expected = tiny.theirs(input_ids=torch_ids(ids), position_ids=at).logits[0]
    embedded = tiny.ours.embed(ids)
    cache = tiny.ours.make_cache(start)
    hidden = tiny.ours.prefill(embedded.rows(0, 20), cache, last_only=False)
    rest = tiny.ours.prefill(embedded.rows(20, len(ids)), cache, last_only=False)
    assert cache.offset == position + 1
    both = mx.concatenate([hidden, rest], axis=1)
    assert_close(tiny.ours.logits(both)[0], expected)


def reference_logits(tiny, prompt):
    """The reference's logits, with the 12B's image overlay kept off full-attention layers.

    transformers 5.23 adds the overlay to full layers of the 12B in its plain forward, but not in
    its own generation path nor for the other sizes; Google's JAX code never does.
    """
    arguments = prompt.reference()
    if tiny.ours.config.unified:
        masks = type(tiny.theirs).create_masks_for_generate(
            tiny.theirs.config,
            inputs_embeds=torch.zeros(1, len(prompt.ids), 1),
            attention_mask=None,
            past_key_values=None,
            position_ids=torch.arange(len(prompt.ids))[None],
            mm_token_type_ids=arguments["mm_token_type_ids"],
        )
        arguments["attention_mask"] = masks
    return tiny.theirs(**arguments).logits[0]


def check(tiny, prompt):
    expected = reference_logits(tiny, prompt)
    assert_close(tiny.ours.forward_logits(prompt.inputs), expected)
    return expected


def test_one_picture(tiny):
    check(tiny, Prompt(tiny.ours.config).text(5).picture(2, 3).text(WINDOW))


def test_two_pictures_of_different_shape_one_larger_than_the_window(tiny):
    prompt = Prompt(tiny.ours.config).text(7).picture(3, WINDOW // 2).picture(1, 2).text(4)
    check(tiny, prompt)


def test_video(tiny):
    prompt = Prompt(tiny.ours.config).text(3)
    for _ in range(3):
        prompt.text(4).picture(2, 2, video=True)
    check(tiny, prompt.text(6))


@pytest.mark.parametrize("frames", [1, 37, 158])
def test_sound_of_odd_lengths(tiny, frames):
    if tiny.ours.config.audio is None:
        assert "audio" not in tiny.ours.config.inputs
        return
    check(tiny, Prompt(tiny.ours.config).text(3).sound(frames).text(9))


def test_all_kinds_mixed_and_chunked(tiny, fusion):
    with using(tiny.ours, fusion):
        mixed_and_chunked(tiny)
    if fusion.mode is FusionMode.FULL:
        tail = "experts_tail" if tiny.arch == "26b" else "residual_norm"
        assert any(tail in label for label in fusion.residual_norm.args[0].ran)


def mixed_and_chunked(tiny):
    prompt = Prompt(tiny.ours.config).text(4).picture(2, 2)
    if tiny.ours.config.audio is not None:
        prompt.text(2).sound(45).text(3).sound(21)
    prompt.text(WINDOW + 3).picture(2, 3, video=True).text(2).picture(1, 4, video=True).text(7)
    expected = check(tiny, prompt)
    inputs = prompt.inputs
    embedded = tiny.ours.embed(inputs.ids, tiny.ours.encode(inputs))
    from mlx_gemma4.model import block_ids

    blocks, cache, start = block_ids(inputs.token_types), tiny.ours.make_cache(), 0
    while start < len(inputs):
        stop = min(start + 11, len(inputs))
        while stop < len(inputs) and blocks[stop] and blocks[stop] == blocks[stop - 1]:
            stop += 1  # a picture is never cut
        hidden = tiny.ours.prefill(
            embedded.rows(start, stop), cache, blocks=blocks[start:stop], last_only=False
        )
        assert_close(tiny.ours.logits(hidden)[0], expected[start:stop])
        start = stop


def test_pictures_read_the_pad_row_of_the_per_layer_table(tiny):
    """Guards trap T11: looking up the placeholder's own row would change the result."""
    if tiny.ours.config.family != "edge":
        return
    prompt = Prompt(tiny.ours.config).text(3).picture(2, 2).text(2)
    right = tiny.ours.forward_logits(prompt.inputs)
    model, inputs = tiny.ours, prompt.inputs
    embedded = model.embed(inputs.ids, model.encode(inputs))
    ids = mx.array(inputs.ids)[None]
    wrong = embedded._replace(per_layer=model.language_model.per_layer_inputs(ids, embedded.hidden))
    logits = model.logits(model.prefill(wrong, None, last_only=False))[0]
    assert np.abs(np.array(logits - right)).max() > 1e-2
