"""PDF files by PDFium: pages drawn at any size, the text layer with its places."""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from app.documents.pages import check_page
from app.documents.sizing import part_in_pixels
from app.documents.types import (
    WHOLE,
    Box,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    TextLine,
)

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

log = logging.getLogger(__name__)

MOST_PAGES = 5000
MOST_CHARACTERS = 200_000  # of one page's text layer
MOST_OBJECTS = 3000  # looked at to tell a scan from a page drawn by a program
SCAN_SHARE = 0.6  # of the page covered by one picture
FALLBACK_SIZE = (612.0, 792.0)  # points: US letter, the format's own default
_VISIBLE_MODES = (
    pdfium.FPDF_TEXTRENDERMODE_FILL,
    pdfium.FPDF_TEXTRENDERMODE_STROKE,
    pdfium.FPDF_TEXTRENDERMODE_FILL_STROKE,
)


class PdfSource:
    """An open PDF; see `PageSource`."""

    def __init__(self, path: Path, password: str) -> None:
        self._name = path.name
        self._document = _open(path, password)
        with contextlib.suppress(pypdfium2.PdfiumError):
            self._document.init_forms()
        declared = len(self._document)
        pages = self._real_pages(min(declared, MOST_PAGES))
        self.info = DocumentInfo(
            str(path),
            DocumentKind.PAGES,
            "pdf",
            pages,
            self._title(),
            _notices(declared, pages),
        )

    def size(self, page: int) -> tuple[float, float]:
        """See `PageSource`."""
        with self._page(page) as opened:
            return _size(opened)

    def draw(self, page: int, width: int, height: int, box: Box = WHOLE) -> np.ndarray:
        """See `PageSource`."""
        left, top, right, bottom = part_in_pixels(box, width, height)
        with self._page(page) as opened:
            bitmap = pypdfium2.PdfBitmap.new_native(
                right - left, bottom - top, pdfium.FPDFBitmap_BGR
            )
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, right - left, bottom - top)
            place = (-left, -top, width, height, 0, pdfium.FPDF_ANNOT)
            pdfium.FPDF_RenderPageBitmap(bitmap, opened, *place)
            if self._document.formenv:
                pdfium.FPDF_FFLDraw(self._document.formenv, bitmap, opened, *place)
            return np.ascontiguousarray(bitmap.to_numpy()[:, :, ::-1])

    def lines(self, page: int) -> tuple[TextLine, ...]:
        """See `PageSource`."""
        with self._page(page) as opened:
            text = opened.get_textpage()
            try:
                return tuple(_lines(text, _Place(opened)))
            finally:
                text.close()

    def is_picture(self, page: int) -> bool:
        """See `PageSource`."""
        with self._page(page) as opened:
            return _is_scan(opened)

    def close(self) -> None:
        """See `PageSource`."""
        self._document.close()

    @contextlib.contextmanager
    def _page(self, page: int) -> Iterator[PdfPage]:
        """A page, let go of at once afterwards: memory stays flat over any number of pages."""
        check_page(self.info, page, self._name)
        try:
            opened = self._document[page]
        except pypdfium2.PdfiumError as problem:
            message = f"Page {page + 1} of “{self._name}” is damaged and cannot be opened."
            raise DocumentError(DocumentProblem.BROKEN, message, str(problem)) from problem
        try:
            yield opened
        finally:
            opened.close()

    def _real_pages(self, counted: int) -> int:
        """How many of the counted pages are there: a damaged or hostile file says more.

        Halving finds the border in a dozen steps, as the pages that exist come first.
        """
        if self._loads(counted - 1):
            return counted
        good, bad = 0, counted - 1
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._loads(middle):
                good = middle
            else:
                bad = middle
        return good + 1

    def _loads(self, page: int) -> bool:
        handle = pdfium.FPDF_LoadPage(self._document, page)
        if not handle:
            return False
        pdfium.FPDF_ClosePage(handle)
        return True

    def _title(self) -> str:
        try:
            return self._document.get_metadata_value("Title").strip()[:200]
        except (pypdfium2.PdfiumError, UnicodeDecodeError):
            return ""


def _open(path: Path, password: str) -> PdfDocument:
    try:
        return pypdfium2.PdfDocument(path, password=password or None)
    except pypdfium2.PdfiumError as problem:
        raise _open_error(path, password, problem) from problem


def _open_error(path: Path, password: str, problem: pypdfium2.PdfiumError) -> DocumentError:
    name = f"“{path.name}”"
    match problem.err_code:
        case pdfium.FPDF_ERR_PASSWORD if password:
            kind, message = DocumentProblem.WRONG_PASSWORD, f"This is not the password of {name}."
        case pdfium.FPDF_ERR_PASSWORD:
            kind, message = DocumentProblem.PASSWORD, f"{name} asks for a password."
        case pdfium.FPDF_ERR_SECURITY:
            kind = DocumentProblem.UNSUPPORTED
            message = f"{name} is locked in a way that cannot be read; save a copy without it."
        case _:
            kind = DocumentProblem.BROKEN
            message = f"{name} is damaged or no real PDF; copy or download it again."
    return DocumentError(kind, message, str(problem))


def _notices(declared: int, pages: int) -> tuple[str, ...]:
    if pages == declared:
        return ()
    if pages == MOST_PAGES:
        return (f"It has {declared:,} pages; the first {MOST_PAGES:,} can be read.",)
    real = "only 1 is there" if pages == 1 else f"only {pages:,} are there"
    return (f"The file speaks of {declared:,} pages, but {real}.",)


def _size(page: PdfPage) -> tuple[float, float]:
    """Points, as shown; a page without a sensible size gets the format's default."""
    width, height = page.get_size()
    if not (0.01 < width < 1e6 and 0.01 < height < 1e6):
        return FALLBACK_SIZE
    return width, height


class _Place:
    """Takes boxes of the page's own space (y upwards, before rotation) to fractions as shown."""

    def __init__(self, page: PdfPage) -> None:
        # What PDFium shows: the crop box within the media box.
        media = page.get_mediabox() or (0.0, 0.0, *FALLBACK_SIZE)
        crop = page.get_cropbox() or media
        self._left = max(media[0], crop[0])
        self._bottom = max(media[1], crop[1])
        self._width = max(min(media[2], crop[2]) - self._left, 0.01)
        self._height = max(min(media[3], crop[3]) - self._bottom, 0.01)
        self._rotation = page.get_rotation()

    def __call__(self, box: tuple[float, float, float, float]) -> Box:
        x0 = _clamp((box[0] - self._left) / self._width)
        x1 = _clamp((box[2] - self._left) / self._width)
        y0 = _clamp(1 - (box[3] - self._bottom) / self._height)
        y1 = _clamp(1 - (box[1] - self._bottom) / self._height)
        match self._rotation:
            case 90:
                return 1 - y1, x0, 1 - y0, x1
            case 180:
                return 1 - x1, 1 - y1, 1 - x0, 1 - y0
            case 270:
                return y0, 1 - x1, y1, 1 - x0
        return x0, y0, x1, y1


def _clamp(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _lines(text: PdfTextPage, place: _Place) -> Iterator[TextLine]:
    """PDFium ends each line it saw with a line break of its own making."""
    units: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    count = min(text.count_chars(), MOST_CHARACTERS)
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    sides = [ctypes.byref(side) for side in (left, right, bottom, top)]
    for index in range(count + 1):
        unit = pdfium.FPDFText_GetUnicode(text, index) if index < count else 10
        if unit in (10, 13):
            if line := _line(units, boxes, place):
                yield line
            units, boxes = [], []
        elif unit:
            units.append(unit)
            if unit > 32 and pdfium.FPDFText_GetCharBox(text, index, *sides):
                boxes.append((left.value, bottom.value, right.value, top.value))


def _line(
    units: list[int], boxes: list[tuple[float, float, float, float]], place: _Place
) -> TextLine | None:
    string = _string(units).strip()
    if not string or not boxes:
        return None
    box = place(
        (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )
    )
    return TextLine(string, box, box[3] - box[1])


def _string(units: list[int]) -> str:
    """UTF-16 units or code points as text; a line-end hyphen stays one."""
    data = b"".join(
        unit.to_bytes(2, "little") if unit < 0x10000 else chr(unit).encode("utf-16-le")
        for unit in units
        if unit < 0x110000
    )
    return data.decode("utf-16-le", "replace").replace("\x02", "-").replace("\ufffe", "-")


def _is_scan(page: PdfPage) -> bool:
    """One picture covers most of the page, and no visible text lies on it."""
    width, height = page.get_size()
    covered = 0.0
    for index in range(min(pdfium.FPDFPage_CountObjects(page), MOST_OBJECTS)):
        handle = pdfium.FPDFPage_GetObject(page, index)
        kind = pdfium.FPDFPageObj_GetType(handle)
        if kind == pdfium.FPDF_PAGEOBJ_TEXT and _visible(handle):
            return False
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            covered = max(covered, _area(handle) / max(width * height, 1.0))
    return covered >= SCAN_SHARE


def _visible(handle: ctypes.c_void_p) -> bool:
    return pdfium.FPDFTextObj_GetTextRenderMode(handle) in _VISIBLE_MODES


def _area(handle: ctypes.c_void_p) -> float:
    sides = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(handle, *(ctypes.byref(side) for side in sides)):
        return 0.0
    left, bottom, right, top = (side.value for side in sides)
    return max(right - left, 0.0) * max(top - bottom, 0.0)
