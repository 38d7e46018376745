"""Buttons side by side, or below each other where they do not fit."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QWidget

from app.ui.theme import Theme


class FittingRow(QWidget):
    """Whoever lays it out tells it its width first, so that its height is known at once."""

    def __init__(self, theme: Theme, *buttons: QWidget) -> None:
        super().__init__()
        self._buttons = buttons
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(theme.px(8))
        for button in buttons:
            self._row.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
        self._row.addStretch()

    def set_width(self, width: int) -> None:
        """Lay out for this many pixels."""
        for button in self._buttons:
            button.ensurePolished()
        shown = [button for button in self._buttons if not button.isHidden()]
        hints = [button.sizeHint().width() for button in shown]
        needed = sum(hints) + self._row.spacing() * len(hints)
        direction = QBoxLayout.Direction
        self._row.setDirection(direction.LeftToRight if needed <= width else direction.TopToBottom)
