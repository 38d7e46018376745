"""Lines of a page: a PDF's own text as Markdown, and where the lines that were read stand.

Pure functions over boxes that are fractions of the page.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from app.core.events import PageLine
from app.documents.types import Box, PageLayer, TextLine, TextTable

# A layer with less says too little to stand for a page: stamps and page numbers over a scan.
LEAST_CHARACTERS = 40
LEAST_IN_TABLES = 8  # where there is a table: its few cells are the page
LEAST_SOUND = 0.97
HEADING = 1.22  # times the usual size of letters
TITLE = 1.45
_PARAGRAPH_GAP = 0.75  # of a line's height
_MARKDOWN = re.compile(r"^\s*(?:#{1,6}\s+|[-*+]\s+|\d{1,3}[.)]\s+|>\s?)|[*_`|$\\]+")
_MARKS = re.compile(r"([\\`*_|$<&\[~])")
_FIGURES = re.compile(r"[\W\d_]*\d[\W\d_]*")
_YEAR = re.compile(r"(?:19|20)\d\d")
_RULER = re.compile(r"[\s|:\-=_]*")


def layer_is_good(layer: PageLayer) -> bool:
    """The text layer can stand for the page: enough of it, and made of real characters.

    Fonts without a map to Unicode give private or replacement characters.
    """
    text = "".join(line.text for line in layer.all_lines)
    characters = [character for character in text if not character.isspace()]
    if len(characters) < (LEAST_IN_TABLES if layer.tables else LEAST_CHARACTERS):
        return False
    sound = sum(
        character != "\ufffd" and unicodedata.category(character) not in ("Co", "Cn", "Cc", "Cs")
        for character in characters
    )
    return sound >= LEAST_SOUND * len(characters)


def layer_text(lines: Sequence[TextLine]) -> str:
    """The layer line by line, to compare with."""
    return "\n".join(line.text for line in lines)


def layer_markdown(layer: PageLayer) -> str:
    """The layer as Markdown: large lines are headings, gaps part paragraphs, tables are tables.

    Its words stay as they are, escaped where Markdown would read them as something else.
    """
    usual = statistics.median([line.size for line in layer.all_lines if line.size] or [0.0])
    blocks: list[str] = []
    before = 0
    for table in layer.tables:
        blocks += [*_text_blocks(layer.lines[before : table.at], usual), _table(table)]
        before = table.at
    return "\n\n".join([*blocks, *_text_blocks(layer.lines[before:], usual)])


def _text_blocks(lines: Sequence[TextLine], usual: float) -> list[str]:
    """Headings and paragraphs. usual: size of most letters of the page."""
    blocks: list[list[str]] = []
    before: TextLine | None = None
    for line in lines:
        heading = _is_heading(line, usual)
        joins = before is not None and not heading and not _is_heading(before, usual)
        if joins and before is not None and not _starts_block(before, line):
            blocks[-1].append(_escaped(line.text))
        else:
            blocks.append([_prefix(line, usual) + _escaped(line.text)])
        before = line
    return [_joined(block) for block in blocks]


def _table(table: TextTable) -> str:
    """A Markdown table; one that begins with figures has no head, which an empty one says."""
    rows = [[_cell(text) for text in row] for row in table.rows]
    if not _is_head(table.rows[0]):
        rows.insert(0, [""] * len(rows[0]))
    written = ["| " + " | ".join(row) + " |" for row in rows]
    written.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(written)


def _is_head(row: Sequence[str]) -> bool:
    """Words, most of them; years are words here."""
    filled = [text for text in row if text]
    figures = sum(bool(_FIGURES.fullmatch(text)) and not _YEAR.fullmatch(text) for text in filled)
    return 2 * figures < len(filled)


def _cell(text: str) -> str:
    """A cell's text, every mark in it escaped."""
    return "<br>".join(_MARKS.sub(r"\\\1", line) for line in text.split("\n"))


def _is_heading(line: TextLine, usual: float) -> bool:
    short = len(line.text) <= 120 and not line.text.rstrip().endswith((",", ";"))
    return bool(usual) and line.size >= HEADING * usual and short


def _prefix(line: TextLine, usual: float) -> str:
    if not _is_heading(line, usual):
        return ""
    return "# " if line.size >= TITLE * usual else "## "


def _starts_block(before: TextLine, line: TextLine) -> bool:
    """A gap, a step upwards (the next column), or a list's mark."""
    height = before.box[3] - before.box[1]
    gap = line.box[1] - before.box[3]
    if gap > _PARAGRAPH_GAP * height or line.box[3] < before.box[1]:
        return True
    return bool(re.match(r"\s*(?:[-•–*]|\d{1,3}[.)])\s", line.text))


def _joined(lines: Sequence[str]) -> str:
    """Lines of a paragraph in one: a word parted at a line's end is whole again."""
    text = lines[0].strip()
    for line in lines[1:]:
        line = line.strip()
        if re.search(r"[^\W\d_]-$", text) and line[:1].islower():
            text = text[:-1] + line
        else:
            text = f"{text} {line}"
    return text


def _escaped(text: str) -> str:
    """Only what would change the look: marks at the line's start, stars, bars and back quotes."""
    text = re.sub(r"([\\`*_|$])", r"\\\1", text)
    text = re.sub(r"^(\s*)[•–]\s+", r"\1- ", text)
    return re.sub(r"^(\s*)(#{1,6}\s|>|\+\s)", r"\1\\\2", text)


def layer_places(lines: Sequence[TextLine]) -> tuple[PageLine, ...]:
    """Where the layer's lines stand."""
    return tuple(PageLine(line.text, *line.box) for line in lines)


def places(text: str, segments: Sequence[Box], width: float, height: float) -> tuple[PageLine, ...]:
    """Each found line of writing with the words that likely stand there.

    A line holds as many characters as it is wide in heights of itself; words are dealt out in
    reading order by that share, and a line break of the text near a border is kept.

    Args:
        text: what was read, Markdown.
        segments: boxes of lines in reading order.
        width: of the page, in any unit.
        height: of the page, same unit.
    """
    words = _words(text)
    total = sum(len(word) + 1 for word, _ in words)
    rooms = [(x1 - x0) * width / max((y1 - y0) * height, 1e-9) for x0, y0, x1, y1 in segments]
    if not words or not sum(rooms):
        return ()
    placed: list[PageLine] = []
    scale, at, due, spent = total / sum(rooms), 0, 0.0, 0
    for box, room in zip(segments, rooms, strict=True):
        due += room * scale
        taken: list[str] = []
        while at < len(words) and (spent + len(words[at][0]) / 2 < due or not taken):
            word, ends = words[at]
            taken.append(word)
            spent += len(word) + 1
            at += 1
            if ends and due - spent < 0.4 * room * scale:
                due = float(spent)
                break
        if taken:
            placed.append(PageLine(" ".join(taken), *box))
    rest = " ".join(word for word, _ in words[at:])
    if rest:  # rounding leaves some: they belong to the last line
        placed[-1] = replace(placed[-1], text=f"{placed[-1].text} {rest}")
    return tuple(placed)


def _words(text: str) -> list[tuple[str, bool]]:
    """Words without Markdown's marks, and whether a line of the text ends with each."""
    found: list[tuple[str, bool]] = []
    for line in text.splitlines():
        if _RULER.fullmatch(line):
            continue
        words = _MARKDOWN.sub(" ", line).split()
        found += [(word, index == len(words) - 1) for index, word in enumerate(words)]
    return found
