"""A searchable PDF: looks like the document, and holds what was read as invisible text.

Pages of a PDF stay as they are, with text added behind what can be seen; pictures become pages.
Runs in the worker, since it opens the foreign file.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
from pikepdf import Array, Dictionary, Name

from app.documents.export import glyphless
from app.documents.export.docx import is_right_to_left
from app.documents.export.files import replacing, writable
from app.documents.export.placing import Placed
from app.documents.types import DocumentError, DocumentProblem, Point

if TYPE_CHECKING:
    import numpy as np

DOTS_PER_INCH = 150  # of pictures that do not say
MOST_POINTS = 14_000  # the format's own limit is 14,400
MOST_FLAT_BYTES = 3 << 20  # a page that packs to more without loss is a photo: then JPEG
JPEG_QUALITY = 93
_PRIVATE = range(0xE000, 0xF900)  # codes for characters beyond 16 bits
DEPTH = 0.2  # of a line's height, below its baseline
ToPage = Callable[[Point], Point]
_FONT_NAME = "FacetText"


class SearchableWriter:
    """Builds the file page by page; nothing is written before `save`."""

    def __init__(self, pdf: pikepdf.Pdf) -> None:
        self._pdf = pdf
        self._codes: dict[str, int] = {}
        self._font = pdf.make_indirect(_font(pdf))

    @classmethod
    def over_pdf(cls, path: Path, password: str) -> SearchableWriter:
        """Begin with the pages of a PDF.

        Raises:
            DocumentError: it cannot be opened for writing.
        """
        try:
            return cls(pikepdf.open(path, password=password))
        except (pikepdf.PdfError, ValueError, OSError) as problem:
            message = f"“{path.name}” is damaged so that no searchable copy can be made."
            raise DocumentError(DocumentProblem.BROKEN, message, str(problem)) from problem

    @classmethod
    def empty(cls) -> SearchableWriter:
        """Begin without pages."""
        return cls(pikepdf.Pdf.new())

    def add_picture_page(self, rgb: np.ndarray, jpeg: bytes, dots_per_inch: float) -> int:
        """A page that shows a picture, uint8 [h, w, 3]; `jpeg`: the same as it came, if it did.

        Returns:
            Its number.
        """
        height, width = rgb.shape[:2]
        scale = min(72.0 / dots_per_inch, MOST_POINTS / max(width, height))
        box = Array([0, 0, round(width * scale, 3), round(height * scale, 3)])
        page = Dictionary(Type=Name.Page, MediaBox=box)
        self._pdf.pages.append(pikepdf.Page(page))
        added = self._pdf.pages[-1]
        added.obj.Resources = Dictionary(XObject=Dictionary(Picture=self._picture(rgb, jpeg)))
        content = f"q {float(box[2]):.3f} 0 0 {float(box[3]):.3f} 0 0 cm /Picture Do Q\n"
        added.obj.Contents = self._pdf.make_stream(content.encode("ascii"))
        return len(self._pdf.pages) - 1

    def add_text(
        self, page: int, lines: Sequence[Placed], to_page: ToPage, *, replace_hidden: bool
    ) -> None:
        """Put lines on a page, unseen.

        Args:
            page: its number.
            lines: what is read, with places.
            to_page: takes points of the picture that the places are of to those of the page.
            replace_hidden: instead of hidden text it has.
        """
        target = self._pdf.pages[page]
        if replace_hidden:
            _drop_hidden_text(target, self._pdf)
        frame = _frame(target)
        text = "".join(self._line(line, frame, to_page) for line in lines)
        if not text:
            return
        name = target.add_resource(self._font, Name.Font, prefix=_FONT_NAME)
        matrix = " ".join(f"{number:.4f}" for number in frame.matrix)
        content = f"\nQ\nq {matrix} cm BT 3 Tr {name} 1 Tf\n{text}ET Q\n"
        target.contents_add(b"q\n", prepend=True)
        target.contents_add(content.encode("ascii"))

    def save(self, target: Path) -> int:
        """Write the file; return its pages.

        Raises:
            OSError: it cannot be written; the target is untouched.
        """
        codes = sorted((code, text) for text, code in self._codes.items())
        self._font.ToUnicode = self._pdf.make_stream(glyphless.to_unicode(codes))
        with replacing(target) as partial:
            self._pdf.save(partial)
        return len(self._pdf.pages)

    def close(self) -> None:
        """Let go of the file that was opened."""
        self._pdf.close()

    def _line(self, line: Placed, frame: _Frame, to_page: ToPage) -> str:
        """Text operators that fill a line's place from side to side."""
        shown = visual_order(" ".join(writable(line.text).split()))
        if not shown:
            return ""
        left, top, right, bottom = line.box
        corners = ((left, bottom), (right, bottom), (left, top))
        start, end, above = (frame.points(to_page(corner)) for corner in corners)
        run = _Run(start, end, max(math.dist(start, above), 0.5), len(shown))
        backwards = is_right_to_left(line.text)
        if run.level and not backwards:
            return run.show(0, [self._code(character) for character in shown])
        # Readers take letters of a slanting line apart, but keep level words that rise in steps.
        # Words written from right to left come in their logical order, each in its place.
        words = list(re.finditer(r"\S+" if backwards else r"\S+ ?", shown))
        return "".join(
            run.show(word.start(), [self._code(character) for character in word[0]])
            for word in (reversed(words) if backwards else words)
        )

    def _code(self, character: str) -> int:
        """Characters of 16 bits are their own code; others and private ones get a free one."""
        known = self._codes.get(character)
        if known is not None:
            return known
        own = ord(character)
        if own > 0xFFFF or own in _PRIVATE:
            used = sum(1 for code in self._codes.values() if code in _PRIVATE)
            own = _PRIVATE[used] if used < len(_PRIVATE) else 0xFFFD
        self._codes[character] = own
        return own

    def _picture(self, rgb: np.ndarray, jpeg: bytes) -> pikepdf.Object:
        height, width = rgb.shape[:2]
        data, name = (jpeg, Name.DCTDecode) if jpeg else _packed(rgb)
        stream = pikepdf.Stream(self._pdf, data)
        stream.stream_dict = Dictionary(
            Type=Name.XObject,
            Subtype=Name.Image,
            Width=width,
            Height=height,
            ColorSpace=Name.DeviceRGB,
            BitsPerComponent=8,
            Filter=name,
        )
        return self._pdf.make_indirect(stream)


@dataclass(frozen=True, slots=True)
class _Run:
    """A line of text from `start` to `end` in points, `size` high, of `letters` characters."""

    start: Point
    end: Point
    size: float
    letters: int

    @property
    def level(self) -> bool:
        """Whether it neither rises nor falls by a tenth of its height."""
        return abs(self.end[1] - self.start[1]) < 0.1 * self.size

    def show(self, first: int, codes: Sequence[int]) -> str:
        """Operators for some of its characters, level, from the `first` on."""
        step = (
            (self.end[0] - self.start[0]) / self.letters,
            (self.end[1] - self.start[1]) / self.letters,
        )
        natural = self.size * glyphless.ADVANCE / glyphless.UNITS
        x = self.start[0] + first * step[0]
        # The baseline lies above the line's lower edge by the depth of a g.
        y = self.start[1] + (first + len(codes) / 2) * step[1] + DEPTH * self.size
        stretch = max(step[0] / natural * 100.0, 1.0)
        text = "".join(f"{code:04X}" for code in codes)
        place = f"{self.size:.3f} 0 0 {self.size:.3f} {x:.3f} {y:.3f} Tm"
        return f"{place} {stretch:.3f} Tz <{text}> Tj\n"


class _Frame:
    """The page as shown: its size in points, and the matrix from there to the page's own space."""

    def __init__(self, box: Sequence[float], rotation: int) -> None:
        left, bottom, right, top = box
        wide, high = right - left, top - bottom
        sideways = rotation in (90, 270)
        self.width, self.height = (high, wide) if sideways else (wide, high)
        self.matrix = {
            90: (0, 1, -1, 0, right, bottom),
            180: (-1, 0, 0, -1, right, top),
            270: (0, -1, 1, 0, left, top),
        }.get(rotation, (1, 0, 0, 1, left, bottom))

    def points(self, place: Point) -> Point:
        """A place on the page in points as shown, y upwards."""
        return place[0] * self.width, (1 - place[1]) * self.height


def _frame(page: pikepdf.Page) -> _Frame:
    media = _rectangle(page.mediabox)
    crop = _rectangle(page.cropbox)
    box = (
        max(media[0], crop[0]),
        max(media[1], crop[1]),
        min(media[2], crop[2]),
        min(media[3], crop[3]),
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        box = media
    rotation = int(page.obj.get(Name.Rotate, _inherited(page, Name.Rotate)) or 0) % 360
    return _Frame(box, rotation)


def _inherited(page: pikepdf.Page, name: Name) -> Any:
    """A value of the page's ancestors; a chain that bites its tail ends after some steps."""
    node = page.obj.get(Name.Parent)
    for _ in range(50):
        if node is None:
            return None
        if name in node:
            return node[name]
        node = node.get(Name.Parent)
    return None


def _rectangle(values: Iterable[Any]) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in values)
    return min(a, c), min(b, d), max(a, c), max(b, d)


def visual_order(text: str) -> str:
    """Characters from left to right as they stand on the page, as PDF text is kept.

    Readers turn runs of right-to-left letters around again. Numbers and other scripts inside keep
    their own direction (a small part of the Unicode Bidirectional Algorithm: no nesting).
    """
    if not any(unicodedata.bidirectional(c) in ("R", "AL") for c in text):
        return text
    if not is_right_to_left(text):
        runs = [("".join(run), right) for right, run in groupby(text, _turns)]
        return "".join(run[::-1] if right else run for run, right in runs)
    kept = [("".join(run), fixed) for fixed, run in groupby(text, _keeps_direction)]
    return "".join(run if fixed else run[::-1] for run, fixed in kept[::-1])


def _turns(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL", "NSM")


def _keeps_direction(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("L", "EN", "AN", "ES", "ET", "CS")


def _drop_hidden_text(page: pikepdf.Page, pdf: pikepdf.Pdf) -> None:
    """Text in mode 3 (neither filled nor stroked), as OCR programs leave it behind scans."""
    kept = []
    mode = [0]
    for operands, operator in pikepdf.parse_content_stream(page):
        name = str(operator)
        if name == "q":
            mode.append(mode[-1])
        elif name == "Q" and len(mode) > 1:
            mode.pop()
        elif name == "Tr" and operands:
            mode[-1] = int(operands[0])
        if mode[-1] == 3 and name in ("Tj", "TJ", "'", '"'):
            continue
        kept.append((operands, operator))
    page.obj.Contents = pdf.make_stream(pikepdf.unparse_content_stream(kept))


def _font(pdf: pikepdf.Pdf) -> Dictionary:
    """The composite font; its ToUnicode map comes when all text is known."""
    program = pdf.make_stream(glyphless.font_program())
    descriptor = Dictionary(
        Type=Name.FontDescriptor,
        FontName=Name("/FacetGlyphless"),
        Flags=5,
        FontBBox=Array([0, -200, 500, 800]),
        ItalicAngle=0,
        Ascent=800,
        Descent=-200,
        CapHeight=800,
        StemV=80,
        FontFile2=program,
    )
    # Every code is drawn with the one empty glyph.
    glyphs = pdf.make_stream(b"\x00\x01" * 0x10000)
    descendant = Dictionary(
        Type=Name.Font,
        Subtype=Name.CIDFontType2,
        BaseFont=Name("/FacetGlyphless"),
        CIDSystemInfo=Dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
        FontDescriptor=pdf.make_indirect(descriptor),
        DW=glyphless.ADVANCE,
        CIDToGIDMap=glyphs,
    )
    return Dictionary(
        Type=Name.Font,
        Subtype=Name.Type0,
        BaseFont=Name("/FacetGlyphless"),
        Encoding=Name("/Identity-H"),
        DescendantFonts=Array([pdf.make_indirect(descendant)]),
    )


def _packed(rgb: np.ndarray) -> tuple[bytes, Name]:
    """A picture without loss if that stays small, else as JPEG of high quality."""
    flat = zlib.compress(rgb.tobytes(), 6) if rgb.size <= 60_000_000 else b""
    if flat and len(flat) <= MOST_FLAT_BYTES:
        return flat, Name.FlateDecode
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue(), Name.DCTDecode
