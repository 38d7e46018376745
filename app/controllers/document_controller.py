"""The documents page's state: which files are here, which page is on show, what is done to it.

The records here and on disk are the truth; the engine only reads pages it is asked for. A file is
never copied and never changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread

from PySide6.QtCore import QObject, Signal

from app.controllers.document_reading import DocumentReading
from app.controllers.document_state import OpenDocument, Progress
from app.core.conversation import new_id
from app.core.errors import ErrorKind, Failure
from app.documents.intake import Intake, expand
from app.documents.types import DocumentError, DocumentInfo, DocumentProblem, ReadingDetail
from app.services.document_library import DocumentLibrary
from app.services.document_pages import DocumentPages
from app.services.engine_client import EngineClient
from app.store.documents import DocumentRecord, PageHit, PageRecord, PageState

# Of a dropped folder; more are left out, and it is said.
MOST_FILES = 1000
_PROBLEM_KINDS = {
    DocumentProblem.PASSWORD: ErrorKind.PASSWORD,
    DocumentProblem.WRONG_PASSWORD: ErrorKind.PASSWORD,
    DocumentProblem.UNSUPPORTED: ErrorKind.UNSUPPORTED_MEDIA,
    DocumentProblem.GONE: ErrorKind.NOT_FOUND,
}


class DocumentController(QObject):
    """See the module.

    Signals: `list_changed` documents came or went; `document_changed(id)` progress, settings or
    failure of one; `page_changed(id, page)`; `live(id, page)` more of a page being read;
    `shown(id, page)` another page is on show (page -1: the list); `found(hits)` of a search;
    `notice(str)`; `failed(Failure)`.
    """

    list_changed = Signal()
    document_changed = Signal(str)
    page_changed = Signal(str, int)
    live = Signal(str, int)
    shown = Signal(str, int)
    found = Signal(object)
    notice = Signal(str)
    failed = Signal(object)
    reading_finished = Signal(str)
    _expanded = Signal(object)

    def __init__(
        self,
        library: DocumentLibrary,
        pages: DocumentPages,
        engine: EngineClient,
        folder: Path,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._library = library
        self.pictures = pages
        self._folder = folder
        self._documents = {
            record.id: OpenDocument(record, library.pages(record.id))
            for record in library.documents()
        }
        self._current = ""
        self._page = -1
        self._read_when_open: set[str] = set()
        self._looked_at: set[str] = set()
        self._search_id = ""
        self.reading = DocumentReading(library, engine, self._documents, self)
        self._connect()

    def _connect(self) -> None:
        reading, library = self.reading, self._library
        reading.page_changed.connect(self.page_changed)
        reading.live.connect(self.live)
        reading.document_changed.connect(self.document_changed)
        reading.finished.connect(self.reading_finished)
        library.failed.connect(self.failed)
        library.found.connect(self._on_found)
        self._expanded.connect(self._on_expanded)
        self.pictures.opened.connect(self._on_opened)
        self.pictures.refused.connect(self._on_refused)

    # --- what there is ---------------------------------------------------------------------------

    def documents(self) -> list[OpenDocument]:
        """All documents, the newest first."""
        return sorted(self._documents.values(), key=lambda each: -each.record.created)

    def document(self, document_id: str) -> OpenDocument:
        """One document. Raises KeyError."""
        return self._documents[document_id]

    @property
    def current(self) -> OpenDocument | None:
        """The document on show."""
        return self._documents.get(self._current)

    @property
    def page(self) -> int:
        """The page on show, -1 for none."""
        return self._page

    def progress(self, document_id: str) -> Progress | None:
        """How far reading is; None while nothing is wanted."""
        return self.reading.progress(self._documents[document_id])

    def seconds_a_page(self, detail: ReadingDetail) -> float:
        """About how long a page takes; 0 while none was read."""
        return self.reading.pace.seconds(detail)

    # --- coming and going ------------------------------------------------------------------------

    def add(self, paths: Sequence[str]) -> list[str]:
        """Open files and what can be read in folders, and read them; returns the files' ids.

        A file that is here already is shown again and not read a second time.
        """
        folders = [path for path in paths if Path(path).is_dir()]
        if folders:
            Thread(target=self._look_into, args=(folders,), daemon=True).start()
        return self._add_all([path for path in paths if path not in folders])

    def _add_all(self, paths: Sequence[str]) -> list[str]:
        ids = [self._add(str(Path(path).absolute())) for path in paths]
        if ids:
            self.list_changed.emit()
            self.show(ids[0], 0)
        if (count := len(set(ids))) > 1:
            self.notice.emit(
                f"{count:,} files are read one after the other; the list of documents shows the "
                "state of each."
            )
        return ids

    def _look_into(self, folders: Sequence[str]) -> None:
        """On a thread: which files in these folders can be read (first bytes only)."""
        self._expanded.emit(expand(folders, MOST_FILES))

    def _on_expanded(self, intake: Intake) -> None:
        self._add_all([str(path) for path in intake.files])
        if intake.cut:
            self.notice.emit(f"Only the first {MOST_FILES:,} files are opened; the rest are not.")
        elif not intake.files:
            self.notice.emit("There is no document in this folder.")

    def add_picture(self, png: bytes, name: str) -> str:
        """Keep a pasted or taken picture as a file of its own and read it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{time.strftime('%Y-%m-%d %H.%M.%S')} {new_id()[:6]}.png"
        path.write_bytes(png)
        return self.add_own(path, name)

    def add_own(self, path: Path, name: str) -> str:
        """Read a file of the app's own folder; it goes when its document is deleted."""
        document_id = self._add(str(path), name)
        self.list_changed.emit()
        self.show(document_id, 0)
        return document_id

    def _add(self, path: str, name: str = "") -> str:
        for document in self._documents.values():
            if document.record.path == path:
                self._reopen(document)
                return document.id
        now = time.time()
        record = DocumentRecord(new_id(), path, name or Path(path).name, created=now, updated=now)
        self._documents[record.id] = OpenDocument(record)
        self._library.save_document(record)
        self._read_when_open.add(record.id)
        self._looked_at.add(record.id)
        self.pictures.open(record.id, path)
        return record.id

    def _reopen(self, document: OpenDocument) -> None:
        """Dropped again: it comes to the top; a file that could not be opened is tried again."""
        self._update(document, created=time.time())
        if not document.opened:
            self.retry(document.id)

    def retry(self, document_id: str, password: str = "") -> None:
        """Open a file again that could not be opened (now with its password)."""
        document = self._documents[document_id]
        document.password = password or document.password
        self.pictures.forget(document.record.path)
        self._read_when_open.add(document_id)
        self.pictures.open(document_id, document.record.path, document.password)

    def relocate(self, document_id: str, path: str) -> None:
        """The file was moved: here it is now."""
        self._update(self._documents[document_id], path=path)
        self.retry(document_id)

    def delete(self, document_id: str) -> None:
        """Forget a document and what was read of it.

        The person's file stays; a pasted or taken picture, which only this folder has, goes too.
        """
        document = self._documents[document_id]
        self.reading.stop(document)
        del self._documents[document_id]
        self._library.delete(document_id)
        path = Path(document.record.path)
        if path.parent == self._folder.absolute():
            path.unlink(missing_ok=True)
        if self._current == document_id:
            self.show("", -1)
        self.list_changed.emit()

    def _on_opened(self, document_id: str, info: DocumentInfo) -> None:
        document = self._documents.get(document_id)
        if document is None:
            return
        self._update(
            document,
            kind=info.kind.value,
            format=info.format,
            title=info.title,
            pages=info.pages,
            notices=info.notices,
            failure=None,
        )
        if len(document.pages) != info.pages:
            # A file that has changed keeps the text of the pages it still has.
            known = document.pages[: info.pages]
            new = [PageRecord(page) for page in range(len(known), info.pages)]
            document.pages = [*known, *new]
            self._library.save_pages(document_id, new)
        if document_id in self._read_when_open:
            self._read_when_open.discard(document_id)
            self.reading.read(document, document.unread)
        self.list_changed.emit()
        if self._current == document_id:
            self.show(document_id, max(0, min(self._page, info.pages - 1)))

    def _on_refused(self, document_id: str, problem: DocumentError) -> None:
        document = self._documents.get(document_id)
        if document is not None:
            self._update(document, failure=_failure(problem))
            self.document_changed.emit(document_id)

    # --- what is on show -------------------------------------------------------------------------

    def show(self, document_id: str, page: int = 0) -> None:
        """Show a page of a document, or the list ("", -1)."""
        self._current, self._page = document_id, page
        document = self.current
        if document is not None:
            self._page = max(0, min(page, max(0, len(document.pages) - 1)))
            if document_id not in self._looked_at:
                # The first time in this run: is it still there, does it need its password?
                self._looked_at.add(document_id)
                self.pictures.open(document_id, document.record.path, document.password)
        self.shown.emit(self._current, self._page)

    def show_page(self, page: int) -> None:
        """Another page of the same document."""
        document = self.current
        if document is not None and 0 <= page < len(document.pages) and page != self._page:
            self._page = page
            self.shown.emit(self._current, page)

    # --- reading ---------------------------------------------------------------------------------

    def read_all(self, document_id: str) -> None:
        """Read the pages that have no text yet."""
        document = self._documents[document_id]
        self.reading.read(document, document.unread)

    def read_again(self, document_id: str, pages: Sequence[int], detail: str = "") -> None:
        """Read pages once more, with another detail for them alone where one is given."""
        self.reading.read(self._documents[document_id], pages, detail)

    def stop(self, document_id: str) -> None:
        """Stop reading this document."""
        self.reading.stop(self._documents[document_id])

    def set_reading(self, document_id: str, **changes: str) -> None:
        """Change detail, task, language, json_schema or text_layer for what is read from now on."""
        document = self._documents[document_id]
        self._update(document, **changes)
        self.document_changed.emit(document_id)

    def set_as_is(self, document_id: str, page: int, *, as_is: bool) -> None:
        """Undo (or redo) the straightening of a page and read it again."""
        document = self._documents[document_id]
        document.pages[page] = replace(document.pages[page], as_is=as_is)
        self.reading.read(document, [page], document.pages[page].detail or "")

    # --- editing ---------------------------------------------------------------------------------

    def edit(self, document_id: str, page: int, text: str) -> None:
        """The person's own text of a page; equal to what was read: the edit is gone again."""
        document = self._documents[document_id]
        old = document.pages[page]
        edited = None if text == old.text else text
        if edited != old.edited:
            state = PageState.DONE if old.state in _EDITABLE else old.state
            document.pages[page] = replace(old, edited=edited, state=state)
            self._library.save_pages(document_id, [document.pages[page]])

    def search(self, query: str) -> None:
        """Look for words in all documents; `found(hits)` follows."""
        self._search_id = new_id()
        self._library.search(self._search_id, query)

    def _on_found(self, token: str, hits: Sequence[PageHit]) -> None:
        if token == self._search_id:
            self.found.emit([hit for hit in hits if hit.document_id in self._documents])

    def _update(self, document: OpenDocument, **changes: object) -> None:
        record = replace(document.record, **changes)  # type: ignore[arg-type]
        document.record = replace(record, updated=time.time())
        self._library.save_document(document.record)

    def remember_chat(self, document_id: str, conversation_id: str) -> None:
        """The chat about a document."""
        self._update(self._documents[document_id], conversation_id=conversation_id)


_EDITABLE = (PageState.NEW, PageState.FAILED, PageState.DONE)


def _failure(problem: DocumentError) -> Failure:
    kind = _PROBLEM_KINDS.get(problem.kind, ErrorKind.BAD_FILE)
    return Failure(kind, problem.message, detail=problem.detail)
