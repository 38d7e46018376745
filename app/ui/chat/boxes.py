"""Boxes and points in Gemma's answers: found in the text, turned into pixels of the picture.

Gemma writes JSON with `box_2d: [y0, x0, y1, x1]` or `point: [y, x]` on a grid of 0 to 1000, y
first. Knows no Qt.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

GRID = 1000
MAX_BOXES = 500
MAX_JSON_CHARACTERS = 200_000
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_BOX_KEYS = ("box_2d", "bbox_2d", "box", "bounding_box")
_POINT_KEYS = ("point", "point_2d")
_LABEL_KEYS = ("label", "text", "name")


@dataclass(frozen=True)
class Mark:
    """A box, or a point (then x0 == x1 and y0 == y1), on the 0 to 1000 grid."""

    label: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def is_point(self) -> bool:
        """True for a point."""
        return (self.x0, self.y0) == (self.x1, self.y1)

    def in_pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels of a picture of that size."""
        across, down = width / GRID, height / GRID
        return (
            round(self.x0 * across),
            round(self.y0 * down),
            round(self.x1 * across),
            round(self.y1 * down),
        )


def find_marks(text: str) -> tuple[Mark, ...]:
    """Boxes and points in an answer: in its JSON block, or in the answer when that is all JSON."""
    for source in (*_FENCE.findall(text), text):
        source = source.strip()
        if not source.startswith(("[", "{")) or len(source) > MAX_JSON_CHARACTERS:
            continue
        try:
            marks = _marks_of(json.loads(source))
        except (ValueError, RecursionError):
            continue
        if marks:
            return tuple(marks[:MAX_BOXES])
    return ()


def is_only_marks(text: str) -> bool:
    """True when the answer is nothing but the JSON of its marks."""
    rest = _FENCE.sub("", text).strip()
    return not rest or rest.startswith(("[", "{"))


def marks_as_json(marks: tuple[Mark, ...], width: int, height: int) -> str:
    """The marks as JSON in pixels of the picture: x0, y0, x1, y1, or x, y for a point."""
    rows = []
    for mark in marks:
        x0, y0, x1, y1 = mark.in_pixels(width, height)
        place = {"point": [x0, y0]} if mark.is_point else {"box": [x0, y0, x1, y1]}
        rows.append({"label": mark.label, **place})
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _marks_of(value: object) -> list[Mark]:
    if isinstance(value, dict):
        mark = _mark(value)
        if mark is not None:
            return [mark]
        return [mark for inner in value.values() for mark in _marks_of(inner)]
    if isinstance(value, list):
        return [mark for inner in value for mark in _marks_of(inner)]
    return []


def _mark(entry: dict[str, object]) -> Mark | None:
    label = next((str(entry[key]) for key in _LABEL_KEYS if key in entry), "")
    box = _numbers(next((entry[key] for key in _BOX_KEYS if key in entry), None), 4)
    if box is not None:
        y0, x0, y1, x1 = box
        return Mark(label, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    point = _numbers(next((entry[key] for key in _POINT_KEYS if key in entry), None), 2)
    if point is not None:
        y, x = point
        return Mark(label, x, y, x, y)
    return None


def _numbers(value: object, count: int) -> list[float] | None:
    """`count` numbers brought onto the grid, or None."""
    if not isinstance(value, list) or len(value) != count:
        return None
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in value):
        return None
    return [min(float(GRID), max(0.0, float(n))) for n in value]
