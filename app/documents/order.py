"""The order in which the pieces of a page are read: columns, what spans them, rows inside.

Works on boxes alone, int [n, 4] (left, top, right, bottom; further columns are carried along), so
that whoever knows the direction of the writing can ask again: where lines run from right to left,
so do columns and cells.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.documents.types import Box

SCALE = 1600  # whole numbers on the longer side of a page given in fractions
_MOST_DEPTH = 12
_COLUMN_GAP = 1.2  # letter heights between two columns, at least
_WIDE_LINE = 9.0  # letter heights: pieces wider than this are lines of text, not cells
_FEWEST_ROWS = 3  # of a column
_STRAYS = 0.05  # of all pieces: headings that may reach into the gap
_SPANS = 0.6  # of the page's width: a piece this wide lies over all columns
_MOST_BANDS = 3  # runs of rows that are looked at for columns of their own

Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the page whose lines follow each other: a column, or what lies over columns.

    Regions of all blocks cover the page without overlap; their borders lie in blank paper.
    """

    region: Region
    pieces: np.ndarray


def right_to_left(text: str) -> bool:
    """Most letters belong to scripts that run from right to left."""
    kinds = [unicodedata.bidirectional(c) for c in text if c.isalpha()]
    return 2 * sum(kind in ("R", "AL") for kind in kinds) > len(kinds)


def reading_order(pieces: np.ndarray, height: float, *, rtl: bool = False) -> list[np.ndarray]:
    """The pieces as they are read. height: median height of a letter."""
    ordered: list[np.ndarray] = []
    for block in page_blocks(pieces, height, (0.0, 0.0, 0.0, 0.0), rtl=rtl):
        for row in rows_of(block.pieces):
            ordered += reversed(row) if rtl else row
    return ordered


def reordered(boxes: Sequence[Box], letter: float, shape: tuple[float, float]) -> tuple[Box, ...]:
    """Boxes of a page written from right to left, in reading order.

    Args:
        boxes: fractions of the page.
        letter: median height of a letter, in the unit of `shape`; 0 where it is not known.
        shape: width and height of the page.
    """
    whole, scale = in_whole_numbers(boxes, shape)
    height = letter * scale or float(np.median(whole[:, 3] - whole[:, 1]))
    numbered = np.column_stack([whole, np.arange(len(whole))])
    return tuple(boxes[box[4]] for box in reading_order(numbered, height, rtl=True))


def in_whole_numbers(boxes: Sequence[Box], shape: tuple[float, float]) -> tuple[np.ndarray, float]:
    """Fractions of a page as int [n, 4], and how many of them are one unit of `shape`."""
    scale = SCALE / max(shape)
    across, down = shape[0] * scale, shape[1] * scale
    return np.rint(np.array(boxes) * [across, down, across, down]).astype(np.int64), scale


def page_blocks(
    pieces: np.ndarray, height: float, region: Region, *, rtl: bool = False, depth: int = 0
) -> list[Block]:
    """The page as blocks in reading order.

    Args:
        pieces: of lines.
        height: median height of a letter.
        region: what the blocks are to cover, in the pieces' unit.
        rtl: the right column is read first.
        depth: of blocks within blocks.
    """
    if len(pieces) < 2 or depth >= _MOST_DEPTH:
        return [Block(region, pieces)]
    cut = _column_cut(pieces, height)
    if cut is not None:
        bands = _bands(pieces, cut)
    elif (band := _band_with_columns(pieces, height)) is not None:
        bands = band
    else:
        return [Block(region, pieces)]
    found: list[Block] = []
    for (top, bottom), (part, columns) in zip(_borders(bands, region), bands, strict=True):
        left, _, right, _ = region
        inside = (left, top, right, bottom)
        if cut is None:
            found += page_blocks(part, height, inside, rtl=rtl, depth=depth + 1)
        elif columns:
            found += _columns(part, cut, height, inside, rtl=rtl, depth=depth)
        else:
            found.append(Block(inside, part))
    return _merged(found)


def _merged(blocks: list[Block]) -> list[Block]:
    """Blocks that stand right below each other, equally wide, are one: a title and its abstract."""
    found = blocks[:1]
    for block in blocks[1:]:
        left, top, right, bottom = found[-1].region
        if (left, right, bottom) == (block.region[0], block.region[2], block.region[1]):
            pieces = np.concatenate([found[-1].pieces, block.pieces])
            found[-1] = Block((left, top, right, block.region[3]), pieces)
        else:
            found.append(block)
    return found


# What lies between two borders: its pieces, and whether they stand in columns.
_Band = tuple[np.ndarray, bool]


def _bands(pieces: np.ndarray, cut: float) -> list[_Band]:
    """Columns and what spans them, from the top to the bottom."""
    across = (pieces[:, 0] < cut) & (pieces[:, 2] > cut)
    middles = (pieces[:, 1] + pieces[:, 3]) / 2
    order = np.argsort(middles, kind="stable")
    edges = np.flatnonzero(np.diff(across[order].astype(np.int8))) + 1
    return [(pieces[run], not across[run[0]]) for run in np.split(order, edges)]


def _band_with_columns(pieces: np.ndarray, height: float) -> list[_Band] | None:
    """Rows over the whole width and, between them, rows that stand in columns; or None.

    Pages whose upper half runs over the whole width have no gap from top to bottom.
    """
    rows = rows_of(pieces)
    width = _SPANS * int(pieces[:, 2].max() - pieces[:, 0].min())
    narrow = np.array([all(piece[2] - piece[0] < width for piece in row) for row in rows])
    runs = sorted(_runs(narrow), key=lambda run: run[0] - run[1])[:_MOST_BANDS]
    for start, end in runs:
        inside = np.array([piece for row in rows[start:end] for piece in row])
        if end - start == len(rows) or end - start < _FEWEST_ROWS:
            continue
        if _column_cut(inside, height) is not None:
            parts = (rows[:start], rows[start:end], rows[end:])
            return [
                (np.array([piece for row in part for piece in row]), False)
                for part in parts
                if part
            ]
    return None


def _borders(bands: Sequence[_Band], region: Region) -> list[tuple[float, float]]:
    """Top and bottom of each band, halfway between the pieces on both sides."""
    edges = [region[1]]
    for (above, _), (below, _) in pairwise(bands):
        middle = float(above[:, 3].max() + below[:, 1].min()) / 2
        edges.append(min(max(edges[-1], middle), region[3]))
    return list(pairwise([*edges, region[3]]))


def _columns(
    pieces: np.ndarray, cut: float, height: float, region: Region, *, rtl: bool, depth: int
) -> list[Block]:
    left, top, right, bottom = region
    on_left = pieces[:, 2] <= cut
    sides = [
        (pieces[on_left], (left, top, cut, bottom)),
        (pieces[~on_left], (cut, top, right, bottom)),
    ]
    filled = [(part, place) for part, place in sides if len(part)]
    if len(filled) == 1:
        filled = [(filled[0][0], region)]
    found: list[Block] = []
    for part, place in reversed(filled) if rtl else filled:
        found += page_blocks(part, height, place, rtl=rtl, depth=depth + 1)
    return found


def _column_cut(pieces: np.ndarray, height: float) -> float | None:
    """The place of a gap between columns of text that few pieces cross, or None."""
    left, right = int(pieces[:, 0].min()), int(pieces[:, 2].max())
    crossing = np.zeros(right - left + 2)
    np.add.at(crossing, pieces[:, 0] - left, 1)
    np.add.at(crossing, pieces[:, 2] - left, -1)
    crossing = np.cumsum(crossing)[: right - left + 1]
    inner = crossing[len(crossing) // 20 : -len(crossing) // 20 or None]
    fewest, most = float(inner.min()), 0.25 * len(pieces)
    # A heading that reaches into the gap hides part of it; it spans the columns then.
    for allowed in (fewest, fewest + max(1.0, _STRAYS * len(pieces))):
        found = _widest_gap(pieces, crossing <= min(allowed, most), height)
        if found is not None:
            return left + found
    return None


def _widest_gap(pieces: np.ndarray, blank: np.ndarray, height: float) -> float | None:
    """The middle of the widest gap with columns on both sides, from the left edge."""
    left = int(pieces[:, 0].min())
    for start, end in sorted(_runs(blank), key=lambda run: run[0] - run[1]):
        if end - start < _COLUMN_GAP * height:
            return None
        middle = (start + end) / 2
        outside = start == 0 or end >= len(blank) - 1
        if not outside and _are_columns(pieces, left + middle, height):
            return middle
    return None


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _are_columns(pieces: np.ndarray, cut: float, height: float) -> bool:
    """Lines of text on both sides: several, and mostly wide; cells of a table are neither."""
    for side in (pieces[pieces[:, 2] <= cut], pieces[pieces[:, 0] >= cut]):
        if len(side) < _FEWEST_ROWS:
            return False
        wide = side[:, 2] - side[:, 0]
        if float(np.median(wide)) < _WIDE_LINE * height or len(rows_of(side)) < _FEWEST_ROWS:
            return False
    return True


def rows_of(pieces: Iterable[np.ndarray]) -> list[list[np.ndarray]]:
    """Pieces side by side as one row, left to right; rows from the top."""
    rows: list[list[np.ndarray]] = []
    for piece in sorted(pieces, key=lambda box: (box[1] + box[3]) / 2):
        middle = (piece[1] + piece[3]) / 2
        last = rows[-1][-1] if rows else None
        if last is not None and last[1] < middle < last[3]:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [sorted(row, key=lambda box: int(box[0])) for row in rows]
