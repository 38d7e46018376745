"""Letters of a text layer put together as words, lines and the texts of cells.

Boxes are points of the page as shown, y downwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from app.documents.types import Box

_MOST_PADDING = 6.0  # points between a cell's border and its words
_SPACE = 0.35  # of a line's height


class Glyph(NamedTuple):
    """A character of the text layer; a blank has no box. line: as PDFium counts them."""

    text: str
    box: Box | None
    line: int


@dataclass(slots=True)
class Piece:
    """Letters on one line that follow each other."""

    box: Box
    glyphs: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its words."""
        return "".join(self.words).strip()


def around(boxes: Sequence[Box]) -> Box:
    """What encloses them all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def pieces(glyphs: Sequence[Glyph], chosen: Sequence[int], gap: float) -> Iterator[Piece]:
    """Chosen letters as pieces of lines, in the layer's order.

    Args:
        glyphs: of the page.
        chosen: numbers of the letters with a box that are meant, rising.
        gap: points between two letters that part them; infinite: only lines do.
    """
    piece: Piece | None = None
    before = -1
    for index in chosen:
        glyph = glyphs[index]
        box = glyph.box
        if box is None:
            continue
        blank = any(glyphs[i].box is None for i in range(before + 1, index)) if piece else False
        if piece is not None and not _follows(piece, glyphs[before], glyph, gap):
            yield piece
            piece = None
        if piece is None:
            piece = Piece(box)
        elif blank or glyphs[before].line != glyph.line:
            piece.words.append(" ")
        piece.box = around((piece.box, box))
        piece.glyphs.append(index)
        piece.words.append(glyph.text)
        before = index
    if piece is not None:
        yield piece


def _follows(piece: Piece, last: Glyph, glyph: Glyph, gap: float) -> bool:
    """On the same line, and not after a gap; lines may run from right to left."""
    if last.box is None or glyph.box is None:
        return False
    across = max(glyph.box[0] - last.box[2], last.box[0] - glyph.box[2])
    if across > gap:
        return False
    if last.line == glyph.line:
        return True
    middle = (glyph.box[1] + glyph.box[3]) / 2
    return piece.box[1] < middle < piece.box[3]


def cell_text(lines: Sequence[Piece], left: float, right: float) -> str:
    """Lines of a cell as one text.

    Words that went to the next line for want of room follow their line; where the next word would
    have fitted the line break was meant and stays.

    Args:
        lines: from the top.
        left: border of the cell, points.
        right: the other one.
    """
    if not lines:
        return ""
    text = lines[0].text
    margins = [min(line.box[0] - left, right - line.box[2]) for line in lines]
    room = right - left - 2 * min(max(min(margins), 0.0), _MOST_PADDING)
    for before, line in pairwise(lines):
        words = line.text
        if re.search(r"[^\W\d_]-$", text) and words[:1].islower():
            text = text[:-1] + words
            continue
        height = before.box[3] - before.box[1]
        needed = before.box[2] - before.box[0] + _SPACE * height + _first_word(line)
        text += ("\n" if needed < room else " ") + words
    return text


def _first_word(line: Piece) -> float:
    """The width of a line's first word, taken from its share of the letters."""
    first, _, _ = line.text.partition(" ")
    return (line.box[2] - line.box[0]) * len(first) / max(len(line.text), 1)
