"""What is sent when someone asks about documents: pages with their numbers, and where to cite them.

Pure functions over pages; knows no Qt and no engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

INSTRUCTION = (
    "You answer questions about documents. Use only the pages given here. After every statement "
    "name its page in square brackets, such as [p. 3]; with several documents name the document "
    "too, such as [{name}, p. 3]. If the pages do not hold the answer, say so."
)
NOTES_REQUEST = (
    "These are some pages of a longer document. Write down, in short sentences, everything on them "
    "that helps to answer the question, each with its page in square brackets. If nothing on them "
    "helps, write only: nothing.\n\nQuestion: {question}"
)
PAGE_SCHEME = "facet-page"
_MARK = re.compile(r"^\[page (\d+)\]$", re.MULTILINE)
_CITATION = re.compile(
    r"\[(?P<name>[^\[\]\n]{1,120}?[,:]\s*)?(?:pp?|pages?|Seiten?|S)\.?\s*"
    r"(?P<pages>\d+(?:\s*(?:-|–|,|and)\s*(?:pp?\.\s*)?\d+)*)\](?!\()",
    re.IGNORECASE,
)


class Way(StrEnum):
    """How a question meets a document: all its text, some pages, or every page in turn."""

    WHOLE = "whole"
    CHOSEN = "chosen"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class SourcePage:
    """A page as it is sent. name: of its document."""

    document_id: str
    name: str
    page: int
    text: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Where an answer points. page counts from 0."""

    document_id: str
    page: int


def pages_text(pages: Iterable[SourcePage]) -> str:
    """Pages under their numbers; what a citation names."""
    return "\n\n".join(f"[page {page.page + 1}]\n{page.text.strip()}" for page in pages)


def by_document(pages: Sequence[SourcePage]) -> dict[str, list[SourcePage]]:
    """Pages grouped by document, in the order given."""
    found: dict[str, list[SourcePage]] = {}
    for page in pages:
        found.setdefault(page.document_id, []).append(page)
    return found


def pages_in(text: str) -> set[int]:
    """The pages a sent text holds, counted from 0."""
    return {int(number) - 1 for number in _MARK.findall(text)}


def search_words(question: str) -> str:
    """The words of a question worth searching for: no short ones unless there are no others."""
    words = re.findall(r"\w+", question)
    long = [word for word in words if len(word) > 3 or not word.isascii() or word.isdigit()]
    return " ".join(long or words)


def groups_of(
    pages: Sequence[SourcePage], budget: int, tokens_per_char: float
) -> list[list[SourcePage]]:
    """Pages in runs that each fit `budget` tokens; a single page that does not is a run alone."""
    groups: list[list[SourcePage]] = []
    used = 0.0
    for page in pages:
        cost = len(page.text) * tokens_per_char + 8
        if not groups or used + cost > budget:
            groups.append([])
            used = 0.0
        groups[-1].append(page)
        used += cost
    return groups


def fitting(pages: Sequence[SourcePage], budget: int, tokens_per_char: float) -> list[SourcePage]:
    """The first pages (the best hits) that fit, in the order of the document."""
    taken: list[SourcePage] = []
    used = 0.0
    for page in pages:
        cost = len(page.text) * tokens_per_char + 8
        if used + cost <= budget:
            taken.append(page)
            used += cost
    return sorted(taken, key=lambda page: (page.document_id, page.page))


def page_ranges(numbers: Iterable[int]) -> str:
    """`1–3, 7` from pages counted from 0."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a + 1}" if a == b else f"{a + 1}–{b + 1}" for a, b in runs)


def linked(text: str, names: Sequence[tuple[str, str]]) -> str:
    """An answer with its citations as links, one for each page.

    Args:
        text: Markdown as the model wrote it.
        names: (document id, name) of the documents asked about.
    """

    def link(match: re.Match[str]) -> str:
        document = _named(match["name"] or "", names)
        numbers = [int(number) for number in re.findall(r"\d+", match["pages"])]
        place = names.index(document)
        words = match[0][1:-1].replace("[", "").replace("]", "")
        if len(numbers) == 1:
            return f"[{words}]({PAGE_SCHEME}:{place}/{numbers[0]})"
        return ", ".join(f"[p. {n}]({PAGE_SCHEME}:{place}/{n})" for n in numbers)

    return _CITATION.sub(link, text) if names else text


def _named(words: str, names: Sequence[tuple[str, str]]) -> tuple[str, str]:
    wanted = words.strip(" ,:“”\"'").casefold()
    for entry in names:
        name = entry[1].casefold()
        if wanted and (wanted in name or name.rsplit(".", 1)[0] in wanted):
            return entry
    return names[0]


def target_of(link: str, names: Sequence[tuple[str, str]]) -> Citation | None:
    """The page a link points to, None for any other link."""
    match = re.fullmatch(rf"{PAGE_SCHEME}:(\d{{1,4}})/(\d{{1,7}})", link)
    if match is None or int(match[1]) >= len(names) or int(match[2]) < 1:
        return None
    return Citation(names[int(match[1])][0], int(match[2]) - 1)
