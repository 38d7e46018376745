"""The reading job: order, text layers, tiles, loops, cancel, and letting other jobs in.

Real files through the real worker; a recogniser that says what the test wants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.core.commands import ReadDocument
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    DocumentOpened,
    FinishReason,
    JobFinished,
    PageFailed,
    PageFinished,
    PageStarted,
    TextDelta,
)
from app.engine.document_pages import HostKeeper, LoadedPage
from app.engine.documents import Piece, read_document
from app.engine.jobs import JobContext
from tests.documents import reader_files

KEEPER = HostKeeper()


@pytest.fixture(scope="module", autouse=True)
def _end_the_worker() -> Iterator[None]:
    yield
    KEEPER.drop()


@dataclass
class Eyes:
    """Says `texts` in turn and writes down what it was asked."""

    texts: tuple[str, ...] = ("Read.",)
    finish: str = "stop"
    asked: list[tuple[int, int, str]] = field(default_factory=list)
    encoded: list[int] = field(default_factory=list)
    during: Callable[[int], object] = lambda page: None

    def encode(self, page: LoadedPage) -> None:
        self.encoded.append(page.page)

    def read(self, page: LoadedPage, part: int) -> Iterator[Piece]:
        self.asked.append((page.page, part, page.detail.value))
        self.during(page.page)
        for word in self.texts[(len(self.asked) - 1) % len(self.texts)].split(" "):
            yield Piece(f"{word} ", tokens=1)
        yield Piece(finish=self.finish)


def run(
    eyes: Eyes, path: Path, context: JobContext | None = None, **options: object
) -> list[object]:
    job = ReadDocument("job", str(path), **options)
    context = context or JobContext("job")
    return list(read_document(job, context, KEEPER, lambda: eyes))


def of(events: list[object], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    return reader_files.scan(tmp_path_factory.mktemp("files") / "scan.pdf", 3)


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> Path:
    return reader_files.printed(tmp_path_factory.mktemp("files") / "printed.pdf", 2)


def test_pages_come_one_after_the_other(scan: Path) -> None:
    eyes = Eyes(("First.", "Second.", "Third."))
    events = run(eyes, scan)
    assert of(events, DocumentOpened)[0].pages == 3
    assert [(e.page, e.index, e.total) for e in of(events, PageStarted)] == [
        (0, 0, 3),
        (1, 1, 3),
        (2, 2, 3),
    ]
    finished = of(events, PageFinished)
    assert [e.text for e in finished] == ["First.", "Second.", "Third."]
    assert all(e.source == "model" and e.detail and not e.incomplete for e in finished)
    assert all(e.lines for e in finished)
    assert isinstance(events[-1], JobFinished)
    texts = "".join(e.text for e in of(events, TextDelta) if e.page == 1)
    assert texts.strip() == "Second."
    # The next page was looked at while this one was read; the last one has none after it.
    assert set(eyes.encoded) <= {1, 2}


def test_a_good_text_layer_needs_no_model(printed: Path) -> None:
    def none() -> Eyes:
        raise AssertionError("the model was asked")

    job = ReadDocument("job", str(printed))
    events = list(read_document(job, JobContext("job"), KEEPER, none))
    finished = of(events, PageFinished)
    assert [e.source for e in finished] == ["layer", "layer"]
    assert re.match(r"#{1,2} Lease\n\n", finished[0].text)
    assert "paid back with interest when the flat is handed over" in finished[0].text
    assert finished[0].lines[0].text == "Lease"
    assert 0 < finished[0].lines[0].y0 < finished[0].lines[1].y0 < 1


def test_the_layer_as_a_check_marks_differences(printed: Path) -> None:
    words = reader_files.WORDS.replace("deposit", "deposlt")
    events = run(Eyes((f"# Lease\n\nPage 1. {words}",)), printed, pages=(0,), text_layer="check")
    (page,) = of(events, PageFinished)
    assert page.source == "model"
    (difference,) = page.differences
    assert page.text[difference.start : difference.end] == "deposlt"
    assert difference.layer == "deposit"


def test_tiles_are_read_in_parts_and_joined(scan: Path) -> None:
    eyes = Eyes(("one two three four five six", "four five six seven eight nine"))
    events = run(eyes, scan, pages=(1,), detail="tiles")
    assert [part for _, part, _ in eyes.asked] == list(range(len(eyes.asked)))
    assert len(eyes.asked) >= 2
    (page,) = of(events, PageFinished)
    assert page.detail == "tiles"


def test_what_breaks_off_or_runs_in_circles_is_marked(scan: Path) -> None:
    cut = of(run(Eyes(("Half a",), finish="length"), scan, pages=(0,)), PageFinished)[0]
    assert cut.incomplete
    assert "limit" in cut.notices[0]
    loop = Eyes(("The rent. " + "again and again and " * 400,))
    (page,) = of(run(loop, scan, pages=(0,)), PageFinished)
    assert page.incomplete
    assert "repeated" in " ".join(page.notices)
    # It was stopped while it was read, not after all of it.
    assert page.tokens < 700


def test_a_page_that_fails_does_not_stop_the_others(scan: Path) -> None:
    def refuse(page: int) -> None:
        if page == 1:
            raise AppError("Too long.", kind=ErrorKind.CONTEXT_FULL, remedy="Use tiles.")

    events = run(Eyes(during=refuse), scan)
    (failed,) = of(events, PageFailed)
    assert (failed.page, failed.message, failed.remedy) == (1, "Too long.", "Use tiles.")
    assert [e.page for e in of(events, PageFinished)] == [0, 2]


def test_cancel_ends_between_two_pieces(scan: Path) -> None:
    context = JobContext("job")
    events = run(Eyes(("a b c d",), during=lambda page: context.cancel()), scan, context)
    assert of(events, PageFinished) == []
    assert events[-1].reason is FinishReason.CANCELLED


def test_other_jobs_are_let_in_after_a_page(scan: Path) -> None:
    context = JobContext("job", others_wait=lambda: True)
    events = run(Eyes(), scan, context)
    assert [e.page for e in of(events, PageFinished)] == [0]
    assert events[-1].reason is FinishReason.STOP


def test_files_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    secret = reader_files.printed(tmp_path / "secret.pdf", 1, password="pw")
    for password in ("", "wrong"):
        with pytest.raises(AppError) as refused:
            run(Eyes(), secret, password=password)
        assert refused.value.failure.kind is ErrorKind.PASSWORD
    assert of(run(Eyes(), secret, password="pw"), PageFinished)
    with pytest.raises(AppError) as gone:
        run(Eyes(), tmp_path / "gone.pdf")
    assert gone.value.failure.kind is ErrorKind.NOT_FOUND
    with pytest.raises(AppError, match="has 1 page;"):
        run(Eyes(), secret, password="pw", pages=(7,))


def test_text_files_need_neither_pages_nor_a_model(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Notes\n\nHello.")
    (page,) = of(run(Eyes(), path), PageFinished)
    assert page.source == "file"
    assert "Hello." in page.text
