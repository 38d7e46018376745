"""Running jobs one after the other, with the promise that each one ends exactly once.

A pipeline is a generator of events for one job. It checks `context.cancelled()` between evaluations
and yields `JobFinished` last, or simply ends. What it raises becomes `JobFailed`. Runs on the MLX
thread; `submit`, `cancel` and `deliver` are called from the reader thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from app.core.commands import Job, Query, ReadDocument
from app.core.conversation import Usage
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Answer,
    EngineStarted,
    Event,
    FinishReason,
    JobFailed,
    JobFinished,
    JobStarted,
    Pong,
)

log = logging.getLogger(__name__)


class JobContext:
    """What a pipeline knows about its job besides the command.

    inbox: later commands for the same job (live sound, frames, marks), in order of arrival; None
    wakes a pipeline that waits there when it is cancelled. `emit` sends an event from inside a
    callback, where a generator cannot yield. A pipeline may keep `usage` up to date, so that a
    cancelled job reports what it cost. `others_wait` tells a long job that it should let others in
    at its next border.
    """

    def __init__(
        self,
        job_id: str,
        emit: Callable[[Event], None] = lambda event: None,
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self.job_id = job_id
        self.emit = emit
        self.others_wait = others_wait
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.usage: Usage | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop; called from the reader thread."""
        self._cancelled.set()
        self.inbox.put(None)

    def cancelled(self) -> bool:
        """The job should stop now."""
        return self._cancelled.is_set()


class Engine(Protocol):
    """What the process hosts: the real engine or the scripted one."""

    def open(self) -> EngineStarted:
        """Prepare (import MLX, set limits); on the MLX thread, before any job."""
        ...

    def run(self, job: Job, context: JobContext) -> Iterator[Event]:
        """The events of one job; on the MLX thread."""
        ...

    def answer(self, query: Query) -> Answer:
        """Answer a question; on the question thread, also while a job runs."""
        ...

    def pong(self, number: int) -> Pong:
        """Heartbeat with memory figures; on the reader thread."""
        ...

    def idle(self) -> bool:
        """One short piece of work nobody waits for, or false; on the MLX thread, between jobs."""
        ...

    def failure(self, problem: Exception) -> AppError | None:
        """The words for an exception of this engine, None where it is unexpected."""
        ...

    def close(self) -> None:
        """Free everything; on the MLX thread, last."""
        ...


class JobRunner:
    """The queue of jobs. `emit` must be safe to call from the MLX thread and the reader thread.

    While no job waits, `idle` is called for as long as it says it did something.
    """

    def __init__(
        self,
        engine: Engine,
        emit: Callable[[Event], None],
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._emit = emit
        self._idle = idle
        self._queue: queue.SimpleQueue[tuple[Job, JobContext] | None] = queue.SimpleQueue()
        self._contexts: dict[str, JobContext] = {}
        self._waiting: dict[str, Job] = {}
        self._lock = threading.Lock()

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue."""
        context = JobContext(job.job_id, self._emit, self._others_wait)
        with self._lock:
            self._contexts[job.job_id] = context
            self._waiting[job.job_id] = job
        self._queue.put((job, context))

    def _others_wait(self) -> bool:
        """Something a person waits for is queued; documents are read one after the other."""
        with self._lock:
            return any(not isinstance(job, ReadDocument) for job in self._waiting.values())

    def cancel(self, job_id: str) -> None:
        """Stop a waiting or running job; nothing happens for one that has ended.

        A waiting job ends here and now: its turn may be far off.
        """
        with self._lock:
            waiting = self._waiting.pop(job_id, None)
            context = self._contexts.get(job_id)
            if waiting is not None:
                del self._contexts[job_id]
        if context is not None:
            context.cancel()
        if waiting is not None:
            self._emit(JobFinished(job_id, FinishReason.CANCELLED))

    def cancel_all(self) -> None:
        """Stop everything (shutdown)."""
        with self._lock:
            contexts = list(self._contexts.values())
        for context in contexts:
            context.cancel()

    def deliver(self, command: Any) -> None:
        """Hand a later command to its running or waiting job."""
        with self._lock:
            context = self._contexts.get(command.job_id)
        if context is not None:
            context.inbox.put(command)

    def stop(self) -> None:
        """Let `run_forever` return after the jobs that are queued."""
        self._queue.put(None)

    def run_forever(self) -> None:
        """Run jobs until `stop`; the body of the MLX thread."""
        while (entry := self._next()) is not None:
            self.run_one(*entry)

    def _next(self) -> tuple[Job, JobContext] | None:
        while self._queue.empty() and self._idle():
            pass
        return self._queue.get()

    def run_one(self, job: Job, context: JobContext) -> None:
        """Run one job to its single end, unless it ended while it waited."""
        with self._lock:
            if self._waiting.pop(job.job_id, None) is None:
                return
        self._emit(JobStarted(job.job_id))
        try:
            end = self._events(job, context)
        except Exception as problem:  # noqa: BLE001 - any failure ends this job, not the engine
            end = self._failed(job.job_id, problem)
        with self._lock:
            del self._contexts[job.job_id]
        self._emit(end)

    def _events(self, job: Job, context: JobContext) -> JobFinished | JobFailed:
        if context.cancelled():
            return JobFinished(job.job_id, FinishReason.CANCELLED)
        pipeline = self._engine.run(job, context)
        try:
            for event in pipeline:
                if isinstance(event, (JobFinished, JobFailed)):
                    return event
                self._emit(event)
                if context.cancelled():
                    return JobFinished(job.job_id, FinishReason.CANCELLED, context.usage)
        finally:
            close = getattr(pipeline, "close", None)
            if close is not None:
                close()
        return JobFinished(job.job_id, FinishReason.STOP, context.usage)

    def _failed(self, job_id: str, problem: Exception) -> JobFailed:
        known = problem if isinstance(problem, AppError) else self._engine.failure(problem)
        if known is not None:
            failure = known.failure
            return JobFailed(job_id, failure.kind, failure.message, failure.remedy, failure.detail)
        log.error("job failed", exc_info=problem)
        return JobFailed(
            job_id,
            ErrorKind.INTERNAL,
            "Something went wrong inside the engine.",
            "Try again; if it happens again, copy the details and report them.",
            f"{type(problem).__name__}: {problem}",
        )
