"""A picture to be read at once: from the clipboard, or a region of the screen the person draws.

On macOS the system's own `screencapture -i` asks for the region (and for the permission); elsewhere
the screen is grabbed by Qt and the region is drawn over it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QBuffer, QIODevice, QObject, QProcess, QRect, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QWidget

LEAST_SIDE = 8


def png_of(image: QImage) -> bytes:
    """The picture as a PNG file."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    # The stubs ask for bytes, with which PySide6 6.11 crashes.
    image.save(buffer, "PNG")  # pyright: ignore[reportCallIssue, reportArgumentType]
    return bytes(buffer.data().data())


def clipboard_picture() -> bytes:
    """The picture on the clipboard as PNG, empty if there is none."""
    image = QGuiApplication.clipboard().image()
    return b"" if image.isNull() else png_of(image)


class ScreenRegion(QObject):
    """Asks for a region of the screen. `taken(png)`; `cancelled` if the person gave up."""

    taken = Signal(bytes)
    cancelled = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None
        self._veil: RegionVeil | None = None
        self._file = Path()

    def ask(self) -> None:
        """Let the person draw a region."""
        if sys.platform == "darwin":
            self._ask_system()
        else:
            self._ask_here()

    def _ask_system(self) -> None:
        self._file = Path(tempfile.mkdtemp(prefix="facet-")) / "region.png"
        self._process = QProcess(self)
        self._process.finished.connect(self._on_captured)
        self._process.errorOccurred.connect(lambda _problem: self._on_captured())
        self._process.start("/usr/sbin/screencapture", ["-i", "-x", str(self._file)])

    def _on_captured(self) -> None:
        data = self._file.read_bytes() if self._file.is_file() else b""
        self._file.unlink(missing_ok=True)
        if self._file.parent.is_dir():
            self._file.parent.rmdir()
        self._tell(data)

    def _ask_here(self) -> None:
        screen = QGuiApplication.primaryScreen()
        self._veil = RegionVeil(screen.grabWindow(0))
        self._veil.chosen.connect(self._on_chosen)
        self._veil.setGeometry(screen.geometry())
        self._veil.showFullScreen()
        self._veil.activateWindow()

    def _on_chosen(self, image: QImage) -> None:
        self._tell(b"" if image.isNull() else png_of(image))

    def _tell(self, data: bytes) -> None:
        if data:
            self.taken.emit(data)
        else:
            self.cancelled.emit()


class RegionVeil(QWidget):
    """The screen, dimmed; a rectangle is drawn over it. `chosen(image)`: null for none."""

    chosen = Signal(QImage)

    def __init__(self, shot: QPixmap) -> None:
        super().__init__()
        self._shot = shot
        self._rect = QRect()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowFlags(Qt.WindowType.FramelessWindowHint | Qt.WindowType.WindowStaysOnTopHint)
        self.setAccessibleName("Draw a region of the screen; Escape gives up")
        self.setCursor(Qt.CursorShape.CrossCursor)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """The first corner."""
        place = event.position().toPoint()
        self._rect = QRect(place, place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """The other corner."""
        self._rect.setBottomRight(event.position().toPoint())
        self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Take what lies inside; a click alone takes nothing."""
        rect = self._rect.normalized()
        self._end(rect if min(rect.width(), rect.height()) >= LEAST_SIDE else QRect())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape gives up."""
        if event.key() == Qt.Key.Key_Escape:
            self._end(QRect())
        else:
            super().keyPressEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The screen under a veil, clear where the region is."""
        painter = QPainter(self)
        painter.drawPixmap(self.rect(), self._shot)
        painter.fillRect(self.rect(), QColor(0, 0, 0, 90))
        rect = self._rect.normalized()
        if not rect.isEmpty():
            painter.drawPixmap(rect, self._shot, self._in_pixels(rect))
            painter.setPen(QPen(Qt.GlobalColor.white, 1))
            painter.drawRect(rect)

    def _in_pixels(self, rect: QRect) -> QRect:
        across = self._shot.width() / max(self.width(), 1)
        down = self._shot.height() / max(self.height(), 1)
        return QRect(
            round(rect.x() * across),
            round(rect.y() * down),
            round(rect.width() * across),
            round(rect.height() * down),
        )

    def _end(self, rect: QRect) -> None:
        self.hide()
        image = QImage() if rect.isEmpty() else self._shot.copy(self._in_pixels(rect)).toImage()
        self.chosen.emit(image)
        self.close()
