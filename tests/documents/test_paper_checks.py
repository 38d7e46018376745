"""Loops, cuts, differences from the text layer, Markdown's blocks, and the words of the prompts."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.documents import markdown as md
from app.documents.checks import LoopWatch, check_text
from app.documents.crosscheck import compare
from app.documents.prompts import ReadingTask, instruction
from tests.documents.paper_pages import WORDS


def words(count: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) + str(rng.randint(0, 9)) for _ in range(count))


# --- loops and cuts ------------------------------------------------------------------------------


@pytest.mark.parametrize("period", [1, 3, 20, 90])
def test_loops_are_found_where_they_begin(period):
    before, block = words(80, 1) + " ", words(period, 2) + " "
    text = before + block * (40 if period < 5 else 9)
    (problem,) = check_text(text)
    assert problem.kind == "loop"
    assert problem.start == len(before) + len(block), "the first appearance is the page's own"
    assert problem.end >= len(text) - 2


def test_a_loop_within_one_word():
    (problem,) = check_text("number 1" + "0123" * 100)
    assert problem.kind == "loop"


@pytest.mark.parametrize(
    "text",
    [
        words(400),
        "\n".join(f"| {n} | 0 | 0 | 0 |" for n in range(60)),
        "Contents\n" + "\n".join(f"Chapter {n} {'.' * 80} {n * 7}" for n in range(40)),
        "| - " * 300 + "end",
        "ha ha ha ha ha",
        "_" * 500 + " signature",
    ],
)
def test_honest_pages_are_no_loops(text):
    assert check_text(text) == ()


def test_cut_and_empty():
    assert [p.kind for p in check_text(" \n|---|\n")] == ["empty"]
    assert [p.kind for p in check_text("some words", complete=False)] == ["cut"]
    assert [p.kind for p in check_text("words\n```\nnever closed")] == ["cut"]
    assert [p.kind for p in check_text("<table><tr><td>1")] == ["cut"]
    assert check_text("words\n```\nclosed\n```\n<table></table>") == ()


def test_the_watch_stops_soon_and_only_in_a_loop():
    watch = LoopWatch()
    assert not any(watch.feed(word + " ") for word in words(600).split())
    assert any(watch.feed("over and over again ") for _ in range(20))


def test_checks_take_bounded_time_on_long_text():
    started = time.process_time()
    check_text("ab " * 100_000 + "x" * 100_000)
    assert time.process_time() - started < 20


# --- against the text layer ----------------------------------------------------------------------


def test_equal_texts_agree_whatever_their_marks():
    read = "# The Office\n\n**Fine** flow: 1,234.50\n\n| a | b |\n|---|---|\n| exam­ple | ﬁne |"
    layer = "The Office\nFine flow: 1,234.50\na b\nexam-\nple fine"
    found = compare(read, layer)
    assert found.agreement == 1.0
    assert found.differences == ()


def test_differences_are_marked_where_they_are():
    read = "The **price** is 12.50 today and more"
    found = compare(read, "The price is 72.50 today")
    changed, extra = found.differences
    assert (changed.kind, changed.read, changed.layer) == ("changed", "12.50", "72.50")
    assert read[changed.start : changed.end] == "12.50"
    assert (extra.kind, read[extra.start : extra.end]) == ("extra", "and more")
    missing = compare("one three", "one two three").differences[0]
    assert (missing.kind, missing.layer, missing.start) == ("missing", "two", 3)


def test_right_to_left_text_is_compared_in_logical_order():
    read = "\u200fשלום עולם 12.5 טוב"
    assert compare(read, "שלום \u202aעולם\u202c 12.5 טוב").agreement == 1.0
    (difference,) = compare(read, "שלום עולס 12.5 טוב").differences
    assert read[difference.start : difference.end] == "עולם"
    # Presentation forms, as old PDFs keep Arabic.
    assert compare("سلام", "\ufeb3\ufefc\ufee1").agreement == 1.0


def test_scripts_without_spaces_differ_by_character():
    (difference,) = compare("今天天气很好", "今天天汽很好").differences
    assert (difference.read, difference.layer) == ("气", "汽")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_comparing_never_fails_and_spans_are_real(read, layer):
    found = compare(read, layer)
    assert 0.0 <= found.agreement <= 1.0
    for difference in found.differences:
        assert read[difference.start : difference.end] == difference.read
    assert compare(read, read).differences == ()


# --- Markdown ------------------------------------------------------------------------------------


def test_blocks():
    text = "\n".join(
        [
            "# A *b*",
            "",
            "Words $x^2$ \\(y\\)",
            "- one",
            "  1. inner",
            "",
            "> said",
            "",
            "$$",
            "a=b",
            "$$",
            "",
            "```py",
            "code",
            "```",
            "---",
        ]
    )
    heading, paragraph, items, quote, formula, code, rule = md.blocks(text)
    assert isinstance(heading, md.Heading)
    assert heading.spans[1] == md.Span("b", italic=True)
    assert [span.text for span in paragraph.spans if span.math] == ["x^2", "y"]
    assert [(item.level, item.number) for item in items.items] == [(0, None), (1, 1)]
    assert quote.quote
    assert formula == md.Formula("a=b")
    assert code == md.Code("code", "py")
    assert rule == md.Rule()


def test_tables_of_all_kinds():
    pipes, tags = md.tables(
        "| a | b\\|c |\n|:--|--:|\n| 1 |\n\ntext\n<table><tr><th>k</th></tr>\n\n"
        "<tr><td colspan=2>v<br>w</td></tr></table> after"
    )
    assert pipes == md.Table((("a", "b|c"), ("1", "")))
    assert tags.rows == (("k", ""), ("v\nw", ""))


def test_the_fence_around_a_page_is_taken_off():
    assert md.blocks("```markdown\n# Hi\n```") == md.blocks("# Hi")
    assert isinstance(md.blocks("```\na\n```\n\n```\nb\n```")[0], md.Code)


def test_tags_stay_text():
    (paragraph,) = md.blocks("<script>x</script> <b>y</b>")
    assert md.plain(paragraph.spans) == "<script>x</script> <b>y</b>"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="#*-|<>`$\\ \n[]()ab1.table/rd", max_size=150))
def test_any_text_has_blocks(text):
    for block in md.blocks(text):
        if isinstance(block, md.Table):
            assert len({len(row) for row in block.rows}) == 1


def test_deep_nesting_is_bounded():
    assert md.blocks("> " * 20_000 + "x")
    assert md.blocks("- " * 5_000 + "x")
    assert md.blocks("<table>" * 5_000 + "<td>x")


# --- prompts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", list(ReadingTask))
def test_every_task_has_words_of_its_own(task):
    text = instruction(task, language="Arabic")
    assert "Arabic" in text
    assert task.label
    assert sum(instruction(other) == instruction(task) for other in ReadingTask) == 1
    assert instruction(task) == instruction(task), "equal each time, for the cached prefix"


def test_schema_and_tiles_are_part_of_the_words():
    assert '{"type": "object"}' in instruction(ReadingTask.FIELDS, schema='{"type": "object"}')
    assert "strip" in instruction(ReadingTask.PAGE, tile=True)
    assert "strip" not in instruction(ReadingTask.PAGE)
