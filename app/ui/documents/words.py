"""What the documents page says: states, times, sizes, in plain words. Knows no Qt."""

from __future__ import annotations

from app.controllers.document_state import OpenDocument, Progress
from app.core.errors import ErrorKind
from app.core.events import EngineState
from app.documents.prompts import ReadingTask
from app.documents.types import ReadingDetail
from app.store.documents import PageRecord, PageState

STATE_WORDS = {
    PageState.NEW: "not read yet",
    PageState.WAITING: "waiting",
    PageState.READING: "being read",
    PageState.DONE: "read",
    PageState.FAILED: "could not be read",
}
STATE_TOKENS = {
    PageState.NEW: "faint",
    PageState.WAITING: "faint",
    PageState.READING: "accent",
    PageState.DONE: "ok",
    PageState.FAILED: "danger",
}
DETAIL_HINTS = {
    ReadingDetail.AUTO: "each page as finely as its letters need",
    ReadingDetail.QUICK: "large print, posters, labels",
    ReadingDetail.LIGHT: "a few lines of normal print",
    ReadingDetail.NORMAL: "letters and book pages",
    ReadingDetail.FINE: "dense pages",
    ReadingDetail.FINEST: "small print",
    ReadingDetail.TILES: "newspapers, plans: read in parts",
}
TASKS = (
    *((task.value, task.label) for task in ReadingTask if task is not ReadingTask.FIELDS),
    (ReadingTask.FIELDS.value, f"{ReadingTask.FIELDS.label} …"),
)
LAYERS = (
    ("use", "Use the PDF's own text where it is good"),
    ("check", "Look at every page and compare with its text"),
    ("ignore", "Look at every page"),
)
LANGUAGES = (
    ("", "Any language"),
    ("English", "English"),
    ("German", "Deutsch"),
    ("French", "Français"),
    ("Spanish", "Español"),
    ("Italian", "Italiano"),
    ("Portuguese", "Português"),
    ("Arabic", "العربية"),
    ("Hebrew", "עברית"),
    ("Russian", "Русский"),
    ("Greek", "Ελληνικά"),
    ("Hindi", "हिन्दी"),
    ("Chinese", "中文"),
    ("Japanese", "日本語"),
    ("Korean", "한국어"),
)
SOURCE_WORDS = {
    "layer": "The PDF's own text",
    "file": "The file's own text",
}


def count(number: int, noun: str) -> str:
    """`1 page`, `12 pages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def about(seconds: float) -> str:
    """`about 4 s`, `about 3 min`, `about 2 h`."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"


def progress_words(progress: Progress) -> str:
    """`Page 5 of 12 · about 3 min left`."""
    words = f"Page {min(progress.done + 1, progress.total):,} of {progress.total:,}"
    if progress.seconds_left:
        words += f" · {about(progress.seconds_left)} left"
    return words


def document_words(document: OpenDocument, progress: Progress | None) -> str:
    """One line about a document in the list."""
    record = document.record
    if record.failure is not None and not document.opened:
        return record.failure.message
    if not document.opened:
        return "Opening …"
    kind = record.format.upper()
    facts = f"{count(len(document.pages), 'page')} · {kind}" if record.kind == "pages" else kind
    if progress is not None:
        waits = record.failure.message if record.failure else progress_words(progress)
        return f"{facts} · {waits}"
    failed = sum(page.state is PageState.FAILED for page in document.pages)
    if failed:
        return f"{facts} · {count(failed, 'page')} could not be read"
    if document.done == len(document.pages):
        return f"{facts} · read"
    return f"{facts} · {document.done:,} of {len(document.pages):,} read"


def page_words(page: PageRecord) -> str:
    """The quiet line over a page's text: where it comes from and what it took."""
    if page.state is not PageState.DONE:
        return STATE_WORDS[page.state].capitalize()
    words = SOURCE_WORDS.get(page.source, "")
    if not words and page.detail:
        words = f"Read with {ReadingDetail(page.detail).label}"
        if page.seconds >= 0.05:
            words += f" in {page.seconds:.1f} s"
    if page.edited is not None:
        words = f"{words}, changed by you" if words else "Written by you"
    return words


def detail_words(detail: ReadingDetail, seconds: float, *, show_details: bool) -> str:
    """An entry of the detail menu."""
    words = f"{detail.label}: {DETAIL_HINTS[detail]}"
    if seconds:
        words += f" · {about(seconds)} a page"
    if show_details and detail.soft_tokens:
        words += f" · {detail.soft_tokens} tokens"
    return words


def failure_button(kind: ErrorKind, engine: EngineState) -> str:
    """What the one button under a document's failure says."""
    if engine is EngineState.FAILED:
        return "Start the engine"
    words = {
        ErrorKind.PASSWORD: "Open",
        ErrorKind.NO_MODEL: "Choose a model",
        ErrorKind.NOT_FOUND: "Find the file …",
        ErrorKind.UNSUPPORTED_MEDIA: "Remove from the list",
    }
    return words.get(kind, "Try again")
