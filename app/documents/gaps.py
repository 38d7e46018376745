"""Tables without lines between their columns: cells one below the other, blank paper between.

Only what is certain becomes a table: columns of numbers, or columns between rules. Columns of
prose, tables of contents, lists and forms look similar and stay text.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.documents.order import page_blocks, rows_of
from app.documents.text_cells import Piece

WORD_GAP = 1.0  # letter heights: more parts two cells of a row
MOST_PIECES = 4000
MOST_ROWS = 400
_RIVER = 0.7  # letter heights of blank paper between two columns
_LEAST_RIVER = 0.2  # where every row has its pieces at both sides
_MOST_PITCH = 9.0  # letter heights between two rows
_MORE_PITCH = 2.2  # times the largest distance of the rows before
_LEAST_FILLED = 0.6  # of all cells
_LONG = 30  # characters: longer cells are prose
_FULL = 0.8  # of a column's width: lines of prose are nearly as wide as their column
_LEADERS = re.compile(r"[.…_·]{4,}|(?:[.·_]\s){3,}")
_MARKER = re.compile(r"[-•–*▪◦]|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]|\[\d{1,3}\]")
_NUMBER = re.compile(r"[\s\d.,:/%()€$£¥+\-\u2013\u2212\u00a0\u2019'\u0660-\u066c]*")
_UNIT = re.compile(r"\s?(?:[A-Z]{3}|[a-zA-Zµ°²³%]{1,3})$")
_QUARTERS = 4  # `order` counts in whole numbers: quarters of a point


@dataclass(frozen=True, slots=True)
class GapTable:
    """rows: the pieces in each cell. columns: the left and right end of each."""

    rows: tuple[tuple[tuple[Piece, ...], ...], ...]
    columns: tuple[tuple[float, float], ...]


_Row = list[Piece]
_Columns = list[tuple[float, float]]


def find_tables(
    pieces: Sequence[Piece], height: float, rules: np.ndarray, size: tuple[float, float]
) -> list[GapTable]:
    """Tables among the pieces of lines, from the top of each column of the page.

    Args:
        pieces: parted at gaps wider than `WORD_GAP`.
        height: median height of a letter, points.
        rules: horizontal lines, see `grids`.
        size: of the page, points.
    """
    if not 4 <= len(pieces) <= MOST_PIECES or height <= 0:
        return []
    boxes = np.array([piece.box for piece in pieces]) * _QUARTERS
    whole = np.column_stack([np.rint(boxes).astype(np.int64), np.arange(len(pieces))])
    whole[:, 2:4] = np.maximum(whole[:, 2:4], whole[:, :2] + 1)
    region = (0.0, 0.0, size[0] * _QUARTERS, size[1] * _QUARTERS)
    found: list[GapTable] = []
    for block in page_blocks(whole, height * _QUARTERS, region):
        rows = [[pieces[int(box[4])] for box in row] for row in rows_of(block.pieces)]
        if len(rows) <= MOST_ROWS:
            found += _tables_of(rows, height, rules)
    return found


def _tables_of(rows: list[_Row], height: float, rules: np.ndarray) -> Iterator[GapTable]:
    start = 0
    while start < len(rows):
        if len(rows[start]) < 2:
            start += 1
            continue
        end = _run_end(rows, start, height)
        run = rows[start:end]
        while len(run[-1]) < 2 and not _goes_on(run):
            run = run[:-1]
        table = _table(run, height, rules)
        if table is not None:
            yield table
        start = end if table is not None or end - start > 2 else start + 1


def _goes_on(run: list[_Row]) -> bool:
    """The last row is a further line of a cell: right of the first column, close to its row."""
    (piece,) = run[-1]
    if piece.box[0] <= max(row[0].box[2] for row in run if len(row) > 1):
        return False
    pitches = [_bottom(below) - _bottom(above) for above, below in pairwise(run)]
    return pitches[-1] < 0.8 * max(pitches)


def _run_end(rows: list[_Row], start: int, height: float) -> int:
    """Rows that stand in the same columns: no two pieces of a row share one."""
    end = start + 1
    largest = 0.0
    while end < len(rows):
        pitch = _bottom(rows[end]) - _bottom(rows[end - 1])
        if pitch > min(_MOST_PITCH * height, _MORE_PITCH * (largest or pitch)):
            break
        if _columns(rows[start : end + 1], height) is None:
            break
        largest = max(largest, pitch)
        end += 1
    return end


def _columns(run: list[_Row], height: float) -> _Columns | None:
    """Left and right end of each column if no two pieces of a row share one, or None."""
    for columns in (_by_number(run, height), _by_rivers(run, height)):
        if len(columns) > 1 and all(_apart(row, columns) for row in run):
            return columns
    return None


def _apart(row: _Row, columns: _Columns) -> bool:
    places = [_column(piece, columns) for piece in row]
    return -1 not in places and len(set(places)) == len(places)


def _by_number(run: list[_Row], height: float) -> _Columns:
    """Columns of the rows with most pieces: words may stand on the left, figures on the right."""
    count = max(map(len, run))
    full = [row for row in run if len(row) == count]
    columns = [
        (min(piece.box[0] for piece in column), max(piece.box[2] for piece in column))
        for column in zip(*full, strict=True)
    ]
    tight = any(b[0] - a[1] < _LEAST_RIVER * height for a, b in pairwise(columns))
    return [] if tight else columns


def _by_rivers(run: list[_Row], height: float) -> _Columns:
    """What the pieces cover, between rivers of blank paper."""
    spans = sorted((piece.box[0], piece.box[2]) for row in run for piece in row)
    found = [spans[0]]
    for left, right in spans[1:]:
        if left - found[-1][1] < _RIVER * height:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found


def _column(piece: Piece, columns: _Columns) -> int:
    """The one column a piece lies in or reaches into the blank paper of; -1 if it reaches two."""
    found = -1
    for index, (left, right) in enumerate(columns):
        if piece.box[0] < right and piece.box[2] > left:
            if found >= 0:
                return -1
            found = index
    return found


def _bottom(row: _Row) -> float:
    """Where a row's letters stand: commas below the line do not count."""
    return statistics.median(piece.box[3] for piece in row)


def _table(run: list[_Row], height: float, rules: np.ndarray) -> GapTable | None:
    columns = _columns(run, height)
    if columns is None:
        return None
    inside = _rules_at(run, columns, height, rules)
    cells = [[() for _ in columns] for _ in run]  # type: list[list[tuple[Piece, ...]]]
    for row, pieces in zip(cells, run, strict=True):
        for piece in pieces:
            row[_column(piece, columns)] = (piece,)
    if not _is_table([[_said(cell) for cell in row] for row in cells], run, columns, len(inside)):
        return None
    return GapTable(tuple(map(tuple, _with_continuations(cells, run, inside))), tuple(columns))


def _said(cell: Sequence[Piece]) -> str:
    return " ".join(piece.text for piece in cell)


def _rules_at(run: list[_Row], columns: _Columns, height: float, rules: np.ndarray) -> list[float]:
    """Heights of the rules over the whole width of a run, those just above and below included."""
    left, right = columns[0][0], columns[-1][1]
    top = min(piece.box[1] for piece in run[0]) - 2.5 * height
    bottom = max(piece.box[3] for piece in run[-1]) + 2.5 * height
    found = []
    for y, x0, x1 in rules:
        wide = min(x1, right) - max(x0, left) >= 0.8 * (right - left)
        if wide and top <= y <= bottom:
            found.append(float(y))
    return found


def _is_table(texts: list[list[str]], run: list[_Row], columns: _Columns, rules: int) -> bool:
    """Nothing else than a table: see the top of this file."""
    ruled = rules >= 2
    said = [[text for text in column if text] for column in zip(*texts, strict=True)]
    filled = sum(map(len, said)) / (len(texts) * len(columns))
    enough = len(texts) >= (2 if ruled else 3) and filled >= _LEAST_FILLED
    if not enough or min(map(len, said)) < 2:
        return False
    everything = [text for column in said for text in column]
    if any(_LEADERS.search(text) for text in everything):
        return False
    if sum(text.endswith((":", "\uff1a")) for text in everything) >= 0.3 * len(everything):
        return False
    numbers = [_numeric(column) for column in said]
    if _prose(said, numbers, run, columns) or _contents(said, numbers) or _listing(said):
        return False
    return any(numbers) or (ruled and len(texts) >= 2)


def _numeric(column: list[str]) -> bool:
    """Most cells below the first are numbers, dates or amounts."""
    cells = column[1:] if len(column) > 2 else column
    return sum(is_amount(text) for text in cells) >= 0.6 * len(cells)


def is_amount(text: str) -> bool:
    """A number with its signs, or one with a unit."""
    text = _UNIT.sub("", text.strip())
    text = re.sub(r"^[A-Z]{3}\s?", "", text)
    return any(map(str.isdecimal, text)) and bool(_NUMBER.fullmatch(text))


def _prose(
    said: list[list[str]],
    numbers: list[bool],
    run: list[_Row],
    columns: _Columns,
) -> bool:
    """Two columns of long lines, or of lines as wide as their column."""
    widths: list[list[float]] = [[] for _ in columns]
    for row in run:
        for piece in row:
            index = _column(piece, columns)
            left, right = columns[index]
            widths[index].append((piece.box[2] - piece.box[0]) / max(right - left, 0.1))
    prose = 0
    for column, number, width in zip(said, numbers, widths, strict=True):
        length = statistics.median(map(len, column))
        full = length >= 12 and len(column) >= 4 and statistics.median(width) >= _FULL
        prose += not number and (length > _LONG or full)
    return prose > 1


def _contents(said: list[list[str]], numbers: list[bool]) -> bool:
    """A table of contents or an index: titles, and page numbers that only rise."""
    if not numbers[-1] or sum(not number for number in numbers) != 1:
        return False
    pages = [text for text in said[-1] if text.isdecimal()]
    if len(pages) < len(said[-1]) or len(pages) < 3:
        return False  # a head over the numbers, or amounts
    values = [int(text) for text in pages]
    return values == sorted(values)


def _listing(said: list[list[str]]) -> bool:
    """The first column holds the marks of a list."""
    marks = sum(bool(_MARKER.fullmatch(text)) for text in said[0])
    return len(said) <= 2 and marks >= 0.6 * len(said[0])


def _with_continuations(
    cells: list[list[tuple[Piece, ...]]], run: list[_Row], rules: list[float]
) -> list[list[tuple[Piece, ...]]]:
    """Rows whose cells go on below: no first cell, and nearer to the row above than rows are."""
    bottoms = [_bottom(row) for row in run]
    pitches = [b - a for a, b in pairwise(bottoms)]
    full = [pitch for pitch, row in zip(pitches, cells[1:], strict=True) if row[0]]
    usual = statistics.median(full) if full else 0.0
    between = [any(a < y < b for y in rules) for a, b in pairwise(bottoms)]
    ruled = sum(between) >= 2 and sum(between) >= 0.5 * len(full)
    rows = cells[:1]
    for row, pitch, parted in zip(cells[1:], pitches, between, strict=True):
        near = not parted if ruled else pitch < 0.8 * usual
        if near and not row[0] and sum(map(bool, row)) < sum(map(bool, rows[-1])):
            rows[-1] = [above + below for above, below in zip(rows[-1], row, strict=True)]
        else:
            rows.append(row)
    return rows
