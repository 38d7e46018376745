"""A voice note: recorded in parts of at most 30 s, cut at pauses. Pure, driven by blocks of sound.

The model hears 30 s at a time, so a longer note becomes several recordings; the cut lies in a pause
where there is one, and no sample is in two of them or in none.
"""

from collections.abc import Callable

import numpy as np

from app.live.buffers import RATE
from app.live.vad import WINDOW, VoiceDetector, VoiceWindow

PART_S = 30.0
_SOFT_S = 24.0
_PAUSE_WINDOWS = 8
_SHORTEST_S = 0.3


class VoiceNote:
    """Takes sound, gives parts.

    Args:
        probability: judge of a window; Silero if not given.
    """

    def __init__(self, probability: Callable[[np.ndarray], float] | None = None) -> None:
        self.parts: list[np.ndarray] = []
        self.level: VoiceWindow | None = None
        self._detector = VoiceDetector(probability)
        self._blocks: list[np.ndarray] = []
        self._count = self._quiet = 0
        self._rest = np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """Length of the part that is being recorded."""
        return (self._count + len(self._rest)) / RATE

    @property
    def total_seconds(self) -> float:
        """Length of the whole note."""
        return sum(len(part) for part in self.parts) / RATE + self.seconds

    def feed(self, pcm: np.ndarray) -> bool:
        """Take sound (float32 16 kHz); True if a part was closed."""
        data = np.concatenate([self._rest, pcm])
        whole = len(data) // WINDOW * WINDOW
        self._rest = data[whole:]
        before = len(self.parts)
        for at in range(0, whole, WINDOW):
            self._window(data[at : at + WINDOW])
        return len(self.parts) > before

    def finish(self) -> list[np.ndarray]:
        """The parts, float32 at 16 kHz; nothing if it is too short to hold a word."""
        self._blocks.append(self._rest)
        self._rest = np.zeros(0, np.float32)
        self._close()
        total = sum(len(part) for part in self.parts)
        return self.parts if total >= _SHORTEST_S * RATE else []

    def _window(self, window: np.ndarray) -> None:
        (self.level,) = self._detector.feed(window)
        self._blocks.append(window)
        self._count += WINDOW
        self._quiet = 0 if self.level.speech else self._quiet + 1
        in_pause = self._count >= _SOFT_S * RATE and self._quiet >= _PAUSE_WINDOWS
        if in_pause or self._count + 2 * WINDOW > PART_S * RATE:
            self._close()

    def _close(self) -> None:
        part = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        if len(part):
            self.parts.append(part)
        self._blocks, self._count, self._quiet = [], 0, 0
