"""The live job: one open session, fed while the person speaks. Runs on the MLX thread.

A small scheduler: commands in order of arrival first (stop before everything, a camera frame only
if no newer one waits), then one step of the running reply, then one step of writing down what was
said, which never stands in front of an answer.
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
from app.core.events import (
    Channel,
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


class StreamingSession(Protocol):
    """What the live job uses of `mlx_gemma4.Session` (through `app.engine.live_session`)."""

    hears: bool
    sees: bool

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

    def transcribe(self, clips: list[np.ndarray]) -> Iterator[str]:
        """Pieces of text as they are decoded, one step at a time."""
        ...

    def tidy(self) -> str:
        """Shorten old turns if the context runs full; says what was done, or nothing."""
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

    prefill_s: where the session knows it; else the time to the first step stands for it.
    """

    text: str = ""
    thought: bool = False
    reason: FinishReason | None = None
    prefill_s: float = 0.0


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


class LiveJob:
    """Runs one `LiveStart` until `LiveEnd` or cancel.

    Args:
        session: the open session, its messages already synced.
        job: the command that started it.
        context: brings later commands and the cancel flag.
    """

    def __init__(
        self,
        session: StreamingSession,
        job: LiveStart,
        context: JobContext,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._session, self._job, self._context = session, job, context
        self._clock = clock
        self._waiting: deque[Any] = deque()
        self._marks: dict[int, Any] = {}
        self._reply: _Reply | None = None
        self._writing: _Writing | None = None
        self._to_write: deque[commands.TranscribeTurn] = deque()
        self._encode_s = 0.0
        self._ended = False

    def run(self) -> Iterator[Event]:
        """The job's events."""
        yield LiveReady(self._job.job_id, self._session.hears, self._session.sees)
        try:
            while not self._ended and not self._context.cancelled():
                self._collect()
                if self._waiting:
                    yield from self._obey(self._waiting.popleft())
                elif self._reply:
                    yield from self._step_reply()
                else:
                    yield from self._idle()
        finally:
            self._close_steps()

    # -- commands -----------------------------------------------------------------------------

    @property
    def _busy(self) -> bool:
        return bool(self._waiting or self._reply or self._writing or self._to_write)

    def _collect(self) -> None:
        """Take what arrived; wait for it only if there is nothing else to do."""
        try:
            self._waiting.append(self._context.inbox.get(block=not self._busy))
            while True:
                self._waiting.append(self._context.inbox.get_nowait())
        except queue.Empty:
            return

    def _obey(self, command: Any) -> Iterator[Event]:
        started = self._clock()
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
                self._to_write.append(command)
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
        self._marks[number] = self._session.mark()
        while len(self._marks) > _MARKS_KEPT:
            del self._marks[min(self._marks)]

    def _rollback(self, number: int) -> Iterator[Event]:
        yield from self._end_reply(FinishReason.CANCELLED)
        mark = self._marks.get(number)
        if mark is None:
            log.error("unknown mark %d", number)
            return
        self._session.rollback(mark)
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
            yield LiveTiming(self._job.job_id, reply.number, reply.encode_s, piece.prefill_s, first)
        if piece.text:
            channel = Channel.THOUGHT if piece.thought else Channel.ANSWER
            yield TextDelta(self._job.job_id, piece.text, channel, reply=reply.number)
        if piece.reason:
            yield from self._end_reply(piece.reason)

    def _end_reply(self, reason: FinishReason) -> Iterator[Event]:
        reply, self._reply = self._reply, None
        if reply is not None:
            _close(reply.steps)
            yield LiveReplyFinished(self._job.job_id, reply.number, reason)

    # -- in spare time ------------------------------------------------------------------------

    def _idle(self) -> Iterator[Event]:
        if self._writing is None and self._to_write:
            command = self._to_write.popleft()
            clips = [np.frombuffer(clip, "<f4") for clip in command.clips]
            self._writing = _Writing(command.turn, self._session.transcribe(clips))
        if self._writing is not None:
            yield from self._write()

    def _write(self) -> Iterator[Event]:
        writing = self._writing
        assert writing is not None
        text = next(writing.steps, None)
        if text is not None:
            writing.text.append(text)
            return
        self._writing = None
        yield TurnTranscribed(self._job.job_id, writing.turn, "".join(writing.text).strip())
        if not self._to_write:
            yield from self._tidy()

    def _tidy(self) -> Iterator[Event]:
        """Between turns: keep the context bounded and tell how full it is."""
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


def _close(steps: Iterator[Any]) -> None:
    close = getattr(steps, "close", None)
    if close is not None:
        close()
