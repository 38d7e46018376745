"""Exports of a document: which pages, which name, and what came of it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices

from app.controllers.document_state import OpenDocument
from app.core.conversation import new_id
from app.core.errors import Failure
from app.documents.export import ExportFormat
from app.documents.types import PageText
from app.services.document_export import ExportService
from app.store.documents import PageState


class DocumentExport(QObject):
    """`finished(words, path)`, `failed(Failure)`."""

    finished = Signal(str, str)
    failed = Signal(object)

    def __init__(self, service: ExportService, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._service = service
        self._mine: set[str] = set()
        service.written.connect(self._on_written)
        service.refused.connect(self._on_refused)

    def suggested_path(self, document: OpenDocument, kind: ExportFormat) -> str:
        """Beside the document, with another ending; never the document itself."""
        path = Path(document.record.path)
        folder = path.parent if path.parent.is_dir() else Path.home()
        stem = Path(document.record.name).stem or "document"
        if kind is ExportFormat.PDF:
            stem += " (searchable)"
        elif f".{kind}" == path.suffix.lower():
            stem += " (read)"
        return str(folder / f"{stem}.{kind}")

    def start(self, document: OpenDocument, kind: ExportFormat, path: str) -> None:
        """Write the pages that are read; `finished` or `failed` follows."""
        token = new_id()
        self._mine.add(token)
        record = document.record
        self._service.write(token, kind, page_texts(document), path, record.path, document.password)

    def reveal(self, path: str) -> None:
        """Open the folder of an exported file."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(path).parent)))

    def _on_written(self, token: str, words: str, path: str) -> None:
        if token in self._mine:
            self._mine.discard(token)
            self.finished.emit(words, path)

    def _on_refused(self, token: str, failure: Failure) -> None:
        if token in self._mine:
            self._mine.discard(token)
            self.failed.emit(failure)


def page_texts(document: OpenDocument) -> list[PageText]:
    """The pages that have a text, as every export takes them."""
    return [
        PageText(
            page.page,
            page.shown,
            notices=page.notices if page.edited is None else (),
            from_layer=page.source == "layer" and page.edited is None,
        )
        for page in document.pages
        if page.state is PageState.DONE
    ]
