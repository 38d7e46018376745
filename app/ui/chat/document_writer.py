"""Blocks of Markdown tokens into a QTextDocument, format by format.

No HTML is handed to Qt anywhere, so nothing a model writes can be more than text, and formulas are
the only images a document holds. Each top-level block remembers where it begins: replacing the tail
of a growing answer touches nothing above it.
"""

from __future__ import annotations

import bisect
import itertools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import (
    QFontMetricsF,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextImageFormat,
    QTextListFormat,
    QTextTableCell,
    QTextTableFormat,
)

from app.ui.chat.highlight import highlight
from app.ui.chat.inline_formats import InlineFormats
from app.ui.chat.markdown import Block
from app.ui.chat.math_image import draw_image, render_svg
from app.ui.theme import LINE_HEIGHT, Theme

if TYPE_CHECKING:
    from markdown_it.token import Token

# Marks on text blocks, read back by the view that paints behind them.
CODE_LANGUAGE = QTextFormat.Property.UserProperty + 1
QUOTE_LEVEL = QTextFormat.Property.UserProperty + 2
RULE = QTextFormat.Property.UserProperty + 3
PROSE = QTextFormat.Property.UserProperty + 4

LINE_SEPARATOR = "\u2028"
PARAGRAPH_GAP = 8
CODE_HEADER = 28
CODE_PADDING = 12
INDENT = 20
MAX_TABLE_CELLS = 4_000
_BULLETS = (
    QTextListFormat.Style.ListDisc,
    QTextListFormat.Style.ListCircle,
    QTextListFormat.Style.ListSquare,
)


_ALIGNMENTS = {
    "text-align:left": Qt.AlignmentFlag.AlignLeft,
    "text-align:center": Qt.AlignmentFlag.AlignHCenter,
    "text-align:right": Qt.AlignmentFlag.AlignRight,
}


class DocumentWriter:
    """Writes blocks at the end of one document and can take the last ones back."""

    def __init__(self, document: QTextDocument, theme: Theme) -> None:
        self._document = document
        self._theme = theme
        self._formats = InlineFormats(theme)
        self._starts: list[int] = []
        self._images = itertools.count()
        self._cursor = QTextCursor(document)
        self._at_start = True
        self._quote = 0
        self._depth = 0
        self._measure_margin = 0.0
        self.blocks_written = 0

    def set_measure_margin(self, margin: float) -> None:
        """Space kept free beside prose, so that its lines keep to the measure."""
        self._measure_margin = margin

    def clear(self) -> None:
        """Empty the document."""
        self._document.clear()
        self._cursor = QTextCursor(self._document)
        self._starts = []
        self._at_start = True

    def replace_tail(self, keep: int, blocks: Sequence[Block]) -> None:
        """Keep the first `keep` top-level blocks and write `blocks` after them."""
        self._truncate(keep)
        # As one edit: else every cell of a table lays the whole table out again.
        edit = QTextCursor(self._document)
        edit.beginEditBlock()
        for block in blocks:
            self._cursor.movePosition(QTextCursor.MoveOperation.End)
            self._starts.append(self._cursor.position())
            self._write(block.tokens)
            self.blocks_written += 1
        edit.endEditBlock()

    def block_at(self, position: int) -> int:
        """Index of the top-level block a place of the document belongs to, -1 for none."""
        return bisect.bisect_right(self._starts, position) - 1

    def _truncate(self, keep: int) -> None:
        if keep >= len(self._starts):
            return
        if keep == 0:
            self.clear()
            return
        self._cursor.setPosition(self._starts[keep])
        # An empty block above would take on the format of what is removed below it.
        fmt = self._cursor.blockFormat()
        self._cursor.movePosition(QTextCursor.MoveOperation.End, QTextCursor.MoveMode.KeepAnchor)
        self._cursor.removeSelectedText()
        self._cursor.setBlockFormat(fmt)
        del self._starts[keep:]

    def _write(self, tokens: Sequence[Token]) -> None:
        index = 0
        while index < len(tokens):
            index = self._write_token(tokens, index)

    def _write_token(self, tokens: Sequence[Token], index: int) -> int:
        """Write the construct that begins at `index`; return the index after it."""
        token = tokens[index]
        match token.type:
            case "heading_open":
                self._heading(tokens[index + 1], int(token.tag[1]))
                return index + 3
            case "paragraph_open":
                self._paragraph(tokens[index + 1])
                return index + 3
            case "fence" | "code_block":
                self._code(token)
            case "math_block" | "math_block_label":
                self._display_math(token.content)
            case "hr":
                self._rule()
            case "blockquote_open":
                return self._blockquote(tokens, index)
            case "bullet_list_open" | "ordered_list_open":
                return self._list(tokens, index)
            case "table_open":
                return self._table(tokens, index)
            case _:
                pass
        return index + 1

    # --- blocks --------------------------------------------------------------------------------

    def _block_format(self) -> QTextBlockFormat:
        """The format every block starts from: gap below, quote and list indentation."""
        fmt = QTextBlockFormat()
        fmt.setBottomMargin(self._theme.px(PARAGRAPH_GAP))
        if self._quote:
            fmt.setProperty(QUOTE_LEVEL, self._quote)
            fmt.setLeftMargin(self._theme.px(14) * self._quote)
        return fmt

    def _prose_format(self, text: str, pixel_size: int) -> QTextBlockFormat:
        """Add the measure and the line height of text set in `pixel_size`."""
        fmt = self._block_format()
        fmt.setProperty(PROSE, 1)
        fmt.setLineHeight(
            pixel_size * LINE_HEIGHT, QTextBlockFormat.LineHeightTypes.MinimumHeight.value
        )
        if text.isascii() or not _is_right_to_left(text):
            fmt.setRightMargin(self._measure_margin)
        else:
            fmt.setLeftMargin(fmt.leftMargin() + self._measure_margin)
        return fmt

    def _begin_block(self, fmt: QTextBlockFormat) -> None:
        """Open a text block: the empty one at hand, or a new one."""
        cursor = self._cursor
        cursor.movePosition(QTextCursor.MoveOperation.End)
        if self._at_start or self._after_table():
            cursor.setBlockFormat(fmt)
        else:
            cursor.insertBlock(fmt)
            _leave_list(cursor, fmt)
        cursor.setBlockCharFormat(self._formats.body())
        self._at_start = False

    def _after_table(self) -> bool:
        block = self._cursor.block()
        before = QTextCursor(block)
        return block.length() == 1 and (
            before.movePosition(QTextCursor.MoveOperation.Left)
            and before.currentTable() is not None
        )

    def _heading(self, inline: Token, level: int) -> None:
        char_format = self._formats.heading(level)
        fmt = self._prose_format(inline.content, char_format.font().pixelSize())
        fmt.setHeadingLevel(level)
        if not self._at_start:
            fmt.setTopMargin(self._theme.px(12 if level < 4 else 8))
        self._begin_block(fmt)
        self._inline(inline, char_format)

    def _paragraph(self, inline: Token) -> None:
        self._begin_block(self._prose_format(inline.content, self._theme.px(13)))
        self._inline(inline, self._formats.body())

    def _code(self, token: Token) -> None:
        language = token.info.split()[0] if token.info.strip() else ""
        padding = self._theme.px(CODE_PADDING)
        fmt = self._block_format()
        fmt.setProperty(CODE_LANGUAGE, language or "text")
        fmt.setLeftMargin(fmt.leftMargin() + padding)
        fmt.setRightMargin(padding)
        # Qt lets touching margins overlap, so the padding of a code card above is added here.
        above_is_code = self._cursor.blockFormat().hasProperty(CODE_LANGUAGE)
        gap = self._theme.px(PARAGRAPH_GAP)
        header = self._theme.px(CODE_HEADER)
        fmt.setTopMargin(header + (0 if self._at_start else gap) + padding * above_is_code)
        fmt.setBottomMargin(padding + gap)
        fmt.setLineHeight(140, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        self._begin_block(fmt)
        code = token.content.removesuffix("\n")
        for text, name in highlight(code, language):
            self._cursor.insertText(text.replace("\n", LINE_SEPARATOR), self._formats.code(name))

    def _display_math(self, latex: str) -> None:
        fmt = self._block_format()
        fmt.setLeftMargin(fmt.leftMargin() + self._theme.px(INDENT))
        self._begin_block(fmt)
        self._math(latex.strip(), display=True)

    def _rule(self) -> None:
        fmt = self._prose_format("", self._theme.px(13))
        fmt.setProperty(RULE, 1)
        self._begin_block(fmt)

    def _blockquote(self, tokens: Sequence[Token], index: int) -> int:
        self._quote += 1
        end = _closing(tokens, index)
        self._write(tokens[index + 1 : end])
        self._quote -= 1
        return end + 1

    def _list(self, tokens: Sequence[Token], index: int) -> int:
        end = _closing(tokens, index)
        opening = tokens[index]
        self._depth += 1
        list_format = QTextListFormat()
        list_format.setIndent(self._depth)
        if opening.type == "ordered_list_open":
            list_format.setStyle(QTextListFormat.Style.ListDecimal)
            list_format.setStart(int(opening.attrGet("start") or 1))
        else:
            list_format.setStyle(_BULLETS[(self._depth - 1) % len(_BULLETS)])
        self._items(tokens[index + 1 : end], list_format)
        self._depth -= 1
        if self._depth == 0 and not self._cursor.blockFormat().hasProperty(CODE_LANGUAGE):
            self._set_bottom_margin(PARAGRAPH_GAP)
        return end + 1

    def _items(self, tokens: Sequence[Token], list_format: QTextListFormat) -> None:
        made = None
        index = 0
        while index < len(tokens):
            end = _closing(tokens, index)
            content = tokens[index + 1 : end]
            if content and content[0].type == "paragraph_open":
                self._paragraph(content[1])
                content = content[3:]
            else:
                self._begin_block(self._prose_format("", self._theme.px(13)))
            self._set_bottom_margin(PARAGRAPH_GAP // 2)
            if made is None:
                made = self._cursor.createList(list_format)
            else:
                made.add(self._cursor.block())
            before = self._cursor.block().blockNumber()
            self._write(content)
            self._indent_after(before)
            index = end + 1

    def _set_bottom_margin(self, gap: int) -> None:
        fmt = self._cursor.blockFormat()
        fmt.setBottomMargin(self._theme.px(gap))
        self._cursor.setBlockFormat(fmt)

    def _indent_after(self, number: int) -> None:
        """Indent what an item holds besides its first paragraph and nested lists."""
        block = self._document.findBlockByNumber(number).next()
        while block.isValid():
            if block.textList() is None and block.blockFormat().indent() == 0:
                cursor = QTextCursor(block)
                fmt = block.blockFormat()
                fmt.setIndent(self._depth)
                cursor.setBlockFormat(fmt)
            block = block.next()

    # --- tables --------------------------------------------------------------------------------

    def _table(self, tokens: Sequence[Token], index: int) -> int:
        end = _closing(tokens, index)
        rows: list[list[tuple[Token, str]]] = []
        for position in range(index, end):
            token = tokens[position]
            if token.type == "tr_open":
                rows.append([])
            elif token.type in {"th_open", "td_open"}:
                rows[-1].append((tokens[position + 1], str(token.attrGet("style") or "")))
        columns = max((len(row) for row in rows), default=0)
        if not columns or columns * len(rows) > MAX_TABLE_CELLS:
            self._begin_block(self._block_format())
            self._cursor.insertText("(This table is too large to show.)", self._formats.body())
            return end + 1
        self._fill_table(rows, columns)
        return end + 1

    def _fill_table(self, rows: list[list[tuple[Token, str]]], columns: int) -> None:
        self._begin_block(QTextBlockFormat())
        table = self._cursor.insertTable(len(rows), columns, self._table_format())
        head, body = self._formats.strong(), self._formats.body()
        for y, row in enumerate(rows):
            for x, (inline, style) in enumerate(row):
                self._cell(table.cellAt(y, x), inline, style, body if y else head)
                if y == 0:
                    self._shade(table.cellAt(y, x))
        self._cursor.movePosition(QTextCursor.MoveOperation.End)
        # The block Qt needs after a table stays invisible until something is written into it.
        fmt = QTextBlockFormat()
        fmt.setLineHeight(1, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        self._cursor.setBlockFormat(fmt)

    def _table_format(self) -> QTextTableFormat:
        fmt = QTextTableFormat()
        fmt.setCellPadding(self._theme.px(6))
        fmt.setCellSpacing(0)
        fmt.setBorder(1)
        fmt.setBorderCollapse(True)
        fmt.setBorderBrush(self._theme.color("hairline"))
        fmt.setHeaderRowCount(1)
        fmt.setTopMargin(self._theme.px(4))
        fmt.setBottomMargin(self._theme.px(PARAGRAPH_GAP))
        return fmt

    def _shade(self, cell: QTextTableCell) -> None:
        cell_format = cell.format()
        cell_format.setBackground(self._theme.color("sunken"))
        cell.setFormat(cell_format)

    def _cell(self, cell: QTextTableCell, inline: Token, style: str, base: QTextCharFormat) -> None:
        cursor = cell.firstCursorPosition()
        fmt = QTextBlockFormat()
        fmt.setAlignment(_ALIGNMENTS.get(style, Qt.AlignmentFlag(0)))
        cursor.setBlockFormat(fmt)
        outer, self._cursor = self._cursor, cursor
        self._inline(inline, base)
        self._cursor = outer

    # --- inline --------------------------------------------------------------------------------

    def _inline(self, inline: Token, base: QTextCharFormat) -> None:
        stack = [base]
        for token in inline.children or []:
            opened = self._formats.opened(token, stack[-1])
            if opened is not None:
                stack.append(opened)
            elif token.nesting < 0 and len(stack) > 1:
                stack.pop()
            elif token.type in {"math_inline", "math_inline_double"}:
                self._math(token.content, display=token.type.endswith("double"))
            else:
                text, fmt = self._formats.text_of(token, stack[-1])
                self._cursor.insertText(text, fmt)

    def _math(self, latex: str, *, display: bool) -> None:
        size = self._theme.px(15 if display else 14)
        drawn = render_svg(latex, size, display, self._theme.color("text").name())
        if drawn is None:
            self._cursor.insertText(latex, self._formats.code("text"))
            return
        # Qt puts a baseline-aligned picture on the descent line of the font, a middle-aligned one
        # with its centre on the baseline; the padding turns either into exact alignment.
        descent = QFontMetricsF(self._theme.font("body")).descent()
        fmt = QTextImageFormat()
        if drawn.depth <= descent:
            image = draw_image(drawn, 0, descent)
            fmt.setVerticalAlignment(QTextCharFormat.VerticalAlignment.AlignBaseline)
        else:
            half = max(drawn.height - drawn.depth, drawn.depth)
            image = draw_image(drawn, half, half)
            fmt.setVerticalAlignment(QTextCharFormat.VerticalAlignment.AlignMiddle)
        name = f"math:{next(self._images)}"
        self._document.addResource(QTextDocument.ResourceType.ImageResource, QUrl(name), image)
        fmt.setName(name)
        fmt.setWidth(image.width() / image.devicePixelRatio())
        fmt.setHeight(image.height() / image.devicePixelRatio())
        fmt.setToolTip(latex)
        self._cursor.insertImage(fmt)


def _closing(tokens: Sequence[Token], index: int) -> int:
    """Index of the token that closes the one at `index`."""
    depth = 0
    for position in range(index, len(tokens)):
        depth += tokens[position].nesting
        if depth == 0:
            return position
    return len(tokens)


def _leave_list(cursor: QTextCursor, fmt: QTextBlockFormat) -> None:
    """A new block inherits the list of the one before; take it out again."""
    current = cursor.currentList()
    if current is not None:
        current.remove(cursor.block())
        cursor.setBlockFormat(fmt)


def _is_right_to_left(text: str) -> bool:
    """True when the first letter with a direction is written right to left (UAX 9, rule P2)."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in {"R", "AL", "L"}:
            return direction != "L"
    return False
