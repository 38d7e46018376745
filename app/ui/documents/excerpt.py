"""What a view shows of a page's Markdown: as much as it lays out without a pause, and how wide.

Knows no Qt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Longer texts (whole office files) are shown up to here; copying and export have all of it.
MOST_CHARACTERS = 60_000
# A table this large takes about a tenth of a second to lay out.
MOST_CELLS = 1_200
_FENCES = ("```", "~~~")


def excerpt(text: str) -> str:
    """The beginning of a long text, and of long tables in it.

    Tables stay one block: what is left out is counted in their last row.
    """
    if text.count("|") > MOST_CELLS:
        text = "\n".join(_shorter(text.split("\n")))
    if len(text) > MOST_CHARACTERS:
        end = text.rfind("\n", 0, MOST_CHARACTERS)
        text = f"{text[: end if end > 0 else MOST_CHARACTERS]}\n\n…"
    return text


def _shorter(lines: Sequence[str]) -> Iterator[str]:
    table: list[str] = []
    fenced = False
    for line in lines:
        if line.lstrip().startswith("|") and not fenced:
            table.append(line)
            continue
        yield from _table(table)
        table = []
        fenced ^= line.lstrip().startswith(_FENCES)
        yield line
    yield from _table(table)


def _table(lines: Sequence[str]) -> Sequence[str]:
    """Rows of one table; the first two are its head."""
    columns = max(1, lines[0].count("|") - 1) if lines else 1
    most = max(4, MOST_CELLS // columns)
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"| *… {len(lines) - most + 1:,} more rows* |"]


def longest_words(text: str) -> list[list[str]]:
    """For each table the longest word of each column: narrower it would be cut within words."""
    tables: list[list[str]] = []
    inside = False
    for line in text.split("\n"):
        if not line.lstrip().startswith("|"):
            inside = False
            continue
        if not inside:
            tables.append([])
            inside = True
        _widen(tables[-1], line.strip().strip("|").split("|"))
    return tables


def _widen(columns: list[str], cells: Sequence[str]) -> None:
    columns += [""] * (len(cells) - len(columns))
    for index, cell in enumerate(cells):
        if set(cell) <= set(" :-"):  # the line under the head
            continue
        columns[index] = max([columns[index], *cell.split()], key=len)
