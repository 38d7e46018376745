"""The running turn: what is pushed is put on the tape and run while more is coming.

While a reply is decoding nothing is put on the tape: it waits until the reply has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlx_gemma4.session.live import (
    FrameNote,
    LiveInput,
    LiveState,
    Placement,
    Renamed,
    Soft,
    Tokens,
)
from mlx_gemma4.session.media import MediaMemory
from mlx_gemma4.session.runner import Runner
from mlx_gemma4.session.script import LiveTurn
from mlx_gemma4.session.talk import Talk
from mlx_gemma4.session.tape import Tape

log = logging.getLogger(__name__)

LIVE_BATCH = 16
"""Soft tokens of an open clip that wait before they are run: 0.64 s of sound."""
END_ROOM = 256
"""Rows the KV cache has free while a turn runs. What is run between the last sample and the first
token (a waiting batch, the newest frame, the turn's markup) must not make it grow: that copies it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class FeedMark:
    """A moment of a running turn."""

    live: LiveState
    queued: tuple[Placement, ...]
    turn_start: int | None


class Feed:
    """Takes sound, frames and words of the running turn.

    Args:
        live: encodes them.
        runner: of the session.
        talk: gets the turn when it ends.
        media: keeps what was fed.
    """

    def __init__(self, live: LiveInput, runner: Runner, talk: Talk, media: MediaMemory) -> None:
        self._live = live
        self._runner = runner
        self._talk = talk
        self._media = media
        self._queued: list[Placement] = []
        self._turn_start: int | None = None
        self._lifted: Tape | None = None
        self.paused = False
        """Whether a reply is decoding."""

    @property
    def clip_seconds(self) -> float:
        """Length of the open clip; 0 when none is open."""
        return self._live.clip_seconds

    def push_audio(self, pcm: np.ndarray, t: float) -> int:
        """Feed sound; see :meth:`Session.push_audio`."""
        placed, full = self._live.push_audio(np.asarray(pcm))
        if full:
            log.info("clip closed at 30 s, t=%.2f", t)
        self._place(placed)
        return full

    def push_frame(self, rgb: np.ndarray, t: float) -> FrameNote:
        """Encode a frame; see :meth:`Session.push_frame`."""
        note = self._live.push_frame(np.asarray(rgb), t)
        if note.key:
            self._media.keep_fed(note.key)
        return note

    def push_text(self, text: str) -> None:
        """Add words, behind the open clip and all waiting frames."""
        self.end_clip()
        self._place(self._live.place_frames(newest_only=False)[0])
        self._place([Tokens(tuple(self._talk.writer.text(text.strip())))])

    def end_clip(self) -> None:
        """Close the open clip; its end is run with what follows, most often the answer."""
        self._place(self._live.end_clip(), run=False)

    def close(self, turn_id: str) -> None:
        """End the turn: close the clip, place the newest waiting frame, keep the soft tokens."""
        self._place(self._live.end_clip(), run=False)
        placed, notes = self._live.place_frames(newest_only=True)
        for note in notes:
            log.debug("frame t=%.2f %s", note.t, note.fate)
        self._place(placed, run=False)
        if self._turn_start is None:
            return
        self._talk.add_turn(LiveTurn(turn_id, self._runner.tape.part(self._turn_start)))
        self._turn_start = None

    def drop(self) -> None:
        """Forget the open clip, waiting frames and everything queued."""
        self._live.drop()
        self._queued.clear()
        self._turn_start = None

    def lift(self) -> None:
        """Take the running turn off the tape, because what stands before it is to change."""
        if self._turn_start is not None:
            self._lifted = self._runner.tape.part(self._turn_start)
            self._turn_start = None

    def lay_down(self) -> None:
        """Put the turn of :meth:`lift` behind what the tape holds now; it is run again."""
        lifted, self._lifted = self._lifted, None
        if lifted is not None:
            self._begun().append_tape(lifted)

    def held_keys(self) -> Iterator[str]:
        """Content keys of what waits to be placed."""
        yield from (note.key for note in self._live.waiting)
        yield from (item.key for item in self._queued if not isinstance(item, Tokens))
        yield from (run.key for run in (self._lifted.runs if self._lifted else ()))

    def forget_view(self) -> None:
        """Feed the next frame whatever it shows."""
        self._live.forget_view()

    def make_room(self) -> None:
        """A reply has ended: room for what was pushed meanwhile and for the end of a turn."""
        waiting = sum(item.amount for item in self._queued if isinstance(item, Soft))
        self._runner.reserve(END_ROOM + waiting)

    def mark(self) -> FeedMark:
        """Remember this moment."""
        return FeedMark(self._live.mark(), tuple(self._queued), self._turn_start)

    def rollback(self, mark: FeedMark) -> None:
        """Return to a moment: the clip that was open then is open again."""
        self._live.rollback(mark.live)
        self._queued = list(mark.queued)
        self._turn_start = mark.turn_start

    def _place(self, placed: Sequence[Placement], *, run: bool = True) -> None:
        """Put soft tokens on the tape, unless a reply is decoding.

        Args:
            placed: what to put there.
            run: whether to run what is on the tape once a batch is together.
        """
        self._queued += placed
        for item in placed:
            if isinstance(item, Renamed):  # now: what waits for a reply's end may be evicted
                self._media.keep_fed(item.key)
        if self.paused or not self._queued:
            return
        runner, tape = self._runner, self._begun()
        queued, self._queued = self._queued, []
        for item in queued:
            if isinstance(item, Soft):
                tape.append_soft(*item)
            elif isinstance(item, Renamed):
                tape.rename_last(item.key)
            else:
                tape.append_tokens(item.ids)
        if run and runner.pending >= LIVE_BATCH:
            runner.advance()
            runner.reserve(END_ROOM)

    def _begun(self) -> Tape:
        """The tape, with the header of the user's turn on it."""
        if self._turn_start is None:
            if not len(self._runner.tape):
                self._runner.replace(self._talk.start())
            self._runner.tape.append_tokens(self._talk.open_user_turn())
            self._turn_start = len(self._runner.tape)
            self._runner.reserve(END_ROOM)
        return self._runner.tape
