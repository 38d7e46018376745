"""Signs that a page was not read well: it goes round in circles, stops short, or says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MOST_PERIOD = 120  # words of a block that repeats itself
REPEATS = 6  # of a block, beyond its first appearance
LEAST_WORDS = 24  # that the repetition takes
LEAST_CHARACTERS = 160  # of repetition within one word
_TAIL = 6000  # characters that `LoopWatch` looks at
_EVERY = 48  # new characters between its looks
_WORD = re.compile(r"\S+")
_FILLING = re.compile(r"[.\-_=*|:\s…·~—–]+")  # leaders and rulers are no loops


@dataclass(frozen=True, slots=True)
class TextProblem:
    """What is wrong. kind: "loop", "cut" or "empty"; start, end: where, in characters."""

    kind: str
    message: str
    start: int
    end: int


def check_text(text: str, *, complete: bool = True) -> tuple[TextProblem, ...]:
    """Everything wrong with a page's text.

    Args:
        text: what was read.
        complete: the model ended by itself (False: it reached its limit).
    """
    if not any(character.isalnum() for character in text):
        message = "Nothing was read on this page; it may be empty, or a picture without writing."
        return (TextProblem("empty", message, 0, len(text)),)
    problems = [_loop(start, end) for start, end in _loops(text)]
    if not complete:
        message = "The reading stopped at its limit; the end of the page is missing."
        problems.append(TextProblem("cut", message, len(text), len(text)))
    elif (start := _open_end(text)) is not None:
        message = "The reading breaks off here; the end of the page may be missing."
        problems.append(TextProblem("cut", message, start, len(text)))
    return tuple(problems)


def _loop(start: int, end: int) -> TextProblem:
    message = "The same words are repeated here again and again; this is not on the page."
    return TextProblem("loop", message, start, end)


class LoopWatch:
    """Tells while a page is read that the text has begun to go round in circles."""

    def __init__(self) -> None:
        self._tail = ""
        self._new = 0

    def feed(self, piece: str) -> bool:
        """Add text; return whether it ends in a loop."""
        self._tail = (self._tail + piece)[-_TAIL:]
        self._new += len(piece)
        if self._new < _EVERY:
            return False
        self._new = 0
        near_end = len(self._tail) - 2 * _EVERY
        return any(end >= near_end for _, end in _loops(self._tail))


def _loops(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch that repeats what stands before it, in order."""
    found = [*_word_loops(text), *_character_loops(text)]
    last_end = -1
    for start, end in sorted(found):
        if start >= last_end:
            yield start, end
            last_end = end


def _word_loops(text: str) -> Iterator[tuple[int, int]]:
    """A block of words equal to the one before it, over and over: equality at one distance."""
    words = [found for found in _WORD.finditer(text) if not _FILLING.fullmatch(found[0])]
    keys: dict[str, int] = {}
    codes = np.array([keys.setdefault(found[0].lower(), len(keys)) for found in words], np.int64)
    taken = np.zeros(len(codes), bool)
    for period in range(1, min(MOST_PERIOD, len(codes) // REPEATS) + 1):
        equal = (codes[period:] == codes[:-period]) & ~taken[period:]
        for start, end in _runs(equal):
            if end - start >= max(REPEATS * period, LEAST_WORDS):
                taken[start : end + period] = True
                # The first appearance is the page's own.
                yield words[start + period].start(), words[end + period - 1].end()


def _character_loops(text: str) -> Iterator[tuple[int, int]]:
    """The same within one endless word."""
    for found in _WORD.finditer(text):
        if len(found[0]) < LEAST_CHARACTERS or _FILLING.fullmatch(found[0]):
            continue
        codes = np.array([ord(character) for character in found[0]], np.int64)
        for period in range(1, min(32, len(codes) // REPEATS) + 1):
            runs = _runs(codes[period:] == codes[:-period])
            long = [(s, e) for s, e in runs if e - s >= LEAST_CHARACTERS - 32]
            if long:
                start, end = long[0]
                yield found.start() + start + period, found.start() + end + period
                break


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _open_end(text: str) -> int | None:
    """Where something begins that is never closed: a table or a block of code."""
    fences = [found.start() for found in re.finditer(r"^ {0,3}```", text, re.MULTILINE)]
    if len(fences) % 2:
        return fences[-1]
    lowered = text.lower()
    table = lowered.rfind("<table")
    return table if table > lowered.rfind("</table") else None
