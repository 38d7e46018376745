"""The pages of a document as small pictures with a mark of their state, drawn when seen."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import (
    QFrame,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from app.controllers.document_controller import DocumentController
from app.services.document_pages import THUMBNAIL_SIDE, PageKey
from app.store.documents import PageRecord, PageState
from app.ui.documents.words import STATE_TOKENS, STATE_WORDS
from app.ui.theme import Theme

WIDTH = 132
PICTURE = 96
ROW = 132
DOT = 8
PAGE_ROLE = Qt.ItemDataRole.UserRole
AnyIndex = QModelIndex | QPersistentModelIndex


class PagesModel(QAbstractListModel):
    """The pages of the document on show."""

    def __init__(self, documents: DocumentController, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._documents = documents
        self._id = ""
        self.shown_rows = 0
        documents.page_changed.connect(self._on_page)
        documents.pictures.ready.connect(self._on_picture)

    def set_document(self, document_id: str) -> None:
        """Show the pages of another document."""
        self.beginResetModel()
        self._id = document_id
        self.endResetModel()
        self.shown_rows = self.rowCount()

    @property
    def document_id(self) -> str:
        """The document whose pages these are."""
        return self._id

    def rowCount(self, parent: AnyIndex | None = None) -> int:
        """Pages."""
        if not self._id or (parent is not None and parent.isValid()):
            return 0
        return len(self._documents.document(self._id).pages)

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """The page record; for eyes and ears its number and state."""
        page = self._documents.document(self._id).pages[index.row()]
        if role == PAGE_ROLE:
            return page
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"Page {page.page + 1}: {STATE_WORDS[page.state]}"
        return None

    @property
    def path(self) -> str:
        """Where the document lies."""
        return self._documents.document(self._id).record.path

    def _on_page(self, document_id: str, page: int) -> None:
        if document_id == self._id:
            index = self.index(page, 0)
            self.dataChanged.emit(index, index)

    def _on_picture(self, key: PageKey) -> None:
        if self._id and key.longest == THUMBNAIL_SIDE and key.path == self.path:
            index = self.index(key.page, 0)
            self.dataChanged.emit(index, index)


class PageDelegate(QStyledItemDelegate):
    """Draws one thumbnail."""

    def __init__(self, theme: Theme, documents: DocumentController, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._documents = documents

    def sizeHint(self, _option: QStyleOptionViewItem, _index: AnyIndex) -> QSize:
        """All alike."""
        return QSize(self._theme.px(WIDTH) - 24, self._theme.px(ROW))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        """Picture, number, mark."""
        theme = self._theme
        page: PageRecord = index.data(PAGE_ROLE)
        rect = QRect(option.rect)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        chosen = bool(option.state & QStyle.StateFlag.State_Selected)
        if chosen or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("pressed" if chosen else "hover"))
            painter.drawRoundedRect(QRectF(rect).adjusted(4, 2, -4, -2), 8, 8)
        self._paint_picture(painter, rect, index, page)
        self._paint_foot(painter, rect, page, chosen=chosen)
        if option.state & QStyle.StateFlag.State_HasFocus and chosen:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.drawRoundedRect(QRectF(rect).adjusted(5, 3, -5, -3), 8, 8)
        painter.restore()

    def _paint_picture(
        self, painter: QPainter, rect: QRect, index: AnyIndex, page: PageRecord
    ) -> None:
        theme = self._theme
        model = index.model()
        assert isinstance(model, PagesModel)
        side = theme.px(PICTURE)
        place = QRect(0, 0, side, side)
        place.moveCenter(rect.center())
        place.moveTop(rect.top() + theme.px(8))
        key = PageKey(model.path, page.page, THUMBNAIL_SIDE)
        made = self._documents.pictures.image(key)
        if made is None:
            blank = QRectF(0, 0, side * 0.72, side)
            blank.moveCenter(QRectF(place).center())
            painter.setPen(QPen(theme.color("hairline"), 1))
            painter.setBrush(theme.color("surface"))
            painter.drawRoundedRect(blank, 3, 3)
            return
        size = made.image.size().scaled(place.size(), Qt.AspectRatioMode.KeepAspectRatio)
        target = QRect(place.topLeft(), size)
        target.moveCenter(place.center())
        painter.drawImage(target, made.image)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.color("hairline"), 1))
        painter.drawRect(target)

    def _paint_foot(
        self, painter: QPainter, rect: QRect, page: PageRecord, *, chosen: bool
    ) -> None:
        theme = self._theme
        painter.setFont(theme.font("caption"))
        words = str(page.page + 1)
        size = theme.px(DOT)
        width = painter.fontMetrics().horizontalAdvance(words) + size + theme.px(6)
        left = rect.center().x() - width / 2
        base = rect.bottom() - theme.px(14)
        paint_state(painter, theme, page, QRectF(left, base - size / 2, size, size))
        painter.setPen(theme.color("text" if chosen else "secondary"))
        place = QRectF(left + size + theme.px(6), base - theme.px(9), width, theme.px(18))
        painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter), words)


def paint_state(painter: QPainter, theme: Theme, page: PageRecord, place: QRectF) -> None:
    """A shape and a colour for each state: ring, half disc, disc, triangle; a dot for doubt."""
    color = QColor(theme.color(STATE_TOKENS[page.state]))
    if page.state is PageState.DONE and (page.incomplete or page.differences):
        color = theme.color("warn")
    painter.setPen(QPen(color, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    match page.state:
        case PageState.DONE:
            painter.setBrush(color)
            painter.drawEllipse(place)
        case PageState.READING:
            painter.drawEllipse(place)
            painter.setBrush(color)
            painter.drawPie(place, 90 * 16, -180 * 16)
        case PageState.FAILED:
            painter.setBrush(color)
            top = QPointF(place.center().x(), place.top())
            painter.drawPolygon(QPolygonF([top, place.bottomRight(), place.bottomLeft()]))
        case _:
            painter.drawEllipse(place)


class ThumbnailList(QListView):
    """`chosen(page)`: the person went to a page."""

    chosen = Signal(int)

    def __init__(self, theme: Theme, documents: DocumentController) -> None:
        super().__init__()
        self._theme = theme
        self.pages = PagesModel(documents, self)
        self.setModel(self.pages)
        self.setItemDelegate(PageDelegate(theme, documents, self))
        self.setAccessibleName("Pages")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QListView.SelectionMode.SingleSelection)
        self.selectionModel().currentChanged.connect(self._on_current)
        theme.changed.connect(self._restyle)
        self._restyle()

    def show_page(self, page: int) -> None:
        """Mark a page and bring it into view."""
        index = self.pages.index(page, 0)
        if index.isValid() and self.currentIndex() != index:
            self.setCurrentIndex(index)
            self.scrollTo(index)

    def _on_current(self, index: QModelIndex) -> None:
        if index.isValid():
            self.chosen.emit(index.row())

    def _restyle(self) -> None:
        self.setFixedWidth(self._theme.px(WIDTH))
        self.scheduleDelayedItemsLayout()
