"""Presentations: each slide a heading, its text, tables and notes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.documents.texts.writing import join_blocks, one_line, table
from app.documents.texts.zipped import check_zip, damaged

MOST_SHAPES = 5000  # of one slide
MOST_DEPTH = 8  # of groups in groups


def read_pptx(path: Path) -> str:
    """The text of a presentation as Markdown.

    Raises:
        DocumentError: damaged, or a zip bomb.
    """
    import pptx
    from pptx.exc import PythonPptxError

    check_zip(path)
    try:
        deck = pptx.Presentation(str(path))
        slides = list(deck.slides)
    except (PythonPptxError, KeyError, ValueError, AttributeError, OSError) as problem:
        raise damaged(path, problem) from problem
    return join_blocks(
        block for number, slide in enumerate(slides) for block in _slide(number, slide)
    )


def _slide(number: int, slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    heading = one_line(title.text_frame.text) if title is not None else ""
    yield f"## {heading or f'Slide {number + 1}'}"
    for shape in _shapes(slide.shapes, 0):
        if title is None or shape.shape_id != title.shape_id:
            yield _shape(shape)
    if slide.has_notes_slide:
        frame = slide.notes_slide.notes_text_frame
        notes = frame.text.strip() if frame is not None else ""
        if notes:
            yield "> " + notes.replace("\n", "\n> ")


def _shapes(shapes: Any, depth: int) -> Iterator[Any]:
    from pptx.shapes.group import GroupShape

    for index, shape in enumerate(shapes):
        if index >= MOST_SHAPES:
            return
        if isinstance(shape, GroupShape):
            if depth < MOST_DEPTH:
                yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _shape(shape: Any) -> str:
    if getattr(shape, "has_table", False):
        return table([[spot.text for spot in row.cells] for row in shape.table.rows])
    if not shape.has_text_frame:
        return ""
    lines = [
        (min(paragraph.level, 8), one_line(paragraph.text))
        for paragraph in shape.text_frame.paragraphs
    ]
    lines = [(level, text) for level, text in lines if text]
    if len(lines) == 1:
        return lines[0][1]
    return "\n".join(f"{'    ' * level}- {text}" for level, text in lines)
