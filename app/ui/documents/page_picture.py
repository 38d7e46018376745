"""The picture of a page: zoom, lines of text as boxes to click, before and after straightening."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip

from app.core.events import PageLine
from app.ui.theme import Theme

MARGIN = 16
ZOOM_STEP = 1.25
ZOOM_RANGE = (0.25, 8.0)
# Longest sides that are asked for; a page is drawn again, larger, when the zoom needs it.
SIDES = (1000, 2000, 4000)


class PagePictureView(QAbstractScrollArea):
    """Zoom 1 fills the width.

    Signals: `line_clicked(index)`; `more_wanted(longest side)` the zoom needs more pixels;
    `zoom_changed(float)`; `turned(step)` the wheel went on at an end.
    """

    line_clicked = Signal(int)
    more_wanted = Signal(int)
    zoom_changed = Signal(float)
    turned = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._image: QImage | None = None
        self._words = ""
        self._lines: tuple[PageLine, ...] = ()
        self._show_lines = False
        self._hovered = -1
        self._marked: frozenset[int] = frozenset()
        self._zoom = 1.0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName("Picture of the page")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.viewport().setMouseTracking(True)
        theme.changed.connect(self.viewport().update)

    # --- what is shown ---------------------------------------------------------------------------

    def set_image(self, image: QImage | None, words: str = "") -> None:
        """Show a picture, or why there is none."""
        self._image, self._words = image, words
        self.setAccessibleDescription(words)
        self._fit()

    def set_lines(self, lines: tuple[PageLine, ...]) -> None:
        """Where the lines of text stand."""
        self._lines, self._hovered, self._marked = lines, -1, frozenset()
        self.viewport().update()

    def show_lines(self, shown: bool) -> None:
        """Draw the boxes of the lines, or only the one under the pointer."""
        self._show_lines = shown
        self.viewport().update()

    def mark(self, indices: frozenset[int]) -> None:
        """Make some lines stand out and bring the first into view."""
        self._marked = indices
        if indices:
            rect = self._rect(self._lines[min(indices)])
            bar = self.verticalScrollBar()
            if rect.top() < 0 or rect.bottom() > self.viewport().height():
                bar.setValue(round(bar.value() + rect.center().y() - self.viewport().height() / 2))
        self.viewport().update()

    # --- zoom ------------------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """1 fills the width."""
        return self._zoom

    def set_zoom(self, zoom: float) -> None:
        """Look closer or from farther away; the middle stays in the middle."""
        low, high = ZOOM_RANGE
        zoom = min(high, max(low, zoom))
        if zoom == self._zoom:
            return
        bars = (self.horizontalScrollBar(), self.verticalScrollBar())
        middles = [(bar.value() + bar.pageStep() / 2) / self._zoom for bar in bars]
        self._zoom = zoom
        self._fit()
        for bar, middle in zip(bars, middles, strict=True):
            bar.setValue(round(middle * zoom - bar.pageStep() / 2))
        self.zoom_changed.emit(zoom)

    def _page_size(self) -> tuple[float, float]:
        """Of the page on the screen."""
        if self._image is None or self._image.isNull():
            return 0.0, 0.0
        width = max(40.0, self.viewport().width() - 2 * MARGIN) * self._zoom
        return width, width * self._image.height() / self._image.width()

    def _fit(self) -> None:
        self.viewport().update()
        if self._image is None:
            return  # until the next page has come the scroll bars stay as they are
        width, height = self._page_size()
        room = self.viewport().size()
        for bar, need, have in (
            (self.horizontalScrollBar(), width, room.width()),
            (self.verticalScrollBar(), height, room.height()),
        ):
            bar.setRange(0, max(0, round(need + 2 * MARGIN - have)))
            bar.setPageStep(have)
            bar.setSingleStep(40)
        wanted = max(width, height) * self.devicePixelRatioF()
        self.more_wanted.emit(next((side for side in SIDES if side >= wanted), SIDES[-1]))

    def _target(self) -> QRectF:
        width, height = self._page_size()
        left = max(MARGIN, (self.viewport().width() - width) / 2)
        left -= self.horizontalScrollBar().value()
        return QRectF(left, MARGIN - self.verticalScrollBar().value(), width, height)

    # --- drawing ---------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The page with its frame, then the boxes."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        theme = self._theme
        painter.fillRect(self.viewport().rect(), theme.color("sunken"))
        if self._image is None:
            painter.setPen(theme.color("secondary"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(
                self.viewport().rect().adjusted(24, 24, -24, -24), int(flags), self._words
            )
            return
        target = self._target()
        painter.drawImage(target, self._image)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.color("accent" if self.hasFocus() else "hairline"), 1))
        painter.drawRect(target)
        for index in range(len(self._lines)):
            self._paint_line(painter, index)

    def _paint_line(self, painter: QPainter, index: int) -> None:
        strong = index == self._hovered or index in self._marked
        if not strong and not self._show_lines:
            return
        color = QColor(self._theme.color("accent"))
        if self._theme.is_dark:
            # The page itself is light in both looks.
            color = QColor("#4F5BD5")
        painter.setPen(QPen(color, 2 if strong else 1))
        fill = QColor(color)
        fill.setAlpha(56 if strong else 16)
        painter.setBrush(fill)
        painter.drawRoundedRect(self._rect(self._lines[index]).adjusted(-2, -1, 2, 1), 3, 3)

    def _rect(self, line: PageLine) -> QRectF:
        page = self._target()
        return QRectF(
            page.left() + line.x0 * page.width(),
            page.top() + line.y0 * page.height(),
            (line.x1 - line.x0) * page.width(),
            (line.y1 - line.y0) * page.height(),
        )

    def line_at(self, position: QPointF) -> int:
        """The line at a place of the view, -1 for none."""
        for index, line in enumerate(self._lines):
            if self._rect(line).adjusted(-2, -2, 2, 2).contains(position):
                return index
        return -1

    # --- hands -----------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """The line under the pointer stands out."""
        hovered = self.line_at(event.position())
        if hovered != self._hovered:
            self._hovered = hovered
            shape = (
                Qt.CursorShape.PointingHandCursor if hovered >= 0 else Qt.CursorShape.ArrowCursor
            )
            self.viewport().setCursor(shape)
            self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click on a line shows it in the text."""
        index = self.line_at(event.position())
        if index >= 0:
            self._marked = frozenset([index])
            self.line_clicked.emit(index)
            self.viewport().update()
        super().mousePressEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        """The words of a line as a tip."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self.line_at(QPointF(event.pos()))
            text = self._lines[index].text if index >= 0 else ""
            QToolTip.showText(event.globalPos(), text, self.viewport())
            return True
        return super().viewportEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """With Command (Control) it zooms; beyond an end it turns the page."""
        steps = event.angleDelta().y()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.set_zoom(self._zoom * (ZOOM_STEP if steps > 0 else 1 / ZOOM_STEP))
            return
        bar = self.verticalScrollBar()
        at_end = bar.value() == (bar.maximum() if steps < 0 else bar.minimum())
        if at_end and steps and event.phase() != Qt.ScrollPhase.ScrollMomentum:
            self.turned.emit(1 if steps < 0 else -1)
            return
        super().wheelEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """+, - and 0 zoom; Page Up and Down turn pages at the ends."""
        bar = self.verticalScrollBar()
        match event.key():
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.set_zoom(self._zoom * ZOOM_STEP)
            case Qt.Key.Key_Minus:
                self.set_zoom(self._zoom / ZOOM_STEP)
            case Qt.Key.Key_0:
                self.set_zoom(1.0)
            case Qt.Key.Key_PageDown if bar.value() == bar.maximum():
                self.turned.emit(1)
            case Qt.Key.Key_PageUp if bar.value() == bar.minimum():
                self.turned.emit(-1)
            case _:
                super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fill the new width."""
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        """As much as there is."""
        return QSize(self._theme.px(420), self._theme.px(560))
