"""The built-in tools without a window: what they answer, and what they refuse."""

import datetime as dt
import json
from concurrent.futures import Future

import pytest

from app.core.calculator import CalculationError, calculate
from app.core.conversation import Role, ToolCall
from app.core.tools import TOOLS, ToolProblem, checked_arguments
from app.services.tool_box import PART_CHARACTERS, ChatView, ToolBox, read_part
from app.store.conversations import SearchHit

ALL = tuple(tool.name for tool in TOOLS)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("0.1 + 0.2", "0.3"),
        ("6 / 2", "3"),
        ("2^10", "1024"),
        ("-2 ** 2", "-4"),
        ("17 // 5 + 17 % 5", "5"),
        ("sqrt(2) ** 2", "2"),
        ("round(pi, 4)", "3.1416"),
        ("factorial(20)", "2432902008176640000"),
        ("max(1, 2.5, -3)", "2.5"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("2 ** 4000 // 2 ** 3990", "1024"),
        ("(-1) ** (2 ** 100)", "1"),
    ],
)
def test_arithmetic_is_worked_out(written: str, value: str) -> None:
    assert calculate(written) == value


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("1 / 0", "division by zero"),
        ("9 ** 9 ** 9 ** 9", "power is too large"),
        ("10.0 ** 400", "too large"),
        ("factorial(100000)", "factorial"),
        ("factorial(2.5)", "whole number"),
        ("2 ** 4095 * 2 ** 4095", "too large"),
        ("(-8) ** 0.5", "real number"),
        ("sqrt(-1)", "no value"),
        ("round(2.5, 1, 1)", "no value"),
        ("__import__('os').system('true')", "Only numbers"),
        ("open('/etc/passwd')", "Only numbers"),
        ("(1).__class__", "Only numbers"),
        ("[1, 2][0]", "Only numbers"),
        ("lambda: 1", "Only numbers"),
        ("True + 1", "Only numbers"),
        ("'a' * 9", "Only numbers"),
        ("1j * 1j", "Only numbers"),
        ("x + 1", "Only numbers"),
        ("exec(1)", "no function exec"),
        ("min(1, key=2)", "Only numbers"),
        ("two plus two", "not written as arithmetic"),
        ("(" * 300 + "1" + ")" * 100, "not written as arithmetic"),
        ("1+" * 240 + "1", "too many terms"),
        ("1" * 501, "more than 500"),
        ("9" * 400 + "**" + "9" * 50, "too large"),
        ("", "not written as arithmetic"),
        ("1\x00+1", "not written as arithmetic"),
    ],
)
def test_what_is_no_bounded_arithmetic_is_refused_in_a_sentence(written: str, why: str) -> None:
    with pytest.raises(CalculationError, match=r"\.$") as told:
        calculate(written)
    assert why in str(told.value)


def call(name: str, arguments: str) -> ToolCall:
    return ToolCall(name, arguments, "1")


def test_arguments_are_checked_before_anyone_is_asked() -> None:
    assert checked_arguments(call("clock", "{}"), ALL) == {}
    assert checked_arguments(call("read_file", '{"part": 2.0}'), ALL) == {"part": 2}
    for name, arguments, why in (
        ("shell", "{}", "There is no tool 'shell'"),
        ("calculator", "{}", "missing: expression"),
        ("calculator", '{"expression": 5}', "of type string"),
        ("read_file", '{"part": true}', "of type integer"),
        ("read_file", '{"path": "/etc"}', "Unknown argument: path"),
        ("clock", "[1]", "could not be understood"),
        ("clock", "{", "could not be understood"),
        ("clock", json.dumps({"timezone": "x" * 5000}), "could not be understood"),
    ):
        with pytest.raises(ToolProblem, match=why):
            checked_arguments(call(name, arguments), ALL)
    with pytest.raises(ToolProblem, match="no tool 'clock'"):
        checked_arguments(call("clock", "{}"), ("calculator",))


def test_a_tool_is_declared_as_a_json_schema() -> None:
    for tool in TOOLS:
        schema = json.loads(tool.spec().parameters)
        assert schema["type"] == "object"
        assert set(schema["required"]) <= set(schema["properties"])


def test_a_documents_text_is_read_part_by_part() -> None:
    text = "".join(f"{number:06d} " for number in range(1500))
    documents = (("Lease.pdf", text), ("Scan.pdf", ""))
    pieces = [read_part(documents, "lease.PDF", part) for part in (1, 2, 3)]
    assert pieces[1].startswith("“Lease.pdf”, part 2 of 3:\n\n")
    assert "".join(piece.split(":\n\n", 1)[1] for piece in pieces) == text
    assert len(pieces[0]) < PART_CHARACTERS + 60
    for name, part, why in (
        ("", 1, "“Lease.pdf”, “Scan.pdf”"),
        ("other", 1, "attached are"),
        ("Lease.pdf", 4, "parts 1 to 3"),
        ("Lease.pdf", 0, "parts 1 to 3"),
        ("Scan.pdf", 1, "no text"),
    ):
        with pytest.raises(ToolProblem, match=why):
            read_part(documents, name, part)
    with pytest.raises(ToolProblem, match="No document"):
        read_part(())


def box(hits: list[SearchHit] | None = None) -> ToolBox:
    def search(_chat: str, _words: str) -> "Future[list[SearchHit]]":
        found: Future[list[SearchHit]] = Future()
        found.set_result(hits or [])
        return found

    def now(zone: dt.tzinfo | None) -> dt.datetime:
        return dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC).astimezone(zone)

    return ToolBox(search, now)


def test_the_clock_knows_time_zones() -> None:
    clock = box()
    told = clock.result("clock", {"timezone": "Asia/Kolkata"}, ChatView("1"))
    assert told == "Wednesday, 2026-03-04 10:36:07 (UTC+05:30)"
    assert "2026-03-0" in clock.result("clock", {}, ChatView("1"))
    for wrong in ("Nowhere/Town", "../../etc/passwd", "/etc/localtime", "Europe", "\x00"):
        with pytest.raises(ToolProblem, match="no time zone"):
            clock.result("clock", {"timezone": wrong}, ChatView("1"))
    clock.close()


def test_a_search_leaves_out_the_question_itself_and_other_versions() -> None:
    hits = [SearchHit("1", each, "t", f"text {each}", 0.0) for each in ("q", "a", "old", "lost")]
    view = ChatView(
        "1",
        speakers=(("old", Role.MODEL), ("q", Role.USER), ("a", Role.MODEL)),
        hidden=frozenset({"q", "a"}),
    )
    searching = box(hits)
    assert searching.result("search_chat", {"words": "text"}, view) == "Model: text old"
    searching.close()
    nothing = box()
    assert "No earlier message" in nothing.result("search_chat", {"words": "text"}, view)
    nothing.close()
