"""The one voice of the app: queued pieces of speech become blocks for the output device.

Knows what was played to the sample: ducking and stopping act in the next block with a short ramp,
and `heard_characters` tells how much of the reply somebody can have heard. Thread-safe: the audio
callback renders while the live thread queues.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.live.resample import resample
from app.live.spoken_text import Piece

_RAMP_S = 0.01
DUCKED_GAIN = 10 ** (-20 / 20)
"""Level of our voice after step one of an interruption: 20 dB down."""


@dataclass(slots=True)
class _Queued:
    piece: Piece
    pcm: np.ndarray
    at: int = 0


@dataclass(frozen=True, slots=True)
class Caption:
    """The piece being spoken and how many of its characters are out."""

    piece: Piece
    characters: int


class Mixer:
    """Renders queued speech at the device's rate.

    Args:
        rate: samples per second of the output device.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.volume = 1.0
        self.on_start: Callable[[Piece], None] = lambda _piece: None
        """Called from the rendering thread when a piece's first sample goes out."""
        self._queue: deque[_Queued] = deque()
        self._gain = 1.0
        self._target = 1.0
        self._heard = 0
        self._fade = np.zeros(0, np.float32)
        self._lock = threading.Lock()

    # -- the live thread ----------------------------------------------------------------------

    def play(self, piece: Piece, pcm: np.ndarray, rate: int) -> None:
        """Queue a spoken piece (float32 mono at `rate`)."""
        wanted = self.rate
        converted = resample(pcm, rate, wanted)
        with self._lock:
            if self.rate != wanted:  # the loudspeaker was changed meanwhile
                converted = resample(pcm, rate, self.rate)
            self._queue.append(_Queued(piece, converted))

    def set_rate(self, rate: int) -> None:
        """Go on at another rate: the loudspeaker was changed in the middle of a sentence."""
        with self._lock:
            for item in self._queue:
                item.pcm = resample(item.pcm, self.rate, rate)
                item.at = item.at * rate // self.rate
            self._fade = np.zeros(0, np.float32)
            self.rate = rate

    def duck(self, on: bool) -> None:
        """Step one of an interruption, or its end."""
        self._target = DUCKED_GAIN if on else 1.0

    def stop(self) -> int:
        """Fall silent within one ramp; gives the characters of the reply that were heard."""
        with self._lock:
            heard = self._heard_now()
            if self._queue:
                item = self._queue[0]
                last = item.pcm[item.at : item.at + int(_RAMP_S * self.rate)]
                self._fade = last * np.linspace(self._gain, 0, len(last), dtype=np.float32)
            self._queue.clear()
            self._gain = self._target = 1.0
            self._heard = 0
            return heard

    def begin_reply(self) -> None:
        """Count heard characters from zero again."""
        with self._lock:
            self._heard = 0

    # -- what can be asked --------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Sound is queued or being played."""
        return bool(self._queue)

    def heard_characters(self) -> int:
        """Characters of the reply spoken so far, down to the last whole word."""
        with self._lock:
            return self._heard_now()

    def caption(self) -> Caption | None:
        """What is being said right now."""
        with self._lock:
            if not self._queue:
                return None
            item = self._queue[0]
            share = item.at / max(1, len(item.pcm))
            return Caption(item.piece, round(share * len(item.piece.text)))

    def _heard_now(self) -> int:
        if not self._queue or self._queue[0].at == 0:
            return self._heard
        item = self._queue[0]
        share = item.at / max(1, len(item.pcm))
        said = item.piece.text[: int(share * len(item.piece.text))]
        words = len(said.split()) - (0 if share >= 1 or said.endswith(" ") else 1)
        return max(self._heard, item.piece.reach(max(0, words)))

    # -- the audio callback -------------------------------------------------------------------

    def render(self, count: int) -> np.ndarray:
        """The next `count` samples for the device, float32; silence when nothing is queued."""
        out = np.zeros(count, np.float32)
        with self._lock:
            filled = 0
            while filled < count and self._queue:
                filled += self._fill(out[filled:])
            self._shape(out)
            fade, self._fade = self._fade[:count], self._fade[count:]
            out[: len(fade)] += fade
            return out * np.float32(self.volume)

    def _fill(self, out: np.ndarray) -> int:
        item = self._queue[0]
        if item.at == 0 and len(item.pcm):
            self.on_start(item.piece)
        part = item.pcm[item.at : item.at + len(out)]
        out[: len(part)] = part
        item.at += len(part)
        if item.at >= len(item.pcm):
            self._heard = max(self._heard, item.piece.stop)
            self._queue.popleft()
        return len(part)

    def _shape(self, out: np.ndarray) -> None:
        """Apply the gain, moving to its target within one ramp."""
        target = self._target
        if self._gain == target == 1.0:
            return
        step = np.sign(target - self._gain) / (_RAMP_S * self.rate)
        ramp = self._gain + step * np.arange(1, len(out) + 1)
        gains = np.clip(ramp, min(self._gain, target), max(self._gain, target))
        out *= gains.astype(np.float32)
        self._gain = float(gains[-1])
