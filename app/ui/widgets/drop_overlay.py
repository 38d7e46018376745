"""The dimmed window that says what a drop will do."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.ui.icons import icon_pixmap
from app.ui.theme import Theme


class DropOverlay(QWidget):
    """Covers its parent while something is dragged over it; takes no events."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._words = ""
        self._icon_name = "plus"
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAccessibleName("Drop area")
        self.hide()

    @property
    def words(self) -> str:
        """What it says."""
        return self._words

    def show_words(self, words: str, icon_name: str = "plus") -> None:
        """Dim the window and say `words`."""
        self._words, self._icon_name = words, icon_name
        self.setGeometry(self.parentWidget().rect())
        self.setAccessibleDescription(words)
        self.show()
        self.raise_()
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the veil, a dashed frame, the icon and the words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self._theme.color("scrim"))
        frame = QRectF(self.rect()).adjusted(16, 16, -16, -16)
        pen = QPen(self._theme.color("accent"), 2, Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.drawRoundedRect(frame, 14, 14)
        pixmap = icon_pixmap(self._theme, self._icon_name, "accent", 32)
        size = self._theme.px(32)
        center = self.rect().center()
        painter.drawPixmap(center.x() - size // 2, center.y() - size - 8, pixmap)
        painter.setPen(self._theme.color("text"))
        painter.setFont(self._theme.font("section"))
        words = QRectF(48, center.y() + 8, self.width() - 96, self._theme.px(80))
        flags = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(words, int(flags), self._words)
