"""How many pixels a page gets: enough for the soft tokens it is read with, and never more.

Gemma 4 scales every picture to at most `soft_tokens` squares of 48 by 48 pixels and keeps its
aspect ratio (`mlx_gemma4.image_processing.resized_size`), so a page drawn with that area loses
nothing and a smaller one would.
"""

from __future__ import annotations

import math

from app.documents.types import Box

UNIT = 48  # pixels: side of one soft token
MOST_PIXELS = 40_000_000  # of one picture sent out of the worker
DEFAULT_LONGEST = 2000


def budget_area(soft_tokens: int) -> int:
    """Pixels a picture of this many soft tokens holds at most."""
    return soft_tokens * UNIT * UNIT


def wanted_size(
    width: float, height: float, *, longest: int | None, soft_tokens: int | None
) -> tuple[int, int]:
    """Pixels (width, height) to draw a page of this shape with, at least 1 by 1.

    With both given the larger one wins: `longest` never takes pixels away that `soft_tokens` asks.

    Args:
        width: of the page, in any unit.
        height: in the same unit.
        longest: most pixels on the longer side, for showing.
        soft_tokens: fill this budget.
    """
    scale = 0.0
    if soft_tokens:
        scale = math.sqrt(budget_area(soft_tokens) / (width * height))
    if longest or not soft_tokens:
        scale = max(scale, (longest or DEFAULT_LONGEST) / max(width, height))
    scale = min(scale, math.sqrt(MOST_PIXELS / (width * height)))
    # Floored, so that the area stays within the budget.
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


def part_in_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """A box as whole pixels (left, top, right, bottom) of a picture, at least 1 by 1."""
    left = min(max(math.floor(box[0] * width), 0), width - 1)
    top = min(max(math.floor(box[1] * height), 0), height - 1)
    right = min(max(math.ceil(box[2] * width), left + 1), width)
    bottom = min(max(math.ceil(box[3] * height), top + 1), height)
    return left, top, right, bottom
