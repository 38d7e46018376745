"""What the model is asked for each kind of page.

The words are plain and the same every time, so that the beginning of the conversation can be kept
from page to page.
"""

from __future__ import annotations

from enum import StrEnum


class ReadingTask(StrEnum):
    """What is wanted of a page."""

    PAGE = "page"
    TEXT = "text"
    HANDWRITING = "handwriting"
    CHART = "chart"
    FORMULA = "formula"
    TABLES = "tables"
    FIELDS = "fields"

    @property
    def label(self) -> str:
        """The plain words for it."""
        return _LABELS[self]


_LABELS = {
    ReadingTask.PAGE: "Whole page",
    ReadingTask.TEXT: "Plain text",
    ReadingTask.HANDWRITING: "Handwriting",
    ReadingTask.CHART: "Chart",
    ReadingTask.FORMULA: "Formulas",
    ReadingTask.TABLES: "Tables only",
    ReadingTask.FIELDS: "Fields (JSON)",
}
_TASKS = {
    ReadingTask.PAGE: (
        "Write down all text of this page as Markdown, in reading order. Use # for headings, "
        "- and 1. for lists, Markdown tables with | for tables, and LaTeX between $ signs for "
        "formulas."
    ),
    ReadingTask.TEXT: "Write down all text of this page in reading order, line by line.",
    ReadingTask.HANDWRITING: (
        "Write down the handwritten text of this page, line by line. Where a word cannot be read, "
        "write [?] in its place and do not guess."
    ),
    ReadingTask.CHART: (
        "This picture shows a chart. Write its title as a heading and its values as a Markdown "
        "table: one row for each point or bar, one column for each series. Values that are not "
        "printed but read off the axes get a ~ before them."
    ),
    ReadingTask.FORMULA: "Write down every formula of this page, in order, as LaTeX between $$.",
    ReadingTask.TABLES: (
        "Write down every table of this page as a Markdown table with |, and nothing else. Keep "
        "every row and column; leave empty cells empty."
    ),
    ReadingTask.FIELDS: (
        "Fill in the fields of this JSON schema from the page. Use null for what is not there, "
        "and answer with the JSON alone."
    ),
}
_EXACT = (
    "Copy exactly what is there, do not translate, correct, shorten or add anything, and do not "
    "comment."
)
_TILE = (
    "This is one strip of a larger page. Write each printed line on a line of its own, and leave "
    "out lines that the upper or lower border cuts through."
)


def instruction(
    task: ReadingTask, *, language: str = "", schema: str = "", tile: bool = False
) -> str:
    """The words that go before the page's picture.

    Args:
        task: what is wanted.
        language: the name of the page's language in English, if the person told it.
        schema: a JSON schema, for FIELDS.
        tile: the picture is one of several strips.
    """
    parts = [_TASKS[task]]
    if task is not ReadingTask.FIELDS:
        parts.append(_EXACT)
    if language:
        parts.append(f"The page is in {language}.")
    if tile:
        parts.append(_TILE)
    text = " ".join(parts)
    if task is ReadingTask.FIELDS and schema.strip():
        text += f"\n\nJSON schema:\n{schema.strip()}"
    return text
