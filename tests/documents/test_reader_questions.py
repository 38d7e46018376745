"""What is sent with a question, which pages are chosen, and where citations lead."""

from pathlib import Path

from app.controllers.document_questions import (
    SourcePage,
    Way,
    fitting,
    groups_of,
    linked,
    page_ranges,
    pages_in,
    pages_text,
    search_words,
    target_of,
)
from tests.documents import reader_files
from tests.documents.conftest import Desk

NAMES = [("d1", "Lease.pdf"), ("d2", "Bill 2026.pdf")]


def page(number: int, text: str = "words " * 10) -> SourcePage:
    return SourcePage("d1", "Lease.pdf", number, text)


def test_citations_become_links_to_their_pages() -> None:
    text = "Rent is due [p. 3]. See [pp. 4, 7] and [Bill 2026.pdf, page 2]; [1] is a note."
    assert linked(text, NAMES) == (
        "Rent is due [p. 3](facet-page:0/3). See [p. 4](facet-page:0/4), [p. 7](facet-page:0/7) "
        "and [Bill 2026.pdf, page 2](facet-page:1/2); [1] is a note."
    )
    assert linked("[p. 3](https://x.y)", NAMES) == "[p. 3](https://x.y)"
    place = target_of("facet-page:1/2", NAMES)
    assert place is not None
    assert (place.document_id, place.page) == ("d2", 1)
    for bad in ("facet-page:9/1", "facet-page:0/0", "https://a.b", "facet-page:0/99999999"):
        assert target_of(bad, NAMES) is None


def test_pages_keep_their_numbers_and_fit() -> None:
    pages = [page(number) for number in range(6)]
    assert pages_in(pages_text(pages)) == set(range(6))
    assert page_ranges([0, 1, 2, 6, 8, 7]) == "1–3, 7–9"
    groups = groups_of(pages, 50, 0.25)
    assert [each for group in groups for each in group] == pages
    assert all(len(group) == 2 for group in groups)
    assert groups_of([page(0, "x" * 9000)], 50, 0.25) == [[page(0, "x" * 9000)]]
    assert [each.page for each in fitting([page(4), page(1), page(0)], 50, 0.25)] == [1, 4]
    assert search_words("What is the deposit in 2026?") == "What deposit 2026"


def test_a_long_document_is_searched_or_gone_through(desk: Desk, tmp_path: Path) -> None:
    """30 pages against a context that holds about ten."""
    desk.app.state.settings.set("context_tokens", 2048)
    desk.load()
    document = desk.read(reader_files.printed(tmp_path / "long.pdf", 30))
    asking = desk.asking
    asking.open(document.id)
    asking._context = 0
    plans: list = []
    asking.planned.connect(plans.append)
    asking.think_about("Who pays for the garden on Page 7?")
    desk.wait(lambda: bool(plans))
    plan = plans[-1]
    if plan.context >= plan.tokens / 0.75:  # the script's context holds all of it
        assert plan.way is Way.WHOLE
    asking._context = 600
    asking._make_plan()
    chosen = asking.plan
    assert chosen.way is Way.CHOSEN
    assert 0 < len(chosen.pages) < 30
    assert 6 in [each.page for each in chosen.pages]
    asking.think_about("Who pays for the garden on Page 7?", Way.EACH)
    plans.clear()
    desk.wait(lambda: bool(plans))
    assert asking.plan.way is Way.EACH
    assert asking.plan.steps > 2
    steps: list = []
    asking.step.connect(lambda done, total: steps.append((done, total)))
    asking.ask("What about the deposit?")
    desk.wait(lambda: len(asking.messages()) == 2 and not asking.busy)
    assert steps[-1][0] == steps[-1][1] == len(steps) - 1
    question, answer = asking.messages()
    assert "Notes from pages" in question.parts[0].text
    assert "2520" in answer.text


def test_the_second_question_sends_only_itself(desk: Desk, tmp_path: Path) -> None:
    desk.load()
    document = desk.read(reader_files.scan(tmp_path / "scan.pdf", 3))
    asking = desk.asking
    asking.open(document.id)
    asking.think_about("How much is the deposit?")
    desk.wait(lambda: asking.plan is not None and bool(asking.plan.pages))
    asking.ask("How much is the deposit?")
    desk.wait(lambda: len(asking.messages()) == 2 and not asking.busy)
    asking.think_about("And is the deposit paid back?")
    desk.wait(lambda: asking.plan.known)
    asking.ask("And is the deposit paid back?")
    desk.wait(lambda: len(asking.messages()) == 4 and not asking.busy)
    first, _, second, answer = asking.messages()
    assert len(first.parts) == 2
    assert len(second.parts) == 1
    assert answer.usage.cached > 0
