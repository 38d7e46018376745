"""Pictures in the transcript: thumbnails, marks drawn over them, and a closer look."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractButton, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from app.core.conversation import Attachment
from app.ui.chat.boxes import Mark, marks_as_json
from app.ui.chat.row_context import RowContext
from app.ui.widgets.buttons import IconButton, Switch
from app.ui.widgets.labels import Label

RADIUS = 8
MARK_COLORS = ("#4F5BD5", "#1A7A42", "#C0302A", "#965500", "#8A2F9C", "#1F5FB4")
ZOOM_RANGE = (0.1, 16.0)
ZOOM_STEP = 1.25


class PictureView(QAbstractButton):
    """A picture that fits `max_width` x `max_height`; a click shows it large."""

    sized = Signal()

    def __init__(
        self, context: RowContext, attachment: Attachment, max_width: int, max_height: int
    ) -> None:
        super().__init__()
        self._context = context
        self._attachment = attachment
        self._image: QImage | None = None
        self._problem = ""
        self.setAccessibleName(f"Picture {attachment.name}")
        self.setToolTip(f"{attachment.name}. Click to look closer")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._fit(max_width, max_height)
        context.pictures.ready.connect(self._on_ready)
        context.pictures.failed.connect(self._on_failed)
        self.clicked.connect(self.open_large)
        self._on_ready(attachment.sha256)

    def open_large(self) -> None:
        """Show the picture in a window of its own."""
        PictureWindow(self._context, self._attachment, self.window()).show()

    def sizeHint(self) -> QSize:
        """The size it was fitted to."""
        return self.size()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the picture with round corners, or why there is none."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        theme = self._context.theme
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(self.rect()), RADIUS, RADIUS)
        painter.fillPath(shape, theme.color("sunken"))
        painter.setClipPath(shape)
        if self._image is not None:
            painter.drawImage(QRectF(self.rect()), self._image)
            self.paint_over(painter)
        elif self._problem:
            painter.setPen(theme.color("secondary"))
            painter.setFont(theme.font("caption"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), int(flags), self._problem)
        painter.setClipping(False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        pen = QPen(theme.color("accent" if self.hasFocus() else "hairline"))
        pen.setWidth(2 if self.hasFocus() else 1)
        painter.setPen(pen)
        painter.drawPath(shape)

    def paint_over(self, painter: QPainter) -> None:
        """Draw something over the picture; here nothing."""

    def _fit(self, max_width: int, max_height: int) -> None:
        width = self._attachment.width or 4
        height = self._attachment.height or 3
        scale = min(max_width / width, max_height / height)
        if self._attachment.width:
            scale = min(scale, 1.0)
        self.setFixedSize(max(40, round(width * scale)), max(40, round(height * scale)))

    def _on_ready(self, sha256: str) -> None:
        if sha256 == self._attachment.sha256:
            side = round(max(self.width(), self.height()) * self.devicePixelRatioF())
            self._image = self._context.pictures.image(self._attachment, side)
            self.update()

    def _on_failed(self, sha256: str, reason: str) -> None:
        if sha256 == self._attachment.sha256:
            self._problem = reason or "This picture cannot be shown."
            self.setAccessibleDescription(self._problem)
            self.update()


class MarkedPicture(PictureView):
    """A picture with boxes and points over it; the one under the pointer stands out."""

    def __init__(
        self,
        context: RowContext,
        attachment: Attachment,
        marks: tuple[Mark, ...],
        max_width: int,
        max_height: int,
    ) -> None:
        self._marks = marks
        self._hovered = -1
        self._marks_visible = True
        super().__init__(context, attachment, max_width, max_height)
        labels = ", ".join(mark.label for mark in marks if mark.label)
        self.setAccessibleDescription(f"{len(marks)} marks: {labels}")
        self.setMouseTracking(True)

    def set_marks_visible(self, visible: bool) -> None:
        """Show the marks or the bare picture."""
        self._marks_visible = visible
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Find the smallest mark under the pointer."""
        hovered = self.mark_at(event.position())
        if hovered != self._hovered:
            self._hovered = hovered
            self.setToolTip(self._words(hovered))
            self.update()
        super().mouseMoveEvent(event)

    def mark_at(self, position: QPointF) -> int:
        """Index of the smallest mark at a place of the widget, -1 for none."""
        found = []
        for index, mark in enumerate(self._marks):
            rect = self._rect(mark)
            if rect.adjusted(-6, -6, 6, 6).contains(position):
                found.append((rect.width() * rect.height(), index))
        return min(found)[1] if found else -1

    def paint_over(self, painter: QPainter) -> None:
        """Draw every mark, the hovered one on top."""
        if not self._marks_visible:
            return
        order = sorted(range(len(self._marks)), key=lambda index: index == self._hovered)
        for index in order:
            self._paint_mark(painter, index)

    def _rect(self, mark: Mark) -> QRectF:
        x0, y0, x1, y1 = (
            mark.x0 * self.width() / 1000,
            mark.y0 * self.height() / 1000,
            mark.x1 * self.width() / 1000,
            mark.y1 * self.height() / 1000,
        )
        return QRectF(x0, y0, x1 - x0, y1 - y0)

    def _paint_mark(self, painter: QPainter, index: int) -> None:
        mark = self._marks[index]
        color = QColor(MARK_COLORS[index % len(MARK_COLORS)])
        rect = self._rect(mark)
        hovered = index == self._hovered
        painter.setPen(QPen(color, 3 if hovered else 2))
        fill = QColor(color)
        fill.setAlpha(70 if hovered else 0)
        painter.setBrush(fill)
        if mark.is_point:
            painter.setBrush(color)
            painter.drawEllipse(rect.topLeft(), 5, 5)
        else:
            painter.drawRoundedRect(rect, 3, 3)
        if mark.label:
            self._paint_label(painter, mark.label, rect, color)

    def _paint_label(self, painter: QPainter, label: str, rect: QRectF, color: QColor) -> None:
        painter.setFont(self._context.theme.font("caption"))
        width = painter.fontMetrics().horizontalAdvance(label) + 8
        height = painter.fontMetrics().height() + 2
        top = rect.top() - height if rect.top() >= height else rect.top()
        left = min(rect.left(), self.width() - width)
        tag = QRectF(max(0.0, left), top, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawRoundedRect(tag, 3, 3)
        painter.setPen(Qt.GlobalColor.white)
        painter.drawText(tag, int(Qt.AlignmentFlag.AlignCenter), label)

    def _words(self, index: int) -> str:
        if index < 0:
            return self._attachment.name
        mark = self._marks[index]
        size = (self._attachment.width or 1000, self._attachment.height or 1000)
        x0, y0, x1, y1 = mark.in_pixels(*size)
        place = f"at {x0}, {y0}" if mark.is_point else f"{x0}, {y0} to {x1}, {y1}"
        return f"{mark.label or 'Mark'}: {place} px"


class MarksPanel(QWidget):
    """A marked picture with its switch, its copy button and a word of caution."""

    def __init__(
        self, context: RowContext, attachment: Attachment, marks: tuple[Mark, ...], width: int
    ) -> None:
        super().__init__()
        self._attachment = attachment
        self._marks = marks
        theme = context.theme
        self.picture = MarkedPicture(context, attachment, marks, width, theme.px(420))
        self.toggle = Switch(theme, "Show marks")
        self.toggle.setChecked(True)
        self.toggle.toggled.connect(self.picture.set_marks_visible)
        copy = IconButton(theme, "braces", "Copy as JSON, in pixels of the picture")
        copy.clicked.connect(self.copy_json)
        row = QHBoxLayout()
        row.setSpacing(theme.px(8))
        row.addWidget(self.toggle)
        row.addWidget(Label("Marks", "secondary"))
        row.addWidget(copy)
        row.addWidget(Label("Suggestions: look before you rely on them.", "caption"))
        row.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.picture)
        column.addLayout(row)

    def copy_json(self) -> None:
        """Put the marks on the clipboard."""
        width, height = self._attachment.width or 1000, self._attachment.height or 1000
        QGuiApplication.clipboard().setText(marks_as_json(self._marks, width, height))


class PictureWindow(QDialog):
    """A picture on its own: wheel and +/- zoom, drag moves, Escape closes."""

    def __init__(self, context: RowContext, attachment: Attachment, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._context = context
        self._attachment = attachment
        self._zoom = 1.0
        self._shift = QPointF()
        self._grabbed: QPointF | None = None
        self.setWindowTitle(attachment.name)
        self.setAccessibleName(f"Picture {attachment.name}")
        self.resize(parent.size() * 0.9)
        context.pictures.ready.connect(self._on_ready)
        self._image = context.pictures.image(attachment, 1600)

    @property
    def zoom(self) -> float:
        """1 is fitted to the window."""
        return self._zoom

    def zoom_by(self, factor: float) -> None:
        """Look closer (above 1) or from farther away."""
        low, high = ZOOM_RANGE
        self._zoom = min(high, max(low, self._zoom * factor))
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom."""
        self.zoom_by(ZOOM_STEP if event.angleDelta().y() > 0 else 1 / ZOOM_STEP)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """+, - and 0 zoom; Escape closes."""
        if event.key() in {Qt.Key.Key_Plus, Qt.Key.Key_Equal}:
            self.zoom_by(ZOOM_STEP)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom_by(1 / ZOOM_STEP)
        elif event.key() == Qt.Key.Key_0:
            self._zoom, self._shift = 1.0, QPointF()
            self.update()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the picture."""
        self._grabbed = event.position() - self._shift

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move it."""
        if self._grabbed is not None:
            self._shift = event.position() - self._grabbed
            self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Let go."""
        self._grabbed = None

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the picture on the sunken ground."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), self._context.theme.color("sunken"))
        if self._image is None:
            return
        size = QSize(self._image.size()).scaled(
            self.size() - QSize(48, 48), Qt.AspectRatioMode.KeepAspectRatio
        )
        target = QRectF(0, 0, size.width() * self._zoom, size.height() * self._zoom)
        target.moveCenter(QRectF(self.rect()).center() + self._shift)
        painter.drawImage(target, self._image)

    def _on_ready(self, sha256: str) -> None:
        if sha256 == self._attachment.sha256:
            self._image = self._context.pictures.image(self._attachment, 1600)
            self.update()
