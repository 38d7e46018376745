"""The text of a page: rendered Markdown, copied block by block, or its source to edit."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFontMetrics,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QResizeEvent,
    QTextCursor,
)
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QScrollArea, QStackedWidget, QWidget

from app.ui.chat.markdown import parse_blocks
from app.ui.chat.rich_text import RichText
from app.ui.documents.excerpt import excerpt, longest_words
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton

MARGIN = 20
LEAST_WIDTH = 120
MOST_WIDTH = 8000
CELL_PADDING = 6
SAVE_EVERY_MS = 800


class CopyableText(RichText):
    """Markdown whose block under the pointer offers itself to be copied."""

    copied = Signal(str)
    place_clicked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self._source = ""
        self.setAccessibleName("Text of the page")
        self.viewport().setMouseTracking(True)
        self._copy = IconButton(theme, "copy", "Copy this block", parent=self.viewport())
        self._copy.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._copy.clicked.connect(lambda: self.copy_block(self._block))
        self._copy.hide()
        self._block = -1

    def show_source(self, text: str) -> None:
        """Show this Markdown, of a very long one the beginning."""
        self._source = text
        self._copy.hide()
        self.set_markdown(excerpt(text))

    def blocks(self) -> list[str]:
        """The source of every block, as it is copied."""
        return [block.source.strip() for block in parse_blocks(self._source)]

    def copy_block(self, index: int) -> None:
        """Put one block on the clipboard as Markdown."""
        blocks = self.blocks()
        if 0 <= index < len(blocks):
            QGuiApplication.clipboard().setText(blocks[index])
            self.copied.emit(blocks[index])

    def find_words(self, words: str) -> bool:
        """Select where these words stand; False if they are nowhere in one piece."""
        found = self.document().find(words)
        if found.isNull() and len(words) > 24:
            found = self.document().find(words[:24])
        if found.isNull():
            return False
        self.setTextCursor(found)
        return True

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show the button beside the block under the pointer."""
        super().mouseMoveEvent(event)
        self._offer(event.position().toPoint())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A plain click tells which words it hit, so that the page can show them."""
        super().mouseReleaseEvent(event)
        cursor = self.textCursor()
        if not cursor.hasSelection():
            self.place_clicked.emit(cursor.block().text())

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Copy what is selected, the block, or everything."""
        menu = self.createStandardContextMenu()
        block = self.writer.block_at(self.cursorForPosition(event.pos()).position())
        menu.addAction("Copy Block as Markdown", lambda: self.copy_block(block))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy without a selection takes the block the cursor is in."""
        if event.matches(QKeySequence.StandardKey.Copy) and not self.textCursor().hasSelection():
            self.copy_block(self.writer.block_at(self.textCursor().position()))
            return
        super().keyPressEvent(event)

    def _offer(self, position: QPoint) -> None:
        cursor = self.cursorForPosition(position)
        self._block = self.writer.block_at(cursor.position())
        self._copy.setVisible(self._block >= 0)
        top = self.cursorRect(self._first(cursor)).top()
        self._copy.move(self.width() - self._copy.width(), max(0, top - 4))

    def _first(self, cursor: QTextCursor) -> QTextCursor:
        """The first line of the block the cursor is in."""
        first = QTextCursor(cursor)
        while first.movePosition(QTextCursor.MoveOperation.PreviousBlock):
            if self.writer.block_at(first.position()) != self._block:
                first.movePosition(QTextCursor.MoveOperation.NextBlock)
                break
        first.movePosition(QTextCursor.MoveOperation.StartOfBlock)
        return first


class PageTextView(QStackedWidget):
    """Rendered, or being edited.

    Signals: `edited(text)` the person changed the text; `copied(text)`; `place_clicked(words)`.
    """

    edited = Signal(str)
    copied = Signal(str)
    place_clicked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._text = ""
        self._tables: list[list[str]] = []
        self.rendered = CopyableText(theme)
        self.rendered.copied.connect(self.copied)
        self.rendered.place_clicked.connect(self.place_clicked)
        self.area = QScrollArea()
        self.area.setAccessibleName("Text of the page")
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setCornerWidget(QWidget())
        self.area.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self._holder = QWidget()
        self.rendered.setParent(self._holder)
        self.rendered.move(MARGIN, MARGIN // 2)
        self.rendered.height_changed.connect(self._fit_holder)
        self.area.setWidget(self._holder)
        self.editor = QPlainTextEdit()
        self.editor.setProperty("kind", "field")
        self.editor.setAccessibleName("Edit the text of the page")
        self.editor.setTabChangesFocus(True)
        self.addWidget(self.area)
        self.addWidget(self.editor)
        self._saver = QTimer(self, interval=SAVE_EVERY_MS, singleShot=True)
        self._saver.timeout.connect(self.save_now)
        self.editor.textChanged.connect(self._on_typed)
        theme.changed.connect(self._restyle)
        self._restyle()

    @property
    def editing(self) -> bool:
        """The source is being edited."""
        return self.currentWidget() is self.editor

    def show_text(self, text: str) -> None:
        """Show a page's text; a growing one is drawn from its last block on."""
        if self.editing:
            return
        self._text = text
        self._tables = longest_words(excerpt(text))
        self._fit_width()
        self.rendered.show_source(text)
        self._fit_holder()

    def set_editing(self, editing: bool) -> None:
        """Change between reading and writing; what was written is kept."""
        if editing == self.editing:
            return
        if editing:
            self.editor.setPlainText(self._text)
            self._saver.stop()
            self.setCurrentWidget(self.editor)
            self.editor.setFocus()
        else:
            text = self.editor.toPlainText()
            self.save_now()
            self.setCurrentWidget(self.area)
            self.show_text(text)

    def save_now(self) -> None:
        """Hand over what was typed."""
        if self._saver.isActive() or self.editing:
            self._saver.stop()
            text = self.editor.toPlainText()
            if text != self._text:
                self._text = text
                self.edited.emit(text)

    def _on_typed(self) -> None:
        if self.editing:
            self._saver.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """As wide as there is room."""
        super().resizeEvent(event)
        self._fit_width()

    def _fit_width(self) -> None:
        room = max(LEAST_WIDTH, self.area.viewport().width() - 2 * MARGIN)
        self.rendered.set_width(max(room, self._table_width()), room)
        self._fit_holder()

    def _table_width(self) -> int:
        """What the widest table needs to keep its words whole."""
        font = self._theme.font("body")
        font.setBold(True)  # as in the head of a table
        metrics = QFontMetrics(font)
        cell = 2 * self._theme.px(CELL_PADDING) + 4
        widths = (
            sum(metrics.horizontalAdvance(word) + cell for word in columns)
            for columns in self._tables
        )
        return min(MOST_WIDTH, max(widths, default=0))

    def _fit_holder(self) -> None:
        room = self.area.viewport().width()
        width = max(room, self.rendered.width() + 2 * MARGIN)
        self._holder.resize(width, self.rendered.height() + 2 * MARGIN)

    def _restyle(self) -> None:
        self.editor.setFont(self._theme.font("code"))
        # A new width writes the text again with the new fonts and colours.
        self.rendered.set_width(max(LEAST_WIDTH, self.rendered.width() - 1))
        self._fit_width()
