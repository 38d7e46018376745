"""A page's text layer with its tables: lines of text, and tables with the text of every cell.

Tables that are drawn with lines come first (`grids`), then those that only their columns show
(`gaps`). Every letter stands in exactly one place: in a line, or in one cell.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from app.documents.gaps import WORD_GAP, find_tables
from app.documents.grids import Grid, find_grids
from app.documents.order import right_to_left
from app.documents.text_cells import Glyph, Piece, around, cell_text, pieces
from app.documents.types import Box, PageLayer, TextLine, TextTable

MOST_GLYPHS = 60_000  # of a page looked at for tables
MOST_GRIDS = 100
_LEAST_FILLED = 0.3  # of the cells of a grid
_MOST_LINES = 8.0  # in a cell on average: more are boxes around prose
_LEAST_SPLIT = 4  # rows that no line parts
_ALIGNED = 2.5  # points between the feet of letters in one row
Rulings = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class _Found:
    """A table, and the letters in it."""

    rows: tuple[tuple[str, ...], ...]
    box: Box
    pieces: tuple[Piece, ...]


def page_layer(
    lines: Sequence[TextLine], glyphs: Sequence[Glyph], rulings: Rulings, size: tuple[float, float]
) -> PageLayer:
    """Lines and tables of a page.

    Args:
        lines: of the text layer; line numbers of glyphs count them.
        glyphs: of all lines, in their order; points as shown.
        rulings: horizontal and vertical lines, see `grids`.
        size: width and height of the page, points.
    """
    if len(glyphs) > MOST_GLYPHS:
        return PageLayer(tuple(lines))
    free = np.array([glyph.box is not None for glyph in glyphs], bool)
    tables = list(_drawn(glyphs, free, rulings))
    tables += _undrawn(glyphs, free, rulings[0], size)
    if not tables:
        return PageLayer(tuple(lines))
    return _assembled(lines, glyphs, free, tables, size)


# --- drawn with lines ----------------------------------------------------------------------------


def _drawn(glyphs: Sequence[Glyph], free: np.ndarray, rulings: Rulings) -> Iterator[_Found]:
    """Tables of grids; their letters are free no more."""
    grids = find_grids(*rulings)
    if not grids or not free.any():
        return
    numbers = np.flatnonzero(free)
    boxes = np.array([glyphs[number].box for number in numbers.tolist()])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    # The smallest first: a table in a cell of another is taken as its own.
    by_area = sorted(grids, key=lambda grid: float(np.ptp(grid.xs) * np.ptp(grid.ys)))
    for grid in by_area[:MOST_GRIDS]:
        cells = grid.cells_at(middles)
        cells[~free[numbers]] = -1
        inside = {
            int(cell): list(pieces(glyphs, numbers[cells == cell].tolist(), np.inf))
            for cell in np.unique(cells[cells >= 0])
        }
        table = _grid_table(*_parted(grid, inside, glyphs))
        if table is not None:
            free[numbers[cells >= 0]] = False
            yield table


def _parted(
    grid: Grid, inside: dict[int, list[Piece]], glyphs: Sequence[Glyph]
) -> tuple[Grid, dict[int, list[Piece]]]:
    """Cells across several columns whose words stand apart in these columns are several cells.

    Tables that shade or frame every other row draw no lines between the columns of the rest.
    """
    owner = grid.owner.copy()
    places = np.arange(owner.size).reshape(owner.shape)
    found: dict[int, list[Piece]] = {}
    for cell, whole in inside.items():
        top, left, bottom, right = grid.span(cell)
        if bottom - top > 1 or right - left < 2 or len(whole) != 1:
            found[cell] = whole
            continue
        gap = WORD_GAP * (whole[0].box[3] - whole[0].box[1])
        parts = list(pieces(glyphs, whole[0].glyphs, gap))
        starts = np.searchsorted(grid.xs, [part.box[0] + _ALIGNED for part in parts]) - 1
        ends = np.searchsorted(grid.xs, [part.box[2] - _ALIGNED for part in parts]) - 1
        if len(parts) < 2 or (starts != ends).any() or len(set(starts.tolist())) < len(parts):
            found[cell] = whole
            continue
        owner[top, left:right] = places[top, left:right]
        for part, column in zip(parts, starts, strict=True):
            found[int(places[top, column])] = [part]
    return Grid(grid.xs, grid.ys, owner), found


def _grid_table(grid: Grid, inside: dict[int, list[Piece]]) -> _Found | None:
    lines = sum(map(len, inside.values()))
    if len(inside) < _LEAST_FILLED * len(np.unique(grid.owner)) or not inside:
        return None
    if lines > _MOST_LINES * len(inside) and grid.shape[0] > 1:
        return None
    everything = tuple(piece for found in inside.values() for piece in found)
    rtl = right_to_left(" ".join(piece.text for piece in everything))
    texts = [[""] * grid.shape[1] for _ in range(grid.shape[0])]
    for cell, found in inside.items():
        top, left, _, right = grid.span(cell)
        borders = (float(grid.xs[left]), float(grid.xs[right]))
        texts[top][right - 1 if rtl else left] = cell_text(found, *borders)
    bands = [_split(grid, inside, number) or [row] for number, row in enumerate(texts)]
    table = [row[::-1] if rtl else row for band in bands for row in band]
    if sum(map(any, table)) < 2 or sum(map(any, zip(*table, strict=True))) < 2:
        return None
    box = (float(grid.xs[0]), float(grid.ys[0]), float(grid.xs[-1]), float(grid.ys[-1]))
    return _Found(tuple(map(tuple, table)), box, everything)


def _split(grid: Grid, inside: dict[int, list[Piece]], row: int) -> list[list[str]] | None:
    """The rows of a band in which lines part only the columns, or None.

    Only where the whole grid is a body and at most a head, every cell of the body has as many
    lines, and every line break was meant: words carried over to the next line are no rows.
    """
    rows, columns = grid.shape
    owners = grid.owner[row]
    cells = [inside.get(int(cell), []) for cell in owners]
    count = len(cells[0])
    if rows > 2 or count < _LEAST_SPLIT or any(len(cell) != count for cell in cells):
        return None
    if len(set(owners.tolist())) < columns:
        return None
    for column, cell in enumerate(cells):
        borders = float(grid.xs[column]), float(grid.xs[column + 1])
        if cell_text(cell, *borders).count("\n") < count - 1:
            return None
        if any(abs(a.box[3] - b.box[3]) > _ALIGNED for a, b in zip(cell, cells[0], strict=True)):
            return None
    return [[cell[line].text for cell in cells] for line in range(count)]


# --- without lines between columns ---------------------------------------------------------------


def _undrawn(
    glyphs: Sequence[Glyph], free: np.ndarray, rules: np.ndarray, size: tuple[float, float]
) -> Iterator[_Found]:
    """Tables whose columns only blank paper parts; their letters are free no more."""
    chosen = np.flatnonzero(free).tolist()
    boxes = [box for number in chosen if (box := glyphs[number].box)]
    if not boxes:
        return
    height = statistics.median(box[3] - box[1] for box in boxes)
    parted = list(pieces(glyphs, chosen, WORD_GAP * height))
    for table in find_tables(parted, height, rules, size):
        found = tuple(piece for row in table.rows for cell in row for piece in cell)
        rtl = right_to_left(" ".join(piece.text for piece in found))
        rows = []
        for row in table.rows:
            texts = [cell_text(cell, *ends) for cell, ends in zip(row, table.columns, strict=True)]
            rows.append(tuple(reversed(texts) if rtl else texts))
        free[[number for piece in found for number in piece.glyphs]] = False
        yield _Found(tuple(rows), around([piece.box for piece in found]), found)


# --- lines and tables in their order -------------------------------------------------------------


def _assembled(
    lines: Sequence[TextLine],
    glyphs: Sequence[Glyph],
    free: np.ndarray,
    tables: Sequence[_Found],
    size: tuple[float, float],
) -> PageLayer:
    """What is left of the lines; each table stands where the first of its letters stood."""
    rest: list[TextLine] = []
    begins = [min(n for piece in table.pieces for n in piece.glyphs) for table in tables]
    waiting = sorted(zip(begins, tables, strict=True), key=lambda item: item[0])
    placed: list[TextTable] = []
    numbered = enumerate(glyphs)
    for line, group in groupby(numbered, key=lambda item: item[1].line):
        members = [number for number, glyph in group if glyph.box is not None]
        for run in _runs(members, free):
            while waiting and waiting[0][0] < run[0]:
                placed.append(_table(waiting.pop(0)[1], len(rest), size))
            whole = len(run) == len(members)
            rest.append(lines[line] if whole else _part(lines[line], glyphs, run, size))
    placed += [_table(table, len(rest), size) for _, table in waiting]
    return PageLayer(tuple(rest), tuple(placed))


def _runs(members: Sequence[int], free: np.ndarray) -> Iterator[list[int]]:
    """Letters of a line that stand in no table, between those that do."""
    for is_free, run in groupby(members, key=lambda number: bool(free[number])):
        if is_free:
            yield list(run)


def _part(
    line: TextLine, glyphs: Sequence[Glyph], run: list[int], size: tuple[float, float]
) -> TextLine:
    """What of a line stands in no table."""
    text = "".join(glyphs[number].text for number in range(run[0], run[-1] + 1)).strip()
    box = around([box for number in run if (box := glyphs[number].box)])
    return TextLine(text, _fractions(box, size), line.size)


def _table(found: _Found, at: int, size: tuple[float, float]) -> TextTable:
    lines = tuple(
        TextLine(piece.text, _fractions(piece.box, size), (piece.box[3] - piece.box[1]) / size[1])
        for piece in found.pieces
    )
    return TextTable(found.rows, _fractions(found.box, size), lines, at)


def _fractions(box: Box, size: tuple[float, float]) -> Box:
    wide, high = size
    return box[0] / wide, box[1] / high, box[2] / wide, box[3] / high
