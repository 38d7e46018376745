"""How much there is to read in files held over the window, counted before they are dropped.

The document worker is asked file by file; letting go of the drag ends the counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Thread

from PySide6.QtCore import QObject, Signal

from app.core.conversation import new_id
from app.documents.intake import Intake, expand
from app.documents.types import DocumentError, DocumentInfo, DocumentKind, DocumentProblem
from app.services.document_pages import DocumentPages

MOST_COUNTED = 200
"""Files that are looked into; of more only the number is said."""
_LOCKED = (DocumentProblem.PASSWORD, DocumentProblem.WRONG_PASSWORD)


@dataclass(frozen=True, slots=True)
class DropCount:
    """What a drop holds.

    paged: files made of pages, with `pages` in all. texts: files whose text is taken as it is.
    locked: files that ask for a password. refused: files that cannot be read. uncounted: files
    beyond `MOST_COUNTED`, not looked into.
    """

    paged: int = 0
    pages: int = 0
    texts: int = 0
    locked: int = 0
    refused: int = 0
    uncounted: int = 0

    @property
    def files(self) -> int:
        """All that were found."""
        return self.paged + self.texts + self.locked + self.refused + self.uncounted


class DropCounter(QObject):
    """`counted(DropCount)` once everything held over the window was looked into."""

    counted = Signal(object)
    _expanded = Signal(str, object, int)

    def __init__(self, pages: DocumentPages, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pages = pages
        self._token = ""
        self._waiting: list[str] = []
        self._count = DropCount()
        self._expanded.connect(self._on_expanded)
        pages.opened.connect(self._on_opened)
        pages.refused.connect(self._on_refused)

    def count(self, paths: Sequence[str]) -> None:
        """Begin to count; what was counted before is forgotten."""
        self._token = new_id()
        Thread(target=self._expand, args=(self._token, tuple(paths)), daemon=True).start()

    def stop(self) -> None:
        """The drag is over."""
        self._token = ""
        self._waiting.clear()

    def _expand(self, token: str, paths: tuple[str, ...]) -> None:
        """On a thread: which files there are, in folders too (first bytes only)."""
        found = expand(paths)
        self._expanded.emit(token, found, len(found.skipped))

    def _on_expanded(self, token: str, found: Intake, refused: int) -> None:
        if token != self._token:
            return
        files = [str(path) for path in found.files]
        uncounted = len(files) if len(files) > MOST_COUNTED else 0
        self._count = DropCount(refused=refused, uncounted=uncounted)
        self._waiting = [] if uncounted else files
        self._next()

    def _next(self) -> None:
        if self._waiting:
            self._pages.open(self._token, self._waiting.pop(0))
        else:
            self.counted.emit(self._count)

    def _on_opened(self, token: str, info: DocumentInfo) -> None:
        if token != self._token:
            return
        count = self._count
        if info.kind is DocumentKind.PAGES:
            self._count = replace(count, paged=count.paged + 1, pages=count.pages + info.pages)
        else:
            self._count = replace(count, texts=count.texts + 1)
        self._next()

    def _on_refused(self, token: str, problem: DocumentError) -> None:
        if token != self._token:
            return
        count = self._count
        if problem.kind in _LOCKED:
            self._count = replace(count, locked=count.locked + 1)
        else:
            self._count = replace(count, refused=count.refused + 1)
        self._next()
