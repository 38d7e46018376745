"""Prefill in chunks, decoding one ahead, all the ways a reply ends."""

import sys

import mlx.core as mx
import numpy as np
import pytest

from mlx_gemma4 import messages as m
from mlx_gemma4.errors import Gemma4Error, PromptError
from mlx_gemma4.generate import (
    Decoder,
    Finish,
    GenerateOptions,
    generate,
    start_channel,
    stop_ids,
    stream,
)
from mlx_gemma4.inputs import AUDIO, IMAGE, VIDEO, ModelInputs
from mlx_gemma4.model import block_ids
from mlx_gemma4.prefill import Progress, chunks, prefill, soft_within
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import SamplingOptions

MODULE = sys.modules["mlx_gemma4.generate"]  # the attribute of that name is the function
GREEDY = SamplingOptions(greedy=True)
ASK = "<bos><|turn>user\nhello there, how are you?<turn|>\n<|turn>model\n"


def plain(ids) -> ModelInputs:
    ids = np.array(ids, dtype=np.int32)
    return ModelInputs(ids, np.zeros(len(ids), dtype=np.uint8))


def decode(loaded, inputs, count, **options):
    """Tokens of a reply that no stop token ends."""
    model, processor = loaded
    cache = model.make_cache()
    made = GenerateOptions(max_tokens=count, loop_guard=False, **options)
    decoder = Decoder(model, processor.tokenizer, made)
    hidden = run(prefill(model, inputs, cache, chunk=made.chunk))
    return [step.token for step in decoder.run(hidden, cache, inputs.ids)], cache


def run(generator):
    """Exhaust a generator and return its value."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("which", ["edge", "large"])
def test_greedy_reply_equals_full_forward_passes(which, request, prompt):
    """No cache, no chunks, no look-ahead: the next token is the arg-max of all logits so far."""
    loaded = request.getfixturevalue(which)
    inputs = prompt(ASK)
    tokens, _ = decode(loaded, inputs, 24, sampling=GREEDY, chunk=9)
    ids = inputs.ids.tolist()
    for token in tokens:
        logits = np.array(loaded[0].forward_logits(plain(ids))[-1])
        best = np.sort(logits)[-2:]
        assert token == logits.argmax() or best[1] - best[0] < 1e-4
        ids.append(token)


@pytest.mark.parametrize("chunk", [1, 7, 16, 1000])
def test_chunk_size_changes_nothing(edge, prompt, chunk):
    inputs = prompt(ASK * 2)
    reference, _ = decode(edge, inputs, 10, sampling=GREEDY)
    assert decode(edge, inputs, 10, sampling=GREEDY, chunk=chunk)[0] == reference


def test_seed_repeats_a_sampled_reply(edge, prompt):
    options = {"sampling": SamplingOptions(seed=5)}
    first, _ = decode(edge, prompt(ASK), 12, **options)
    assert decode(edge, prompt(ASK), 12, **options)[0] == first
    assert decode(edge, prompt(ASK), 12, sampling=SamplingOptions(seed=6))[0] != first


def test_cache_holds_every_token_yielded_however_the_reply_ends(edge, prompt):
    model, processor = edge
    inputs = prompt(ASK)
    for cut in (1, 2, 5):
        cache = model.make_cache()
        decoder = Decoder(model, processor.tokenizer, GenerateOptions(sampling=GREEDY))
        steps = decoder.run(run(prefill(model, inputs, cache)), cache, inputs.ids)
        tokens = [next(steps).token for _ in range(cut)]
        steps.close()
        assert cache.offset == len(inputs) + cut
        ours = model.step(7, cache)
        theirs = model.forward_logits(plain([*inputs.ids, *tokens, 7]))[-1:]
        np.testing.assert_allclose(np.array(ours), np.array(theirs), atol=2e-4)


def test_cancel_between_any_two_evaluations(edge, prompt):
    model, processor = edge
    options = GenerateOptions(max_tokens=4, sampling=GREEDY, chunk=8)
    total = len(list(stream(model, processor, prompt(ASK), options)))
    for stop in range(total):
        events = stream(model, processor, prompt(ASK), options)
        for _ in range(stop):
            next(events)
        events.close()
    reply = generate(model, processor, prompt(ASK), options)
    assert reply.usage.generated_tokens == 4


def test_events_of_a_reply(edge, prompt):
    inputs = prompt(ASK)
    events = list(stream(*edge, inputs, GenerateOptions(max_tokens=12, chunk=10, sampling=GREEDY)))
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == [*range(10, len(inputs), 10), len(inputs)]
    assert [i for i, event in enumerate(events) if isinstance(event, Finish)] == [len(events) - 1]
    finish, text = events[-1], "".join(e.text for e in events if isinstance(e, Delta))
    assert finish.reason == "length"
    assert "length limit" in finish.notice
    usage = finish.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens) == (
        len(inputs),
        0,
        12,
    )
    assert 0 < usage.prefill_s <= usage.first_token_s
    assert usage.decode_s > 0
    assert usage.peak_bytes > 0
    tokens, _ = decode(edge, inputs, 12, sampling=GREEDY)
    stream_ = edge[1].tokenizer.stream()
    assert text == "".join(map(stream_.push, tokens)) + stream_.finish()


class Told:
    """Replaces the sampler: picks the tokens it is told, then newlines."""

    def __init__(self, tokens):
        self.tokens = list(tokens)

    def __call__(self, *_args, **_options):
        return lambda logits, allowed=None: mx.array([self.tokens.pop(0) if self.tokens else 347])


@pytest.mark.parametrize(
    ("reply", "reason", "count"),
    [
        ("a<turn|>", "stop", 2),
        ("a<eos>", "stop", 2),
        ("<|tool_call>call:f{}<tool_call|><|tool_response>", "tool", None),
        ("ab" * 300, "loop", None),
        ("abc", "length", 3),
    ],
)
def test_every_way_to_end(edge, prompt, monkeypatch, reply, reason, count):
    model, processor = edge
    tokens = processor.tokenizer.encode(reply, control=True)
    monkeypatch.setattr(MODULE, "Sampler", Told(tokens))
    options = GenerateOptions(max_tokens=3 if reason == "length" else 700)
    found = generate(model, processor, prompt(ASK), options)
    assert found.reason == reason
    assert bool(found.notice) == (reason in ("loop", "length"))
    if count:
        assert found.usage.generated_tokens == count
    if reason == "tool":
        assert [call.name for call in found.tool_calls] == ["f"]
    if reason == "loop":
        assert found.usage.generated_tokens < 300


def test_extra_stop_token(edge, prompt, monkeypatch):
    x = edge[1].tokenizer.encode("x")[0]
    monkeypatch.setattr(MODULE, "Sampler", Told([5, x]))
    assert generate(*edge, prompt(ASK), GenerateOptions(stop=(x,))).reason == "stop"


def test_reply_that_begins_inside_a_thought(edge, prompt, monkeypatch):
    tokenizer = edge[1].tokenizer
    inputs = prompt("<bos><|turn>model\n<tool_response|><|channel>thought\n")
    told = tokenizer.encode("hm<channel|>so<turn|>", control=True)
    monkeypatch.setattr(MODULE, "Sampler", Told(told))
    reply = generate(*edge, inputs, GenerateOptions())
    assert (reply.thought, reply.text) == ("hm", "so")


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("<bos>plain", "answer"),
        ("<bos><|turn>model\n<|channel>thought\n<channel|>", "answer"),
        ("<bos><|turn>model\n<|channel>thought\n", "thought"),
        ("<bos><|channel>thought\nx<turn|>\n<|turn>model\n", "answer"),
    ],
)
def test_start_channel(tokenizer, prompt, text, channel):
    assert start_channel(tokenizer, prompt(text).ids) == channel


def test_stop_ids_join_checkpoint_and_tokenizer(edge):
    model, processor = edge
    special = processor.tokenizer.special
    assert {special("eos"), special("turn_end"), special("tool_response")} <= stop_ids(
        model, processor.tokenizer
    )


def test_suppressed_tokens_of_the_checkpoint_are_never_said(edge, prompt):
    model, _ = edge
    free, _ = decode(edge, prompt(ASK), 1, sampling=GREEDY)
    config = model.config
    try:
        object.__setattr__(model.config, "suppress_token_ids", tuple(free))
        held, _ = decode(edge, prompt(ASK), 1, sampling=GREEDY)
    finally:
        object.__setattr__(config, "suppress_token_ids", ())
    assert held != free


def test_prompt_past_the_context_is_refused_before_it_is_run(edge, monkeypatch):
    model, processor = edge
    limit = model.config.text.max_position_embeddings
    monkeypatch.setattr(type(model), "embed", lambda *_: pytest.fail("the prompt was run"))
    with pytest.raises(PromptError, match=f"at most {limit:,}"):
        generate(model, processor, plain(np.full(limit, 350)))
    with pytest.raises(PromptError, match="empty"):
        generate(model, processor, plain([]))


def test_reply_ends_at_the_context_limit(edge, prompt, monkeypatch):
    inputs = prompt(ASK)
    monkeypatch.setattr(MODULE, "Sampler", Told([350] * 9))
    text = edge[0].config.text
    before = text.max_position_embeddings
    try:
        object.__setattr__(text, "max_position_embeddings", len(inputs) + 5)
        reply = generate(*edge, inputs, GenerateOptions(max_tokens=100))
    finally:
        object.__setattr__(text, "max_position_embeddings", before)
    assert (reply.reason, reply.usage.generated_tokens) == ("length", 5)


def test_options_that_make_no_sense():
    for wrong in ({"max_tokens": 0}, {"chunk": 0}):
        with pytest.raises(PromptError):
            GenerateOptions(**wrong)


# ---------------------------------------------------------------- media


def test_chunks_never_cut_a_picture():
    types = np.zeros(100, dtype=np.uint8)
    types[10:30], types[31:51], types[60:90] = IMAGE, VIDEO, AUDIO
    pieces = chunks(types, 16)
    assert pieces[0] == (0, 10)
    assert pieces[1] == (10, 30)
    assert [start for start, _ in pieces[1:]] == [stop for _, stop in pieces[:-1]]
    assert pieces[-1][1] == 100
    blocks = block_ids(types)
    for start, stop in pieces:
        inside, outside = set(blocks[start:stop]), {*blocks[:start], *blocks[stop:]}
        assert not (inside & outside) - {0}
        assert stop - start <= 20
    assert any(60 < stop < 90 for _, stop in pieces), "sound may be cut"


def test_soft_tokens_are_handed_to_their_chunk():
    rows = mx.arange(8).reshape(8, 1)
    parts = [soft_within([(3, rows)], a, b) for a, b in ((0, 3), (0, 5), (5, 8), (8, 20), (11, 20))]
    assert [[(at, r[:, 0].tolist()) for at, r in part] for part in parts] == [
        [],
        [(3, [0, 1])],
        [(0, [2, 3, 4])],
        [(0, [5, 6, 7])],
        [],
    ]


@pytest.mark.parametrize("which", ["edge", "large"])
def test_picture_and_sound_in_chunks_equal_one_shot(which, request):
    model, processor = request.getfixturevalue(which)
    rng = np.random.default_rng(0)
    picture = m.Image(rng.integers(0, 255, (90, 160, 3), dtype=np.uint8), 70)
    sound = m.Audio((rng.normal(size=9000) * 0.1).astype(np.float32))
    said = [m.message("user", "look", picture, "and", sound, picture, "listen")]
    inputs = processor.inputs(said)
    whole = run(prefill(model, inputs, model.make_cache(), chunk=10_000))
    pieces = run(prefill(model, inputs, model.make_cache(), chunk=13))
    np.testing.assert_allclose(np.array(whole), np.array(pieces), atol=2e-4)


def test_failure_leaves_the_model_usable(edge, prompt):
    model, processor = edge
    bad = plain([2, processor.tokenizer.special("image")])
    with pytest.raises(Gemma4Error):
        generate(model, processor, bad)
    assert generate(model, processor, prompt(ASK), GenerateOptions(max_tokens=2)).usage
