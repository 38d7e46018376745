"""Puts a searchable PDF together: places of lines from the page's picture, text from what was read.

Runs in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from app.documents.export.pdf import DOTS_PER_INCH, SearchableWriter
from app.documents.export.placing import place, text_lines
from app.documents.order import right_to_left
from app.documents.pages import PageSource
from app.documents.prepare import Plan
from app.documents.types import Box, PageText, SearchablePdf

LinesOf = Callable[[int, bool], tuple[tuple[Box, ...], Plan]]


def write_searchable(
    source: PageSource,
    password: str,
    texts: Sequence[PageText],
    target: Path,
    lines_of: LinesOf,
) -> SearchablePdf:
    """Write the copy.

    lines_of: boxes of a page's lines in its prepared picture, read from left to right or (True)
    from right to left, and its plan.

    Pages that a program drew have their own text already and stay exactly as they are.

    Raises:
        DocumentError: the document cannot be opened for it.
        OSError: the target cannot be written.
    """
    by_page = {text.page: text for text in texts}
    is_pdf = source.info.format == "pdf"
    path = Path(source.info.path)
    writer = SearchableWriter.over_pdf(path, password) if is_pdf else SearchableWriter.empty()
    lines = unmatched = 0
    try:
        for page in range(source.info.pages):
            if not is_pdf:
                _add_picture(writer, source, page)
            text = by_page.get(page)
            if text is None or (not source.is_picture(page) and source.lines(page)):
                continue
            boxes, plan = lines_of(page, right_to_left(text.markdown))
            placed = place(text_lines(text.markdown), boxes, plan.width / plan.height)
            hidden = is_pdf and source.is_picture(page)
            writer.add_text(page, placed, plan.preparation.to_original, replace_hidden=hidden)
            lines += len(placed)
            unmatched += sum(not line.own for line in placed)
        return SearchablePdf(str(target), writer.save(target), lines, unmatched)
    finally:
        writer.close()


def _add_picture(writer: SearchableWriter, source: PageSource, page: int) -> None:
    width, height = source.size(page)
    pixels = source.draw(page, round(width), round(height))
    writer.add_picture_page(pixels, _same_jpeg(source, pixels.shape), DOTS_PER_INCH)


def _same_jpeg(source: PageSource, shape: tuple[int, ...]) -> bytes:
    """The file itself, where it is a JPEG that shows the same pixels without being turned."""
    from PIL import Image

    if source.info.format != "jpeg":
        return b""
    with Image.open(source.info.path) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        if image.mode != "RGB" or not upright or image.size != (shape[1], shape[0]):
            return b""
    return Path(source.info.path).read_bytes()
