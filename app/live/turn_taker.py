"""Whose turn is it? A state machine over judged windows of sound.

It owns no sound: it says which samples belong to a turn (`Send`), where clips close, when an
answer may be tried, when the turn is over and when speech made all that stale. Time is the number
of samples heard, so a half-hour talk runs in milliseconds under test. One thread.

States: waiting → (speech for `onset_s`) → speaking ⇄ pausing → (silence) → answered, in which the
turn can still be reopened until the answer becomes audible. Sound is never dropped: whatever is
said while an answer is decoded reopens the turn, whatever is said over the answer starts the next
one through `interrupt`.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from app.live.buffers import RATE
from app.live.endpointing import Endpointer
from app.live.signals import (
    ClipClosed,
    EndReason,
    LikelyEnd,
    Resumed,
    Send,
    Signal,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from app.live.vad import WINDOW, VoiceWindow


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """Spans in seconds; the waits of the endpointer are its own."""

    lead_in_s: float = 0.4
    tail_s: float = 0.4
    onset_s: float = 0.16
    onset_within_s: float = 0.32
    resume_s: float = 0.064
    shortest_speech_s: float = 0.25
    likely_end_s: float = 0.2
    clip_gap_s: float = 0.3
    clip_soft_s: float = 28.0
    clip_hard_s: float = 29.5
    clip_overlap_s: float = 0.5
    released_tail_s: float = 0.2
    released_most_s: float = 0.5
    tries_per_turn: int = 4
    turn_limit_s: float = 240.0


class _Phase(Enum):
    WAITING = auto()
    SPEAKING = auto()
    PAUSING = auto()
    ANSWERED = auto()


def _samples(seconds: float) -> int:
    return round(seconds * RATE)


class TurnTaker:
    """Feeds on `VoiceWindow`s in order and answers with signals."""

    def __init__(
        self, options: TurnOptions | None = None, endpointer: Endpointer | None = None
    ) -> None:
        self.options = options or TurnOptions()
        self.endpointer = endpointer or Endpointer()
        self.turn = 0
        self.revision = 0
        self.guarded = False
        """True while the answer is audible: speech then starts a turn only through `interrupt`."""
        self.finished = 0.5
        """How finished the phrase sounds; the owner may set it when a pause begins."""
        self._phase = _Phase.WAITING
        self._recent: deque[VoiceWindow] = deque(
            maxlen=max(1, round(self.options.onset_within_s * RATE / WINDOW))
        )
        self._now = self._last_sent = 0
        self._held_down = False
        self._released_at: int | None = None
        self._reset_turn(0)

    # -- what the owner may ask ---------------------------------------------------------------

    @property
    def in_turn(self) -> bool:
        """A turn is open (speaking or pausing)."""
        return self._phase in (_Phase.SPEAKING, _Phase.PAUSING)

    @property
    def user_speaking(self) -> bool:
        """Speech is going on right now."""
        return self._phase is _Phase.SPEAKING

    @property
    def pausing(self) -> bool:
        """The turn is open but silent."""
        return self._phase is _Phase.PAUSING

    @property
    def speech_end(self) -> int:
        """Where the last speech window of the turn ended."""
        return self._speech_end

    @property
    def clip_seconds(self) -> float:
        """Length of the open clip, 0 when none is open."""
        return (self._now - self._clip_start) / RATE if self._clip_open else 0.0

    @property
    def turn_start(self) -> int:
        """First sample of the newest turn."""
        return self._turn_start

    # -- what happens -------------------------------------------------------------------------

    def feed(self, window: VoiceWindow) -> list[Signal]:
        """Take the next window of sound."""
        self._now = window.stop
        self._recent.append(window)
        match self._phase:
            case _Phase.WAITING | _Phase.ANSWERED:
                return self._while_waiting()
            case _Phase.SPEAKING:
                return self._while_speaking(window)
            case _Phase.PAUSING:
                return self._while_pausing(window)

    def press(self) -> list[Signal]:
        """Push-to-talk goes down: a turn is open until `release`."""
        self._held_down, self._released_at = True, None
        if self.in_turn:
            return []
        if self._phase is _Phase.ANSWERED and not self.guarded:
            return self._reopen(self._now)
        return self._begin(self._now - _samples(self.options.lead_in_s))

    def release(self) -> list[Signal]:
        """Push-to-talk comes up: the turn ends after a short tail."""
        self._held_down = False
        if self.in_turn:
            self._released_at = self._now
        return []

    def interrupt(self, start: int) -> list[Signal]:
        """Speech over the answer was confirmed; it began near sample `start`."""
        if self.in_turn:
            return []
        self._phase = _Phase.WAITING
        self.guarded = False
        return self._begin(start - _samples(self.options.lead_in_s))

    def finish_turn(self) -> list[Signal]:
        """End the open turn now (the user asked for the answer)."""
        return self._end(EndReason.ASKED) if self.in_turn else []

    def drop_turn(self) -> list[Signal]:
        """Forget the open turn (microphone muted, live mode left)."""
        return self._drop() if self.in_turn else []

    def answer_audible(self) -> None:
        """The answer can be heard: the turn cannot be reopened any more."""
        if self._phase is _Phase.ANSWERED:
            self._phase = _Phase.WAITING
        self.guarded = True

    def answer_over(self) -> None:
        """The answer has ended or was given up."""
        if self._phase is _Phase.ANSWERED:
            self._phase = _Phase.WAITING
        self.guarded = False

    # -- phases -------------------------------------------------------------------------------

    def _while_waiting(self) -> list[Signal]:
        if self.guarded or not self._onset():
            return []
        start = self._onset_start()
        if self._phase is _Phase.ANSWERED:
            return self._reopen(start)
        return self._begin(start - _samples(self.options.lead_in_s))

    def _onset(self) -> bool:
        speech = sum(w.speech for w in self._recent) * WINDOW
        return speech >= _samples(self.options.onset_s)

    def _onset_start(self) -> int:
        for window in self._recent:
            if window.speech:
                return window.start
        return self._now

    def _begin(self, start: int) -> list[Signal]:
        self.turn += 1
        self._reset_turn(max(0, start, self._last_sent))
        speech = [w for w in self._recent if w.speech and w.start >= self._clip_start]
        self._spoken = len(speech) * WINDOW
        self._speech_end = speech[-1].stop if speech else self._now
        self._phase = _Phase.SPEAKING
        return [TurnStarted(self.turn, self._clip_start), *self._send()]

    def _reset_turn(self, start: int) -> None:
        self.revision = 0
        self._spoken = 0
        self._tries = 0
        self._speech_end = start
        self._tried = self._closed_for_pause = False
        self._resuming = 0
        self._turn_start = start
        self._clip_count = 0
        self._open_clip(start)

    def _open_clip(self, start: int) -> None:
        self._clip_count += 1
        self._clip_start = self._sent = start
        self._clip_open = self.turn > 0

    def _while_speaking(self, window: VoiceWindow) -> list[Signal]:
        signals = self._send()
        if window.speech:
            self._spoken += WINDOW
            self._speech_end = window.stop
        elif self._now - self._speech_end >= 2 * WINDOW:
            self._phase = _Phase.PAUSING
            self.finished = 0.5
        if self._released_at is not None:
            signals += self._after_release(0.0)
        return signals + self._limit_clip()

    def _while_pausing(self, window: VoiceWindow) -> list[Signal]:
        self._resuming = self._resuming + WINDOW if window.speech else 0
        if self._resuming >= _samples(self.options.resume_s):
            return self._resume(window)
        if not self._tried and not self._closed_for_pause:
            signals = self._send() + self._limit_clip()
        else:
            signals = []
        return signals + self._silence_grows()

    def _silence_grows(self) -> list[Signal]:
        silence = (self._now - self._speech_end) / RATE
        if self._released_at is not None:
            return self._after_release(silence)
        signals: list[Signal] = []
        if silence >= self.options.likely_end_s and self._may_try():
            self._tried = True
            signals.append(self._likely_end())
        gap = silence >= self.options.clip_gap_s and not self._closed_for_pause
        if gap and self._spoken >= _samples(self.options.shortest_speech_s):
            signals += self._close_for_pause()
        if not self._held_down and silence >= self.endpointer.wait(self.finished):
            signals += self._end(EndReason.SILENCE)
        return signals

    def _after_release(self, silence: float) -> list[Signal]:
        since = (self._now - (self._released_at or 0)) / RATE
        quiet = silence >= self.options.released_tail_s and since >= self.options.released_tail_s
        if quiet or since >= self.options.released_most_s:
            return self._end(EndReason.RELEASED)
        return []

    def _may_try(self) -> bool:
        enough = self._spoken >= _samples(self.options.shortest_speech_s)
        fresh = not self._tried and not self._closed_for_pause
        return (
            enough and fresh and not self._held_down and self._tries < self.options.tries_per_turn
        )

    def _likely_end(self) -> LikelyEnd:
        self._tries += 1
        return LikelyEnd(
            self.turn, self.revision, self._clip_count, self._clip_start, self._sent, self._tail()
        )

    def _tail(self) -> int:
        """Silence to add so that the clip ends `tail_s` after the last speech."""
        return max(0, _samples(self.options.tail_s) - (self._sent - self._speech_end))

    def _close_for_pause(self) -> list[Signal]:
        self._closed_for_pause = True
        self._clip_open = False
        self._last_sent = self._sent
        if self._tried:
            return []
        clip = (self._clip_count, self._clip_start, self._sent, self._tail())
        return [ClipClosed(self.turn, *clip)]

    def _resume(self, window: VoiceWindow) -> list[Signal]:
        start = window.stop - self._resuming
        self.endpointer.observe_pause((start - self._speech_end) / RATE)
        return self._continue(start, self._speech_span(start))

    def _reopen(self, start: int) -> list[Signal]:
        """Speech after the end, before the answer is audible: the turn goes on."""
        self._tried = True
        self.endpointer.observe_pause((start - self._speech_end) / RATE)
        return self._continue(start, self._speech_span(start))

    def _speech_span(self, start: int) -> int:
        return sum(WINDOW for w in self._recent if w.speech and w.start >= start)

    def _continue(self, start: int, spoken: int) -> list[Signal]:
        signals: list[Signal] = []
        same_clip = not self._closed_for_pause
        if self._tried:
            self.revision += 1
            signals.append(Resumed(self.turn, self.revision, same_clip))
        if not same_clip:
            lead = start - _samples(self.options.lead_in_s)
            self._open_clip(max(lead, self._last_sent))
        self._tried = self._closed_for_pause = False
        self._resuming = 0
        self._spoken += spoken
        self._speech_end = self._now
        self._phase = _Phase.SPEAKING
        return signals + self._send()

    def _send(self) -> list[Signal]:
        start, self._sent = self._sent, self._now
        self._last_sent = self._now
        return [Send(self.turn, start, self._now)] if self._now > start else []

    def _limit_clip(self) -> list[Signal]:
        """Close a clip of 28 s or more at the first pause that is good enough for its length.

        The longer the clip, the shorter a pause will do; at 29.5 s (the tail must fit into 30 s)
        it is closed anyway and the last half second is sent again.
        """
        if (self._now - self._turn_start) / RATE >= self.options.turn_limit_s and self.in_turn:
            return self._end(EndReason.LONG)
        length = (self._now - self._clip_start) / RATE
        if not self._clip_open or length < self.options.clip_soft_s:
            return []
        late = length - self.options.clip_soft_s
        needed = 0.16 if late < 0.5 else 0.096 if late < 1.0 else 0.032
        if (self._now - self._speech_end) / RATE >= needed:
            return self._split_clip(0)
        if length >= self.options.clip_hard_s:
            return self._split_clip(_samples(self.options.clip_overlap_s))
        return []

    def _split_clip(self, overlap: int) -> list[Signal]:
        closed = ClipClosed(self.turn, self._clip_count, self._clip_start, self._sent, 0, overlap)
        self._open_clip(self._sent - overlap)
        return [closed, *self._send()]

    def _end(self, reason: EndReason) -> list[Signal]:
        if self._spoken < _samples(self.options.shortest_speech_s):
            return self._drop()
        signals = [] if self._closed_for_pause else self._close_for_pause()
        silence = (self._now - self._speech_end) / RATE
        signals.append(TurnEnded(self.turn, self.revision, reason, self._tried, silence))
        self._phase = _Phase.ANSWERED
        self._released_at = None
        self._recent.clear()
        return signals

    def _drop(self) -> list[Signal]:
        self._phase = _Phase.WAITING
        self._clip_open = False
        self._released_at = None
        self._recent.clear()
        return [TurnDropped(self.turn)]
