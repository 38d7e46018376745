"""What the rendered lines say: words, numbers, dates, sums; words are split by a hash."""

from __future__ import annotations

import random
import string
import zlib
from functools import lru_cache
from pathlib import Path

WORD_LIST = Path("/usr/share/dict/american-english-small")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
PUNCTUATION = [".", ",", ":", "!", "?", ";"]


def is_held_out(word: str) -> bool:
    """True for the tenth of all words that training never shows (whatever their case)."""
    return zlib.crc32(word.lower().encode()) % 10 == 0


@lru_cache(maxsize=2)
def word_list(held_out: bool) -> tuple[str, ...]:
    """Plain ASCII words of 2 to 11 letters from Debian's list, one side of the split."""
    words = WORD_LIST.read_text().split()
    return tuple(
        w
        for w in words
        if w.isascii() and w.isalpha() and 2 <= len(w) <= 11 and is_held_out(w) == held_out
    )


def word(rng: random.Random, held_out: bool) -> str:
    text = rng.choice(word_list(held_out))
    style = rng.random()
    if style < 0.25:
        return text.capitalize()
    return text.upper() if style < 0.4 else text


def scramble(rng: random.Random) -> str:
    """A nonsense string, so that letters are read and not guessed (training only)."""
    size = rng.randint(2, 8)
    pool = rng.choice(
        [string.ascii_lowercase, string.ascii_letters, string.ascii_uppercase, string.digits]
    )
    text = "".join(rng.choice(pool) for _ in range(size))
    return scramble(rng) if text.isalpha() and is_held_out(text) else text


def number(rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return str(rng.randint(0, 99))
    if kind == 1:
        return str(rng.randint(100, 99999))
    if kind == 2:
        return f"{rng.choice('$')}{rng.randint(0, 999)}.{rng.randint(0, 99):02d}"
    if kind == 3:
        return f"{rng.randint(0, 100)}%"
    return f"{rng.randint(1, 99)},{rng.randint(0, 999):03d}"


def date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2039)
    kind = rng.randrange(5)
    if kind == 0:
        return f"{year}-{month:02d}-{day:02d}"
    if kind == 1:
        return f"{day:02d}/{month:02d}/{year}"
    if kind == 2:
        return f"{day} {MONTHS[month - 1]} {year}"
    if kind == 3:
        return f"{MONTHS[month - 1]} {day}, {year}"
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def sum_text(rng: random.Random) -> str:
    a, b = rng.randint(0, 99), rng.randint(0, 99)
    if rng.random() < 0.5:
        return f"{a} + {b} = {a + b}"
    a, b = max(a, b), min(a, b)
    return f"{a} - {b} = {a - b}"


def _piece(rng: random.Random, held_out: bool) -> str:
    draw = rng.random()
    if not held_out and draw < 0.22:
        return scramble(rng)
    if draw < 0.68:
        text = word(rng, held_out)
        mark = rng.random()
        if mark < 0.12:
            return text + rng.choice(PUNCTUATION)
        if mark < 0.15:
            return f"({text})" if rng.random() < 0.5 else f'"{text}"'
        return f"{text}-{word(rng, held_out)}" if mark < 0.18 else text
    if draw < 0.82:
        return number(rng)
    return date(rng) if draw < 0.93 else sum_text(rng)


def line(rng: random.Random, most: int, held_out: bool = False, least: int = 2) -> str:
    """One line of `least` to `most` characters."""
    goal = rng.randint(least, most)
    text = ""
    for _ in range(40):
        piece = _piece(rng, held_out)
        longer = f"{text} {piece}".strip()
        if len(longer) <= most:
            text = longer
        if len(text) >= goal:
            break
    return text or str(rng.randint(0, 10**most - 1))
