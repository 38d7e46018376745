"""Pages of small print are read in overlapping strips, each with pixels enough for its letters.

A page in columns is first cut between them, each column then into strips of its own: a strip over
two columns would be read across both. Without columns strips go over the whole width: no line is
cut across its middle, and every line that a border cuts lies whole in the neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.documents.order import Region, in_whole_numbers, page_blocks
from app.documents.suggest import LEAST_LETTER, letter_at
from app.documents.types import WHOLE, Box, PagePart, ReadingDetail

FEWEST_TILES = 2
MOST_TILES = 8
UNKNOWN_TILES = 3  # where the size of the letters is not known
MOST_BLOCKS = 12  # columns and what spans them; a page of more is no page of columns
MOST_PARTS = 16  # tiles of a page in columns, all together
# Of the height, shared by neighbours: at least this, and at least four lines of writing.
LEAST_OVERLAP = 0.04
_LINES_OVERLAP = 4
_LINE_PITCH = 3.2  # letter heights from line to line, generously


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles of a page: for each block (a column, or what spans columns) its strips.

    blocks: in reading order. right_to_left: numbers of the blocks in the order in which a page
    written from right to left is read.
    """

    blocks: tuple[tuple[PagePart, ...], ...]
    right_to_left: tuple[int, ...]

    @property
    def parts(self) -> tuple[PagePart, ...]:
        """All tiles, block by block."""
        return tuple(part for block in self.blocks for part in block)


def plan(
    width: float, height: float, letter_height: float = 0.0, lines: Sequence[Box] = ()
) -> TilePlan:
    """Tiles of a page.

    Args:
        width: of the page, in any unit.
        height: of the page, same unit.
        letter_height: median height of a letter's body, same unit; 0: not known.
        lines: boxes of the lines found on the page, fractions.
    """
    regions, order = _regions(width, height, letter_height, lines)
    if len(regions) == 1:
        return TilePlan((_strips(width, height, letter_height, WHOLE, FEWEST_TILES),), (0,))
    most = max(1, MOST_PARTS // len(regions))
    strips = (_strips(width, height, letter_height, region, 1, most) for region in regions)
    return TilePlan(tuple(strips), order)


def _regions(
    width: float, height: float, letter_height: float, lines: Sequence[Box]
) -> tuple[list[Region], tuple[int, ...]]:
    """The blocks as fractions of the page, and their order from right to left."""
    if letter_height <= 0 or len(lines) < 2:
        return [WHOLE], (0,)
    pieces, scale = in_whole_numbers(lines, (width, height))
    page = (0.0, 0.0, width * scale, height * scale)
    blocks = page_blocks(pieces, letter_height * scale, page)
    places = [block.region for block in blocks]
    # Lines all over each other leave no paper for borders: this is no page in columns.
    squeezed = any(x1 - x0 < 1 or y1 - y0 < 1 for x0, y0, x1, y1 in places)
    if squeezed or not 1 < len(blocks) <= MOST_BLOCKS:
        return [WHOLE], (0,)
    mirrored = page_blocks(pieces, letter_height * scale, page, rtl=True)
    _, _, wide, high = page
    return (
        [(x0 / wide, y0 / high, x1 / wide, y1 / high) for x0, y0, x1, y1 in places],
        tuple(places.index(block.region) for block in mirrored),
    )


def _strips(
    width: float,
    height: float,
    letter_height: float,
    region: Region,
    fewest: int,
    most: int = MOST_TILES,
) -> tuple[PagePart, ...]:
    """Overlapping strips of a region from its top to its bottom."""
    left, top, right, bottom = region
    wide, high = width * (right - left), height * (bottom - top)
    overlap = max(LEAST_OVERLAP, _LINES_OVERLAP * _LINE_PITCH * letter_height / high)
    overlap = min(overlap, 0.5 / MOST_TILES)
    count = _count(wide, high, letter_height, overlap, fewest, most)
    strip = (1.0 + (count - 1) * overlap) / count
    starts = [index * (strip - overlap) for index in range(count)]
    tall = bottom - top
    return tuple(
        PagePart((left, top + start * tall, right, top + min(start + strip, 1.0) * tall))
        for start in starts
    )


def _count(
    width: float, height: float, letter_height: float, overlap: float, fewest: int, most: int
) -> int:
    """Strips needed so that a letter has `LEAST_LETTER` pixels in each."""
    if letter_height <= 0:
        return UNKNOWN_TILES
    for count in range(fewest, most):
        strip = (1.0 + (count - 1) * overlap) / count
        shown = letter_at(ReadingDetail.TILES, width, height * strip, letter_height)
        if shown >= LEAST_LETTER:
            return count
    return most


def overlap_share(above: PagePart, below: PagePart) -> float:
    """How much of the upper strip's height the lower one shares."""
    shared = above.box[3] - below.box[1]
    return max(0.0, shared / max(above.box[3] - above.box[1], math.ulp(1.0)))
