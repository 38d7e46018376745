"""What documents, pages and their parts are, as plain data. Standard library only.

All boxes and points are fractions of the page's width and height, 0 at the top left. Pages count
from 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class DocumentKind(StrEnum):
    """PAGES are looked at (PDF and pictures); TEXT is taken as it stands (office files, text)."""

    PAGES = "pages"
    TEXT = "text"


class DocumentProblem(StrEnum):
    """Why a document cannot be used."""

    PASSWORD = "password"
    WRONG_PASSWORD = "wrong_password"
    BROKEN = "broken"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    GONE = "gone"


class DocumentError(Exception):
    """A document or page that cannot be used: `message` is one sentence for the person."""

    def __init__(self, kind: DocumentProblem, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.detail = detail


class ReadingDetail(StrEnum):
    """How finely a page is read; TILES reads overlapping parts of it, each at FINE."""

    AUTO = "auto"
    QUICK = "quick"
    LIGHT = "light"
    NORMAL = "normal"
    FINE = "fine"
    FINEST = "finest"
    TILES = "tiles"

    @property
    def soft_tokens(self) -> int | None:
        """The budget of one picture; None for AUTO, where the page decides."""
        return _SOFT_TOKENS.get(self)

    @property
    def label(self) -> str:
        """The plain word for it."""
        return self.value.capitalize()


_SOFT_TOKENS = {
    ReadingDetail.QUICK: 70,
    ReadingDetail.LIGHT: 140,
    ReadingDetail.NORMAL: 280,
    ReadingDetail.FINE: 560,
    ReadingDetail.FINEST: 1120,
    ReadingDetail.TILES: 560,
}


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A file that can be read. format: "pdf", "tiff", "docx" …, found in its content.

    pages: 1 for TEXT. notices: sentences about what is unusual ("Only the first frame is read.").
    """

    path: str
    kind: DocumentKind
    format: str
    pages: int
    title: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PagePart:
    """A part of a page: a tile, or the place of a line."""

    box: Box


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What was measured on a page.

    width, height: points for a PDF page, pixels for a picture. letter_height: median height of
    the letters' bodies (without ascenders) in the same unit, 0 where none were found. photo: the
    page is a photograph of a page, which preparation would straighten. suggested: never AUTO.
    """

    page: int
    width: float
    height: float
    has_text: bool = False
    text_chars: int = 0
    letter_height: float = 0.0
    photo: bool = False
    suggested: ReadingDetail = ReadingDetail.NORMAL


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a PDF's text layer. size: of its letters, as a fraction of the page's height."""

    text: str
    box: Box
    size: float = 0.0


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of a PDF's text layer. rows: cell texts, all of one length.

    A cell that spans several columns or rows has its text in the first of them in reading order,
    the others are empty. lines: of the text in its cells. at: how many lines of the page outside
    tables come before it.
    """

    rows: tuple[tuple[str, ...], ...]
    box: Box
    lines: tuple[TextLine, ...] = ()
    at: int = 0


@dataclass(frozen=True, slots=True)
class PageLayer:
    """A page's text layer in reading order. lines: those that stand in no table."""

    lines: tuple[TextLine, ...] = ()
    tables: tuple[TextTable, ...] = ()

    @property
    def all_lines(self) -> tuple[TextLine, ...]:
        """Lines in tables among the others."""
        found: list[TextLine] = []
        before = 0
        for table in self.tables:
            found += [*self.lines[before : table.at], *table.lines]
            before = table.at
        return (*found, *self.lines[before:])


@dataclass(frozen=True, slots=True)
class PagePicture:
    """RGB, 8 bits, rows top down, width · height · 3 bytes."""

    rgb: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was done to a page's picture; all at its default means nothing.

    outline: the page's corners found in the photo (top left, top right, bottom right, bottom
    left). angle: degrees the text was turned back, positive where it rose to the right. shadow:
    uneven light was evened. matrix: nine numbers, row by row, of the homography that takes a point
    of the prepared picture to the point of the picture as it came; empty: they are the same.
    """

    outline: tuple[Point, Point, Point, Point] | None = None
    angle: float = 0.0
    shadow: bool = False
    matrix: tuple[float, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.outline is not None or self.angle != 0.0 or self.shadow

    def to_original(self, point: Point) -> Point:
        """Where a point of the prepared picture lies in the picture as it came."""
        if not self.matrix:
            return point
        m, (x, y) = self.matrix, point
        scale = m[6] * x + m[7] * y + m[8]
        return (
            (m[0] * x + m[1] * y + m[2]) / scale,
            (m[3] * x + m[4] * y + m[5]) / scale,
        )

    def original_box(self, box: Box) -> Box:
        """The upright box, in the picture as it came, around a box of the prepared one."""
        left, top, right, bottom = box
        corners = [self.to_original((x, y)) for x in (left, right) for y in (top, bottom)]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return _clamp(min(xs)), _clamp(min(ys)), _clamp(max(xs)), _clamp(max(ys))


def _clamp(value: float) -> float:
    return min(max(value, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class PreparedPage:
    """A page's picture and what was done to it."""

    picture: PagePicture
    preparation: Preparation = Preparation()


@dataclass(frozen=True, slots=True)
class PageText:
    """What was read on a page, as Markdown: the input of every export.

    source: what the person calls the file, where pages of several are exported together. notices:
    what went wrong with this page, in sentences. from_layer: the text is the PDF's own.
    """

    page: int
    markdown: str
    source: str = ""
    notices: tuple[str, ...] = ()
    from_layer: bool = False


@dataclass(frozen=True, slots=True)
class SearchablePdf:
    """How well a searchable PDF came out: lines of text in all, and those without a place.

    Lines without a place of their own are in the file too, in reading order, beside their
    neighbours.
    """

    path: str
    pages: int
    lines: int
    unmatched: int
