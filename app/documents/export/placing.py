"""Which line of text belongs to which place on the page: both in reading order.

An alignment in order: a line of text takes one place or several that follow each other (a paragraph
the model wrote as one line), or several lines share one place (cells of a row seen as one piece).
What fits is told by widths: letters of a line against the width of its places.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from app.documents import markdown as md
from app.documents.types import Box

LEAST_PLACES = 8  # that one line of text may take; more where there are few lines
MOST_SHARING = 8  # lines that may share one place
SKIP_PLACE = 0.8  # cost of a place without text (a stamp, a line in a picture)
SKIP_LINE = 1.5  # cost of a line without a place
_EACH_MORE = 0.03  # a little for every further place or line: simple matches win
_NARROW_BAND = 30  # beyond this many, only matches near the diagonal are tried


@dataclass(frozen=True, slots=True)
class Placed:
    """A line of text and where it goes. own: it found a place of its own."""

    text: str
    box: Box
    own: bool = True


def text_lines(markdown: str) -> list[str]:
    """A page's text as the lines and cells it consists of, without marks."""
    lines: list[str] = []
    for block in md.blocks(markdown):
        match block:
            case md.Heading() | md.Paragraph():
                lines += md.plain(block.spans).split("\n")
            case md.ListBlock():
                for item in block.items:
                    mark = "• " if item.number is None else f"{item.number}. "
                    lines += (mark + md.plain(item.spans)).split("\n")
            case md.Table():
                lines += [" ".join(cell.split()) for row in block.rows for cell in row]
            case md.Formula():
                lines.append(" ".join(block.latex.split()))
            case md.Code():
                lines += block.text.split("\n")
    return [line.strip() for line in lines if line.strip()]


def place(lines: Sequence[str], boxes: Sequence[Box], aspect: float) -> list[Placed]:
    """Lines of text with their places, in reading order; none is left out.

    Args:
        lines: of text, in reading order.
        boxes: places on the page, in reading order.
        aspect: width of the page divided by its height.
    """
    if not lines:
        return []
    if not boxes:
        return _without_places(lines, None, None)
    lengths = [_length(line) for line in lines]
    # In heights of the line itself, so that headings count like small print.
    widths = [max((x1 - x0) * aspect / max(y1 - y0, 1e-4), 0.1) for x0, y0, x1, y1 in boxes]
    scale = sum(widths) / max(sum(lengths), 1e-6)
    placed: list[Placed] = []
    waiting: list[str] = []
    for line_range, place_range in _alignment([n * scale for n in lengths], widths):
        if not place_range:
            waiting += [lines[i] for i in line_range]
            continue
        if not line_range:
            continue
        found = _matched([lines[i] for i in line_range], [boxes[j] for j in place_range])
        placed += _without_places(waiting, placed[-1].box if placed else None, found[0].box)
        placed += found
        waiting = []
    return placed + _without_places(waiting, placed[-1].box if placed else None, None)


def _length(text: str) -> float:
    """Widths of letters, roughly: wide scripts count double, marks nothing."""
    return sum(
        0.0 if unicodedata.combining(c) else 2.0 if unicodedata.east_asian_width(c) in "WF" else 1.0
        for c in text
    )


def _alignment(wanted: list[float], widths: list[float]) -> list[tuple[range, range]]:
    """Ranges of lines and places that belong together, in order; one of them may be empty."""
    rows, columns = len(wanted) + 1, len(widths) + 1
    line_sums, place_sums = _sums(wanted), _sums(widths)
    costs = [[math.inf] * columns for _ in range(rows)]
    came: list[list[tuple[int, int]]] = [[(0, 0)] * columns for _ in range(rows)]
    costs[0][0] = 0.0
    steps = _steps(len(wanted), len(widths))
    for i in range(rows):
        for j in _band(i, rows, columns):
            if costs[i][j] == math.inf:
                continue
            for lines, places in steps:
                to_i, to_j = i + lines, j + places
                if to_i >= rows or to_j >= columns:
                    continue
                text = line_sums[to_i] - line_sums[i]
                room = place_sums[to_j] - place_sums[j]
                cost = costs[i][j] + _cost(lines, places, text, room)
                if cost < costs[to_i][to_j]:
                    costs[to_i][to_j], came[to_i][to_j] = cost, (i, j)
    return _way(came, rows - 1, columns - 1)


def _steps(lines: int, places: int) -> list[tuple[int, int]]:
    """Lines and places that may belong together at once."""
    most = min(places, max(LEAST_PLACES, 4 * places // lines))
    several = [(1, count) for count in range(2, most + 1)]
    shared = [(count, 1) for count in range(2, MOST_SHARING + 1)]
    return [(1, 1), (0, 1), (1, 0), *several, *shared]


def _cost(lines: int, places: int, text: float, room: float) -> float:
    if not lines:
        return SKIP_PLACE
    if not places:
        return SKIP_LINE
    return abs(math.log(max(text, 0.1) / max(room, 0.1))) + _EACH_MORE * (lines + places - 2)


def _sums(values: list[float]) -> list[float]:
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def _band(i: int, rows: int, columns: int) -> range:
    """Columns looked at in a row: all of a usual page, those near the diagonal of a huge one."""
    if columns <= 4 * _NARROW_BAND:
        return range(columns)
    middle = i * (columns - 1) // max(rows - 1, 1)
    # Wide enough to step from row to row where there are far more places than lines.
    half = _NARROW_BAND + 2 * (columns // rows)
    return range(max(0, middle - half), min(columns, middle + half + 1))


def _way(came: list[list[tuple[int, int]]], i: int, j: int) -> list[tuple[range, range]]:
    steps: list[tuple[range, range]] = []
    while (i, j) != (0, 0):
        from_i, from_j = came[i][j]
        steps.append((range(from_i, i), range(from_j, j)))
        if (from_i, from_j) == (i, j):
            break
        i, j = from_i, from_j
    return steps[::-1]


def _matched(lines: list[str], boxes: list[Box]) -> list[Placed]:
    if len(lines) > 1:
        return _shared(lines, boxes[0])
    if len(boxes) == 1:
        return [Placed(lines[0], boxes[0])]
    return _spread(lines[0], boxes)


def _shared(lines: list[str], box: Box) -> list[Placed]:
    """Several texts in one place, side by side, each as wide as its letters."""
    total = sum(_length(line) + 1 for line in lines)
    left, top, right, bottom = box
    placed, at = [], left
    for line in lines:
        end = at + (right - left) * _length(line) / total
        # A letter's width stays free: programs that take the text out see a space by its gap.
        placed.append(Placed(line, (at, top, end, bottom)))
        at = end + (right - left) / total
    return placed


def _spread(line: str, boxes: list[Box]) -> list[Placed]:
    """One text over several places: cut between words where each place is full."""
    # Scripts without spaces may be cut between any two characters.
    spaceless = " " not in line and any(unicodedata.east_asian_width(c) in "WF" for c in line)
    words = list(line) if spaceless else line.split(" ")
    joint = "" if spaceless else " "
    total = sum(_length(word) + len(joint) for word in words)
    widths = [x1 - x0 for x0, _, x1, _ in boxes]
    placed: list[Placed] = []
    at, used, filled = 0, 0.0, 0.0
    for index, (box, width) in enumerate(zip(boxes, widths, strict=True)):
        filled += width / sum(widths) * total
        start = at
        last = index == len(boxes) - 1
        while at < len(words) and (last or used + _length(words[at]) / 2 <= filled):
            used += _length(words[at]) + len(joint)
            at += 1
        if at > start:
            placed.append(Placed(joint.join(words[start:at]), box))
    return placed


def _without_places(lines: Sequence[str], above: Box | None, below: Box | None) -> list[Placed]:
    """Lines squeezed in between their neighbours, so that the order of reading holds."""
    if not lines:
        return []
    top = above[3] if above else 0.0
    end = below[1] if below and below[1] > top else min(top + 0.01, 1.0)
    step = (end - top) / len(lines)
    left, right = (above or below or (0.05, 0.0, 0.95, 0.0))[0::2]
    return [
        Placed(line, (left, top + step * index, right, top + step * (index + 1)), own=False)
        for index, line in enumerate(lines)
    ]
