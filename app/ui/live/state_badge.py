"""One state at a time, told by a word, a shape and a colour together."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.live.reports import Duplex, StateChanged
from app.live.signals import AgentState, UserState
from app.ui.theme import Theme


@dataclass(frozen=True, slots=True)
class StateLook:
    """shape: "ring", "disc", "dots", "bars", "slash" or "hollow"."""

    word: str
    shape: str
    token: str


OFF = StateLook("Live is off", "hollow", "faint")
STARTING = StateLook("Starting …", "dots", "secondary")
NO_MICROPHONE = StateLook("Not listening", "slash", "secondary")


def look_of(state: StateChanged, *, microphone: bool = True) -> StateLook:
    """How a state is shown; speaking and thinking come before listening."""
    if state.agent is AgentState.SPEAKING:
        half = state.duplex is Duplex.HALF
        return StateLook("Speaking, microphone off" if half else "Speaking", "bars", "ok")
    if state.agent is AgentState.THINKING:
        return StateLook("Thinking …", "dots", "secondary")
    if state.muted:
        return StateLook("Muted", "slash", "secondary")
    if not microphone:
        return NO_MICROPHONE
    if state.user is UserState.SPEAKING:
        return StateLook("Hearing you", "disc", "accent")
    if state.user is UserState.AWAY:
        return StateLook("Waiting for you", "hollow", "faint")
    return StateLook("Listening …", "ring", "accent")


class StateBadge(QWidget):
    """Paints a `StateLook`."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._look = OFF
        theme.changed.connect(self.updateGeometry)
        self.set_look(OFF)

    @property
    def look(self) -> StateLook:
        """What is shown."""
        return self._look

    def set_look(self, look: StateLook) -> None:
        """Show another state."""
        self._look = look
        self.setAccessibleName(look.word)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """Shape, gap and word."""
        metrics = self._metrics_width()
        return QSize(metrics + self._theme.px(32), self._theme.px(28))

    def minimumSizeHint(self) -> QSize:
        """The whole word is always shown."""
        return self.sizeHint()

    def _metrics_width(self) -> int:
        return QFontMetrics(self._theme.font("section")).horizontalAdvance(self._look.word)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw shape and word."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self._theme.color(self._look.token)
        size = self._theme.px(16)
        box = QRectF(2, (self.height() - size) / 2, size, size)
        painter.setPen(QPen(color, max(1.5, size / 8)))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        _SHAPES[self._look.shape](painter, box)
        painter.setPen(color)
        painter.setFont(self._theme.font("section"))
        text = self.rect().adjusted(round(box.right()) + self._theme.px(8), 0, 0, 0)
        painter.drawText(text, int(Qt.AlignmentFlag.AlignVCenter), self._look.word)


def _ring(painter: QPainter, box: QRectF) -> None:
    painter.drawEllipse(box.adjusted(1, 1, -1, -1))
    painter.setBrush(painter.pen().color())
    painter.drawEllipse(box.center(), 2, 2)


def _disc(painter: QPainter, box: QRectF) -> None:
    painter.setBrush(painter.pen().color())
    painter.drawEllipse(box.adjusted(1, 1, -1, -1))


def _hollow(painter: QPainter, box: QRectF) -> None:
    pen = QPen(painter.pen())
    pen.setStyle(Qt.PenStyle.DotLine)
    painter.setPen(pen)
    painter.drawEllipse(box.adjusted(1, 1, -1, -1))


def _dots(painter: QPainter, box: QRectF) -> None:
    painter.setBrush(painter.pen().color())
    step = box.width() / 3
    for i in range(3):
        painter.drawEllipse(QPointF(box.left() + step * (i + 0.5), box.center().y()), 1.5, 1.5)


def _bars(painter: QPainter, box: QRectF) -> None:
    for i, share in enumerate((0.4, 0.9, 0.6, 1.0)):
        x = box.left() + box.width() * (i + 0.5) / 4
        half = box.height() * share / 2
        painter.drawLine(QPointF(x, box.center().y() - half), QPointF(x, box.center().y() + half))


def _slash(painter: QPainter, box: QRectF) -> None:
    inner = box.adjusted(1, 1, -1, -1)
    painter.drawEllipse(inner)
    painter.drawLine(inner.bottomLeft() + QPointF(2, -2), inner.topRight() + QPointF(-2, 2))


_SHAPES = {
    "ring": _ring,
    "disc": _disc,
    "hollow": _hollow,
    "dots": _dots,
    "bars": _bars,
    "slash": _slash,
}
