"""A progress bar that is drawn with the rest of the window, not by itself."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar


class ProgressBar(QProgressBar):
    """No words in it; `show_share` moves it.

    `QProgressBar.setValue` repaints at once, and with it everything else in the window that waits
    to be drawn: every page that is read would draw the window twice.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setTextVisible(False)
        self.setAccessibleName(name)

    def show_share(self, done: int, total: int) -> None:
        """Show `done` of `total`, drawn with the next frame."""
        self.setUpdatesEnabled(False)
        self.setRange(0, total)
        self.setValue(done)
        self.setUpdatesEnabled(True)
