"""Documents and their pages on disk: what was read, what was edited, and full-text search.

Same file and same promises as the conversations: what `save_*` returned from survives a power cut.
One `DocumentStore` is one connection and belongs to one thread at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.core.errors import ErrorKind, Failure
from app.core.events import PageDifference, PageFinished, PageLine
from app.store.sqlite import connected, transaction
from app.store.words import has_word_breaks


class PageState(StrEnum):
    """How far a page is. Only WAITING and READING pages are asked of the engine again."""

    NEW = "new"
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One page. text: as it was read; edited: as the person changed it, None where they did not.

    detail, source, incomplete, differences, lines: see `PageFinished`. as_is: look at it without
    straightening. tries: how often the engine died over it.
    """

    page: int
    state: PageState = PageState.NEW
    text: str = ""
    edited: str | None = None
    detail: str = ""
    source: str = ""
    tokens: int = 0
    seconds: float = 0.0
    incomplete: bool = False
    as_is: bool = False
    tries: int = 0
    notices: tuple[str, ...] = ()
    differences: tuple[PageDifference, ...] = ()
    lines: tuple[PageLine, ...] = ()
    problem: str = ""
    remedy: str = ""

    @property
    def shown(self) -> str:
        """The text that counts: the person's own, else what was read."""
        return self.text if self.edited is None else self.edited

    @property
    def wanted(self) -> bool:
        """The engine is to read it."""
        return self.state in (PageState.WAITING, PageState.READING)

    def finished(self, event: PageFinished) -> PageRecord:
        """The page as it was read; what the person wrote before is gone."""
        return replace(
            self,
            state=PageState.DONE,
            text=event.text,
            edited=None,
            detail=event.detail,
            source=event.source,
            tokens=event.tokens,
            seconds=event.seconds,
            incomplete=event.incomplete,
            tries=0,
            notices=event.notices,
            differences=event.differences,
            lines=event.lines,
            problem="",
            remedy="",
        )


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A file that was opened here. path: where it lies; it is never copied and never changed.

    kind, format, pages: empty and 0 until it was opened. detail, task, language, json_schema,
    text_layer: how to read it, see `ReadDocument`. conversation_id: the chat about it, if any.
    failure: why it cannot be opened. created, updated in seconds since the epoch.
    """

    id: str
    path: str
    name: str
    kind: str = ""
    format: str = ""
    title: str = ""
    pages: int = 0
    detail: str = "auto"
    task: str = "page"
    language: str = ""
    json_schema: str = ""
    text_layer: str = "use"
    conversation_id: str = ""
    notices: tuple[str, ...] = ()
    failure: Failure | None = None
    created: float = 0.0
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class PageHit:
    """A page on which words were found, the best ones first."""

    document_id: str
    page: int
    snippet: str


_DOCUMENT = (
    "id, path, name, kind, format, title, pages, detail, task, language, json_schema, text_layer,"
    " conversation_id, notices, failure, created, updated"
)
_PAGE = (
    "page, state, text, edited, detail, source, tokens, seconds, incomplete, as_is, tries, notices,"
    " differences, lines, problem, remedy"
)
# Pages of a new document are written in steps, so that a file that claims a million is bounded.
_MOST_PAGES = 100_000


class DocumentStore:
    """Reads and writes documents in the app's SQLite file. Raises AppError where it cannot open."""

    def __init__(self, path: Path | str) -> None:
        self._db = connected(Path(path))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- reading ---------------------------------------------------------------------------------

    def list(self) -> list[DocumentRecord]:
        """All documents, the newest first."""
        rows = self._db.execute(
            f"SELECT {_DOCUMENT} FROM documents ORDER BY updated DESC, rowid DESC"
        )
        return [_document(row) for row in rows]

    def pages(self, document_id: str) -> list[PageRecord]:
        """The pages of a document in order."""
        rows = self._db.execute(
            f"SELECT {_PAGE} FROM pages WHERE document_id = ? ORDER BY page", (document_id,)
        )
        return [_page(row) for row in rows]

    def search(
        self, query: str, document_ids: Sequence[str] = (), limit: int = 50, *, every: bool = True
    ) -> list[PageHit]:
        """Pages with these words, the best first. every: all words must be on the page.

        Scripts written without spaces are searched by substring.
        """
        words = query.split()
        if not words:
            return []
        spaced = [word for word in words if has_word_breaks(word)]
        if len(spaced) == len(words):
            return self._ranked(spaced, document_ids, limit, " " if every else " OR ")
        return self._containing(words, document_ids, limit, " AND " if every else " OR ")

    def _ranked(
        self, words: Sequence[str], ids: Sequence[str], limit: int, joint: str
    ) -> list[PageHit]:
        match = joint.join('"' + word.replace('"', '""') + '"*' for word in words)
        rows = self._db.execute(
            "SELECT p.document_id, p.page, snippet(pages_search, 0, '', '', ' … ', 16)"
            " FROM pages_search s JOIN pages p ON p.seq = s.rowid"
            f" WHERE pages_search MATCH ?{_among(ids)} ORDER BY bm25(pages_search) LIMIT ?",
            (match, *ids, limit),
        )
        return [PageHit(*row) for row in rows]

    def _containing(
        self, words: Sequence[str], ids: Sequence[str], limit: int, joint: str
    ) -> list[PageHit]:
        clause = joint.join("instr(p.words, ?) > 0" for _ in words)
        rows = self._db.execute(
            "SELECT p.document_id, p.page, substr(p.words, max(1, instr(p.words, ?) - 20), 80)"
            f" FROM pages p WHERE ({clause}){_among(ids)} ORDER BY p.seq LIMIT ?",
            (words[0], *words, *ids, limit),
        )
        return [PageHit(*row) for row in rows]

    # --- writing ---------------------------------------------------------------------------------

    def save_document(self, document: DocumentRecord) -> None:
        """Insert a document or replace everything about it but its pages."""
        names = _DOCUMENT.split(", ")
        updates = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        self._db.execute(
            f"INSERT INTO documents ({_DOCUMENT}) VALUES ({_marks(names)})"
            f" ON CONFLICT(id) DO UPDATE SET {updates}",
            _document_values(document),
        )

    def save_pages(self, document_id: str, pages: Sequence[PageRecord]) -> None:
        """Insert pages or replace them, all or none."""
        names = _PAGE.split(", ")
        updates = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        with transaction(self._db):
            self._db.executemany(
                f"INSERT INTO pages (document_id, {_PAGE}) VALUES (?, {_marks(names)})"
                f" ON CONFLICT(document_id, page) DO UPDATE SET {updates}",
                [(document_id, *_page_values(page)) for page in pages[:_MOST_PAGES]],
            )

    def delete(self, document_id: str) -> None:
        """Forget a document and what was read of it; the file itself stays."""
        with transaction(self._db):
            # Triggers that keep the search index run on explicit deletes, so pages go first.
            self._db.execute("DELETE FROM pages WHERE document_id = ?", (document_id,))
            self._db.execute("DELETE FROM documents WHERE id = ?", (document_id,))


def _among(ids: Sequence[str]) -> str:
    return f" AND p.document_id IN ({_marks(ids)})" if ids else ""


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _document_values(document: DocumentRecord) -> tuple[object, ...]:
    values = {name: getattr(document, name) for name in _DOCUMENT.split(", ")}
    values["notices"] = _dumps(document.notices)
    values["failure"] = _dumps(asdict(document.failure)) if document.failure else None
    return tuple(values.values())


def _document(row: tuple[Any, ...]) -> DocumentRecord:
    values = dict(zip(_DOCUMENT.split(", "), row, strict=True))
    values["notices"] = tuple(json.loads(values["notices"]))
    if values["failure"]:
        failure = json.loads(values["failure"])
        values["failure"] = Failure(**{**failure, "kind": ErrorKind(failure["kind"])})
    return DocumentRecord(**values)


def _page_values(page: PageRecord) -> tuple[object, ...]:
    values = {name: getattr(page, name) for name in _PAGE.split(", ")}
    values["state"] = page.state.value
    values["incomplete"], values["as_is"] = int(page.incomplete), int(page.as_is)
    values["notices"] = _dumps(page.notices)
    values["differences"] = _dumps([[d.start, d.end, d.layer] for d in page.differences])
    values["lines"] = _dumps([[n.text, n.x0, n.y0, n.x1, n.y1] for n in page.lines])
    return tuple(values.values())


def _page(row: tuple[Any, ...]) -> PageRecord:
    values = dict(zip(_PAGE.split(", "), row, strict=True))
    values["state"] = PageState(values["state"])
    values["incomplete"], values["as_is"] = bool(values["incomplete"]), bool(values["as_is"])
    values["notices"] = tuple(json.loads(values["notices"]))
    values["differences"] = tuple(PageDifference(*d) for d in json.loads(values["differences"]))
    values["lines"] = tuple(PageLine(*line) for line in json.loads(values["lines"]))
    return PageRecord(**values)


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
