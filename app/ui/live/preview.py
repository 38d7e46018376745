"""The camera's picture with what belongs on it: capture mark, permission card, frames seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from app.live.access import AccessCard
from app.live.buffers import Frame
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Label

_RADIUS = 10
_STRIP = 6
_COMPACT = (296, 166)
_LEAST_HEIGHT = 160


def to_image(rgb: np.ndarray) -> QImage:
    """A picture uint8 [h, w, 3] as QImage with its own memory."""
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb)
    return QImage(data.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


class AccessPanel(QWidget):
    """Why there is no picture or sound, and the one thing that helps."""

    acted = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._action = ""
        self.setProperty("kind", "clear")
        self._title = Label(role="section")
        self._text = Label(role="secondary", wrap=True)
        self._button = TextButton(theme, "", "primary")
        for label in (self._title, self._text):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column = QVBoxLayout(self)
        column.setSpacing(theme.px(8))
        column.addStretch()
        column.addWidget(self._title)
        column.addWidget(self._text)
        column.addWidget(self._button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch()
        self._button.clicked.connect(lambda: self.acted.emit(self._action))
        self.hide()

    @property
    def title(self) -> str:
        """What it says, empty while hidden."""
        return self._title.text() if not self.isHidden() else ""

    def show_card(self, card: AccessCard | None) -> None:
        """Show a card, or nothing."""
        self.setVisible(card is not None)
        if card is None:
            return
        self._action = card.action
        self._title.setText(card.title)
        self._text.setText(card.text)
        self._button.set_text(card.button)
        self._button.setVisible(bool(card.button))
        self.setAccessibleName(f"{card.title}. {card.text}")


class CameraPreview(QWidget):
    """Paints the newest frame, whole, with round corners.

    Args:
        theme: colours and sizes.
        newest: gives the newest frame, None while the camera is off.
        compact: half the size, for the floating card.
    """

    def __init__(
        self,
        theme: Theme,
        newest: Callable[[], Frame | None],
        parent: QWidget | None = None,
        *,
        compact: bool = False,
    ) -> None:
        super().__init__(parent)
        self._theme, self._newest, self._compact = theme, newest, compact
        self._shown = -1
        self._image: QImage | None = None
        self._strip: list[tuple[QImage, float]] = []
        self._on = False
        self.panel = AccessPanel(theme, self)
        column = QVBoxLayout(self)
        column.addWidget(self.panel)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setSizePolicy(policy)
        self.setMinimumHeight(theme.px(_COMPACT[1] if compact else _LEAST_HEIGHT))
        self.set_on(False)

    def sizeHint(self) -> QSize:
        """The least of it; the page gives it what is left, up to 16:9."""
        width, height = _COMPACT if self._compact else (560, _LEAST_HEIGHT)
        return QSize(self._theme.px(width), self._theme.px(height))

    def set_on(self, on: bool) -> None:
        """The camera is on or off."""
        self._on = on
        self.setAccessibleName("Camera on" if on else "Camera off")
        if not on:
            self._image = None
            self._shown = -1
        self.update()

    def refresh(self) -> None:
        """Show the newest frame if it is a new one."""
        frame = self._newest() if self._on else None
        if frame is not None and frame.number != self._shown:
            self._shown = frame.number
            self._image = to_image(frame.rgb)
            self.update()

    def add_seen(self, thumbnail: np.ndarray) -> None:
        """The model was given this frame."""
        self._strip = [*self._strip[-(_STRIP - 1) :], (to_image(thumbnail), time.monotonic())]
        self.update()

    def clear_seen(self) -> None:
        """Forget the frames shown in the strip."""
        self._strip = []
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw well, picture, mark and strip."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        path = QPainterPath()
        path.addRoundedRect(QRectF(self.rect()), _RADIUS, _RADIUS)
        painter.setClipPath(path)
        painter.fillRect(self.rect(), self._theme.color("sunken"))
        if self._on and self._image is not None:
            self._paint_picture(painter)
        elif not self.panel.isVisible():
            self._paint_words(painter, "Camera off")
        self._paint_strip(painter)
        if self._on:
            self._paint_mark(painter)

    def _paint_picture(self, painter: QPainter) -> None:
        """The whole frame: what is seen here is what the model sees."""
        assert self._image is not None
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (self.width() - size.width()) / 2, (self.height() - size.height()) / 2
        painter.drawImage(QRectF(left, top, size.width(), size.height()), self._image)

    def _paint_words(self, painter: QPainter, words: str) -> None:
        painter.setPen(self._theme.color("faint"))
        painter.setFont(self._theme.font("secondary"))
        painter.drawText(self.rect(), int(Qt.AlignmentFlag.AlignCenter), words)

    def _paint_mark(self, painter: QPainter) -> None:
        """The capture indicator: a red dot and words on a plate."""
        painter.setFont(self._theme.font("secondary"))
        words = "camera on"
        width = painter.fontMetrics().horizontalAdvance(words) + self._theme.px(34)
        plate = QRectF(self.width() - width - 10, 10, width, self._theme.px(24))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("surface"))
        painter.drawRoundedRect(plate, plate.height() / 2, plate.height() / 2)
        painter.setBrush(self._theme.color("danger"))
        dot = self._theme.px(8)
        painter.drawEllipse(QRectF(plate.left() + 10, plate.center().y() - dot / 2, dot, dot))
        painter.setPen(self._theme.color("text"))
        words_box = plate.adjusted(self._theme.px(24), 0, 0, 0)
        painter.drawText(words_box, int(Qt.AlignmentFlag.AlignVCenter), words)

    def _paint_strip(self, painter: QPainter) -> None:
        """Frames the model has seen, newest on the right, each with its age."""
        now = time.monotonic()
        height = self._theme.px(36)
        right = self.width() - 10.0
        painter.setFont(self._theme.font("caption"))
        for image, seen in reversed(self._strip):
            width = height * image.width() / max(1, image.height())
            box = QRectF(right - width, self.height() - height - 10, width, height)
            if box.left() < 10:
                return
            painter.drawImage(box, image)
            age = QRectF(box.left(), box.bottom() - self._theme.px(14), width, self._theme.px(14))
            painter.fillRect(age, self._theme.color("scrim"))
            painter.setPen(self._theme.color("text"))
            painter.drawText(age, int(Qt.AlignmentFlag.AlignCenter), f"{now - seen:.0f} s")
            right = box.left() - 4
