"""The worker's service: one open document, and an answer to each question `host` asks.

Every `do_` method returns (value for the reply's header, raw bytes after it).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.documents import sniff, wire
from app.documents.order import reordered
from app.documents.pages import PageSource
from app.documents.prepare import Plan
from app.documents.prepare import plan as make_plan
from app.documents.segment import LOOK_SIDE, SMALL_LETTER, Lines, find_lines
from app.documents.sizing import wanted_size
from app.documents.suggest import suggest
from app.documents.types import (
    WHOLE,
    Box,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageFacts,
    Preparation,
)

if TYPE_CHECKING:
    import numpy as np

MOST_PLANS = 64  # pages whose preparation is remembered
_Answer = tuple[Any, bytes]
_Key = tuple[str, int, int, str]


class DocumentReader:
    """Keeps the document asked for last open, with what was measured on its pages."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._source: PageSource | None = None
        self._plans: dict[int, Plan] = {}

    def do_open(self, path: str, password: str = "") -> _Answer:
        """What this file is."""
        found = sniff.find_format(Path(path))
        if found in sniff.TEXTS:
            return wire.plain(DocumentInfo(path, DocumentKind.TEXT, found, 1)), b""
        return wire.plain(self._pages(path, password).info), b""

    def do_facts(self, path: str, page: int, password: str = "") -> _Answer:
        """What is measured on a page."""
        source = self._pages(path, password)
        width, height = source.size(page)
        chars = sum(len(line.text) for line in source.lines(page))
        plan = self._plan(path, page, password)
        lines, looked_at = self._lines(plan, page)
        letter_height = lines.letter_height * plan.width / looked_at[0]
        facts = PageFacts(
            page,
            width,
            height,
            chars > 0,
            chars,
            letter_height,
            plan.preparation.outline is not None,
            suggest(plan.width, plan.height, letter_height),
        )
        return wire.plain(facts), b""

    def do_picture(
        self,
        path: str,
        page: int,
        longest: int | None,
        soft_tokens: int | None,
        prepared: bool,
        box: list[float] | None,
        password: str = "",
    ) -> _Answer:
        """A page's picture, or a part of it."""
        source = self._pages(path, password)
        plan = self._plan(path, page, password) if prepared else Plan(*source.size(page))
        part = wire.box_of(box) if box else WHOLE
        across, down = part[2] - part[0], part[3] - part[1]
        wide, high = wanted_size(
            plan.width * across, plan.height * down, longest=longest, soft_tokens=soft_tokens
        )
        full = (round(wide / across), round(high / down))
        return _picture(plan.draw(source, page, *full, part), plan.preparation)

    def do_segments(self, path: str, page: int, prepared: bool, password: str = "") -> _Answer:
        """Where the lines of writing are."""
        source = self._pages(path, password)
        plan = self._plan(path, page, password) if prepared else Plan(*source.size(page))
        lines, shape = self._lines(plan, page)
        return lines.fractions(*shape), b""

    def do_lines(self, path: str, page: int, password: str = "") -> _Answer:
        """A page's text layer."""
        return wire.plain(self._pages(path, password).lines(page)), b""

    def do_layer(self, path: str, page: int, password: str = "") -> _Answer:
        """A page's text layer with its tables."""
        return wire.plain(self._pages(path, password).layer(page)), b""

    def do_text(self, path: str, password: str = "") -> _Answer:
        """A text document as Markdown."""
        from app.documents.texts import read_text

        found = sniff.find_format(Path(path))
        if found not in sniff.TEXTS:
            message = f"“{Path(path).name}” is made of pages; they are looked at one by one."
            raise DocumentError(DocumentProblem.UNSUPPORTED, message)
        return read_text(Path(path), found), b""

    def do_searchable_pdf(
        self, path: str, pages: list[dict[str, Any]], target: str, password: str = ""
    ) -> _Answer:
        """Write a copy of the document that can be searched."""
        from app.documents.searchable import write_searchable

        source = self._pages(path, password)
        texts = [wire.page_text_of(page) for page in pages]

        def lines_of(page: int, rtl: bool) -> tuple[tuple[Box, ...], Plan]:
            plan = self._plan(path, page, password)
            lines, shape = self._lines(plan, page)
            boxes = lines.fractions(*shape)
            return reordered(boxes, lines.letter_height, shape) if rtl and boxes else boxes, plan

        return wire.plain(write_searchable(source, password, texts, Path(target), lines_of)), b""

    def _plan(self, path: str, page: int, password: str) -> Plan:
        """How the page is prepared; looked at once."""
        source = self._pages(path, password)
        if page not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[page] = make_plan(source, page)
        return self._plans[page]

    def _lines(self, plan: Plan, page: int) -> tuple[Lines, tuple[int, int]]:
        """Lines of writing, and the size of the picture they were found in."""
        if self._source is None:
            raise DocumentError(DocumentProblem.GONE, "The document was closed.")
        longest, look = max(plan.width, plan.height), LOOK_SIDE
        while True:
            scale = look / longest
            wide, high = max(1, round(plan.width * scale)), max(1, round(plan.height * scale))
            pixels = plan.draw(self._source, page, wide, high)
            lines = find_lines(pixels)
            # Letters this small run together; a second look sees them apart.
            if look > LOOK_SIDE or not 0 < lines.letter_height < SMALL_LETTER:
                return lines, (pixels.shape[1], pixels.shape[0])
            look *= 2

    def _pages(self, path: str, password: str) -> PageSource:
        """The open document; a file that changed meanwhile is opened again."""
        try:
            stat = Path(path).stat()
        except OSError as problem:
            name = Path(path).name
            message = f"“{name}” is not there any more; choose it again."
            raise DocumentError(DocumentProblem.GONE, message, str(problem)) from problem
        key = (path, stat.st_mtime_ns, stat.st_size, password)
        if self._source is None or key != self._key:
            self.close()
            self._source = _open_pages(Path(path), password)
            self._key = key
        return self._source

    def close(self) -> None:
        """Let go of the open document."""
        if self._source is not None:
            self._source.close()
        self._source, self._key = None, None
        self._plans.clear()


def _open_pages(path: Path, password: str) -> PageSource:
    found = sniff.find_format(path)
    if found == "pdf":
        from app.documents.pdf import PdfSource

        return PdfSource(path, password)
    if found in sniff.PICTURES:
        from app.documents.rasters import RasterSource

        return RasterSource(path, found)
    message = f"“{path.name}” has no pages to look at; it is read as text."
    raise DocumentError(DocumentProblem.UNSUPPORTED, message)


def _picture(pixels: np.ndarray, preparation: Preparation) -> _Answer:
    height, width = pixels.shape[:2]
    value = {
        "width": width,
        "height": height,
        "preparation": wire.plain(preparation),
    }
    return value, pixels.tobytes()
