"""Workbooks: each sheet a heading and a table of its values."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.documents.texts.writing import join_blocks, table
from app.documents.texts.zipped import check_zip, damaged

MOST_CELLS = 200_000  # of the whole workbook
MOST_COLUMNS = 500
MOST_EMPTY_ROWS = 5_000  # one after the other; nothing worth reading comes after that


def read_xlsx(path: Path) -> str:
    """The values of a workbook as Markdown tables (results, not formulas).

    Raises:
        DocumentError: damaged, or a zip bomb.
    """
    import zipfile
    from xml.etree.ElementTree import ParseError

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    check_zip(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            return join_blocks(_sheets(book))
        finally:
            book.close()
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        ParseError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        OSError,
    ) as problem:
        raise damaged(path, problem) from problem


def _sheets(book: Any) -> Iterator[str]:
    left = MOST_CELLS
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            continue
        # What a sheet says about its own size is often wrong and may be a trap.
        sheet.reset_dimensions()
        rows, used = _rows(sheet, left)
        left -= used
        if rows:
            yield f"## {sheet.title}"
            yield table(rows)
        if left <= 0:
            yield "*(The workbook goes on; only its beginning was read.)*"
            return


def _rows(sheet: Any, most_cells: int) -> tuple[list[list[str]], int]:
    """Rows that are not empty, without empty cells at their right, and cells looked at."""
    rows: list[list[str]] = []
    used = empty = 0
    for row in sheet.iter_rows(values_only=True):
        texts = [show(value) for value in row[:MOST_COLUMNS]]
        while texts and not texts[-1]:
            texts.pop()
        used += max(len(texts), 1)
        empty = 0 if texts else empty + 1
        if texts:
            rows.append(texts)
        if used > most_cells or empty > MOST_EMPTY_ROWS:
            break
    return rows, used


def show(value: Any) -> str:
    """A cell's value in plain words: whole numbers without ".0", dates as ISO."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(" ", "seconds")
    return str(value)
