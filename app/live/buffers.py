"""Where captured sound and pictures wait.

`PcmRing` forgets nothing inside a turn, `LatestFrame` keeps the newest picture only. Both may be
written by a capture thread and read by another one.
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

RATE = 16_000
"""Samples per second of everything in `app.live`: what the model's audio tower takes."""


class PcmRing:
    """The last seconds of sound, addressed by absolute sample number.

    Old sound falls out at `capacity_s`, except what a `pin` protects: from the first sample of a
    turn that was not handed on yet. The pin is moved forward as sound is handed on, so memory is
    bounded by the longest wait of the reader and not by the length of the turn.
    """

    def __init__(self, capacity_s: float = 5.0, rate: int = RATE) -> None:
        self._capacity = int(capacity_s * rate)
        self._blocks: deque[np.ndarray] = deque()
        self._first = 0
        self._end = 0
        self._pin: int | None = None
        self._lock = threading.Lock()

    @property
    def first(self) -> int:
        """Number of the oldest sample still held."""
        return self._first

    @property
    def end(self) -> int:
        """Number of the next sample to come."""
        return self._end

    def append(self, pcm: np.ndarray) -> None:
        """Add sound (float32 [samples])."""
        with self._lock:
            self._blocks.append(np.array(pcm, dtype=np.float32))
            self._end += len(pcm)
            self._drop_old()

    def pin(self, sample: int | None) -> None:
        """Keep everything from `sample` on; None lifts the protection."""
        with self._lock:
            self._pin = sample
            self._drop_old()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Sound [start, stop) as a new float32 array.

        Raises:
            IndexError: part of it was already forgotten or has not arrived.
        """
        with self._lock:
            if start < self._first or stop > self._end or stop < start:
                held = f"{self._first}..{self._end}"
                raise IndexError(f"samples {start}..{stop} are not held, only {held}")
            return self._gather(start, stop)

    def _gather(self, start: int, stop: int) -> np.ndarray:
        parts = []
        at = self._first
        for block in self._blocks:
            if at >= stop:
                break
            if at + len(block) > start:
                parts.append(block[max(0, start - at) : stop - at])
            at += len(block)
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _drop_old(self) -> None:
        keep_from = self._end - self._capacity
        if self._pin is not None:
            keep_from = min(keep_from, self._pin)
        while self._blocks and self._first + len(self._blocks[0]) <= keep_from:
            self._first += len(self._blocks.popleft())


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera picture: `rgb` uint8 [height, width, 3], taken at `t` seconds, counted."""

    rgb: np.ndarray
    t: float
    number: int


class LatestFrame:
    """A slot for one picture: a new one replaces the old one, a reader never falls behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._count = 0
        self._taken = 0

    def put(self, rgb: np.ndarray, t: float) -> Frame:
        """Replace the held picture."""
        with self._lock:
            self._count += 1
            self._frame = Frame(rgb, t, self._count)
            return self._frame

    def take(self) -> Frame | None:
        """The newest picture, once: None if it was already taken or none ever came."""
        with self._lock:
            if self._frame is None or self._frame.number == self._taken:
                return None
            self._taken = self._frame.number
            return self._frame

    def peek(self) -> Frame | None:
        """The newest picture without taking it."""
        return self._frame

    def clear(self) -> None:
        """Forget the picture (camera switched off)."""
        with self._lock:
            self._frame = None
