"""The live job: one open session, fed while the person speaks. Runs on the MLX thread.

A small scheduler: all waiting commands first, in order of arrival (so a stop waits for no further
step of a reply; a camera frame is passed over if a newer one waits), then one step of the running
reply, then one step of what never stands in front of an answer: writing down what was said, and
making room in the context between turns.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from app.core import commands
from app.core.commands import LiveReply, LiveStart, ReplyOptions
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Channel,
    EarLost,
    Event,
    FinishReason,
    FrameSeen,
    LiveContext,
    LiveReady,
    LiveReplyFinished,
    LiveReplyStarted,
    LiveTiming,
    Notice,
    TextDelta,
    TurnTranscribed,
)
from app.engine.jobs import JobContext

log = logging.getLogger(__name__)

_MARKS_KEPT = 256
_LOOK_AROUND_S = 1.0
_DONE = object()


class StreamingSession(Protocol):
    """What the live job uses of `mlx_gemma4.Session` (through `app.engine.live_session`)."""

    @property
    def hears(self) -> bool:
        """Sound may be pushed."""
        ...

    @property
    def sees(self) -> bool:
        """Frames may be pushed."""
        ...

    @property
    def ear(self) -> str:
        """Name of the second model that hears for the main one, "" where there is none."""
        ...

    @property
    def turn_key(self) -> str:
        """Names the newest answered turn, for `transcribe`."""
        ...

    def push_audio(self, pcm: np.ndarray, t: float) -> None:
        """Sound of the open clip."""
        ...

    def push_frame(self, rgb: np.ndarray, t: float) -> bool:
        """A camera frame; False if it shows nothing new."""
        ...

    def push_text(self, text: str) -> None:
        """Typed words of the open turn."""
        ...

    def end_clip(self) -> None:
        """Close the open clip."""
        ...

    def mark(self) -> Any:
        """Remember this moment."""
        ...

    def rollback(self, mark: Any) -> None:
        """Return to a moment."""
        ...

    def reply(self, options: ReplyOptions) -> Iterator[Piece]:
        """Answer the open turn."""
        ...

    def cut_reply(self, chars: int) -> None:
        """Keep what was heard."""
        ...

    def transcribe(self, turn_key: str, clips: list[np.ndarray]) -> Iterator[str]:
        """Pieces of text as they are decoded, one step at a time."""
        ...

    def prepare_tidy(self) -> Iterator[None]:
        """Whatever `tidy` will need (captions of old pictures), one step at a time."""
        ...

    def tidy(self) -> str:
        """Shorten old turns if the context runs full; says what was done, or nothing."""
        ...

    def drop_ear(self) -> None:
        """Free the second model."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens in the context."""
        ...

    @property
    def context_tokens(self) -> int:
        """Room for tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of a reply: text, or its end with the reason.

    prefill_s: where the session knows it; else the time to the first step stands for it. notice:
    one sentence for the user where the turn could not be answered; marks made before are void.
    """

    text: str = ""
    thought: bool = False
    reason: FinishReason | None = None
    prefill_s: float = 0.0
    notice: str = ""


@dataclass(slots=True)
class _Reply:
    number: int
    steps: Iterator[Piece]
    asked: float
    encode_s: float
    started: bool = False


@dataclass(slots=True)
class _Writing:
    turn: int
    steps: Iterator[str]
    text: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A turn that is over: its number, the session's name for it, its clips."""

    turn: int
    key: str
    clips: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Marked:
    """A moment of the session, and whether a turn was open then."""

    state: Any
    open: bool


class LiveJob:
    """Runs one `LiveStart` until `LiveEnd` or cancel.

    Args:
        session: the open session, its messages already synced.
        job: the command that started it.
        context: brings later commands and the cancel flag.
        memory: how short memory is: "", "warning" or "critical"; asked after every step.
    """

    def __init__(
        self,
        session: StreamingSession,
        job: LiveStart,
        context: JobContext,
        memory: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._session, self._job, self._context = session, job, context
        self._memory, self._clock = memory, clock
        self._waiting: deque[Any] = deque()
        self._marks: dict[int, _Marked] = {}
        self._reply: _Reply | None = None
        self._writing: _Writing | None = None
        self._preparing: Iterator[None] | None = None
        self._to_write: deque[_Ended] = deque()
        self._turn_open = self._tidy_due = False
        self._encode_s = 0.0
        self._ended = False

    def run(self) -> Iterator[Event]:
        """The job's events."""
        session = self._session
        yield LiveReady(self._job.job_id, session.hears, session.sees, session.ear)
        try:
            while not self._ended and not self._context.cancelled():
                self._collect()
                if self._waiting:
                    yield from self._obey(self._waiting.popleft())
                elif self._reply:
                    yield from self._step_reply()
                else:
                    yield from self._idle()
                yield from self._relieve()
        finally:
            self._close_steps()

    def _relieve(self) -> Iterator[Event]:
        """Where memory runs short the ear goes first, the conversation only after it."""
        level = self._memory()
        if level and self._session.ear:
            label = self._session.ear
            self._session.drop_ear()
            yield EarLost(self._job.job_id, label)
        elif level == "critical":
            raise AppError(
                "Live mode was stopped because this machine ran out of memory.",
                kind=ErrorKind.OUT_OF_MEMORY,
                remedy="Close other apps, or use a smaller model or a shorter chat memory.",
            )

    # -- commands -----------------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        work = self._waiting or self._reply or self._writing or self._to_write or self._preparing
        return bool(work) or self._may_tidy

    @property
    def _may_tidy(self) -> bool:
        """Only between turns: what a turn has fed so far is not written anywhere else."""
        return self._tidy_due and not self._turn_open

    def _collect(self) -> None:
        """Take what arrived; wait for it only if there is nothing else to do."""
        try:
            wait = None if self._busy else _LOOK_AROUND_S
            self._waiting.append(self._context.inbox.get(block=not self._busy, timeout=wait))
            while True:
                self._waiting.append(self._context.inbox.get_nowait())
        except queue.Empty:
            return

    def _obey(self, command: Any) -> Iterator[Event]:
        started = self._clock()
        if isinstance(command, _OPENS_TURN):
            self._turn_open = True
        match command:
            case commands.PushAudio():
                self._session.push_audio(self._waiting_sound(command), command.t)
                self._encode_s = self._clock() - started
            case commands.PushFrame():
                yield self._push_frame(command)
            case commands.EndClip():
                self._session.end_clip()
                self._encode_s += self._clock() - started
            case commands.Mark():
                self._remember(command.mark)
            case commands.Rollback():
                yield from self._rollback(command.mark)
            case LiveReply():
                yield from self._start_reply(command)
            case commands.StopReply():
                yield from self._end_reply(FinishReason.CANCELLED)
            case commands.CutReply():
                self._session.cut_reply(command.chars)
            case commands.TranscribeTurn():
                self._end_turn(command)
            case commands.LiveEnd() | None:
                self._ended = True

    def _waiting_sound(self, first: commands.PushAudio) -> np.ndarray:
        """This sound and what directly follows it: one run of the encoder catches up on a jam."""
        blocks = [first.pcm]
        while self._waiting and isinstance(self._waiting[0], commands.PushAudio):
            blocks.append(self._waiting.popleft().pcm)
        return np.frombuffer(b"".join(blocks), "<f4")

    def _push_frame(self, command: commands.PushFrame) -> FrameSeen:
        newer = any(isinstance(c, commands.PushFrame) for c in self._waiting)
        if newer:
            return FrameSeen(self._job.job_id, command.t, skipped=True)
        rgb = np.frombuffer(command.rgb, np.uint8).reshape(command.height, command.width, 3)
        fed = self._session.push_frame(rgb, command.t)
        return FrameSeen(self._job.job_id, command.t, skipped=not fed)

    def _remember(self, number: int) -> None:
        """Marks are made inside turns, the first one right before anything is fed."""
        self._marks[number] = _Marked(self._session.mark(), self._turn_open)
        self._turn_open = True
        while len(self._marks) > _MARKS_KEPT:
            del self._marks[min(self._marks)]

    def _rollback(self, number: int) -> Iterator[Event]:
        yield from self._end_reply(FinishReason.CANCELLED)
        mark = self._marks.get(number)
        if mark is None:
            log.error("unknown mark %d", number)
            return
        self._session.rollback(mark.state)
        self._turn_open = mark.open
        for later in [n for n in self._marks if n > number]:
            del self._marks[later]

    # -- replies ------------------------------------------------------------------------------

    def _start_reply(self, command: LiveReply) -> Iterator[Event]:
        yield from self._end_reply(FinishReason.CANCELLED)
        if command.text:
            self._session.push_text(command.text)
        options = command.options
        steps = self._session.reply(options)
        self._reply = _Reply(command.reply, steps, self._clock(), self._encode_s)
        self._encode_s = 0.0
        yield LiveReplyStarted(self._job.job_id, command.reply)

    def _step_reply(self) -> Iterator[Event]:
        reply = self._reply
        assert reply is not None
        piece = next(reply.steps, Piece(reason=FinishReason.STOP))
        if not reply.started and (piece.text or piece.reason):
            reply.started = True
            first = self._clock() - reply.asked
            prefill = piece.prefill_s or first
            yield LiveTiming(self._job.job_id, reply.number, reply.encode_s, prefill, first)
        if piece.text:
            channel = Channel.THOUGHT if piece.thought else Channel.ANSWER
            yield TextDelta(self._job.job_id, piece.text, channel, reply=reply.number)
        if piece.notice:
            self._marks.clear()
            yield Notice(self._job.job_id, piece.notice)
        if piece.reason:
            yield from self._end_reply(piece.reason)

    def _end_reply(self, reason: FinishReason) -> Iterator[Event]:
        reply, self._reply = self._reply, None
        if reply is not None:
            _close(reply.steps)
            yield LiveReplyFinished(self._job.job_id, reply.number, reason)

    # -- in spare time ------------------------------------------------------------------------

    def _end_turn(self, command: commands.TranscribeTurn) -> None:
        self._turn_open = False
        self._tidy_due = True
        self._preparing = None
        self._to_write.append(_Ended(command.turn, self._session.turn_key, command.clips))

    def _idle(self) -> Iterator[Event]:
        if self._writing is not None:
            yield from self._write(self._writing)
        elif self._to_write:
            ended = self._to_write.popleft()
            clips = [np.frombuffer(clip, "<f4") for clip in ended.clips]
            if clips:
                self._writing = _Writing(ended.turn, self._session.transcribe(ended.key, clips))
            else:
                self._preparing = self._session.prepare_tidy()
        elif self._preparing is not None:
            if next(self._preparing, _DONE) is _DONE:
                self._preparing = None
        elif self._may_tidy:
            yield from self._tidy()

    def _write(self, writing: _Writing) -> Iterator[Event]:
        text = next(writing.steps, None)
        if text is not None:
            writing.text.append(text)
            return
        self._writing = None
        yield TurnTranscribed(self._job.job_id, writing.turn, "".join(writing.text).strip())
        self._preparing = self._session.prepare_tidy()

    def _tidy(self) -> Iterator[Event]:
        """Between turns: keep the context bounded and tell how full it is."""
        self._tidy_due = False
        note = self._session.tidy()
        if note:
            self._marks.clear()
            yield Notice(self._job.job_id, note)
        tokens, room = self._session.tokens, self._session.context_tokens
        yield LiveContext(self._job.job_id, tokens, room, note)

    def _close_steps(self) -> None:
        if self._reply:
            _close(self._reply.steps)
        if self._writing:
            _close(self._writing.steps)
        if self._preparing:
            _close(self._preparing)


_OPENS_TURN = (commands.PushAudio, commands.PushFrame, LiveReply)


def _close(steps: Iterator[Any]) -> None:
    close = getattr(steps, "close", None)
    if close is not None:
        close()
