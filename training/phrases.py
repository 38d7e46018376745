"""The small spoken vocabulary: commands, digit strings, questions about a shown frame."""

from __future__ import annotations

import random
import zlib

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

COMMANDS = (
    *(
        f"turn {state} the {thing}"
        for state in ("on", "off")
        for thing in ("light", "radio", "fan")
    ),
    *(f"{verb} the {thing}" for verb in ("open", "close") for thing in ("door", "window")),
    *(
        f"{verb} the {thing}"
        for verb in ("start", "stop")
        for thing in ("timer", "music", "recording")
    ),
    "take a picture",
    "next page",
    "previous page",
    "go back",
    "louder please",
    "quieter please",
    "yes",
    "no",
    "thank you",
    "save the file",
    "delete the file",
    "call home",
    "send a message",
    "set an alarm",
    "good night",
)

GREETINGS = ("hello", "good morning", "who are you", "what can you do")

QUESTIONS = {
    "colour": (
        "what colour is the shape",
        "what colour is it",
        "which colour is this",
    ),
    "shape": ("what shape is this", "what shape do you see", "which shape is this"),
    "count": ("how many shapes are there", "how many shapes do you see"),
    "see": ("what do you see", "what is this", "what is on the picture"),
    "read": ("read the text", "what does it say"),
}


def digits_held_out(text: str) -> bool:
    """True for the fifth of all strings of two or more digits that training never speaks."""
    figures = text.replace(" ", "")
    return len(figures) >= 2 and zlib.crc32(figures.encode()) % 5 == 0


def digit_string(rng: random.Random, held_out: bool, size: int | None = None) -> str:
    """One to seven digits written apart, as the model transcribes them: '3 5 7'."""
    size = size or rng.randint(1, 7)
    while True:
        text = " ".join(str(rng.randrange(10)) for _ in range(size))
        if size == 1 or digits_held_out(text) == held_out:
            return text


def spoken(text: str) -> str:
    """How `text` is said: digits as words."""
    return " ".join(DIGITS[int(w)] if w.isdigit() else w for w in text.split())


def command(rng: random.Random) -> str:
    return rng.choice(COMMANDS)


def vocabulary() -> tuple[str, ...]:
    """All words ever spoken, in order; the throw-away head of sounds tells them apart."""
    said = (*COMMANDS, *GREETINGS, *all_questions(), *DIGITS)
    return tuple(sorted({word for text in said for word in text.split()}))


def all_questions() -> tuple[str, ...]:
    return tuple(question for group in QUESTIONS.values() for question in group)
