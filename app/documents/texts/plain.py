"""Plain text, Markdown and CSV of any encoding."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from app.documents.sniff import wide_text
from app.documents.texts.writing import CUT_NOTICE, MOST_CHARACTERS, table

MOST_BYTES = 4 * MOST_CHARACTERS
MOST_COLUMNS = 500
MOST_ROWS = 50_000
_DELIMITERS = ",;\t|"
_SAMPLE = 8192
# Everything but tab and line feed that would show as a box or move the cursor.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def read_plain(path: Path) -> str:
    """A text file as it is, without control characters."""
    return _bounded(decode(read_bytes(path)))


def read_csv(path: Path) -> str:
    """A CSV or TSV file as a Markdown table; what is no table stays text."""
    text = decode(read_bytes(path))
    rows = csv_rows(text)
    if len(rows) < 2 or max(len(row) for row in rows) < 2:
        return _bounded(text)
    cut = len(rows) > MOST_ROWS
    return table(rows[:MOST_ROWS]) + "\n" + (CUT_NOTICE if cut else "")


def read_bytes(path: Path) -> bytes:
    """The beginning of a file: more than `MOST_BYTES` is never looked at."""
    with path.open("rb") as source:
        return source.read(MOST_BYTES + 1)


def decode(data: bytes, declared: str = "") -> str:
    """Text of unknown encoding, with plain line ends and without control characters.

    In this order: its byte order mark; UTF-16 seen by its zeros; UTF-8; what the file declares;
    Windows-1252, which reads every Latin-1 text.
    """
    text = _decoded(data, declared)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def _decoded(data: bytes, declared: str) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if wide := wide_text(data[:4096]):
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        # A character cut where the reading stopped is no sign of another encoding.
        if problem.start >= len(data) - 3 and len(data) > MOST_BYTES:
            return data[: problem.start].decode("utf-8")
    try:
        return data.decode(declared or "cp1252", "replace")
    except LookupError:
        return data.decode("cp1252", "replace")


def csv_rows(text: str) -> list[list[str]]:
    """Rows of cells, at most one more than `MOST_ROWS`; the delimiter is found out."""
    csv.field_size_limit(MOST_BYTES)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:_SAMPLE], _DELIMITERS)
    except csv.Error:
        dialect = csv.excel
    delimiter = dialect.delimiter if dialect.delimiter in _DELIMITERS else ","
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in reader:
        if any(value.strip() for value in row):
            rows.append(row[:MOST_COLUMNS])
        if len(rows) > MOST_ROWS:
            break
    return rows


def _bounded(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        return text[:MOST_CHARACTERS] + CUT_NOTICE
    return text
