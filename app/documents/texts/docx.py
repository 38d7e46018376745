"""Word documents: headings, lists, tables and emphasis in the order they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.documents.texts.writing import join_blocks, one_line, table
from app.documents.texts.zipped import check_zip, damaged

if TYPE_CHECKING:
    from docx.table import Table
    from docx.text.paragraph import Paragraph

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_LIST_LEVEL = re.compile(r"list (?:bullet|number)(?: (\d))?", re.IGNORECASE)
MOST_TABLE_CELLS = 200_000


def read_docx(path: Path) -> str:
    """The text of a Word document as Markdown.

    Raises:
        DocumentError: damaged, or a zip bomb.
    """
    import docx

    check_zip(path)
    try:
        document = docx.Document(str(path))
    except (KeyError, ValueError, AttributeError, SyntaxError, OSError) as problem:
        raise damaged(path, problem) from problem
    return join_blocks(_blocks(document))


def _blocks(document: Any) -> Iterator[str]:
    """Paragraphs and tables; neighbours in a list become one block."""
    from docx.table import Table

    items: list[str] = []
    numbers = _Numbering(document)
    for content in document.iter_inner_content():
        item = None if isinstance(content, Table) else numbers.item(content)
        if item is not None:
            items.append(item)
            continue
        if items:
            yield "\n".join(items)
            items = []
        yield _table(content) if isinstance(content, Table) else _paragraph(content)
    yield "\n".join(items)


def _paragraph(paragraph: Paragraph) -> str:
    text = _text(paragraph)
    style = paragraph.style.name or "" if paragraph.style else ""
    if style == "Title":
        return f"# {text}" if text else ""
    heading = _HEADING.match(style)
    return f"{'#' * min(int(heading[1]), 6)} {text}" if heading and text else text


def _text(paragraph: Paragraph) -> str:
    """The words with bold and italic marked; neighbouring runs of one kind are joined."""
    pieces: list[tuple[str, str]] = []
    for content in paragraph.iter_inner_content():
        for run in getattr(content, "runs", None) or [content]:
            mark = _mark(run)
            if pieces and pieces[-1][0] == mark:
                pieces[-1] = (mark, pieces[-1][1] + run.text)
            elif run.text:
                pieces.append((mark, run.text))
    heading = bool(paragraph.style and _HEADING.match(paragraph.style.name or ""))
    return "".join(_marked("" if heading else mark, text) for mark, text in pieces).strip()


def _mark(run: Any) -> str:
    return ("**" if getattr(run, "bold", False) else "") + (
        "*" if getattr(run, "italic", False) else ""
    )


def _marked(mark: str, text: str) -> str:
    bare = text.strip()
    if not mark or not bare:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{mark}{bare}{mark[::-1]}{after}"


class _Numbering:
    """Tells list paragraphs: by their style, or by the numbering they are tied to."""

    def __init__(self, document: Any) -> None:
        self._formats = _number_formats(document)

    def item(self, paragraph: Paragraph) -> str | None:
        """The Markdown list item a paragraph is, or None."""
        style = (paragraph.style.name or "") if paragraph.style else ""
        level, number = self._tied(paragraph)
        by_style = _LIST_LEVEL.match(style)
        if (number is None and not by_style) or _HEADING.match(style):
            return None
        text = one_line(_text(paragraph))
        if not text:
            return None
        if by_style and by_style[1]:
            level = max(level, int(by_style[1]) - 1)
        ordered = "number" in style.lower() or self._formats.get((number, level)) == "ordered"
        return f"{'    ' * min(level, 8)}{'1.' if ordered else '-'} {text}"

    def _tied(self, paragraph: Paragraph) -> tuple[int, int | None]:
        properties = paragraph._p.pPr  # noqa: SLF001  (the library has no public way to it)
        numbered = properties.numPr if properties is not None else None
        if numbered is None or numbered.numId is None or not numbered.numId.val:
            return 0, None
        level = numbered.ilvl.val if numbered.ilvl is not None else 0
        return int(level), int(numbered.numId.val)


def _number_formats(document: Any) -> dict[tuple[int | None, int], str]:
    """(number, level) → "ordered" or "bullet", from the document's numbering part."""
    from docx.oxml.ns import qn

    try:
        root = document.part.numbering_part.element
    except (KeyError, NotImplementedError, AttributeError):  # python-docx: there is no such part
        return {}
    kinds: dict[tuple[str, int], str] = {}
    for abstract in root.findall(qn("w:abstractNum")):
        for level in abstract.findall(qn("w:lvl")):
            kind = level.find(qn("w:numFmt"))
            bullet = kind is None or kind.get(qn("w:val")) in ("bullet", "none")
            key = (abstract.get(qn("w:abstractNumId")), int(level.get(qn("w:ilvl"), 0)))
            kinds[key] = "bullet" if bullet else "ordered"
    found: dict[tuple[int | None, int], str] = {}
    for number in root.findall(qn("w:num")):
        tied = number.find(qn("w:abstractNumId"))
        for (abstract_id, level), kind in kinds.items():
            if tied is not None and tied.get(qn("w:val")) == abstract_id:
                found[(int(number.get(qn("w:numId"))), level)] = kind
    return found


def _table(found: Table) -> str:
    """Cells that span several columns or rows are written once, the rest of their span empty."""
    rows: list[list[str]] = []
    seen: set[Any] = set()  # the elements themselves: their ids are used again when they go
    cells = 0
    for row in found.rows:
        texts: list[str] = []
        for spot in row.cells:
            element = spot._tc  # noqa: SLF001  (one for all places of a merged cell)
            texts.append("" if element in seen else spot.text)
            seen.add(element)
        rows.append(texts)
        cells += len(texts)
        if cells > MOST_TABLE_CELLS:
            break
    return table(rows)
