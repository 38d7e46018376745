"""The engine as the window sees it: commands in, one signal with typed events out.

Supervises the engine's life: handshake, heartbeat, cancel and then kill after a grace period, one
automatic restart. Whatever happens to the engine, every submitted job gets its one end and every
question its one answer. Lives on the window's thread; the host's reader thread only posts to it.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

from app.core.commands import (
    Cancel,
    CheckSchema,
    Command,
    Describe,
    EngineOptions,
    Job,
    ListLocal,
    Ping,
    Plan,
    Query,
)
from app.core.conversation import MediaKind
from app.core.errors import ErrorKind
from app.core.events import (
    Described,
    EngineStarted,
    EngineState,
    EngineStopped,
    FinishReason,
    JobFailed,
    JobFinished,
    LocalModels,
    MemoryPressure,
    ModelReady,
    Planned,
    Pong,
    SchemaChecked,
    TextDelta,
    TokensCounted,
)
from app.core.paths import CRASH_LOG
from app.services.engine_host import EngineHost, make_host

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the supervisor is, in seconds; flush_ms: 34 ms are 30 repaints a second."""

    heartbeat: float = 2.0
    silence: float = 30.0
    handshake: float = 60.0
    cancel_grace: float = 5.0
    shutdown_grace: float = 4.0
    flush_ms: int = 34


class EngineClient(QObject):
    """One engine over all its lives.

    Signals: `received(object)` every event of `app.core.events`, text pieces joined to at most 30 a
    second; `state_changed(EngineState)`.
    """

    received = Signal(object)
    state_changed = Signal(object)
    _posted = Signal()

    def __init__(
        self,
        options: EngineOptions,
        *,
        in_process: bool = False,
        timing: Timing | None = None,
        parent: QObject | None = None,
        make: Callable[..., EngineHost] = make_host,
    ) -> None:
        super().__init__(parent)
        self._options = options
        self._in_process = in_process
        self._timing = timing or Timing()
        self._make = make
        self._host: EngineHost | None = None
        self._life = 0
        self._state = EngineState.STOPPED
        self._closing = False
        self._killed_by_us = ""
        self._failures = 0
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Command] = []
        self._questions: dict[str, tuple[Query, int]] = {}
        self._inbox: deque[tuple[int, object]] = deque()
        self._texts: dict[tuple[str, str, int, int], TextDelta] = {}
        self._graces: dict[str, QTimer] = {}
        self._last_sign = 0.0
        self._memory = _MemorySigns()
        self._ping_number = 0
        self._posted.connect(self._drain, Qt.ConnectionType.QueuedConnection)
        self._flusher = QTimer(self, interval=self._timing.flush_ms, singleShot=True)
        self._flusher.timeout.connect(self._flush)
        self._heart = QTimer(self, interval=int(self._timing.heartbeat * 1000))
        self._heart.timeout.connect(self._beat)

    # --- life ------------------------------------------------------------------------------------

    @property
    def state(self) -> EngineState:
        """The engine's state as the window shows it."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The engine's process id; None where it has none."""
        return getattr(self._host, "pid", None)

    def start(self) -> None:
        """Start the engine; `EngineStarted` follows."""
        if self._host is None:
            self._closing = False
            self._begin(EngineState.STARTING)

    def restart(self) -> None:
        """Start again after it was given up."""
        self._failures = 0
        self.start()

    def stop(self) -> None:
        """End the engine in order and wait for it (bounded by the grace period, twice)."""
        self._closing = True
        self._heart.stop()
        if self._host is not None:
            self._host.shut_down(self._timing.shutdown_grace)
            self._drain()

    def _begin(self, state: EngineState) -> None:
        self._life += 1
        life = self._life
        self._killed_by_us = ""
        self._last_sign = time.monotonic()
        self._memory = _MemorySigns()
        self._host = self._make(self._options, in_process=self._in_process)
        self._set_state(state)
        self._host.start(
            lambda event: self._post(life, event), lambda code: self._post(life, _End(code))
        )
        self._heart.start()

    def _set_state(self, state: EngineState) -> None:
        if state is not self._state:
            self._state = state
            self.state_changed.emit(state)

    # --- commands --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Start a job. It ends with exactly one `JobFinished` or `JobFailed`, whatever happens."""
        self._jobs[job.job_id] = job
        if self._state in (EngineState.FAILED, EngineState.STOPPED):
            QTimer.singleShot(0, self, lambda: self._fail_job(job.job_id, _NOT_RUNNING))
            return
        self.send(job)

    def send(self, command: Command) -> None:
        """Send any command; kept until the handshake is done."""
        if self._state is EngineState.RUNNING and self._host is not None:
            self._host.send(command)
        elif self._state in (EngineState.STARTING, EngineState.RESTARTING):
            self._waiting.append(command)

    def ask(self, query: Query) -> None:
        """Ask a question; its answer comes as an event, also after a restart or the last death."""
        if self._state is EngineState.FAILED:
            QTimer.singleShot(0, self, lambda: self.received.emit(_no_answer(query, _NO_ENGINE)))
            return
        self._questions[query.query_id] = (query, 0)
        if self._state is EngineState.RUNNING:
            self.send(query)

    def cancel(self, job_id: str) -> None:
        """Stop a job; the engine is killed if it does not obey within the grace period."""
        if job_id not in self._jobs or job_id in self._graces:
            return
        if self._state is not EngineState.RUNNING:  # nothing to wait for: it was never sent
            self._waiting = [c for c in self._waiting if getattr(c, "job_id", "") != job_id]
            QTimer.singleShot(0, self, lambda: self._take(_cancelled(job_id)))
            return
        self.send(Cancel(job_id))
        timer = QTimer(self, interval=int(self._timing.cancel_grace * 1000), singleShot=True)
        timer.timeout.connect(self._on_grace_over)
        self._graces[job_id] = timer
        timer.start()

    @Slot()
    def _on_grace_over(self) -> None:
        self._kill("The engine did not stop when asked and was ended.")

    def _kill(self, why: str) -> None:
        if self._host is not None:
            log.warning("killing the engine: %s", why)
            self._killed_by_us = why
            self._host.kill()

    @Slot()
    def _beat(self) -> None:
        limit = self._timing.silence
        if self._state is not EngineState.RUNNING:
            limit = self._timing.handshake
        if time.monotonic() - self._last_sign > limit:
            self._kill("The engine no longer answered and was ended.")
        elif self._state is EngineState.RUNNING:
            self._ping_number += 1
            self.send(Ping(self._ping_number))

    # --- events ----------------------------------------------------------------------------------

    def _post(self, life: int, event: object) -> None:
        """On the host's reader thread: hand over to the window's thread."""
        self._inbox.append((life, event))
        self._posted.emit()

    @Slot()
    def _drain(self) -> None:
        while self._inbox:
            life, event = self._inbox.popleft()
            if life == self._life:
                self._take(event)

    def _take(self, event: object) -> None:
        self._last_sign = time.monotonic()
        self._memory.see(event)
        match event:
            case TextDelta():
                self._collect(event)
                return
            case _End():
                self._on_end(event.code)
                return
            case EngineStarted():
                self._on_started()
            case Pong():
                pass
            case Planned() | Described() | TokensCounted() | LocalModels() | SchemaChecked():
                if self._questions.pop(event.query_id, None) is None:
                    return
            case JobFinished() | JobFailed():
                if not self._forget(event.job_id):
                    return
            case ModelReady():
                self._failures = 0
        if hasattr(event, "job_id"):
            self._flush()  # text said before this event belongs before it
        self.received.emit(event)

    def _collect(self, delta: TextDelta) -> None:
        """Join pieces of the same text until the next flush."""
        if delta.job_id not in self._jobs:
            return
        key = (delta.job_id, delta.channel.value, delta.page, delta.reply)
        known = self._texts.get(key)
        if known is None and self._texts:
            self._flush()  # the order between channels is part of the answer
        text = (known.text if known else "") + delta.text
        self._texts[key] = TextDelta(delta.job_id, text, delta.channel, delta.page, delta.reply)
        if not self._flusher.isActive():
            self._flusher.start()

    @Slot()
    def _flush(self) -> None:
        self._flusher.stop()
        texts, self._texts = self._texts, {}
        for delta in texts.values():
            self.received.emit(delta)

    def _forget(self, job_id: str) -> bool:
        timer = self._graces.pop(job_id, None)
        if timer is not None:
            timer.stop()
            timer.deleteLater()
        self._failures = 0
        return self._jobs.pop(job_id, None) is not None

    def _on_started(self) -> None:
        self._set_state(EngineState.RUNNING)
        waiting, self._waiting = self._waiting, []
        for query, _ in self._questions.values():
            self.send(query)
        for command in waiting:
            self.send(command)

    def _on_end(self, code: int | None) -> None:
        self._heart.stop()
        self._host = None
        self._flush()
        if self._closing:
            self._set_state(EngineState.STOPPED)
            return
        self._failures += 1
        again = self._failures <= 1
        reason, kind = self._cause(code)
        log.error("engine ended with %s: %s", code, reason)
        self._set_state(EngineState.RESTARTING if again else EngineState.FAILED)
        self.received.emit(EngineStopped(code, again, reason, kind))
        self._fail_all(_remedy(kind), reason, kind)
        self._waiting.clear()
        self._drop_hopeless_questions(again)
        if again:
            self._begin(EngineState.RESTARTING)

    def _fail_all(self, remedy: str, reason: str, kind: ErrorKind) -> None:
        for job_id in list(self._jobs):
            self._fail_job(job_id, JobFailed(job_id, kind, reason, remedy))

    def _fail_job(self, job_id: str, failure: JobFailed) -> None:
        failures = self._failures
        if self._forget(job_id):
            self.received.emit(
                JobFailed(job_id, failure.kind, failure.message, failure.remedy, failure.detail)
            )
        self._failures = failures

    def _drop_hopeless_questions(self, again: bool) -> None:
        """A question that was open at two deaths may be their cause: answer it with the problem."""
        for query_id, (query, deaths) in list(self._questions.items()):
            if again and deaths == 0:
                self._questions[query_id] = (query, 1)
            else:
                del self._questions[query_id]
                self.received.emit(_no_answer(query))

    def _cause(self, code: int | None) -> tuple[str, ErrorKind]:
        if self._killed_by_us:
            return self._killed_by_us, ErrorKind.ENGINE_STOPPED
        if _ran_out_of_memory(self._options.log_folder):
            return "The engine stopped: it ran out of memory.", ErrorKind.OUT_OF_MEMORY
        if code == -signal.SIGKILL:
            return self._memory.why_killed()
        return "The engine stopped unexpectedly.", ErrorKind.ENGINE_STOPPED


# A process that holds this share of all memory is the first the system ends when it runs short.
_LARGE_SHARE = 0.6
_PRESSURE_SECONDS = 60.0


class _MemorySigns:
    """What one life of the engine told about memory: tells a want of it from any other kill."""

    def __init__(self) -> None:
        self._machine = 0
        self._held = 0
        self._pressed = -math.inf

    def see(self, event: object) -> None:
        match event:
            case EngineStarted():
                self._machine = event.memory
            case Pong():
                self._held = max(event.process_memory, event.active_memory + event.cache_memory)
            case MemoryPressure():
                self._pressed = time.monotonic()

    def why_killed(self) -> tuple[str, ErrorKind]:
        """Words and kind for an engine that was killed from outside."""
        large = self._machine > 0 and self._held > _LARGE_SHARE * self._machine
        if large or time.monotonic() - self._pressed < _PRESSURE_SECONDS:
            return "The engine stopped: it ran out of memory.", ErrorKind.OUT_OF_MEMORY
        return "The engine was stopped by the system.", ErrorKind.ENGINE_STOPPED


@dataclass(frozen=True, slots=True)
class _End:
    code: int | None


_NOT_RUNNING = JobFailed(
    "", ErrorKind.ENGINE_STOPPED, "The engine is not running.", "Restart the engine and try again."
)


def _remedy(kind: ErrorKind) -> str:
    if kind is ErrorKind.OUT_OF_MEMORY:
        return "Your message is kept: try again, or use a smaller model or a shorter chat memory."
    return "Your message is kept: try again."


def _cancelled(job_id: str) -> JobFinished:
    return JobFinished(job_id, FinishReason.CANCELLED)


_UNSAFE = "It could not be opened safely."
_NO_ENGINE = "The engine is not running, so it could not be looked at."


def _no_answer(query: Query, problem: str = _UNSAFE) -> object:
    match query:
        case Plan():
            return Planned(query.query_id, query.source, None, problem)
        case Describe():
            return Described(query.query_id, query.path, MediaKind.UNKNOWN, problem=problem)
        case ListLocal():
            return LocalModels(query.query_id, ())
        case CheckSchema():
            return SchemaChecked(query.query_id, "The schema could not be checked.")
        case _:
            return TokensCounted(query.query_id, 0, 0, False)


# What Metal, malloc and Python say before they give up for want of memory.
_MEMORY_WORDS = ("Insufficient Memory", "OutOfMemory", "bad_alloc", "MemoryError", "malloc: can't")
_CRASH_TAIL_BYTES = 20_000


def _ran_out_of_memory(log_folder: str) -> bool:
    if not log_folder:
        return False
    try:
        with (Path(log_folder) / CRASH_LOG).open("rb") as log_file:
            tail = log_file.read(_CRASH_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return False
    return any(word in tail for word in _MEMORY_WORDS)
