"""A pop-up button with the chevron the style sheet cannot tint."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox

from app.ui.icons import icon_pixmap
from app.ui.theme import Theme


class ComboBox(QComboBox):
    """Like QComboBox; the wheel scrolls the page instead of changing the choice."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self.setAccessibleName(name)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave it to the page."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the chevron over the box."""
        super().paintEvent(event)
        painter = QPainter(self)
        side = self._theme.px(14)
        left = self.width() - side - self._theme.px(8)
        top = (self.height() - side) // 2
        painter.drawPixmap(left, top, icon_pixmap(self._theme, "chevron-down", "secondary", 14))


class PickBox(ComboBox):
    """A combo box whose list may be out of date: `opening` comes before it is shown."""

    opening = Signal()

    def showPopup(self) -> None:
        """Let the list be looked up first."""
        self.opening.emit()
        super().showPopup()
