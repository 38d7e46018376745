"""Documents on disk for the window: reads at once, writes and searches on a thread, in order.

A page is announced only after it was saved, so nothing is ever shown that a crash could take.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.errors import ErrorKind, Failure
from app.store.documents import DocumentRecord, DocumentStore, PageHit, PageRecord

log = logging.getLogger(__name__)


class DocumentLibrary(QObject):
    """See the module.

    Signals: `pages_saved(document id, pages)`; `found(token, hits)` answers `search`;
    `failed(Failure)` something could not be saved.
    """

    pages_saved = Signal(str, object)
    found = Signal(str, object)
    failed = Signal(object)

    def __init__(self, database: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._writer_store = DocumentStore(database)
        self._reader_store = DocumentStore(database)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="documents-writer")
        self._closed = False

    # --- reading ---------------------------------------------------------------------------------

    def documents(self) -> list[DocumentRecord]:
        """All documents, the newest first."""
        return self._reader_store.list()

    def pages(self, document_id: str) -> list[PageRecord]:
        """The pages of a document in order."""
        return self._reader_store.pages(document_id)

    def search(
        self,
        token: str,
        query: str,
        document_ids: Sequence[str] = (),
        limit: int = 50,
        *,
        every: bool = True,
    ) -> None:
        """Find pages with these words; `found(token, hits)` follows."""

        def work() -> None:
            hits = self._writer_store.search(query, document_ids, limit, every=every)
            self.found.emit(token, hits)

        self._submit(work)

    # --- writing ---------------------------------------------------------------------------------

    def save_document(self, document: DocumentRecord) -> None:
        """Save everything about a document but its pages."""
        self._submit(lambda: self._writer_store.save_document(document))

    def save_pages(self, document_id: str, pages: Sequence[PageRecord]) -> None:
        """Save pages; `pages_saved` follows, also where the disk refused (then after `failed`)."""
        self._submit(
            lambda: self._writer_store.save_pages(document_id, pages),
            lambda: self.pages_saved.emit(document_id, tuple(pages)),
        )

    def delete(self, document_id: str) -> None:
        """Forget a document; the file itself stays."""
        self._submit(lambda: self._writer_store.delete(document_id))

    def flush(self) -> None:
        """Wait until everything asked for so far is on disk."""
        self._writer.submit(lambda: None).result()

    def close(self) -> None:
        """Finish all writes and close the file."""
        if self._closed:
            return
        self._closed = True
        self._writer.shutdown(wait=True)
        self._reader_store.close()
        self._writer_store.close()

    def _submit(
        self, work: Callable[[], object], after: Callable[[], object] = lambda: None
    ) -> None:
        def guarded() -> None:
            try:
                work()
            except (sqlite3.Error, OSError) as problem:
                log.exception("saving a document failed")
                self.failed.emit(_save_failure(problem))
            after()

        if not self._closed:
            self._writer.submit(guarded)


def _save_failure(problem: Exception) -> Failure:
    return Failure(
        ErrorKind.DISK_FULL if "full" in str(problem) else ErrorKind.INTERNAL,
        f"What was read could not be saved: {problem}.",
        "Free some space on the disk, then read the page again.",
        repr(problem),
    )


__all__ = ["DocumentLibrary", "DocumentRecord", "PageHit", "PageRecord"]
