"""Which detail a page needs: the letters must have enough pixels in the picture the model sees."""

from __future__ import annotations

import math

from app.documents.sizing import budget_area
from app.documents.types import ReadingDetail

# Pixels of a letter's body that a 16-pixel patch still shows apart: about half a patch.
LEAST_LETTER = 8.0
_RISING = (
    ReadingDetail.QUICK,
    ReadingDetail.LIGHT,
    ReadingDetail.NORMAL,
    ReadingDetail.FINE,
    ReadingDetail.FINEST,
)


def letter_at(detail: ReadingDetail, width: float, height: float, letter_height: float) -> float:
    """Pixels a letter's body has when the page is read as one picture at this detail."""
    tokens = detail.soft_tokens or 0
    return letter_height * math.sqrt(budget_area(tokens) / (width * height))


def suggest(width: float, height: float, letter_height: float) -> ReadingDetail:
    """The cheapest detail that shows the letters well; TILES where none does.

    Args:
        width: of the page, in any unit.
        height: of the page, same unit.
        letter_height: median height of a letter's body, same unit; 0 where no writing was found.
    """
    if letter_height <= 0:
        return ReadingDetail.NORMAL
    for detail in _RISING:
        if letter_at(detail, width, height, letter_height) >= LEAST_LETTER:
            return detail
    return ReadingDetail.TILES
