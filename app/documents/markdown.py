"""What a model wrote as blocks: headings, lists, tables with cells, formulas, code.

Markdown by markdown-it; the HTML tables that models emit become tables as well. Every other tag
stays text: nothing in it can load or run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.documents.markdown_parser import markdown_parser
from app.documents.texts.html import table_rows

if TYPE_CHECKING:
    from markdown_it.token import Token

MOST_CHARACTERS = 2_000_000  # more is kept as one plain paragraph
_TAG = re.compile(r"<[^<>]*>")
_HTML_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_FENCED = re.compile(r"\s*```(?:markdown|md|text)?[ \t]*\n(.*?)\n?```\s*", re.DOTALL)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Words of one look. math: `text` is LaTeX."""

    text: str
    bold: bool = False
    italic: bool = False
    code: bool = False
    math: bool = False


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """level: 1 to 6."""

    level: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Spans hold their line breaks. quote: it is cited."""

    spans: Spans
    quote: bool = False


@dataclass(frozen=True, slots=True)
class ListItem:
    """level: 0 for the outermost; number: None for a bullet."""

    level: int
    number: int | None
    spans: Spans


@dataclass(frozen=True, slots=True)
class ListBlock:
    """Items of all levels in order."""

    items: tuple[ListItem, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain cell texts, all of one length; the first is the head if `head`."""

    rows: tuple[tuple[str, ...], ...]
    head: bool = True


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula on lines of its own, as LaTeX."""

    latex: str


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be kept as they are."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the page."""


Block = Heading | Paragraph | ListBlock | Table | Formula | Code | Rule


def blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a page's text in order; never raises."""
    text = unfenced(text.replace("\r\n", "\n").replace("\r", "\n"))
    if len(text) > MOST_CHARACTERS:
        return (Paragraph((Span(text),)),)
    found: list[Block] = []
    at = 0
    for table in _HTML_TABLE.finditer(text):
        found += _markdown_blocks(text[at : table.start()])
        rows = table_rows(table[0])
        if rows:
            found.append(_table(rows, head=True))
        else:
            # A table in a table, or one without cells: its words must not get lost.
            found += _markdown_blocks(_TAG.sub(" ", table[0]))
        at = table.end()
    found += _markdown_blocks(text[at:])
    return tuple(found)


def tables(text: str) -> tuple[Table, ...]:
    """Only the tables."""
    return tuple(block for block in blocks(text) if isinstance(block, Table))


def unfenced(text: str) -> str:
    """Without the ``` some models put around the whole page."""
    whole = _FENCED.fullmatch(text)
    return whole[1] if whole and "\n```" not in whole[1] else text


def plain(spans: Sequence[Span]) -> str:
    """The words alone; formulas keep their dollars."""
    return "".join(f"${span.text}$" if span.math else span.text for span in spans)


def _table(rows: Sequence[Sequence[str]], *, head: bool) -> Table:
    width = max(len(row) for row in rows)
    return Table(tuple((*row, *[""] * (width - len(row))) for row in rows), head)


# --- markdown-it's tokens to blocks --------------------------------------------------------------


def _markdown_blocks(text: str) -> list[Block]:
    """Blocks of text without HTML tables; what the parser gives up on stays as it is."""
    bare = text.strip()
    found = list(_Walk(markdown_parser().parse(text)).blocks()) if bare else []
    return found or ([Paragraph((Span(bare),))] if bare else [])


class _Walk:
    """Goes over markdown-it's flat tokens once."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def blocks(self) -> Iterator[Block]:
        """All blocks; what stands inside quotes and lists comes as their own kind."""
        quotes = 0
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            quotes += (token.type == "blockquote_open") - (token.type == "blockquote_close")
            if token.type in ("bullet_list_open", "ordered_list_open"):
                yield from self._list()
                continue
            if token.type == "table_open":
                yield self._table()
                continue
            if block := self._simple(token, quotes > 0):
                yield block
            self._at += 1

    def _simple(self, token: Token, quoted: bool) -> Block | None:
        match token.type:
            case "heading_open":
                return Heading(int(token.tag[1]), _spans(self._tokens[self._at + 1]))
            case "paragraph_open":
                return _paragraph(_spans(self._tokens[self._at + 1]), quoted)
            case "fence" | "code_block":
                language = token.info.split()[0] if token.info.split() else ""
                return Code(token.content.rstrip("\n"), language)
            case "math_block" | "math_block_label":
                return Formula(token.content.strip())
            case "hr":
                return Rule()
        return None

    def _list(self) -> Iterator[Block]:
        """One list with its inner lists; blocks inside items that are no text follow it."""
        items: list[ListItem] = []
        others: list[Block] = []
        numbers: list[int | None] = []
        fresh = False
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            match token.type:
                case "bullet_list_open":
                    numbers.append(None)
                case "ordered_list_open":
                    numbers.append(int(token.attrs.get("start", 1)))
                case "bullet_list_close" | "ordered_list_close":
                    numbers.pop()
                case "list_item_open":
                    fresh = True
                case "table_open":
                    others.append(self._table())
                    continue
                case "inline":
                    self._item(items, numbers, _spans(token), fresh=fresh)
                    fresh = False
                case "fence" | "code_block" | "math_block":
                    if block := self._simple(token, quoted=False):
                        others.append(block)
            self._at += 1
            if not numbers:
                break
        if items:
            yield ListBlock(tuple(items))
        yield from others

    @staticmethod
    def _item(
        items: list[ListItem], numbers: list[int | None], spans: Spans, *, fresh: bool
    ) -> None:
        """A new item, or a further paragraph of the last."""
        if not fresh and items:
            last = items[-1]
            joined = (*last.spans, Span("\n"), *spans)
            items[-1] = ListItem(last.level, last.number, joined)
            return
        number = numbers[-1]
        items.append(ListItem(len(numbers) - 1, number, spans))
        if number is not None:
            numbers[-1] = number + 1

    def _table(self) -> Table:
        rows: list[list[str]] = []
        head = False
        while self._tokens[self._at].type != "table_close":
            token = self._tokens[self._at]
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(_cell(token))
            self._at += 1
        self._at += 1
        # Markdown cannot say "no head": an empty one means that.
        if rows and not any(rows[0]):
            rows = rows[1:] or rows
        else:
            head = True
        return _table(rows, head=head)


def _paragraph(spans: Spans, quoted: bool) -> Block:
    if len(spans) == 1 and spans[0].math and not quoted:
        return Formula(spans[0].text)
    return Paragraph(spans, quoted)


def _cell(token: Token) -> str:
    return _BREAK.sub("\n", plain(_spans(token))).strip()


def _spans(token: Token) -> Spans:
    """The words of an inline token; neighbours of one look are joined."""
    found: list[Span] = []
    bold = italic = 0
    for child in token.children or ():
        bold += (child.type == "strong_open") - (child.type == "strong_close")
        italic += (child.type == "em_open") - (child.type == "em_close")
        text = _text(child)
        if not text:
            continue
        math = child.type.startswith("math")
        span = Span(text, bold > 0, italic > 0, child.type == "code_inline", math)
        last = found[-1] if found else None
        if last and not math and not last.math and _look(last) == _look(span):
            found[-1] = Span(last.text + text, last.bold, last.italic, last.code)
        else:
            found.append(span)
    return tuple(found)


def _text(child: Token) -> str:
    match child.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "text" | "code_inline" | "math_inline" | "math_inline_double":
            return child.content
        case "image":
            return child.content
    return ""


def _look(span: Span) -> tuple[bool, bool, bool]:
    return span.bold, span.italic, span.code
