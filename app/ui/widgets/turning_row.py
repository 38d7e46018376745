"""Two things beside each other, or below each other where there is no room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QWidget

from app.ui.theme import Theme

NARROW = 420


class TurningRow(QWidget):
    """`left` takes the room, `right` stands at the end, or under it on a narrow page."""

    def __init__(self, theme: Theme, left: QWidget, right: QWidget) -> None:
        super().__init__()
        self._theme = theme
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._row.setContentsMargins(0, theme.px(6), 0, theme.px(6))
        self._row.setSpacing(theme.px(8))
        self._row.addWidget(left, 1)
        self._row.addWidget(right, 0, Qt.AlignmentFlag.AlignRight)
        theme.changed.connect(self._turn)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Turn with the room there is."""
        super().resizeEvent(event)
        self._turn()

    def _turn(self) -> None:
        down = self.width() < self._theme.px(NARROW)
        direction = QBoxLayout.Direction
        self._row.setDirection(direction.TopToBottom if down else direction.LeftToRight)
