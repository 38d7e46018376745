"""What was sent of the newest turn, so that it can be taken back, written down or sent again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from app.live.buffers import RATE, Frame
from app.live.hearing import Hearing
from app.live.ports import Brain


@dataclass(slots=True)
class OpenTurn:
    """The newest turn. Spans are sample numbers; marks are numbers known to the engine.

    clips: closed ones; open_from, open_to: what was sent of the open one. before_close and
    closed_mark: the states before and after the last clip was closed.
    """

    number: int
    start_mark: int
    typed: str = ""
    clips: list[tuple[int, int]] = field(default_factory=list)
    open_from: int | None = None
    open_to: int = 0
    overlap: int = 0
    before_close: int | None = None
    closed_mark: int | None = None
    ended: bool = False

    @property
    def seconds(self) -> float:
        """Sound of the turn, without what was sent twice."""
        spans = sum(stop - start for start, stop in self.clips) - self.overlap
        if self.open_from is not None:
            spans += self.open_to - self.open_from
        return spans / RATE


class EngineLink:
    """Tells the engine what to do, unless it is gone: then the open turn is kept to be sent again.

    Args:
        brain: the engine's session.
        hearing: where the sound is.
    """

    def __init__(self, brain: Brain, hearing: Hearing) -> None:
        self.lost = False
        self._brain, self._hearing = brain, hearing
        self._marks = 0

    def tell(self, call: Callable[[Brain], None]) -> None:
        """Do it now, or not at all while the engine is gone."""
        if not self.lost:
            call(self._brain)

    def mark(self) -> int:
        """Remember the engine's present state under a new number."""
        self._marks += 1
        number = self._marks
        self.tell(lambda brain: brain.mark(number))
        return number

    def sound(self, turn: OpenTurn, start: int, stop: int) -> None:
        """Send samples [start, stop), opening a clip if none is open."""
        if turn.open_from is None:
            turn.open_from = start
        turn.open_to = stop
        self._send(start, stop)

    def close_clip(self, turn: OpenTurn, start: int, stop: int, tail: int) -> None:
        """Close the open clip [start, stop) with `tail` samples of silence."""
        if tail:
            silence, t = np.zeros(tail, np.float32), self._hearing.time_of(stop)
            self.tell(lambda brain: brain.audio(silence, t))
        self.tell(lambda brain: brain.end_clip())
        turn.clips.append((start, stop))
        turn.open_from = None
        turn.closed_mark = self.mark()

    def reopen(self, turn: OpenTurn, *, same_clip: bool) -> None:
        """Take back what followed the last speech: the answer and, if asked, the clip's end."""
        back_to = turn.before_close if same_clip else turn.closed_mark
        if same_clip:
            turn.open_from, turn.open_to = turn.clips.pop()
        if back_to is not None:
            self.tell(lambda brain: brain.rollback(back_to))
        turn.ended = False

    def send_again(self, turn: OpenTurn, frame: Frame | None) -> None:
        """Build the turn up in a fresh engine, in the same order."""
        turn.start_mark = self.mark()
        if frame:
            self.tell(lambda brain: brain.frame(frame.rgb, frame.t))
        for start, stop in turn.clips:
            self._send(start, stop)
            self.tell(lambda brain: brain.end_clip())
        turn.closed_mark = self.mark()
        if turn.open_from is not None:
            self._send(turn.open_from, turn.open_to)

    def sounds(self, turn: OpenTurn) -> Iterator[np.ndarray]:
        """The turn's closed clips, each sample once."""
        sent = 0
        for start, stop in turn.clips:
            yield self._hearing.ring.read(max(start, sent), stop)
            sent = stop

    def _send(self, start: int, stop: int) -> None:
        pcm, t = self._hearing.ring.read(start, stop), self._hearing.time_of(start)
        self.tell(lambda brain: brain.audio(pcm, t))
