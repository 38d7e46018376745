"""A small ring that fills: how much of the model's memory a chat takes."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QToolButton, QWidget

from app.ui.theme import MIN_HIT_AREA, Theme

WARN_SHARE = 0.8
FULL_TURN = 360 * 16


class ContextMeter(QToolButton):
    """Ring and percentage. May read over 100 %; the words say what that means."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._share = 0.0
        self.setProperty("kind", "chip")
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.changed.connect(self.updateGeometry)
        self.set_use(0, 0, show_details=False)

    @property
    def share(self) -> float:
        """0 to 1, above where the chat no longer fits."""
        return self._share

    def set_use(self, tokens: int, context: int, *, show_details: bool) -> None:
        """Show `tokens` of `context`; the tooltip counts them when details are wanted."""
        self._share = tokens / context if context else 0.0
        percent = f"{self._share:.0%}".replace("%", " %")
        words = f"Memory of this chat: {percent} used"
        if self._share > 1:
            words += ". The oldest messages no longer fit"
        if show_details:
            words += f" ({tokens:,} of {context:,} tokens)"
        self.setAccessibleName(words)
        self.setToolTip(words)
        self.setText(percent)
        self.setVisible(context > 0)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Ring, gap and text."""
        text = self.fontMetrics().horizontalAdvance("1000 %")
        return QSize(text + self._theme.px(28), self._theme.px(MIN_HIT_AREA))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the ring and the percentage."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse() or self.hasFocus():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("hover"))
            painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        size = self._theme.px(14)
        ring = QRectF(self._theme.px(6), (self.height() - size) / 2, size, size)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._theme.color("pressed"), 2))
        painter.drawEllipse(ring)
        painter.setPen(QPen(self._theme.color(self._token()), 2))
        painter.drawArc(ring, FULL_TURN // 4, -round(min(1.0, self._share) * FULL_TURN))
        painter.setPen(self._theme.color("secondary"))
        painter.setFont(self._theme.font("secondary"))
        text = self.rect().adjusted(round(ring.right()) + self._theme.px(4), 0, 0, 0)
        painter.drawText(text, int(Qt.AlignmentFlag.AlignVCenter), self.text())

    def _token(self) -> str:
        if self._share > 1:
            return "danger"
        return "warn" if self._share > WARN_SHARE else "accent"
