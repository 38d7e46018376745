"""The way to documents: a worker process that opens them, watched, bounded and replaceable.

All methods block, may be called from any thread (one request runs at a time) and raise
`DocumentError` with one sentence for the person. The sentences call a file by its name on disk.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from app.documents import wire
from app.documents.child import WorkerEndedError, WorkerProcess
from app.documents.types import (
    Box,
    DocumentError,
    DocumentInfo,
    DocumentProblem,
    PageFacts,
    PageLayer,
    PagePart,
    PagePicture,
    PageText,
    PreparedPage,
    SearchablePdf,
    TextLine,
)

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 60.0
DEFAULT_MEMORY = 2 << 30
# Writing a searchable PDF looks at every page; each adds this to its time.
SECONDS_PER_PAGE = 5.0


class DocumentHost:
    """Opens documents in a worker process, started with the first request.

    Args:
        timeout_s: most seconds for one request; then the worker is ended and a new one started
            with the next request.
        memory_bytes: most memory the worker may hold.
    """

    def __init__(
        self, timeout_s: float = DEFAULT_TIMEOUT, memory_bytes: int = DEFAULT_MEMORY
    ) -> None:
        self._timeout = timeout_s
        self._memory = memory_bytes
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._passwords: dict[str, str] = {}
        self._closed = False

    def __enter__(self) -> DocumentHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        worker = self._worker
        return worker.pid if worker is not None else None

    def open(self, path: str | Path, password: str = "") -> DocumentInfo:
        """Find out what a file is. The password is kept for the requests that follow."""
        name = _name(path)
        if password:
            self._passwords[name] = password
        try:
            value, _ = self._ask("open", name)
        except DocumentError as error:
            if error.kind is DocumentProblem.WRONG_PASSWORD:
                self._passwords.pop(name, None)
            raise
        return wire.info_of(value)

    def facts(self, path: str | Path, page: int) -> PageFacts:
        """What is measured on a page, and the detail it should be read with."""
        value, _ = self._ask("facts", _name(path), page=page)
        return wire.facts_of(value)

    def picture(
        self,
        path: str | Path,
        page: int,
        *,
        longest: int | None = None,
        soft_tokens: int | None = None,
        prepared: bool = True,
        part: PagePart | None = None,
    ) -> PreparedPage:
        """A page's picture.

        Args:
            path: a document of kind PAGES.
            page: its number.
            longest: most pixels of the longer side, to show it; a picture is never enlarged.
            soft_tokens: fill this budget, as the model will see it; wins over a smaller `longest`.
            prepared: straighten photos and scans; False: as it is.
            part: of the picture that `prepared` asks for; the sizes hold for the part then.
        """
        value, payload = self._ask(
            "picture",
            _name(path),
            page=page,
            longest=longest,
            soft_tokens=soft_tokens,
            prepared=prepared,
            box=part.box if part else None,
        )
        return wire.prepared_of(value, payload)

    def thumbnail(self, path: str | Path, page: int, side: int) -> PagePicture:
        """A small picture of the page as it is, at most `side` pixels wide and high."""
        return self.picture(path, page, longest=side, prepared=False).picture

    def lines(self, path: str | Path, page: int) -> tuple[TextLine, ...]:
        """The text layer of a PDF page in reading order; empty where there is none."""
        value, _ = self._ask("lines", _name(path), page=page)
        return tuple(wire.line_of(line) for line in value)

    def layer(self, path: str | Path, page: int) -> PageLayer:
        """The text layer of a PDF page with its tables."""
        value, _ = self._ask("layer", _name(path), page=page)
        return wire.layer_of(value)

    def text(self, path: str | Path) -> str:
        """A document of kind TEXT as Markdown."""
        value, _ = self._ask("text", _name(path))
        return str(value)

    def segments(self, path: str | Path, page: int, *, prepared: bool = True) -> tuple[Box, ...]:
        """The places of the lines of writing in reading order, found by looking.

        prepared: in the prepared picture; False: in the picture as it came.
        """
        value, _ = self._ask("segments", _name(path), page=page, prepared=prepared)
        return tuple(wire.box_of(box) for box in value)

    def searchable_pdf(
        self, path: str | Path, pages: list[PageText], target: str | Path
    ) -> SearchablePdf:
        """Write a PDF that looks like the document and holds the pages' text, invisibly.

        Args:
            path: a document of kind PAGES.
            pages: what was read; pages that are not among them get no text.
            target: written at once when it is complete.
        """
        value, _ = self._ask(
            "searchable_pdf",
            _name(path),
            extra_seconds=SECONDS_PER_PAGE * max(len(pages), 1),
            pages=[wire.plain(page) for page in pages],
            target=str(target),
        )
        return wire.searchable_of(value)

    def close(self) -> None:
        """End the worker, also while another thread waits for it."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            worker.kill()
        with self._lock:
            self._drop()

    def _ask(
        self, do: str, path: str, extra_seconds: float = 0.0, **arguments: Any
    ) -> tuple[Any, bytes]:
        request = {"do": do, "path": path, "password": self._passwords.get(path, ""), **arguments}
        with self._lock:
            if self._closed:
                raise DocumentError(DocumentProblem.GONE, "The document was closed.")
            worker = self._running()
            try:
                header, payload = worker.exchange(request, self._timeout + extra_seconds)
            except WorkerEndedError as end:
                self._drop()
                raise self._explained(end, Path(path).name) from end
        if "error" in header:
            error = wire.error_of(header)
            if error.detail:
                log.info("document: %s (%s)", error.message, error.detail)
            raise error
        return header["ok"], payload

    def _running(self) -> WorkerProcess:
        if self._worker is None:
            try:
                worker = self._worker = WorkerProcess(self._memory)
                worker.wait_ready()
            except (OSError, WorkerEndedError) as problem:
                self._drop()
                log.exception("the document worker did not start")
                message = "The part of Facet that opens documents did not start; try again."
                raise DocumentError(DocumentProblem.GONE, message, str(problem)) from problem
        return self._worker

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _explained(self, end: WorkerEndedError, name: str) -> DocumentError:
        log.warning("document worker: %s", end)
        if self._closed:
            return DocumentError(DocumentProblem.GONE, "The document was closed.")
        match end.why:
            case "time":
                seconds = f"{self._timeout:.0f} seconds"
                message = f"“{name}” took longer than {seconds} and was given up."
                return DocumentError(DocumentProblem.TIMEOUT, message, str(end))
            case "memory":
                limit = f"{self._memory / (1 << 30):.1f} GB"
                message = f"“{name}” needs more than {limit} of memory and was given up."
                return DocumentError(DocumentProblem.TOO_LARGE, message, str(end))
        message = f"“{name}” is damaged so that reading it failed; copy or download it again."
        return DocumentError(DocumentProblem.BROKEN, message, str(end))


def _name(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())
