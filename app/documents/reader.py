"""The worker's service: one open document, and an answer to each question `host` asks.

Every `do_` method returns (value for the reply's header, raw bytes after it).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.documents import sniff, wire
from app.documents.pages import PageSource
from app.documents.sizing import wanted_size
from app.documents.types import (
    WHOLE,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageFacts,
    Preparation,
)

if TYPE_CHECKING:
    import numpy as np

_Answer = tuple[Any, bytes]
_Key = tuple[str, int, int, str]


class DocumentReader:
    """Keeps the document asked for last open, with what was measured on its pages."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._source: PageSource | None = None

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
        return wire.plain(PageFacts(page, width, height, chars > 0, chars)), b""

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
        part = wire.box_of(box) if box else WHOLE
        width, height = source.size(page)
        part_size = (width * (part[2] - part[0]), height * (part[3] - part[1]))
        wide, high = wanted_size(*part_size, longest=longest, soft_tokens=soft_tokens)
        full = (round(wide / (part[2] - part[0])), round(high / (part[3] - part[1])))
        return _picture(source.draw(page, *full, part), Preparation())

    def do_lines(self, path: str, page: int, password: str = "") -> _Answer:
        """A page's text layer."""
        return wire.plain(self._pages(path, password).lines(page)), b""

    def do_text(self, path: str, password: str = "") -> _Answer:
        """A text document as Markdown."""
        from app.documents.texts import read_text

        found = sniff.find_format(Path(path))
        if found not in sniff.TEXTS:
            message = f"“{Path(path).name}” is made of pages; they are looked at one by one."
            raise DocumentError(DocumentProblem.UNSUPPORTED, message)
        return read_text(Path(path), found), b""

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
