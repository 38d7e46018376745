"""Reading: which pages the engine is asked for, what comes back, and going on after a crash.

One job per document; the engine runs them in turn and lets chats in between pages, so a job may end
with pages missing. Whatever happens, pages that are saved are never asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.document_state import OpenDocument, Pace, Progress
from app.core.commands import ReadDocument
from app.core.conversation import new_id
from app.core.errors import ErrorKind, Failure
from app.core.events import (
    DocumentOpened,
    EngineStarted,
    EngineState,
    FinishReason,
    JobFailed,
    JobFinished,
    ModelReady,
    PageFailed,
    PageFinished,
    PageStarted,
    TextDelta,
)
from app.documents.types import ReadingDetail
from app.services.document_library import DocumentLibrary
from app.services.engine_client import EngineClient
from app.store.documents import PageRecord, PageState

# The engine may die once over a page by chance; twice means the page is to blame.
MOST_TRIES = 2
_ENGINE_DIED = (ErrorKind.ENGINE_STOPPED, ErrorKind.OUT_OF_MEMORY)


class DocumentReading(QObject):
    """Asks the engine for pages and keeps what it says.

    Signals: `page_changed(document id, page)` state or text of a page; `live(document id, page)`
    more of the page being read; `document_changed(document id)` progress, failure or job;
    `finished(document id)` nothing is wanted of it any more.
    """

    page_changed = Signal(str, int)
    live = Signal(str, int)
    document_changed = Signal(str)
    finished = Signal(str)

    def __init__(
        self,
        library: DocumentLibrary,
        engine: EngineClient,
        documents: Mapping[str, OpenDocument],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._engine = engine
        self._documents = documents
        self._jobs: dict[str, str] = {}
        self._stopping: set[str] = set()
        self._finishing: set[str] = set()
        self._batch: dict[str, tuple[int, float]] = {}
        self.pace = Pace()
        engine.received.connect(self._on_event)
        library.pages_saved.connect(self._on_saved)

    # --- asking ----------------------------------------------------------------------------------

    def read(self, document: OpenDocument, pages: Sequence[int], detail: str = "") -> None:
        """Read these pages (again); `detail` for them alone, else the document's."""
        waiting = [
            replace(
                document.pages[page],
                state=PageState.WAITING,
                detail=detail,
                tries=0,
                problem="",
                remedy="",
            )
            for page in pages
        ]
        self._store(document, waiting)
        total, _ = self._batch.get(document.id, (0, 0.0))
        self._batch[document.id] = (total + len(waiting), time.monotonic())
        self._submit(document)

    def stop(self, document: OpenDocument) -> None:
        """Stop reading; what is read stays, the page under way is dropped."""
        self._stopping.add(document.id)
        self._forget_wanted(document)
        if document.job_id:
            self._engine.cancel(document.job_id)
        self._batch.pop(document.id, None)
        self.document_changed.emit(document.id)

    def progress(self, document: OpenDocument) -> Progress | None:
        """How far it is; None while nothing is wanted of it."""
        wanted = document.wanted
        total, _ = self._batch.get(document.id, (0, 0.0))
        if not wanted:
            return None
        total = max(total, len(wanted))
        return Progress(total - len(wanted), total, self._seconds_left(document, wanted))

    def _seconds_left(self, document: OpenDocument, wanted: Sequence[int]) -> float:
        each = self.pace.seconds(ReadingDetail(document.record.detail))
        return each * len(wanted)

    def resume(self) -> None:
        """Go on with everything that is wanted and has no job."""
        for document in list(self._documents.values()):
            if document.wanted and not document.job_id:
                self._submit(document)

    def _submit(self, document: OpenDocument) -> None:
        """One job for the wanted pages of one detail, if none is under way."""
        wanted = document.wanted
        if document.job_id or not wanted:
            return
        detail = document.pages[wanted[0]].detail
        record = document.record
        job_id = new_id()
        document.job_id = job_id
        self._jobs[job_id] = document.id
        self._stopping.discard(document.id)
        self._finishing.discard(document.id)
        self._engine.submit(
            ReadDocument(
                job_id,
                record.path,
                tuple(page for page in wanted if document.pages[page].detail == detail),
                detail or record.detail,
                record.task,
                record.language,
                record.json_schema,
                # Who asks for another detail of a page wants it looked at.
                "check" if detail and record.text_layer == "use" else record.text_layer,
                tuple(page for page in wanted if document.pages[page].as_is),
                document.password,
            )
        )
        self.document_changed.emit(document.id)

    # --- what the engine says --------------------------------------------------------------------

    def _on_event(self, event: object) -> None:
        if isinstance(event, (EngineStarted, ModelReady)):
            # After the model controller, which asks for the model first.
            QTimer.singleShot(0, self, self.resume)
            return
        document = self._documents.get(self._jobs.get(getattr(event, "job_id", ""), ""))
        if document is None:
            return
        match event:
            case DocumentOpened():
                self._clear_failure(document)
            case PageStarted():
                document.live[event.page] = ""
                page = replace(document.pages[event.page], state=PageState.READING)
                document.pages[event.page] = page
                self.page_changed.emit(document.id, event.page)
                self.document_changed.emit(document.id)
            case TextDelta():
                document.live[event.page] = document.live.get(event.page, "") + event.text
                self.live.emit(document.id, event.page)
            case PageFinished():
                self._on_page(document, document.pages[event.page].finished(event))
            case PageFailed():
                page = replace(
                    document.pages[event.page],
                    state=PageState.FAILED,
                    problem=event.message,
                    remedy=event.remedy,
                )
                self._on_page(document, page)
            case JobFinished():
                self._ended(document, event)
            case JobFailed():
                self._failed(document, event)

    def _on_page(self, document: OpenDocument, page: PageRecord) -> None:
        """Saved first, shown when it is on disk."""
        if document.id in self._stopping:
            return
        self.pace.learn(page)
        document.arriving[page.page] = page
        document.pages[page.page] = replace(document.pages[page.page], state=page.state)
        self._library.save_pages(document.id, [page])

    def _on_saved(self, document_id: str, pages: Sequence[PageRecord]) -> None:
        document = self._documents.get(document_id)
        if document is None:
            return
        for page in pages:
            # Only what the engine read waits to be saved; anything else was changed here before.
            if document.arriving.get(page.page) is page:
                del document.arriving[page.page]
                document.pages[page.page] = page
                document.live.pop(page.page, None)
            self.page_changed.emit(document_id, page.page)
        self._finish(document)
        self.document_changed.emit(document_id)

    def _ended(self, document: OpenDocument, event: JobFinished) -> None:
        stopped = document.id in self._stopping
        self._forget_job(document, event.job_id)
        if event.reason is FinishReason.CANCELLED and not stopped:
            return  # the app is closing: what is wanted is read after the next start
        self._go_on(document)

    def _go_on(self, document: OpenDocument) -> None:
        if document.wanted:
            self._submit(document)
        else:
            self._finishing.add(document.id)
            self._finish(document)
        self.document_changed.emit(document.id)

    def _finish(self, document: OpenDocument) -> None:
        """Said when the last page is on disk, not before."""
        if document.id in self._finishing and not document.arriving:
            self._finishing.discard(document.id)
            self._batch.pop(document.id, None)
            self.finished.emit(document.id)

    def _failed(self, document: OpenDocument, event: JobFailed) -> None:
        self._forget_job(document, event.job_id)
        if event.kind in _ENGINE_DIED:
            self._blame(document, event)
            if self._engine.state is EngineState.RUNNING:  # it survived: only the job ran out
                self._go_on(document)
            return  # else it goes on by itself when the engine runs again
        failure = Failure(event.kind, event.message, event.remedy, event.detail)
        self._set_failure(document, failure)
        if event.kind is not ErrorKind.NO_MODEL:
            self._forget_wanted(document)
            self._batch.pop(document.id, None)
        self.document_changed.emit(document.id)

    def _blame(self, document: OpenDocument, event: JobFailed) -> None:
        """The page under way when the engine died is tried once more, then left out."""
        changed = []
        for page in document.pages:
            if page.state is not PageState.READING:
                continue
            tries = page.tries + 1
            state = PageState.FAILED if tries >= MOST_TRIES else PageState.WAITING
            words = f"The engine stopped twice while it read this page. {event.message}"
            problem = words if state is PageState.FAILED else ""
            remedy = "Read it with less detail." if problem else ""
            changed.append(replace(page, state=state, tries=tries, problem=problem, remedy=remedy))
            document.live.pop(page.page, None)
        self._store(document, changed)
        self.document_changed.emit(document.id)

    def _forget_job(self, document: OpenDocument, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        document.job_id = ""
        self._stopping.discard(document.id)

    def _forget_wanted(self, document: OpenDocument) -> None:
        """Pages nobody waits for any more: those with an earlier text keep it."""
        changed = [
            replace(page, state=PageState.DONE if page.source else PageState.NEW)
            for page in document.pages
            if page.wanted
        ]
        document.live.clear()
        self._store(document, changed)

    def _store(self, document: OpenDocument, pages: Sequence[PageRecord]) -> None:
        for page in pages:
            document.arriving.pop(page.page, None)
            document.pages[page.page] = page
        if pages:
            self._library.save_pages(document.id, pages)

    def _set_failure(self, document: OpenDocument, failure: Failure | None) -> None:
        document.record = replace(document.record, failure=failure)
        self._library.save_document(document.record)

    def _clear_failure(self, document: OpenDocument) -> None:
        if document.record.failure is not None:
            self._set_failure(document, None)
            self.document_changed.emit(document.id)
