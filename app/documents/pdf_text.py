"""The text layer of a PDF page as PDFium sees it: lines, and letters with their places."""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pypdfium2.raw as pdfium

from app.documents.text_cells import Glyph, around
from app.documents.types import Box, TextLine

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage

MOST_CHARACTERS = 200_000  # of one page
MEASURED_LETTERS = 8  # of a line, for the size of its print
# Hyphens at a line's end, and marks of lists from the private range that fonts of symbols use.
_CHARACTERS = str.maketrans(
    {
        "\x02": "-",
        "\ufffe": "-",
        "\uf0b7": "•",
        "\uf0a7": "•",
        "\uf06c": "•",
        "\uf06e": "•",
        "\uf0d8": "•",
        "\uf0fc": "✓",
        "\uf0e0": "→",
    }
)
Place = Callable[[Box], Box]


class RawLine(NamedTuple):
    """A line in the page's own space, y upwards.

    units: UTF-16 units or code points. boxes: of each unit, None for blanks. letters: some boxes
    with the font's full height, whichever letters they are.
    """

    units: list[int]
    boxes: list[Box | None]
    letters: list[Box]


def raw_lines(text: PdfTextPage) -> Iterator[RawLine]:
    """PDFium ends each line it saw with a line break of its own making."""
    line = RawLine([], [], [])
    count = min(text.count_chars(), MOST_CHARACTERS)
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    sides = [ctypes.byref(side) for side in (left, right, bottom, top)]
    whole = pdfium.FS_RECTF()
    for index in range(count + 1):
        unit = pdfium.FPDFText_GetUnicode(text, index) if index < count else 10
        if unit in (10, 13):
            if any(line.boxes) and string(line.units).strip():
                yield _in_logical_order(line)
            line = RawLine([], [], [])
        elif unit:
            line.units.append(unit)
            seen = unit > 32 and pdfium.FPDFText_GetCharBox(text, index, *sides)
            box = (left.value, bottom.value, right.value, top.value) if seen else None
            line.boxes.append(box)
            measured = box is not None and len(line.letters) < MEASURED_LETTERS
            if measured and pdfium.FPDFText_GetLooseCharBox(text, index, whole):
                line.letters.append((whole.left, whole.bottom, whole.right, whole.top))


def _in_logical_order(line: RawLine) -> RawLine:
    """PDFium turns lines of Arabic around letter by letter, those of one ligature too: back."""
    units, boxes = line.units, line.boxes
    at = 0
    while at < len(units):
        end = at + 1
        while end < len(units) and boxes[at] is not None and boxes[end] == boxes[at]:
            end += 1
        if all(map(_is_arabic, units[at:end])):
            units[at:end] = reversed(units[at:end])
        at = end
    return line


def text_line(line: RawLine, place: Place) -> TextLine:
    """A line as text. place: takes boxes to fractions of the page as shown."""
    boxes = [box for box in line.boxes if box is not None]
    heights = [bottom - top for _, top, _, bottom in map(place, line.letters or [around(boxes)])]
    return TextLine(string(line.units).strip(), place(around(boxes)), statistics.median(heights))


def glyphs(line: RawLine, number: int, place: Place, size: tuple[float, float]) -> Iterator[Glyph]:
    """The letters of a line.

    Args:
        line: as PDFium gives it.
        number: of the line.
        place: takes boxes to fractions of the page as shown.
        size: of the page, points.
    """
    wide, high = size
    pair: list[int] = []
    for unit, box in zip(line.units, line.boxes, strict=True):
        pair.append(unit)
        if 0xD800 <= unit < 0xDC00 and len(pair) == 1:
            continue  # the other half of the character follows
        if box is None:
            yield Glyph(" ", None, number)
        else:
            left, top, right, bottom = place(box)
            spot = (left * wide, top * high, right * wide, bottom * high)
            yield Glyph(string(pair), spot, number)
        pair = []


def _is_arabic(unit: int) -> bool:
    return 0x0600 <= unit < 0x0900 or 0xFB50 <= unit < 0xFE00 or 0xFE70 <= unit < 0xFEFF


def string(units: list[int]) -> str:
    """UTF-16 units or code points as text; a line-end hyphen stays one."""
    data = b"".join(
        unit.to_bytes(2, "little") if unit < 0x10000 else chr(unit).encode("utf-16-le")
        for unit in units
        if unit < 0x110000
    )
    return data.decode("utf-16-le", "replace").translate(_CHARACTERS)
