"""Lines drawn on a PDF page, straight across or down: borders of tables, underlines, boxes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2.raw as pdfium

from app.documents.grids import joined
from app.documents.types import Box

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

MOST_OBJECTS = 20_000  # of a page, those in forms included
MOST_SEGMENTS = 40_000  # of all paths: more is a map or a plan
MOST_DEPTH = 4  # of forms in forms
_THIN = 3.0  # points: a filled shape this thin is a line
_WHITE = 250
_SLANT = 0.6  # points a straight line may lean

_Handle = ctypes.c_void_p
_Matrix = tuple[float, float, float, float, float, float]
_Point = tuple[float, float]
_IDENTITY: _Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
Rulings = tuple[np.ndarray, np.ndarray]


def rulings(page: PdfPage, place: Callable[[Box], Box], size: tuple[float, float]) -> Rulings:
    """Horizontal and vertical lines, see `grids`; none on a page with too many to be tables.

    Args:
        page: open.
        place: takes boxes of the page's own space to fractions of the page as shown.
        size: width and height of the page as shown, points.
    """
    across: list[tuple[float, float, float]] = []
    down: list[tuple[float, float, float]] = []
    wide, high = size
    for count, (x0, y0, x1, y1) in enumerate(_strokes(page)):
        if count > MOST_SEGMENTS:
            return np.empty((0, 3)), np.empty((0, 3))
        own = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        left, top, right, bottom = place(own)
        left, right, top, bottom = left * wide, right * wide, top * high, bottom * high
        if bottom - top <= _THIN and right - left >= bottom - top:
            across.append(((top + bottom) / 2, left, right))
        if right - left <= _THIN and bottom - top >= right - left:
            down.append(((left + right) / 2, top, bottom))
    return joined(np.array(across).reshape(-1, 3)), joined(np.array(down).reshape(-1, 3))


def _strokes(page: PdfPage) -> Iterator[Box]:
    """Straight strokes as boxes of their two ends; thin filled shapes as boxes of themselves."""
    for handle, matrix in _paths(page):
        points = list(_subpaths(handle, matrix))
        filled, stroked = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDFPath_GetDrawMode(handle, ctypes.byref(filled), ctypes.byref(stroked))
        for path in points:
            xs, ys = [x for x, _ in path], [y for _, y in path]
            box = (min(xs), min(ys), max(xs), max(ys))
            if filled.value and min(box[2] - box[0], box[3] - box[1]) <= _THIN:
                yield box
            elif stroked.value or (filled.value and not _is_white(handle)):
                yield from _straight(path)


def _straight(path: list[_Point]) -> Iterator[Box]:
    for (x0, y0), (x1, y1) in pairwise(path):
        if min(abs(x1 - x0), abs(y1 - y0)) <= _SLANT:
            yield x0, y0, x1, y1


def _paths(page: PdfPage) -> Iterator[tuple[_Handle, _Matrix]]:
    """All paths with the matrix of the form they stand in."""
    looked_at = 0
    waiting = [(page.raw, False, _IDENTITY, 0)]
    while waiting:
        container, is_form, matrix, depth = waiting.pop()
        count = pdfium.FPDFFormObj_CountObjects if is_form else pdfium.FPDFPage_CountObjects
        get = pdfium.FPDFFormObj_GetObject if is_form else pdfium.FPDFPage_GetObject
        for index in range(count(container)):
            looked_at += 1
            if looked_at > MOST_OBJECTS:
                return
            handle = get(container, index)
            kind = pdfium.FPDFPageObj_GetType(handle)
            if kind == pdfium.FPDF_PAGEOBJ_PATH:
                yield handle, _times(_matrix(handle), matrix)
            elif kind == pdfium.FPDF_PAGEOBJ_FORM and depth < MOST_DEPTH:
                waiting.append((handle, True, _times(_matrix(handle), matrix), depth + 1))


def _subpaths(handle: _Handle, matrix: _Matrix) -> Iterator[list[_Point]]:
    """Points of each subpath, on the page; curves are left out by starting anew after them."""
    path: list[_Point] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    bends = 0
    for index in range(min(pdfium.FPDFPath_CountSegments(handle), MOST_SEGMENTS)):
        segment = pdfium.FPDFPath_GetPathSegment(handle, index)
        kind = pdfium.FPDFPathSegment_GetType(segment)
        if not pdfium.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y)):
            continue
        bends = bends + 1 if kind == pdfium.FPDF_SEGMENT_BEZIERTO else 0
        if (kind == pdfium.FPDF_SEGMENT_MOVETO or bends) and path:
            if bends <= 1:
                yield path
            path = []
        path.append(_moved(x.value, y.value, matrix))
        if pdfium.FPDFPathSegment_GetClose(segment):
            path.append(path[0])
    if path and not bends:
        yield path


def _moved(x: float, y: float, matrix: _Matrix) -> _Point:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _times(first: _Matrix, second: _Matrix) -> _Matrix:
    """The matrix that does `first`, then `second`."""
    a, b, c, d, e, f = first
    (xa, xb), (ya, yb) = second[:2], second[2:4]
    e, f = _moved(e, f, second)
    return a * xa + b * ya, a * xb + b * yb, c * xa + d * ya, c * xb + d * yb, e, f


def _matrix(handle: _Handle) -> _Matrix:
    found = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(handle, ctypes.byref(found)):
        return _IDENTITY
    return found.a, found.b, found.c, found.d, found.e, found.f


def _is_white(handle: _Handle) -> bool:
    """A filled shape that is not seen: white, or transparent."""
    channels = [ctypes.c_uint() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetFillColor(handle, *map(ctypes.byref, channels)):
        return False
    red, green, blue, alpha = (channel.value for channel in channels)
    return alpha == 0 or min(red, green, blue) >= _WHITE
