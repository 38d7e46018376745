"""The side bar: new chat, search, the list of chats, and the other pages."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QPoint, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app.controllers.library_controller import LibraryController
from app.store.conversations import SearchHit
from app.ui.icons import icon_pixmap
from app.ui.sidebar_model import (
    ENTRY_ROLE,
    Entry,
    SidebarModel,
    entries_of_groups,
    entries_of_hits,
)
from app.ui.theme import FontRole, Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import IconLabel, line

WIDTH = 232
SEARCH_DELAY_MS = 150


class ChatDelegate(QStyledItemDelegate):
    """Draws headings as captions, chats as rounded rows."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme

    def sizeHint(self, _option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Chats 28 px, hits two lines, headings with air above."""
        entry: Entry = index.data(ENTRY_ROLE)
        height = 30 if entry.is_heading else 28
        return QSize(0, self._theme.px(46 if entry.snippet else height))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw one line."""
        entry: Entry = index.data(ENTRY_ROLE)
        theme = self._theme
        rect = option.rect.adjusted(theme.px(8), 0, -theme.px(8), 0)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if entry.is_heading:
            painter.setFont(theme.font("caption"))
            painter.setPen(theme.color("faint"))
            inner = rect.adjusted(theme.px(8), 0, 0, -theme.px(4))
            painter.drawText(inner, int(Qt.AlignmentFlag.AlignBottom), entry.title)
        else:
            self._paint_chat(painter, option, rect, entry)
        painter.restore()

    def _paint_chat(
        self, painter: QPainter, option: QStyleOptionViewItem, rect: QRect, entry: Entry
    ) -> None:
        theme = self._theme
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        hovered = bool(option.state & QStyle.StateFlag.State_MouseOver)
        if selected or hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("pressed" if selected else "hover"))
            painter.drawRoundedRect(rect, 6, 6)
        if option.state & QStyle.StateFlag.State_HasFocus and selected:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(theme.color("accent"))
            painter.drawRoundedRect(rect.adjusted(0, 0, -1, -1), 6, 6)
        inner = rect.adjusted(theme.px(8), 0, -theme.px(8), 0)
        if entry.pinned:
            size = theme.px(12)
            place = QPoint(inner.right() - size, inner.center().y() - size // 2)
            painter.drawPixmap(place, icon_pixmap(theme, "pin", "faint", 12))
            inner.setRight(inner.right() - size - 4)
        if entry.snippet:
            below = inner.adjusted(0, inner.height() // 2, 0, -theme.px(4))
            inner.setBottom(inner.center().y())
            self._text(painter, below, entry.snippet, "caption", "faint")
        self._text(painter, inner, entry.title, "body", "text")

    def _text(self, painter: QPainter, rect: QRect, text: str, role: FontRole, token: str) -> None:
        painter.setFont(self._theme.font(role))
        painter.setPen(self._theme.color(token))
        text = " ".join(text.split())
        elided = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter), elided)


class ChatList(QListView):
    """The list; Delete deletes, F2 renames, Enter opens."""

    delete_wanted = Signal(str)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete and Backspace delete the chosen chat."""
        index = self.currentIndex()
        if event.key() in {Qt.Key.Key_Delete, Qt.Key.Key_Backspace} and index.isValid():
            entry: Entry = index.data(ENTRY_ROLE)
            if not entry.is_heading:
                self.delete_wanted.emit(entry.conversation_id)
            return
        super().keyPressEvent(event)


class Sidebar(QFrame):
    """Signals: `new_chat`, `opened(conversation_id, message_id)`, `page_wanted(key)`.

    `export_wanted(id)` and `deleted(title)` come from the menu of a chat.
    """

    new_chat = Signal()
    opened = Signal(str, str)
    page_wanted = Signal(str)
    export_wanted = Signal(str)

    def __init__(self, theme: Theme, library: LibraryController) -> None:
        super().__init__()
        self.setProperty("kind", "sidebar")
        self.setAccessibleName("Side bar")
        self._theme = theme
        self._library = library
        self._current = ""
        self._pages: dict[str, TextButton] = {}
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        self.model = SidebarModel(self)
        self._search_timer = QTimer(self, singleShot=True, interval=SEARCH_DELAY_MS)
        self._search_timer.timeout.connect(self._search)
        self._build()
        self._connect()
        self._restyle()
        self.refresh()

    def _build(self) -> None:
        theme = self._theme
        self.new_button = TextButton(theme, "New chat", "row", icon_name="square-pen")
        self.search_field = QLineEdit()
        self.search_field.setProperty("kind", "search")
        self.search_field.setPlaceholderText("Search")
        self.search_field.setAccessibleName("Search all chats")
        self.search_field.setClearButtonEnabled(True)
        glass = QHBoxLayout(self.search_field)
        glass.setContentsMargins(theme.px(8), 0, 0, 0)
        glass.addWidget(IconLabel(theme, "search"), 0, Qt.AlignmentFlag.AlignLeft)
        self.list = ChatList()
        self.list.setAccessibleName("Chats")
        self.list.setModel(self.model)
        self.list.setItemDelegate(ChatDelegate(theme, self.list))
        self.list.setMouseTracking(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.EditKeyPressed)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        head = QVBoxLayout()
        head.setContentsMargins(8, 8, 8, 4)
        head.setSpacing(4)
        head.addWidget(self.new_button)
        head.addWidget(self.search_field)
        self._foot = QVBoxLayout()
        self._foot.setContentsMargins(8, 4, 8, 8)
        self._foot.setSpacing(2)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 1, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self.list, 1)
        column.addWidget(line())
        column.addLayout(self._foot)

    def _connect(self) -> None:
        self.new_button.clicked.connect(self.new_chat)
        self.search_field.textChanged.connect(lambda _text: self._search_timer.start())
        self.search_field.returnPressed.connect(self._open_first)
        self.list.clicked.connect(self._open)
        self.list.activated.connect(self._open)
        self.list.delete_wanted.connect(self._library.delete)
        self.list.customContextMenuRequested.connect(self._show_menu)
        self.model.renamed.connect(self._library.rename)
        self._library.changed.connect(self.refresh)
        self._library.search_done.connect(self._on_found)
        self._theme.changed.connect(self._restyle)

    def add_page(self, key: str, title: str, icon_name: str, before: str = "") -> None:
        """Put a page's button at the foot, above the button of `before` where that is named."""
        button = TextButton(self._theme, title, "row", icon_name=icon_name)
        button.setCheckable(True)
        button.clicked.connect(lambda: self.page_wanted.emit(key))
        self._group.addButton(button)
        self._pages[key] = button
        place = self._foot.indexOf(self._pages[before]) if before in self._pages else -1
        self._foot.insertWidget(place, button)

    @property
    def page_keys(self) -> list[str]:
        """The pages from top to bottom."""
        return sorted(self._pages, key=lambda key: self._foot.indexOf(self._pages[key]))

    def mark_page(self, key: str) -> None:
        """Show which page is open."""
        for name, button in self._pages.items():
            button.setChecked(name == key)
        if key != "chat":
            self.list.clearSelection()

    def mark_chat(self, conversation_id: str) -> None:
        """Show which chat is open."""
        row = self.model.row_of(conversation_id)
        if row is None:
            self.list.clearSelection()
        else:
            self.list.setCurrentIndex(self.model.index(row))
        self._current = conversation_id

    def fit(self, window_width: int) -> None:
        """As wide as the text size wants, but never more than a third of the window."""
        self.setFixedWidth(max(WIDTH, min(self._theme.px(WIDTH), window_width // 3)))

    def focus_search(self) -> None:
        """Be ready to search."""
        self.search_field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search_field.selectAll()

    def refresh(self) -> None:
        """Show the chats as they are now."""
        if not self.search_field.text().strip():
            self.model.set_entries(entries_of_groups(self._library.groups(time.time())))
            self.mark_chat(self._current)

    def _search(self) -> None:
        query = self.search_field.text().strip()
        if query:
            self._library.search(query)
        else:
            self.refresh()

    def _on_found(self, query: str, hits: Sequence[SearchHit]) -> None:
        if query == self.search_field.text().strip():
            self.model.set_entries(entries_of_hits(hits))

    def _open_first(self) -> None:
        for row in range(self.model.rowCount()):
            if not self.model.entry(row).is_heading:
                self._open(self.model.index(row))
                return

    def _open(self, index: QModelIndex) -> None:
        entry: Entry = index.data(ENTRY_ROLE)
        if not entry.is_heading:
            self.opened.emit(entry.conversation_id, entry.message_id)

    def _show_menu(self, place: QPoint) -> None:
        index = self.list.indexAt(place)
        entry = index.data(ENTRY_ROLE) if index.isValid() else None
        if entry is None or entry.is_heading:
            return
        chat_id = entry.conversation_id
        menu = QMenu(self)
        words = "Unpin" if entry.pinned else "Pin"
        menu.addAction(words, lambda: self._library.set_pinned(chat_id, not entry.pinned))
        menu.addAction("Rename", lambda: self.list.edit(index))
        menu.addAction("Export …", lambda: self.export_wanted.emit(chat_id))
        menu.addSeparator()
        menu.addAction("Delete", lambda: self._library.delete(chat_id))
        menu.popup(self.list.viewport().mapToGlobal(place))

    def _restyle(self) -> None:
        self.fit(self.window().width())
        self.list.doItemsLayout()
