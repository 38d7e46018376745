"""Tools: declared from Python, run safely, answered in the same turn."""

from enum import StrEnum
from typing import Literal

import numpy as np
import PIL.Image
import pytest

from mlx_gemma4 import messages as m
from mlx_gemma4.chat import render, to_text
from mlx_gemma4.errors import ToolError
from mlx_gemma4.generate import Finish, Usage
from mlx_gemma4.reply import Delta
from mlx_gemma4.tools import (
    MAX_RESULT_CHARS,
    Tool,
    ToolOutcome,
    run_call,
    run_with_tools,
    tools_from_file,
)


class Unit(StrEnum):
    C = "celsius"
    F = "fahrenheit"


def weather(
    city: str, days: list[int], unit: Unit = Unit.C, kind: Literal["now", "later"] | None = None
) -> dict:
    """Look up the weather.

    Takes a while.

    Args:
        city: name of the city,
            in English.
        days (list): which days.

    Returns:
        A mapping.
    """
    return {"city": city, "days": days, "unit": unit, "kind": kind}


def test_declared_from_a_typed_function():
    tool = Tool.from_function(weather)
    assert tool.name == "weather"
    assert tool.description == "Look up the weather. Takes a while."
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "name of the city, in English."},
            "days": {"type": "array", "items": {"type": "integer"}, "description": "which days."},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "kind": {"type": "string", "enum": ["now", "later"], "nullable": True},
        },
        "required": ["city", "days"],
    }
    declared = to_text(render([m.message("user", "x")], tools=[tool]))
    assert '<|tool>declaration:weather{description:<|"|>Look up' in declared


def test_untyped_or_strange_parameters_are_refused():
    def untyped(x): ...

    def strange(x: complex): ...

    def many(*x: int): ...

    for function in (untyped, strange, many):
        with pytest.raises(ToolError):
            Tool.from_function(function)
    with pytest.raises(ToolError, match="name"):
        Tool("no spaces", "", {}, print)
    with pytest.raises(ToolError, match="object"):
        Tool("f", "", {"type": "string"}, print)


def run(function, arguments=None, name="f"):
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    return run_call(m.ToolCall("f", arguments or {}, "c1"), [Tool(name, "", schema, function)])


def boom():
    raise ValueError("no luck")


@pytest.mark.parametrize(
    ("function", "content"),
    [
        (lambda: "text", "text"),
        (lambda: {"a": 1}, {"a": 1}),
        (lambda: [1, 2], "[1, 2]"),
        (lambda: 3.5, "3.5"),
        (lambda: None, "null"),
        (lambda: {"a": {1, 2}.__class__}, None),
        (lambda: m.Image("a.png"), (m.Image("a.png"),)),
        (lambda: ["see", m.Image("a.png")], (m.Text("see"), m.Image("a.png"))),
    ],
)
def test_results(function, content):
    outcome = run(function)
    assert not outcome.error
    assert outcome.result.id == "c1"
    if content is not None:
        assert outcome.result.content == content
    assert outcome.summary


@pytest.mark.parametrize(
    "make", [lambda: PIL.Image.new("RGB", (4, 4)), lambda: np.zeros((4, 4, 3))]
)
def test_pictures_as_results(make):
    (part,) = run(make).result.content
    assert isinstance(part, m.Image)


def test_ten_megabytes_are_cut_with_a_notice():
    for huge in ("x" * 10_000_000, {"a": "x" * 10_000_000}):
        content = run(lambda huge=huge: huge).result.content
        assert len(content) < MAX_RESULT_CHARS + 100
        assert "more characters]" in content


@pytest.mark.parametrize(
    ("function", "arguments", "name", "said"),
    [
        (boom, {}, "f", "ValueError: no luck"),
        (lambda: "x", {}, "other", "no tool f"),
        (lambda y: "x", {"y": 1}, "f", "Unknown arguments: y"),
        (lambda: [m.Image("a")] * 99, {}, "f", "at most"),
    ],
)
def test_failures_become_results(function, arguments, name, said):
    outcome = run(function, arguments, name)
    assert said in outcome.error
    assert said in outcome.result.content["error"]


def test_missing_argument_and_unreadable_call():
    tool = Tool.from_function(weather)
    assert "missing: days" in run_call(m.ToolCall("weather", {"city": "Bern"}), [tool]).error
    assert "write it again" in run_call(m.ToolCall("", {}), [tool]).error


USAGE = Usage(10, 4, 3, 1.0, 1.5, 2.0, 100)


class Script:
    """A model that says what it is told, and keeps the conversations it was given."""

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.seen = []

    def __call__(self, conversation):
        self.seen.append(list(conversation))
        yield from self.rounds.pop(0)


def test_loop_runs_tools_and_goes_on_in_the_same_turn():
    call = m.ToolCall("f", {}, "c1")
    script = Script(
        [Delta("hm", "thought"), Delta("Let me see."), call, Finish("tool", USAGE)],
        [Delta("Done."), Finish("stop", USAGE)],
    )
    tool = Tool("f", "", {}, lambda: "42")
    asked = [m.message("user", "Go")]
    events = list(run_with_tools(script, asked, [tool]))
    outcome = next(event for event in events if isinstance(event, ToolOutcome))
    assert outcome.result.content == "42"
    finishes = [event for event in events if isinstance(event, Finish)]
    assert [finish.reason for finish in finishes] == ["stop"]
    assert finishes[0].usage.generated_tokens == 6
    assert to_text(render(script.seen[1])) == (
        "<bos><|turn>user\nGo<turn|>\n<|turn>model\n<|channel>thought\nhm\n<channel|>Let me see."
        '<|tool_call>call:f{}<tool_call|><|tool_response>response:f{value:<|"|>42<|"|>}'
        "<tool_response|>"
    )
    assert asked == script.seen[0], "the caller's list is left alone"


def test_loop_ends_after_many_rounds():
    rounds = [[m.ToolCall("f", {}, f"c{i}"), Finish("tool", USAGE)] for i in range(9)]
    tool = Tool("f", "", {}, lambda: "again")
    events = list(run_with_tools(Script(*rounds), [m.message("user", "Go")], [tool], max_rounds=3))
    assert sum(isinstance(event, ToolOutcome) for event in events) == 3
    assert isinstance(events[-1], Finish)
    assert "3 times" in events[-1].notice


def test_loop_without_tools_passes_calls_on():
    call = m.ToolCall("f", {}, "c")
    events = list(run_with_tools(Script([call, Finish("tool", USAGE)]), [], ()))
    assert events == [call, Finish("tool", USAGE)]


def test_cut_reply_runs_no_tool():
    script = Script([m.ToolCall("f", {}, "c"), Finish("length", USAGE)])
    events = list(run_with_tools(script, [], [Tool("f", "", {}, boom)]))
    assert not any(isinstance(event, ToolOutcome) for event in events)


def test_tools_from_a_file(tmp_path):
    file = tmp_path / "my.py"
    file.write_text(
        "from os.path import join\ndef _hidden(): ...\n"
        'def add(a: int, b: int = 1) -> int:\n    """Add."""\n    return a + b\n'
    )
    (tool,) = tools_from_file(file)
    assert run_call(m.ToolCall("add", {"a": 2}), [tool]).result.content == "3"
    for content, said in (("1/0", "cannot be run"), ("x = 1", "no public function")):
        file.write_text(content)
        with pytest.raises(ToolError, match=said):
            tools_from_file(file)
    with pytest.raises(ToolError, match="no Python file"):
        tools_from_file(tmp_path / "missing.py")
