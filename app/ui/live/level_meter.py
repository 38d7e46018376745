"""The microphone's level with its threshold, and the ring that counts a clip's 30 seconds."""

from __future__ import annotations

from collections import deque

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.ui.theme import Theme

_LOW_DB, _HIGH_DB = -70.0, -10.0
_BARS = 48
CLIP_LIMIT_S = 30.0


def _share(level_db: float) -> float:
    return min(1.0, max(0.0, (level_db - _LOW_DB) / (_HIGH_DB - _LOW_DB)))


class LevelMeter(QWidget):
    """The last levels as bars; the line is where speech begins."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._levels: deque[tuple[float, bool]] = deque(maxlen=_BARS)
        self._threshold = _LOW_DB
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Microphone level")
        theme.changed.connect(self.updateGeometry)

    def add(self, level_db: float, threshold_db: float, *, speech: bool) -> None:
        """Show one more level, in dB relative to full scale."""
        self._levels.append((level_db, speech))
        self._threshold = threshold_db
        loud = "speech" if speech else "quiet"
        self.setAccessibleDescription(f"{loud}, {level_db:.0f} dB")
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._levels.clear()
        self.update()

    def sizeHint(self) -> QSize:
        """Two text lines high."""
        return QSize(self._theme.px(160), self._theme.px(32))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the bars, newest on the right, and the threshold."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        step = self.width() / _BARS
        start = _BARS - len(self._levels)
        for i, (level, speech) in enumerate(self._levels):
            painter.setBrush(self._theme.color("accent" if speech else "control"))
            height = max(2.0, _share(level) * (self.height() - 2))
            bar = QRectF((start + i) * step, self.height() - height, max(1.5, step - 2), height)
            painter.drawRoundedRect(bar, 1, 1)
        if self._levels:
            y = self.height() - _share(self._threshold) * (self.height() - 2)
            painter.setPen(QPen(self._theme.color("faint"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(0, round(y), self.width(), round(y))


class ClipRing(QWidget):
    """How much of a clip's 30 seconds is used; hidden while no clip is open."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._seconds = 0.0
        self.setVisible(False)

    def set_seconds(self, seconds: float) -> None:
        """Length of the open clip, 0 for none."""
        self._seconds = seconds
        self.setVisible(seconds > 0)
        self.setAccessibleName(self._words())
        self.update()

    def _words(self) -> str:
        return f"{self._seconds:.0f} s of 30"

    def sizeHint(self) -> QSize:
        """Ring, gap and words."""
        return QSize(self._theme.px(110), self._theme.px(28))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the ring and the words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = self._theme.px(16)
        box = QRectF(2, (self.height() - size) / 2, size, size)
        painter.setPen(QPen(self._theme.color("pressed"), 2.5))
        painter.drawEllipse(box)
        share = min(1.0, self._seconds / CLIP_LIMIT_S)
        token = "warn" if share > 0.85 else "accent"
        painter.setPen(QPen(self._theme.color(token), 2.5))
        painter.drawArc(box, 90 * 16, -round(share * 360 * 16))
        painter.setPen(self._theme.color("secondary"))
        painter.setFont(self._theme.font("secondary"))
        text = self.rect().adjusted(round(box.right()) + self._theme.px(6), 0, 0, 0)
        painter.drawText(text, int(Qt.AlignmentFlag.AlignVCenter), self._words())
