"""Says over the dimmed window what a drop will do; how many pages, as soon as they are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from app.ui.drop import counted_words
from app.ui.widgets.drop_overlay import DropOverlay

if TYPE_CHECKING:
    from app.controllers.document_drop import DropCount, DropCounter


class DropGuide(QObject):
    """From the moment files are held over the window until they are dropped or taken away."""

    def __init__(self, overlay: DropOverlay) -> None:
        super().__init__(overlay)
        self._overlay = overlay
        self._counter: DropCounter | None = None
        self._paths: Sequence[str] = ()

    def use(self, counter: DropCounter) -> None:
        """Who counts pages; it comes after the first paint."""
        self._counter = counter
        counter.counted.connect(self._on_counted)

    def enter(self, words: str, icon_name: str, count: Sequence[str] = ()) -> None:
        """Files are held over the window; the pages of `count` are counted."""
        self._overlay.show_words(words, icon_name)
        self._paths = count
        if count and self._counter is not None:
            self._counter.count(count)

    def leave(self) -> None:
        """They were dropped or taken away."""
        self._overlay.hide()
        if self._counter is not None:
            self._counter.stop()

    def _on_counted(self, found: DropCount) -> None:
        if self._overlay.isVisible():
            self._overlay.show_words(counted_words(self._paths, found), "scan-text")
