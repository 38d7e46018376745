"""Writing what was read into files, beside the window's thread.

Whatever opens the foreign file again (a searchable PDF) goes through a worker process of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.errors import ErrorKind, Failure
from app.documents.export import ExportFormat, export
from app.documents.host import DocumentHost
from app.documents.types import DocumentError, PageText, SearchablePdf

log = logging.getLogger(__name__)


class ExportService(QObject):
    """`written(token, words, path)` or `refused(token, Failure)` answer `write`."""

    written = Signal(str, str, str)
    refused = Signal(str, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="document-export")
        self._host: DocumentHost | None = None

    def write(
        self,
        token: str,
        kind: ExportFormat,
        pages: Sequence[PageText],
        target: str,
        source: str,
        password: str = "",
    ) -> None:
        """Write the pages as `kind` to `target`; `source` is the document they were read from."""

        def work() -> None:
            try:
                words = self._write(kind, list(pages), Path(target), source, password)
            except (DocumentError, OSError, ValueError) as problem:
                log.info("export: %s", problem)
                self.refused.emit(token, _failure(problem))
                return
            self.written.emit(token, words, target)

        self._pool.submit(work)

    def _write(
        self, kind: ExportFormat, pages: list[PageText], target: Path, source: str, password: str
    ) -> str:
        if kind is not ExportFormat.PDF:
            written = export(kind, pages, target, title=Path(source).stem)
            return export_words(written)
        with DocumentHost() as host:
            self._host = host
            host.open(source, password)
            made = host.searchable_pdf(source, pages, target)
        self._host = None
        return searchable_words(made)

    def close(self) -> None:
        """Stop writing."""
        host = self._host
        if host is not None:
            host.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


def export_words(written: Sequence[Path]) -> str:
    """What came of an export."""
    if len(written) == 1:
        return f"Written to {written[0].name}."
    return f"Written to {len(written)} files: {written[0].name} and so on."


def searchable_words(made: SearchablePdf) -> str:
    """What came of a searchable PDF: lines without a place are never kept quiet."""
    words = "The searchable PDF is written."
    if made.unmatched:
        words += f" {made.unmatched:,} of {made.lines:,} lines have no exact place on the page."
    return words


def _failure(problem: Exception) -> Failure:
    if isinstance(problem, OSError):
        words = f"The file could not be written: {problem.strerror or problem}."
        return Failure(ErrorKind.DISK_FULL, words, "Choose another folder.", repr(problem))
    return Failure(ErrorKind.BAD_FILE, str(problem), detail=repr(problem))
