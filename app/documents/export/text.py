"""Markdown and plain text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.documents import markdown as md
from app.documents.export.files import writable, write_string
from app.documents.types import PageText

MOST_COLUMN = 60  # characters a column is padded to


def write_markdown(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One Markdown file; page numbers as comments, what went wrong as quotes."""
    write_string(target, markdown_of(pages, title))
    return (target,)


def write_text(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One text file; form feeds between pages."""
    texts = [plain_text(md.blocks(page.markdown)) for page in pages]
    head = f"{title}\n\n" if title else ""
    write_string(target, writable_pages(head, texts))
    return (target,)


def markdown_of(pages: Sequence[PageText], title: str = "") -> str:
    """All pages as one Markdown text."""
    parts = [f"# {title}"] if title else []
    source = ""
    for page in pages:
        if page.source and page.source != source:
            source = page.source
            parts.append(f"## {source}")
        if len(pages) > 1:
            parts.append(f"<!-- page {page.page + 1} -->")
        parts += [f"> **Note:** {notice}" for notice in page.notices]
        text = md.unfenced(page.markdown).strip()
        if text:
            parts.append(text)
    return writable("\n\n".join(parts)) + "\n"


def writable_pages(head: str, texts: Sequence[str]) -> str:
    """Pages as text, a form feed between them."""
    return head + "\n\f".join(writable(text).rstrip() for text in texts) + "\n"


def plain_text(found: Sequence[md.Block]) -> str:
    """Blocks as text without marks; tables in columns."""
    return "\n\n".join("\n".join(_lines(block)) for block in found)


def _lines(block: md.Block) -> Iterator[str]:
    match block:
        case md.Heading() | md.Paragraph():
            yield from md.plain(block.spans).split("\n")
        case md.ListBlock():
            for item in block.items:
                mark = "-" if item.number is None else f"{item.number}."
                text = md.plain(item.spans).replace("\n", " ")
                yield f"{'  ' * item.level}{mark} {text}"
        case md.Table():
            yield from _columns(block)
        case md.Formula():
            yield block.latex
        case md.Code():
            yield from block.text.split("\n")
        case md.Rule():
            yield "-" * 20


def _columns(table: md.Table) -> Iterator[str]:
    rows = [[cell.replace("\n", " ") for cell in row] for row in table.rows]
    widths = [min(max(map(columns_of, column)), MOST_COLUMN) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        padded = (
            cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()
        if index == 0 and table.head:
            yield "  ".join("-" * width for width in widths)


def columns_of(text: str) -> int:
    """Places a text takes in a terminal: wide characters take two, marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
