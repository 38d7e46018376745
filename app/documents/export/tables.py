"""Tables to CSV and XLSX: every cell as it was read, numbers as numbers, no formula ever."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.documents import markdown as md
from app.documents.export.files import replacing, writable
from app.documents.types import DocumentError, DocumentProblem, PageText

# A spreadsheet may run cells that begin with these (OWASP, "CSV injection").
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Plainly a number: no leading zeros, no separators that mean different things in other countries,
# and few enough digits to be kept exactly.
_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d{0,14})(?:\.\d{1,14})?")
MOST_DIGITS = 15
MOST_CELL = 32_767  # characters, the workbook format's own limit
_SHEET_TITLE = 31
_FORBIDDEN_IN_TITLE = re.compile(r"[\[\]:*?/\\]")


def write_csv(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One CSV file for each table, numbered when there are several.

    Raises:
        DocumentError: there is no table.
    """
    del title  # a CSV file has no place for it
    found = list(tables_of(pages))
    _refuse_nothing(found)
    several = len(found) > 1
    written = []
    for number, (_, table) in enumerate(found, 1):
        path = target.with_stem(f"{target.stem}-{number}") if several else target
        with replacing(path) as partial, partial.open("w", encoding="utf-8-sig", newline="") as out:
            csv.writer(out).writerows([safe_cell(cell) for cell in row] for row in table.rows)
        written.append(path)
    return tuple(written)


def write_xlsx(pages: Sequence[PageText], target: Path, title: str = "") -> tuple[Path, ...]:
    """One workbook, a sheet for each table.

    Raises:
        DocumentError: there is no table.
    """
    import openpyxl

    found = list(tables_of(pages))
    _refuse_nothing(found)
    book = openpyxl.Workbook()
    if book.active is not None:
        book.remove(book.active)
    if title:
        book.properties.title = writable(title)
    for page, table in found:
        _fill(book.create_sheet(_title(book, page)), table)
    with replacing(target) as partial:
        book.save(partial)
    return (target,)


def tables_of(pages: Sequence[PageText]) -> Iterator[tuple[PageText, md.Table]]:
    """All tables with their pages."""
    for page in pages:
        for table in md.tables(page.markdown):
            yield page, table


def safe_cell(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula; plain numbers stay numbers."""
    text = writable(text)
    if is_number(text) or not text.lstrip(" ").startswith(_DANGEROUS):
        return text
    return "'" + text


def is_number(text: str) -> bool:
    """Whether a cell is plainly a number."""
    return bool(_NUMBER.fullmatch(text)) and sum(map(str.isdecimal, text)) <= MOST_DIGITS


def _fill(sheet: Any, table: md.Table) -> None:
    from openpyxl.styles import Alignment, Font

    for row_number, row in enumerate(table.rows, 1):
        for column_number, text in enumerate(row, 1):
            if not text:
                continue
            cell = sheet.cell(row_number, column_number)
            if is_number(text):
                cell.value = float(text) if "." in text else int(text)
                if "." in text:
                    cell.number_format = "0." + "0" * len(text.partition(".")[2])
                continue
            cell.value = writable(text)[:MOST_CELL]
            cell.data_type = "s"  # a text, whatever it begins with
            cell.quotePrefix = text.startswith(_DANGEROUS)
            cell.alignment = Alignment(wrap_text="\n" in text, vertical="top")
            if row_number == 1 and table.head:
                cell.font = Font(bold=True)
    if table.head:
        sheet.freeze_panes = "A2"
    _set_widths(sheet, table)


def _set_widths(sheet: Any, table: md.Table) -> None:
    from openpyxl.utils import get_column_letter

    for number, column in enumerate(zip(*table.rows, strict=True), 1):
        longest = max(len(line) for text in column for line in text.split("\n"))
        sheet.column_dimensions[get_column_letter(number)].width = min(max(longest + 2, 8), 60)


def _title(book: Any, page: PageText) -> str:
    """A sheet's name: page number, and the file's name where there are several."""
    base = f"Page {page.page + 1}"
    if page.source:
        base = f"{_FORBIDDEN_IN_TITLE.sub(' ', page.source)[:16].strip()} {base}"
    name, number = base[:_SHEET_TITLE], 1
    while name in book.sheetnames:
        number += 1
        name = f"{base[: _SHEET_TITLE - 6]} ({number})"
    return name


def _refuse_nothing(found: Sequence[object]) -> None:
    if not found:
        message = "There is no table on these pages; export them as Markdown or text instead."
        raise DocumentError(DocumentProblem.EMPTY, message)
