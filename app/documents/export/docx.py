"""A Word document with real headings, lists and tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.documents import markdown as md
from app.documents.export.files import replacing, writable
from app.documents.types import PageText

_DEEPEST_LIST = 3  # the template's styles go no further
_MONOSPACE = "Courier New"


def write_docx(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One document; each page of the source begins a new one."""
    import docx

    document = docx.Document()
    if title:
        document.core_properties.title = writable(title)[:255]
        document.add_heading(writable(title), 0)
    for index, page in enumerate(pages):
        if index:
            document.add_page_break()
        writer = _Writer(document)
        for notice in page.notices:
            writer.note(notice)
        for block in md.blocks(page.markdown):
            writer.write(block)
    with replacing(target) as partial:
        document.save(str(partial))
    return (target,)


class _Writer:
    """Writes blocks to the end of a document."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def note(self, text: str) -> None:
        """What went wrong with this page, in italics."""
        self._document.add_paragraph().add_run(writable(text)).italic = True

    def write(self, block: md.Block) -> None:
        """One block."""
        match block:
            case md.Heading():
                self._paragraph(block.spans, f"Heading {block.level}")
            case md.Paragraph():
                self._paragraph(block.spans, "Quote" if block.quote else "Normal")
            case md.ListBlock():
                self._list(block)
            case md.Table():
                self._table(block)
            case md.Formula():
                self._paragraph((md.Span(block.latex, italic=True),), "Normal")
            case md.Code():
                self._paragraph((md.Span(block.text, code=True),), "Normal")
            case md.Rule():
                self._document.add_paragraph("⁂").alignment = 1

    def _paragraph(self, spans: md.Spans, style: str) -> Any:
        paragraph = self._document.add_paragraph(style=style)
        _fill(paragraph, spans)
        return paragraph

    def _list(self, block: md.ListBlock) -> None:
        """Each list counts from its own beginning."""
        numbers: dict[int, int] = {}
        for item in block.items:
            level = min(item.level, _DEEPEST_LIST - 1)
            suffix = f" {level + 1}" if level else ""
            if item.number is None:
                self._paragraph(item.spans, f"List Bullet{suffix}")
                continue
            paragraph = self._paragraph(item.spans, f"List Number{suffix}")
            if level not in numbers:
                numbers[level] = _new_numbering(self._document, paragraph, item.number)
            _number(paragraph, numbers[level])
            for deeper in [known for known in numbers if known > level]:
                del numbers[deeper]

    def _table(self, block: md.Table) -> None:
        table = self._document.add_table(len(block.rows), len(block.rows[0]), "Table Grid")
        for row, texts in zip(table.rows, block.rows, strict=True):
            # `cells` walks the whole row each time it is asked.
            for cell, text in zip(row.cells, texts, strict=True):
                head = block.head and texts is block.rows[0]
                _fill(cell.paragraphs[0], (md.Span(text, bold=head),) if text else ())
        if block.head:
            _repeat(table.rows[0])
        self._document.add_paragraph()


def _fill(paragraph: Any, spans: md.Spans) -> None:
    for span in spans:
        run = paragraph.add_run(writable(f"${span.text}$" if span.math else span.text))
        run.bold = span.bold or None
        run.italic = span.italic or None
        if span.code:
            run.font.name = _MONOSPACE
    if is_right_to_left(md.plain(spans)):
        _mark_right_to_left(paragraph)


def is_right_to_left(text: str) -> bool:
    """Whether most letters of a text are written from right to left."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    return kinds.count("R") + kinds.count("AL") > kinds.count("L")


def _mark_right_to_left(paragraph: Any) -> None:
    from docx.oxml import OxmlElement

    paragraph.paragraph_format.element.get_or_add_pPr().append(OxmlElement("w:bidi"))
    for run in paragraph.runs:
        run.font.rtl = True


def _repeat(row: Any) -> None:
    """The table's head comes again on every sheet."""
    from docx.oxml import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))  # noqa: SLF001  (no public way)


def _new_numbering(document: Any, paragraph: Any, start: int) -> int:
    """A numbering of its own that looks like the paragraph's style and begins at `start`."""
    from docx.oxml.ns import qn

    numbering = document.part.numbering_part.element
    tied = paragraph.style.element.find(f".//{qn('w:numId')}")
    if tied is None:
        return 0
    known = {number.numId: number for number in numbering.num_lst}
    model = known[int(tied.get(qn("w:val")))]
    fresh = numbering.add_num(model.abstractNumId.val)
    override = fresh.add_lvlOverride(ilvl=0)
    override.add_startOverride(start)
    return int(fresh.numId)


def _number(paragraph: Any, number: int) -> None:
    if not number:
        return
    properties = paragraph._p.get_or_add_pPr().get_or_add_numPr()  # noqa: SLF001  (no public way)
    properties.get_or_add_numId().val = number
    properties.get_or_add_ilvl().val = 0
