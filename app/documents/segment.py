"""Where the lines of writing are on a page, in reading order, found by looking at the ink.

Letters are grouped into pieces of lines, which `order` puts in order. Cells of a table count as
pieces and are read row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from app.documents.order import reading_order
from app.documents.skew import ink, letters
from app.documents.types import Box

LOOK_SIDE = 1600  # pixels of the longer side that lines are looked for at
SMALL_LETTER = 9.0  # pixels: below it the page should be looked at in a larger picture
MOST_PIECES = 5000
WORD_GAP = 1.5  # letter heights between words of a line, at most


@dataclass(frozen=True, slots=True)
class Lines:
    """Boxes of the pieces in reading order, and the median letter height in pixels (0: none).

    The order is that of writing from left to right; `order.reordered` gives the other one.
    """

    boxes: tuple[tuple[int, int, int, int], ...]  # left, top, right, bottom
    letter_height: float

    def fractions(self, width: int, height: int) -> tuple[Box, ...]:
        """The boxes as fractions of a picture of this size."""
        return tuple(
            (x0 / width, y0 / height, x1 / width, y1 / height) for x0, y0, x1, y1 in self.boxes
        )


def find_lines(rgb: np.ndarray) -> Lines:
    """Lines of writing in a page's picture, uint8 [h, w, 3], about 1,600 pixels long."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if float(np.median(grey)) < 110:
        grey = cv2.bitwise_not(grey)  # light writing on a dark ground
    mask = ink(cv2.GaussianBlur(grey, (3, 3), 0))
    boxes = letters(mask)
    if not len(boxes):
        return Lines((), 0.0)
    height = _letter_height(boxes)
    pieces = _pieces(boxes, height, mask.shape)
    ordered = reading_order(pieces, height)
    return Lines(tuple(tuple(int(side) for side in box) for box in ordered), height)  # type: ignore[misc]


def _letter_height(boxes: np.ndarray) -> float:
    """Median height without specks: dots and commas are less than half of the usual letter."""
    heights = boxes[:, 3].astype(np.float64)
    large = heights[heights >= 0.5 * np.median(heights)]
    return float(np.median(large))


def _pieces(boxes: np.ndarray, height: float, shape: tuple[int, ...]) -> np.ndarray:
    """Neighbouring letters as one box each, int64 [n, 4] (left, top, right, bottom)."""
    tall = boxes[(boxes[:, 3] >= 0.45 * height) & (boxes[:, 3] <= 5 * height)]
    left, top, wide, high = tall.T
    # Only the middle of each letter is painted, so that lines that touch stay apart; wider than it
    # is by the gap between words, which grows with the letters.
    band_top, band_end = top + (0.3 * high).astype(int), top + np.ceil(0.7 * high).astype(int)
    reach = np.ceil(WORD_GAP / 2 * np.clip(high, height, None)).astype(int)
    painted = np.zeros(shape[:2], np.uint8)
    starts, ends = np.maximum(left - reach, 0), left + wide + reach
    for x0, x1, y0, y1 in zip(starts, ends, band_top, band_end, strict=True):
        painted[y0:y1, x0:x1] = 255
    count, labels = cv2.connectedComponents(painted, connectivity=8)
    across = np.clip(left + wide // 2, 0, shape[1] - 1)
    down = np.clip((band_top + band_end) // 2, 0, shape[0] - 1)
    group: np.ndarray = labels[down, across].astype(np.int64)
    sides = np.zeros((count, 4), np.int64)
    sides[:, :2] = 1 << 30
    for column, values in enumerate((left, top, left + wide, top + high)):
        (np.minimum if column < 2 else np.maximum).at(sides[:, column], group, values)
    found = sides[1:][sides[1:, 2] > 0]
    return _merged(found[_is_writing(found, height)], height)[:MOST_PIECES]


def _is_writing(pieces: np.ndarray, height: float) -> np.ndarray:
    """Not specks: as high as a letter, and not a mere upright stroke."""
    wide, high = pieces[:, 2] - pieces[:, 0], pieces[:, 3] - pieces[:, 1]
    return (high >= 0.6 * height) & (wide >= 0.3 * height)


def _merged(pieces: np.ndarray, height: float) -> np.ndarray:
    """Pieces that lie within the rows of a wider one and touch it become part of it."""
    order = np.argsort(-(pieces[:, 2] - pieces[:, 0]), kind="stable")
    kept: list[np.ndarray] = []
    for piece in pieces[order]:
        for other in kept:
            across = min(piece[2], other[2]) - max(piece[0], other[0])
            down = min(piece[3], other[3]) - max(piece[1], other[1])
            if across > -0.6 * height and down >= 0.5 * min(
                piece[3] - piece[1], other[3] - other[1]
            ):
                other[:2] = np.minimum(other[:2], piece[:2])
                other[2:] = np.maximum(other[2:], piece[2:])
                break
        else:
            kept.append(piece.copy())
    return np.array(kept, dtype=np.int64).reshape(-1, 4)
