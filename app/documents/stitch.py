"""The texts of overlapping tiles become one, without doubled or lost lines.

The end of one text and the beginning of the next are aligned word by word (an overlap alignment as
in sequence assembly), and the reading changes from one to the other at a word both agree on, in
the middle of what they share: the borders, where lines may be cut in half, are never used.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

from app.documents.order import right_to_left
from app.documents.tiles import TilePlan, overlap_share
from app.documents.types import PagePart

MOST_WORDS = 450  # at the end and at the beginning that are aligned
SPARE = 2.5  # how much more than the expected overlap is looked at
LEAST_WINDOW = 40
_EQUAL, _CLOSE, _OTHER, _GAP = 2.0, 1.0, -2.0, -1.0
_MARK_WEIGHT = 0.1  # what words of punctuation alone count: table bars, rulers
LEAST_SCORE = 5.0
_WORD = re.compile(r"\s*\S+")
_SENTENCE_END = re.compile(r"[.!?:;…。！？؟۔]['\"”’)\]*_]*$")
_BLOCK_START = re.compile(r"(?:#|[-*+>|•–]|\d{1,3}[.)]\s|```|\$\$)")


@dataclass(frozen=True, slots=True)
class Stitched:
    """The whole text; doubtful: seams where no overlap was found, joined by a line break."""

    text: str
    doubtful: int = 0


def stitch_page(texts: Sequence[str], tiles: TilePlan | None) -> Stitched:
    """A page's text from those of its tiles, column after column.

    Args:
        texts: of `tiles.parts` in their order; without tiles the one text of the page.
        tiles: how the page was cut.
    """
    if tiles is None:
        return stitch(texts)
    columns: list[Stitched] = []
    at = 0
    for parts in tiles.blocks:
        columns.append(stitch(texts[at : at + len(parts)], parts))
        at += len(parts)
    if right_to_left("".join(column.text for column in columns)):
        columns = [columns[index] for index in tiles.right_to_left]
    text = ""
    for column in columns:
        text = _continued(text, column.text.strip("\n"))
    return Stitched(text, sum(column.doubtful for column in columns))


def _continued(text: str, column: str) -> str:
    """The next column after what was read: a sentence under way goes on in its paragraph."""
    if not text or not column:
        return text or column
    last = text.rsplit("\n", 1)[-1]
    whole = (
        _SENTENCE_END.search(text)
        or _BLOCK_START.match(last.lstrip())
        or _BLOCK_START.match(column)
        or column[0].isupper()
    )
    return f"{text}\n\n{column}" if whole else f"{text}\n{column}"


@dataclass(frozen=True, slots=True)
class _Word:
    space: str  # before it
    text: str
    key: str  # what is compared; empty for marks
    weight: float = 1.0


def stitch(texts: Sequence[str], parts: Sequence[PagePart] = ()) -> Stitched:
    """Join the texts of tiles in order; `parts`, if given, tell how much neighbours share."""
    joined: list[_Word] = []
    previous: list[_Word] = []
    doubtful = 0
    for index, text in enumerate(texts):
        words = _words(text)
        share = overlap_share(parts[index - 1], parts[index]) if index and parts else 0.25
        if not joined or not words:
            joined += words
        elif (cut := _seam(joined, words, _window(previous, share))) is None:
            doubtful += 1
            first = _Word("\n", words[0].text, words[0].key)
            joined += [first, *words[1:]]
        else:
            keep, start = cut
            resumed = _Word(joined[keep].space, words[start].text, words[start].key)
            joined = [*joined[:keep], resumed, *words[start + 1 :]]
        previous = words or previous
    return Stitched("".join(word.space + word.text for word in joined).strip("\n"), doubtful)


def _words(text: str) -> list[_Word]:
    words = []
    for found in _WORD.finditer(text):
        bare = found[0].lstrip()
        words.append(_Word(found[0][: len(found[0]) - len(bare)], bare, _key(bare)))
    return words


def _key(word: str) -> str:
    """Letters and digits alone, without case, accents' encoding or width variants."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(character for character in folded if character.isalnum())


def _window(previous: list[_Word], share: float) -> int:
    return min(MOST_WORDS, max(LEAST_WINDOW, round(SPARE * share * len(previous))))


def _seam(above: list[_Word], below: list[_Word], window: int) -> tuple[int, int] | None:
    """Where to leave the upper text and enter the lower one: word indices, or None."""
    tail, head = _weighted(above[-window:], below[:window])
    path = _aligned(tail, head)
    agreed = [(i, j) for i, j in path if tail[i].key and tail[i].key == head[j].key]
    if not agreed:
        return None
    # The middle one; of those near it, one that begins a line reads best.
    middle = len(agreed) // 2
    near = range(max(0, middle - 6), min(len(agreed), middle + 7))
    best = min(
        near,
        key=lambda at: ("\n" not in head[agreed[at][1]].space, abs(at - middle)),
    )
    i, j = agreed[best]
    # Marks before the word (a list's dash, a table's bar) come along from the upper text.
    return len(above) - len(tail) + i, j


def _weighted(tail: list[_Word], head: list[_Word]) -> tuple[list[_Word], list[_Word]]:
    """Frequent words count less: rows of a form are alike in all but a few words."""
    counts = Counter(word.key for word in (*tail, *head))

    def weigh(word: _Word) -> _Word:
        weight = min(1.0, sqrt(2.0 / counts[word.key])) if word.key else _MARK_WEIGHT
        return replace(word, weight=weight)

    return [weigh(word) for word in tail], [weigh(word) for word in head]


def _aligned(tail: list[_Word], head: list[_Word]) -> list[tuple[int, int]]:
    """Pairs of the best overlap of the end of `tail` with the beginning of `head`; may be empty.

    Any beginning of `tail` is free to skip; of its last and of `head`'s first line as well, which
    the border may have cut.
    """
    free_head = _words_of_line(head, first=True)
    free_tail = len(tail) - _words_of_line(tail, first=False)
    rows = len(tail) + 1
    columns = len(head) + 1
    scores = [[0.0] * columns for _ in range(rows)]
    steps = [bytearray(columns) for _ in range(rows)]  # 0 start, 1 pair, 2 skip tail, 3 skip head
    for j in range(free_head + 1, columns):
        scores[0][j], steps[0][j] = scores[0][j - 1] + _GAP * head[j - 1].weight, 3
    for i in range(1, rows):
        _fill(scores, steps, i, tail[i - 1], head, free_head)
    best_score, best = LEAST_SCORE, (0, 0)
    for i in range(max(1, free_tail), rows):
        for j in range(1, columns):
            if scores[i][j] > best_score:
                best_score, best = scores[i][j], (i, j)
    return _traced(steps, *best)


def _fill(
    scores: list[list[float]],
    steps: list[bytearray],
    i: int,
    word: _Word,
    head: list[_Word],
    free_head: int,
) -> None:
    """One row of the alignment: all words of `head` against one of `tail`."""
    above, row, step = scores[i - 1], scores[i], steps[i]
    skip = _GAP * word.weight
    for j in range(1, len(head) + 1):
        other = head[j - 1]
        pair = above[j - 1] + _likeness(word, other)
        drop, jump = above[j] + skip, row[j - 1] + _GAP * other.weight
        best, kind = (pair, 1) if pair >= drop else (drop, 2)
        if jump > best:
            best, kind = jump, 3
        if j <= free_head and best < 0.0:
            best, kind = 0.0, 0
        row[j], step[j] = best, kind


def _likeness(one: _Word, other: _Word) -> float:
    if one.key == other.key:
        return _EQUAL * one.weight
    if one.key and other.key and _close(one.key, other.key):
        return _CLOSE * min(one.weight, other.weight)
    return _OTHER * max(one.weight, other.weight)


def _close(one: str, other: str) -> bool:
    """Equal but for a letter in five: the slips of reading, told by common letter pairs."""
    if abs(len(one) - len(other)) > 1 or len(one) < 3 or len(other) < 3:
        return False
    same = sum(a == b for a, b in zip(one, other, strict=False))
    same = max(same, sum(a == b for a, b in zip(one[::-1], other[::-1], strict=False)))
    return same >= 0.75 * max(len(one), len(other))


def _words_of_line(words: list[_Word], *, first: bool) -> int:
    """Words of the first or last line."""
    if first:
        return next((i for i in range(1, len(words)) if "\n" in words[i].space), len(words))
    return next((i for i in range(1, len(words)) if "\n" in words[-i].space), len(words))


def _traced(steps: list[bytearray], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    while i > 0 and j > 0 and steps[i][j]:
        kind = steps[i][j]
        if kind == 1:
            pairs.append((i - 1, j - 1))
        i, j = i - (kind in (1, 2)), j - (kind in (1, 3))
    return pairs[::-1]
