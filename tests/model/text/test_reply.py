"""The reply parser on token ids."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4 import messages as m
from mlx_gemma4.chat import ChatOptions, ChatState, render_message
from mlx_gemma4.reply import Delta, ReplyParser
from mlx_gemma4.testing import tiny_tokenizer
from mlx_gemma4.tokenizer import Tokenizer

TOKENIZER = Tokenizer(tiny_tokenizer())


def parse_reply(tokenizer, tokens, start_channel="answer"):
    parser = ReplyParser(tokenizer, start_channel)
    for token in tokens:
        yield from parser.feed(token)
    yield from parser.finish()


def read(text: str, start: str = "answer") -> tuple[str, str, list[m.ToolCall]]:
    return collect(parse_reply(TOKENIZER, TOKENIZER.encode(text, control=True), start))


def collect(events) -> tuple[str, str, list[m.ToolCall]]:
    channels = {"answer": "", "thought": "", "tool": ""}
    calls = []
    for event in events:
        if isinstance(event, Delta):
            assert event.text, "empty deltas are noise"
            channels[event.channel] += event.text
        else:
            calls.append(event)
    return channels["answer"], channels["thought"], calls


@pytest.mark.parametrize(
    ("reply", "start", "answer", "thought", "calls"),
    [
        ("Hello<turn|>", "answer", "Hello", "", []),
        ("<|channel>thought\nhm\n<channel|>Hi<turn|>", "answer", "Hi", "hm", []),
        ("<|channel>thought\n<channel|>Hi", "answer", "Hi", "", []),
        ("hm, so\n<channel|>Hi", "thought", "Hi", "hm, so", []),
        ("<|channel>no label<channel|>Hi", "answer", "Hi", "no label", []),
        ("<|channel>thought\na\n\nb\n<channel|>c", "answer", "c", "a\n\nb", []),
        ("<|channel>thought<channel|>c", "answer", "c", "", []),
        ("<|channel>thoug", "answer", "", "thoug", []),
        ("<|channel>thought\nnever closed", "answer", "", "never closed", []),
        ("a<channel|>b<channel|>c", "answer", "abc", "", []),
        (
            "<|channel>thought\nlook it up<|tool_call>call:f{a:1}<tool_call|><|tool_response>",
            "answer",
            "",
            "look it up",
            [("f", {"a": 1})],
        ),
        (
            "Wait.<|tool_call>call:f{}<tool_call|><|tool_call>call:g{}<tool_call|><tool_call|>",
            "answer",
            "Wait.",
            "",
            [("f", {}), ("g", {})],
        ),
        (
            '<|tool_call>call:f{a:<|"|>x<tool_call|>',
            "answer",
            "",
            "",
            [("f", {"a": "x"})],
        ),
        ("<|tool_call>call:f{a:{b:[1", "answer", "", "", [("f", {"a": {"b": [1]}})]),
        ("<|tool_call>call:f{}<|tool_call>g{}", "answer", "", "", [("f", {}), ("g", {})]),
        (
            "<|tool_call>call:f{}<tool_call|><|tool_response>response:f{made up}<tool_response|>ok",
            "answer",
            "ok",
            "",
            [("f", {})],
        ),
        ("<|tool_call><tool_call|>x", "answer", "x", "", []),
        ("I write thought\nhere", "answer", "I write thought\nhere", "", []),
    ],
)
def test_what_models_write(reply, start, answer, thought, calls):
    found = read(reply, start)
    assert found[:2] == (answer, thought)
    assert [(call.name, call.arguments) for call in found[2]] == calls


def test_unreadable_call_is_handed_on_without_a_name():
    _, _, (call,) = read("<|tool_call>{a:1}<tool_call|>")
    assert call.name == ""
    assert call.arguments == {"text": "{a:1}"}


def test_call_ids_differ():
    _, _, calls = read("<|tool_call>call:f{}<tool_call|><|tool_call>call:f{}<tool_call|>")
    assert len({call.id for call in calls}) == 2


def test_channel_property_follows_the_tokens():
    parser = ReplyParser(TOKENIZER)
    seen = []
    for token in TOKENIZER.encode(
        "<|channel>thought\nx<channel|>y<|tool_call>f{}<tool_call|>", control=True
    ):
        parser.feed(token)
        seen.append(parser.channel)
    assert list(dict.fromkeys(seen)) == ["thought", "answer", "tool"]
    assert seen[-1] == "answer"


def test_a_character_split_over_tokens_comes_once_and_whole():
    parser = ReplyParser(TOKENIZER)
    deltas = [parser.feed(token) for token in TOKENIZER.encode("a😀é")]
    assert [event.text for events in deltas for event in events] == ["a", "😀", "é"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=60),
    st.sampled_from(["answer", "thought"]),
)
def test_any_tokens_are_read(tokens, start):
    collect(parse_reply(TOKENIZER, tokens, start))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
arguments = st.dictionaries(
    st.from_regex(r"[a-z]\w{0,4}", fullmatch=True),
    st.one_of(texts, st.just('<|"|>}'), st.integers(), st.booleans(), st.lists(texts, max_size=2)),
    max_size=3,
)


@settings(max_examples=100, deadline=None)
@given(
    texts.filter(str.strip),
    texts.map(str.strip).filter(bool),
    st.lists(arguments, max_size=2),
)
def test_rendered_turn_is_read_back(thought, answer, calls):
    """A model message, rendered and read again, is the same message, whatever its strings hold."""
    parts = [m.ToolCall("my-tool.v2", dict(a), f"call-{i}") for i, a in enumerate(calls, start=1)]
    said = m.message("model", m.Thought(thought), answer, *parts)
    runs, _ = render_message(said, ChatState("model"), ChatOptions())
    if "<|channel>" in answer or "<channel|>" in answer:
        return
    ids = TOKENIZER.encode_runs((run.text, run.control) for run in runs)
    found = collect(parse_reply(TOKENIZER, ids))
    assert found == (answer, thought, parts)
