"""Python's garbage is collected on the window's thread alone.

Python collects cycles on whichever thread happens to allocate. A thread that so frees a widget
works on Qt's objects beside the thread that owns them: the two can wait for each other for ever,
or crash.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

_PERIOD_MS = 1000


def collect_due() -> None:
    """Collect, on this thread, the oldest generation that Python's own thresholds call for."""
    counts, limits = gc.get_count(), gc.get_threshold()
    due = [age for age in range(len(counts)) if 0 < limits[age] < counts[age]]
    if due:
        gc.collect(due[-1])


class Garbage(QObject):
    """From its making until `close` no thread collects by itself; from `start` on a timer does."""

    def __init__(self) -> None:
        super().__init__()
        self._was_automatic = gc.isenabled()
        gc.disable()
        self._timer = QTimer(self, interval=_PERIOD_MS)
        self._timer.timeout.connect(collect_due)

    def start(self) -> None:
        """Collect about once a second from now on, on the thread of the event loop."""
        self._timer.start()

    def close(self) -> None:
        """Leave it to Python again, if it was before."""
        self._timer.stop()
        if self._was_automatic:
            gc.enable()
