"""Time sources: the machine's clock, and one that only moves when told."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds on a scale that never runs backwards."""

    def now(self) -> float:
        """The present, in seconds."""
        ...


class SystemClock:
    """The machine's monotonic clock (the scale PortAudio stamps its blocks with on most hosts)."""

    def now(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class VirtualClock:
    """A clock for tests and offline runs: it stands still until `advance` is called."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """The time reached so far."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward; a negative step is a mistake in the caller."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._now += seconds
