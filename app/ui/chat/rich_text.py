"""A read-only text that shows Markdown, as high as its content, inert and selectable."""

from __future__ import annotations

import math

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QGuiApplication,
    QPainter,
    QPaintEvent,
    QTextBlock,
    QTextDocument,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser, QTextEdit, QToolButton, QWidget

from app.ui.chat.document_writer import (
    CODE_HEADER,
    CODE_LANGUAGE,
    CODE_PADDING,
    QUOTE_LEVEL,
    RULE,
    DocumentWriter,
)
from app.ui.chat.markdown import MarkdownStream, plain_block
from app.ui.icons import icon
from app.ui.theme import Theme

CODE_RADIUS = 10


class RichText(QTextBrowser):
    """Message text. `link_clicked` carries the address; nothing opens by itself."""

    link_clicked = Signal(str)
    height_changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text = ""
        self._plain = False
        self._stream = MarkdownStream()
        self._copy_buttons: list[QToolButton] = []
        self._natural_height = 0
        self._prose = 0
        self.setProperty("kind", "message")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setOpenLinks(False)
        self.setUndoRedoEnabled(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextBrowserInteraction
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.document().setDocumentMargin(0)
        self.document().setIndentWidth(theme.px(20))
        self.viewport().setAutoFillBackground(False)
        self._writer = DocumentWriter(self.document(), theme)
        self.anchorClicked.connect(self._on_anchor)

    @property
    def writer(self) -> DocumentWriter:
        """The writer, for its counters."""
        return self._writer

    def set_markdown(self, text: str) -> None:
        """Show `text`; when it continues the earlier one only its last block is written again."""
        if text == self._text:
            return
        self._text = text
        keep, blocks = self._stream.update(text)
        self._writer.replace_tail(keep, blocks)
        self._fit()

    def set_plain(self, text: str) -> None:
        """Show `text` as it is, line for line, without Markdown."""
        self._plain = True
        self._text = text
        self._writer.replace_tail(0, [plain_block(text)])
        self._fit()

    def shrink_to(self, room: int) -> None:
        """Take the width the longest line needs, `room` at most."""
        self._writer.set_measure_margin(0)
        self._wrap_at(room)
        self._rewrite()
        self._wrap_at(min(room, math.ceil(self.document().idealWidth()) + 1))
        self._fit()

    def _wrap_at(self, width: int) -> None:
        """Lay out at once for `width`, whether the widget is on the screen or not."""
        self.setFixedWidth(width)
        self.setLineWrapMode(QTextEdit.LineWrapMode.FixedPixelWidth)
        self.setLineWrapColumnOrWidth(width)

    def set_width(self, width: int, prose: int = 0) -> None:
        """Lay the text out for `width` pixels and take the height that needs.

        prose: room for the lines of prose, where tables need more than there is.
        """
        if (width, prose) == (self.width(), self._prose) and self._natural_height:
            return
        self._prose = prose
        measure = min(self._theme.measure(), prose or width)
        self._writer.set_measure_margin(max(0, width - measure))
        self._wrap_at(width)
        self._rewrite()

    def sizeHint(self) -> QSize:
        """As wide as it is, as high as its text."""
        return QSize(self.width(), self._natural_height)

    def loadResource(self, kind: int, name: QUrl) -> object:
        """Give out drawn formulas only; nothing is read from disk or network."""
        if name.scheme() == "math":
            return self.document().resource(QTextDocument.ResourceType(kind), name)
        return None

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave scrolling to the transcript."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw code cards, quote bars and rules behind the text."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        block = self.document().begin()
        while block.isValid():
            self._paint_behind(painter, block)
            block = block.next()
        painter.end()
        super().paintEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Nothing of the text depends on the palette; the theme says when to restyle."""
        if event.type() != QEvent.Type.PaletteChange:
            super().changeEvent(event)

    def _rewrite(self) -> None:
        self.document().setIndentWidth(self._theme.px(20))
        self._writer.clear()
        if self._plain:
            self.set_plain(self._text)
        else:
            text, self._text = self._text, ""
            self._stream = MarkdownStream()
            self.set_markdown(text)

    def _paint_behind(self, painter: QPainter, block: QTextBlock) -> None:
        fmt = block.blockFormat()
        if fmt.hasProperty(CODE_LANGUAGE):
            self._paint_code_card(painter, block)
        elif fmt.hasProperty(RULE):
            rect = self._block_rect(block)
            painter.fillRect(
                QRectF(0, rect.center().y(), self._theme.measure(), 1),
                self._theme.color("hairline"),
            )
        elif fmt.hasProperty(QUOTE_LEVEL):
            rect = self._block_rect(block)
            for level in range(fmt.intProperty(QUOTE_LEVEL)):
                bar = QRectF(level * self._theme.px(14), rect.top(), 3, rect.height())
                painter.fillRect(bar, self._theme.color("hairline"))

    def _paint_code_card(self, painter: QPainter, block: QTextBlock) -> None:
        card = self._code_card(block)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("sunken"))
        painter.drawRoundedRect(card, CODE_RADIUS, CODE_RADIUS)
        painter.setPen(self._theme.color("faint"))
        painter.setFont(self._theme.font("caption"))
        left = card.left() + self._theme.px(CODE_PADDING)
        label = QRectF(left, card.top(), card.width(), self._theme.px(CODE_HEADER))
        language = block.blockFormat().stringProperty(CODE_LANGUAGE)
        painter.drawText(label, Qt.AlignmentFlag.AlignVCenter, language)

    def _block_rect(self, block: QTextBlock) -> QRectF:
        return self.document().documentLayout().blockBoundingRect(block)

    def _code_card(self, block: QTextBlock) -> QRectF:
        rect = self._block_rect(block)
        left = block.blockFormat().leftMargin() - self._theme.px(CODE_PADDING)
        left += block.blockFormat().indent() * self.document().indentWidth()
        layout = block.layout()
        top = rect.top() if layout.lineCount() == 0 else rect.top() + layout.lineAt(0).y()
        top -= self._theme.px(CODE_HEADER)
        bottom = rect.bottom() + self._theme.px(CODE_PADDING)
        return QRectF(left, top, self.width() - left, bottom - top)

    def _fit(self) -> None:
        height = math.ceil(self.document().size().height())
        last = self.document().lastBlock()
        if last.blockFormat().hasProperty(CODE_LANGUAGE):
            # The document leaves out the last margin, the card's padding lies in it.
            height = max(height, math.ceil(self._code_card(last).bottom()) + 1)
        self._place_copy_buttons()
        if height != self._natural_height:
            self._natural_height = height
            self.setFixedHeight(max(1, height))
            self.height_changed.emit()

    def _code_blocks(self) -> list[QTextBlock]:
        blocks = []
        block = self.document().begin()
        while block.isValid():
            if block.blockFormat().hasProperty(CODE_LANGUAGE):
                blocks.append(block)
            block = block.next()
        return blocks

    def _place_copy_buttons(self) -> None:
        blocks = self._code_blocks()
        while len(self._copy_buttons) < len(blocks):
            self._copy_buttons.append(self._make_copy_button(len(self._copy_buttons)))
        for index, button in enumerate(self._copy_buttons):
            button.setVisible(index < len(blocks))
            if index < len(blocks):
                card = self._code_card(blocks[index])
                button.move(round(card.right()) - button.width() - 2, round(card.top()))

    def _make_copy_button(self, index: int) -> QToolButton:
        button = QToolButton(self.viewport())
        button.setIcon(icon(self._theme, "copy", "faint", 14))
        button.setAccessibleName("Copy code")
        button.setToolTip("Copy code")
        button.setCursor(Qt.CursorShape.ArrowCursor)
        button.setFixedSize(self._theme.px(CODE_HEADER), self._theme.px(CODE_HEADER))
        button.clicked.connect(lambda: self._copy_code(index))
        return button

    def _copy_code(self, index: int) -> None:
        code = self._code_blocks()[index].text().replace("\u2028", "\n")
        QGuiApplication.clipboard().setText(code)

    def _on_anchor(self, target: QUrl) -> None:
        self.link_clicked.emit(target.toString())
