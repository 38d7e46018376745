"""Pages of small print are read in overlapping strips, each with pixels enough for its letters.

Strips go over the whole width: no line is cut across its middle, and every line that a border
cuts lies whole in the neighbour.
"""

from __future__ import annotations

import math

from app.documents.suggest import LEAST_LETTER, letter_at
from app.documents.types import PagePart, ReadingDetail

FEWEST_TILES = 2
MOST_TILES = 8
UNKNOWN_TILES = 3  # where the size of the letters is not known
# Of the page's height, shared by neighbours: at least this, and at least four lines of writing.
LEAST_OVERLAP = 0.04
_LINES_OVERLAP = 4
_LINE_PITCH = 3.2  # letter heights from line to line, generously


def plan(width: float, height: float, letter_height: float = 0.0) -> tuple[PagePart, ...]:
    """Overlapping strips from the top to the bottom.

    Args:
        width: of the page, in any unit.
        height: of the page, same unit.
        letter_height: median height of a letter's body, same unit; 0: not known.
    """
    overlap = max(LEAST_OVERLAP, _LINES_OVERLAP * _LINE_PITCH * letter_height / height)
    overlap = min(overlap, 0.5 / MOST_TILES)
    count = _count(width, height, letter_height, overlap)
    strip = (1.0 + (count - 1) * overlap) / count
    starts = [index * (strip - overlap) for index in range(count)]
    return tuple(PagePart((0.0, start, 1.0, min(start + strip, 1.0))) for start in starts)


def _count(width: float, height: float, letter_height: float, overlap: float) -> int:
    """Strips needed so that a letter has `LEAST_LETTER` pixels in each."""
    if letter_height <= 0:
        return UNKNOWN_TILES
    for count in range(FEWEST_TILES, MOST_TILES):
        strip = (1.0 + (count - 1) * overlap) / count
        shown = letter_at(ReadingDetail.TILES, width, height * strip, letter_height)
        if shown >= LEAST_LETTER:
            return count
    return MOST_TILES


def overlap_share(above: PagePart, below: PagePart) -> float:
    """How much of the upper strip's height the lower one shares."""
    shared = above.box[3] - below.box[1]
    return max(0.0, shared / max(above.box[3] - above.box[1], math.ulp(1.0)))
