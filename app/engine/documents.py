"""The reading job: pages of a document in, their texts out, one page after the other.

The worker that opens files prepares page n + 1, and the model encodes it, while page n is decoded.
Knows no model: a `Recogniser` looks at pictures, the real one or the scripted one. A page that
fails never ends the job; when other jobs wait, the job ends after the page it is at, and whoever
asked for it asks again for the rest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from app.core.commands import ReadDocument
from app.core.conversation import Usage
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    DocumentOpened,
    Event,
    FinishReason,
    JobFinished,
    PageFailed,
    PageFinished,
    PageStarted,
    TextDelta,
)
from app.documents.checks import LoopWatch
from app.documents.host import DocumentHost
from app.documents.types import (
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageFacts,
    ReadingDetail,
)
from app.engine.document_pages import HostKeeper, LoadedPage, PageLoader
from app.engine.jobs import JobContext

_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of a reply; `finish` with the last one: "stop", "length" or "loop"."""

    text: str = ""
    finish: str = ""
    tokens: int = 0


class Recogniser(Protocol):
    """Looks at pictures, always with the same instruction."""

    def encode(self, page: LoadedPage) -> None:
        """Look at the first picture of a page ahead of time; legal between two pieces."""
        ...

    def read(self, page: LoadedPage, part: int) -> Iterator[Piece]:
        """The text of one picture of the page, piece by piece. Raises AppError."""
        ...


def read_document(
    job: ReadDocument,
    context: JobContext,
    hosts: HostKeeper,
    make_recogniser: Callable[[], Recogniser],
    auto_detail: Callable[[PageFacts], ReadingDetail] = lambda facts: facts.suggested,
) -> Iterator[Event]:
    """The events of one job.

    Args:
        job: the command.
        context: of the job.
        hosts: give the worker that opens foreign files.
        make_recogniser: called when the first page has to be looked at.
        auto_detail: the detail to take for a page by what was measured on it, where the job leaves
            it open (called from another thread).

    Raises:
        AppError: the file cannot be opened, or there is no model to look at its pages.
    """
    host = hosts.get()
    try:
        info = _opened(host, job)
        yield DocumentOpened(
            job.job_id, info.pages, info.kind.value, info.format, info.title, info.notices
        )
        if info.kind is DocumentKind.TEXT:
            yield from _read_text(host, job)
        else:
            loader = PageLoader(host, job, auto_detail)
            reading = _Reading(job, context, info, loader, make_recogniser)
            yield from reading.run()
    except DocumentError as problem:
        raise failure_of(problem) from problem
    finally:
        if context.cancelled():
            hosts.drop()  # it may be at work on a page nobody waits for


def _opened(host: DocumentHost, job: ReadDocument) -> DocumentInfo:
    info = host.open(job.path, job.password)
    if any(not 0 <= page < info.pages for page in job.pages):
        raise AppError(
            f"This document has {info.pages} {'page' if info.pages == 1 else 'pages'}; "
            "a page beyond was asked for.",
            kind=ErrorKind.BAD_INPUT,
        )
    return info


def _read_text(host: DocumentHost, job: ReadDocument) -> Iterator[Event]:
    """Office files and text need no model: their words are taken as they stand."""
    started = time.perf_counter()
    yield PageStarted(job.job_id, 0, 0, 1)
    text = host.text(job.path)
    seconds = time.perf_counter() - started
    yield PageFinished(job.job_id, 0, text, seconds=seconds, source="file")


class _Reading:
    """One job over the pages of a file that are looked at."""

    def __init__(
        self,
        job: ReadDocument,
        context: JobContext,
        info: DocumentInfo,
        loader: PageLoader,
        make_recogniser: Callable[[], Recogniser],
    ) -> None:
        self._job, self._context, self._loader = job, context, loader
        self._pages = job.pages or tuple(range(info.pages))
        self._make = make_recogniser
        self._recogniser: Recogniser | None = None
        self._ahead: Future[LoadedPage] | None = None
        self._encoded: Future[LoadedPage] | None = None
        self._tokens = 0

    def run(self) -> Iterator[Event]:
        """The events of all pages, and the end."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="pages")
        try:
            yield from self._run(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        reason = FinishReason.CANCELLED if self._context.cancelled() else FinishReason.STOP
        yield JobFinished(self._job.job_id, reason, Usage(generated=self._tokens))

    def _run(self, pool: ThreadPoolExecutor) -> Iterator[Event]:
        self._ahead = pool.submit(self._loader.load, self._pages[0])
        for index, page in enumerate(self._pages):
            loaded = self._arrived(page)
            following = self._pages[index + 1 : index + 2]
            self._ahead = pool.submit(self._loader.load, following[0]) if following else None
            if self._context.cancelled():
                return
            yield from self._page(loaded, index)
            if self._context.others_wait():
                return

    def _eyes(self) -> Recogniser:
        if self._recogniser is None:
            self._recogniser = self._make()
        return self._recogniser

    def _arrived(self, page: int) -> LoadedPage:
        """The page the worker prepared; a cancelled job does not wait for it."""
        assert self._ahead is not None
        while not self._context.cancelled():
            with contextlib.suppress(TimeoutError):
                return self._ahead.result(timeout=_WAIT_S)
        return LoadedPage(page)

    def _page(self, loaded: LoadedPage, index: int) -> Iterator[Event]:
        job_id, page = self._job.job_id, loaded.page
        yield PageStarted(job_id, page, index, len(self._pages), loaded.detail.value)
        if loaded.problem is not None:
            yield _failed(job_id, page, failure_of(loaded.problem))
        elif loaded.use_layer:
            yield loaded.from_layer(job_id)
        else:
            eyes = self._eyes()
            try:
                yield from self._look(eyes, loaded)
            except AppError as problem:
                yield _failed(job_id, page, problem)

    def _look(self, eyes: Recogniser, loaded: LoadedPage) -> Iterator[Event]:
        started = time.perf_counter()
        texts, ends, tokens = [], [], 0
        for part in range(len(loaded.pictures)):
            text, end, loops = "", "", LoopWatch()
            for piece in eyes.read(loaded, part):
                text += piece.text
                tokens += piece.tokens
                end = piece.finish or end
                if piece.text:
                    yield TextDelta(self._job.job_id, piece.text, page=loaded.page)
                if loops.feed(piece.text):
                    end = "loop"
                    break
                if self._context.cancelled():
                    break
                self._encode_ahead(eyes)
            if self._context.cancelled():
                return  # half a page is never a finished one
            texts.append(text)
            ends.append(end or "length")
        self._tokens += tokens
        seconds = time.perf_counter() - started
        yield loaded.finished(self._job.job_id, texts, ends, tokens, seconds)

    def _encode_ahead(self, eyes: Recogniser) -> None:
        """Between two tokens of this page: let the model look at the next one."""
        ahead = self._ahead
        if ahead is None or not ahead.done() or self._encoded is ahead:
            return
        self._encoded = ahead
        page = ahead.result()
        if page.pictures:
            eyes.encode(page)


_KINDS = {
    DocumentProblem.PASSWORD: ErrorKind.PASSWORD,
    DocumentProblem.WRONG_PASSWORD: ErrorKind.PASSWORD,
    DocumentProblem.UNSUPPORTED: ErrorKind.UNSUPPORTED_MEDIA,
    DocumentProblem.GONE: ErrorKind.NOT_FOUND,
}


def _failed(job_id: str, page: int, problem: AppError) -> PageFailed:
    return PageFailed(job_id, page, problem.failure.message, problem.failure.remedy)


def failure_of(problem: DocumentError) -> AppError:
    """The problem in the app's words."""
    kind = _KINDS.get(problem.kind, ErrorKind.BAD_FILE)
    return AppError(problem.message, kind=kind, detail=problem.detail)
