"""PDF files by PDFium: pages drawn at any size, the text layer with its places."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from app.documents.layer import page_layer
from app.documents.pages import check_page
from app.documents.pdf_rulings import rulings
from app.documents.pdf_text import glyphs, raw_lines, text_line
from app.documents.sizing import part_in_pixels
from app.documents.types import (
    WHOLE,
    Box,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageLayer,
    TextLine,
)

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

log = logging.getLogger(__name__)

MOST_PAGES = 5000
MOST_OBJECTS = 3000  # looked at to tell a scan from a page drawn by a program
SCAN_SHARE = 0.6  # of the page covered by one picture
FALLBACK_SIZE = (612.0, 792.0)  # points: US letter, the format's own default
SAMPLED_CHARACTERS = 400  # looked at to tell which way up a page's text stands
LEAST_SAMPLED = 20
UPRIGHT_SHARE = 0.9
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
        self._upright: set[int] = set()

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
                place = _Place(opened)
                return tuple(text_line(line, place) for line in raw_lines(text))
            finally:
                text.close()

    def layer(self, page: int) -> PageLayer:
        """See `PageSource`."""
        with self._page(page) as opened:
            place, size = _Place(opened), _size(opened)
            text = opened.get_textpage()
            try:
                raw = list(raw_lines(text))
            finally:
                text.close()
            lines = [text_line(line, place) for line in raw]
            letters = [g for n, line in enumerate(raw) for g in glyphs(line, n, place, size)]
            return page_layer(lines, letters, rulings(opened, place, size), size)

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
            if page not in self._upright:
                self._upright.add(page)
                _turn_upright(opened)
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


def _turn_upright(page: PdfPage) -> None:
    """Turn a page whose visible text would be shown sideways or upside down; the file stays.

    PDFium keeps the turn with the open document. Scans are left alone: their hidden text goes with
    the picture.
    """
    text = page.get_textpage()
    try:
        wanted = _upright_rotation(text)
    finally:
        text.close()
    if wanted is not None and wanted != page.get_rotation() and not _is_scan(page):
        page.set_rotation(wanted)


def _upright_rotation(text: PdfTextPage) -> int | None:
    """The page rotation at which nearly all of the text is upright; None where it is mixed."""
    count = text.count_chars()
    turns: Counter[int] = Counter()
    for index in range(0, count, max(1, count // SAMPLED_CHARACTERS)):
        if pdfium.FPDFText_GetUnicode(text, index) > 32:
            # Clockwise, of the page's own space; -1 where it is not known.
            quarters = pdfium.FPDFText_GetCharAngle(text, index) / (math.pi / 2)
            turns[round(quarters) % 4 if abs(quarters - round(quarters)) < 0.02 else -1] += 1
    ((turn, found),) = turns.most_common(1) or [(-1, 0)]
    if turn < 0 or turns.total() < LEAST_SAMPLED or found < UPRIGHT_SHARE * turns.total():
        return None
    return -turn * 90 % 360


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
