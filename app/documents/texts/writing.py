"""Small pieces of Markdown, and the bound every text keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MOST_CHARACTERS = 4_000_000
CUT_NOTICE = "\n\n*(The document goes on; only its beginning was read.)*\n"
_SPACE = re.compile(r"\s+")


def one_line(text: str) -> str:
    """Text without line breaks and double spaces."""
    return _SPACE.sub(" ", text).strip()


def cell(text: str) -> str:
    """Text that is safe in a table's cell: bars escaped, line breaks as `<br>`."""
    lines = (one_line(line) for line in text.strip().splitlines())
    return "<br>".join(line.replace("\\", "\\\\").replace("|", "\\|") for line in lines if line)


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head. Short rows are filled up."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    full = [[cell(text) for text in row] + [""] * (width - len(row)) for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in full]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def join_blocks(blocks: Iterable[str]) -> str:
    """Blocks with an empty line between them, cut at `MOST_CHARACTERS` and the cut said."""
    parts: list[str] = []
    length = 0
    for block in blocks:
        text = block.strip("\n")
        if not text.strip():
            continue
        length += len(text) + 2
        if length > MOST_CHARACTERS:
            parts.append(text[: max(0, MOST_CHARACTERS - length)])
            return "\n\n".join(parts) + CUT_NOTICE
        parts.append(text)
    return "\n\n".join(parts) + "\n" if parts else ""
