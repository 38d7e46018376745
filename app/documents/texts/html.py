"""Web pages as Markdown, by the standard library's parser: no recursion, nothing fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from app.documents.texts.plain import decode, read_bytes
from app.documents.texts.writing import MOST_CHARACTERS, join_blocks, one_line, table

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BREAKING = frozenset(_HEADINGS) | {
    *("address", "article", "aside", "blockquote", "body", "dd", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "header", "hr", "html", "li", "main", "nav", "ol"),
    *("p", "pre", "section", "table", "tr", "ul"),
}
_VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "col", "wbr"})
MOST_NESTING = 12  # of lists that are still indented
MOST_CELLS = 200_000


def read_html(path: Path) -> str:
    """The text of a web page as Markdown."""
    data = read_bytes(path)
    declared = _DECLARED.search(data[:4096])
    return html_to_markdown(decode(data, declared[1].decode("ascii") if declared else ""))


def html_to_markdown(source: str) -> str:
    """Headings, paragraphs, lists, tables and preformatted text; everything else as its words."""
    writer = _Writer()
    writer.feed(source[:MOST_CHARACTERS])
    writer.close()
    return join_blocks(writer.finish())


def table_rows(source: str) -> list[list[str]]:
    """The rows of the first table of a piece of HTML; cells keep their line breaks."""
    writer = _Writer()
    writer.feed(source[:MOST_CHARACTERS])
    writer.close()
    return writer.first_table()


class _Writer(HTMLParser):
    """Gathers text into blocks. Depth is counted, never recursed into."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[str] = []
        self._text: list[str] = []
        self._hidden = 0
        self._pre = 0
        self._prefix = ""
        self._lists: list[list[str | int]] = []  # [kind, next number]
        self._table: _Table | None = None
        self._rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag == "body":
            self._hidden = 0  # whatever was left open before it
        if self._hidden or self._in_table(tag, dict(attrs)):
            return
        if tag in _BREAKING:
            self._flush()
        match tag:
            case "br":
                self._text.append("\n")
            case "pre":
                self._pre += 1
            case "ul" | "ol":
                self._lists.append([tag, 1])
            case "li":
                self._prefix = self._bullet()
            case "table":
                self._table = _Table()
            case _ if tag in _HEADINGS:
                self._prefix = "#" * _HEADINGS[tag] + " "

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
            return
        if self._hidden or tag in _VOID:
            return
        if self._table is not None:
            self._table.end(tag)
            if self._table.depth == 0:
                self._close_table(self._table)
            return
        if tag in _BREAKING:
            self._flush()
        if tag == "pre":
            self._pre = max(0, self._pre - 1)
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._table is not None:
            self._table.add(data)
        else:
            self._text.append(data)

    def finish(self) -> list[str]:
        """All blocks; list items that follow each other are one."""
        if self._table is not None:
            self._close_table(self._table)
        self._flush()
        return _joined_lists(self._blocks)

    def first_table(self) -> list[list[str]]:
        """The rows of the first table, as they are."""
        if not self._rows and self._table is not None:
            self._close_table(self._table)
        return self._rows

    def _close_table(self, ended: _Table) -> None:
        ended.close()
        rows = [row for row in ended.rows if row]
        self._rows = self._rows or [[_cell_text(text) for text in row] for row in rows]
        self._blocks.append(table(rows))
        self._table = None

    def _in_table(self, tag: str, attributes: dict[str, str | None]) -> bool:
        if self._table is None:
            return False
        self._table.start(tag, attributes)
        return True

    def _bullet(self) -> str:
        if not self._lists:
            return "- "
        level = min(len(self._lists) - 1, MOST_NESTING)
        kind, number = self._lists[-1]
        self._lists[-1][1] = int(number) + 1
        return "    " * level + (f"{number}. " if kind == "ol" else "- ")

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text = []
        if self._pre:
            if text.strip():
                self._blocks.append(f"```\n{text.strip(chr(10))}\n```")
            return
        lines = [one_line(line) for line in text.split("\n")] if "\n" in text else [one_line(text)]
        words = one_line(" ".join(line for line in lines if line))
        if words:
            self._blocks.append(self._prefix + words)
            self._prefix = ""


class _Table:
    """Rows of the outermost table; tables inside its cells are flattened into their text."""

    def __init__(self) -> None:
        self.depth = 1
        self.rows: list[list[str]] = []
        self._cell: list[str] | None = None
        self._span = 1
        self._cells = 0

    def start(self, tag: str, attributes: dict[str, str | None]) -> None:
        """A tag opens inside the table."""
        if tag == "table":
            self.depth += 1
        elif self.depth == 1 and tag == "tr":
            self._close_cell()
            self.rows.append([])
        elif self.depth == 1 and tag in ("td", "th"):
            self._close_cell()
            self._cell = []
            span = attributes.get("colspan") or "1"
            self._span = min(int(span), 100) if span.isdecimal() else 1
        elif tag in ("br", "p", "div", "li") and self._cell:
            self._cell.append("\n")

    def end(self, tag: str) -> None:
        """A tag closes inside the table."""
        if tag == "table":
            self.depth -= 1
        if self.depth == 0 or (self.depth == 1 and tag in ("td", "th", "tr")):
            self._close_cell()

    def add(self, data: str) -> None:
        """Text; its own line breaks mean nothing in HTML."""
        if self._cell is not None:
            self._cell.append(_SPACES.sub(" ", data))

    def close(self) -> None:
        """The table ends, also without its tag."""
        self._close_cell()

    def _close_cell(self) -> None:
        if self._cell is None or self._cells > MOST_CELLS:
            return
        if not self.rows:
            self.rows.append([])
        self.rows[-1] += ["".join(self._cell), *[""] * (self._span - 1)]
        self._cells += self._span
        self._cell = None


def _cell_text(text: str) -> str:
    return "\n".join(one_line(line) for line in text.strip().splitlines())


def _joined_lists(blocks: list[str]) -> list[str]:
    joined: list[str] = []
    item = re.compile(r" *(- |\d+\. )")
    for block in blocks:
        if joined and item.match(block) and item.match(joined[-1].rsplit("\n", 1)[-1]):
            joined[-1] += "\n" + block
        else:
            joined.append(block)
    return joined
