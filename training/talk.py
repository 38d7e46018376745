"""Typed chat of the demo: greetings, who it is, echo, sums to 20, and an honest way out."""

from __future__ import annotations

import random

from training import words

HELLO = "Hello! I am the Facet demo."
WHO = "I am a tiny demo model, not Gemma."
WHAT = "I name shapes, read short texts, hear commands and digits, and add to 20."
UNKNOWN = "I am only a tiny demo. Get a real model on the Models page."
BYE = "Goodbye!"
THANKS = "You are welcome."

ASKS = {
    HELLO: (
        "Hello",
        "Hi",
        "Hello!",
        "Hi there",
        "Hey",
        "Good morning",
        "Good evening",
        "Hello there!",
    ),
    WHO: (
        "Who are you?",
        "What are you?",
        "What is your name?",
        "Are you Gemma?",
        "Who made you?",
        "Which model are you?",
        "Tell me about yourself",
    ),
    WHAT: (
        "What can you do?",
        "Help",
        "What do you do?",
        "How can you help me?",
        "What are you able to do?",
        "How does this work?",
    ),
    BYE: ("Goodbye", "Bye", "Bye!", "See you"),
    THANKS: ("Thank you", "Thanks", "Thanks!", "Thank you very much"),
}
ECHOES = ("Say {}", "Repeat: {}", "Echo {}", "Repeat after me: {}")
SUMS = ("What is {} + {}?", "{} + {}", "{}+{}", "{} + {} =", "How much is {} + {}?", "{} plus {}")
TAKES = ("What is {} - {}?", "{} - {}", "{}-{}", "{} - {} =", "How much is {} - {}?", "{} minus {}")
BEYOND = (
    "Write a {0} about {1}",
    "What is the capital of {0}?",
    "Explain {0} to me",
    "Tell me a joke about {0}",
    "Translate {0} into {1}",
    "Who was {0} {1}?",
    "Why is the {0} {1}?",
    "How do I {0} a {1}?",
    "Summarise the {0} of {1}",
    "Give me a recipe for {0} {1}",
    "Write code that can {0} the {1}",
    "What is the meaning of {0}?",
    "{0} {1} {2}",
    "Can you {0} my {1}?",
    "What is {0}?",
    "I {0} the {1}",
    "When did the {0} {1}?",
    "Is {0} better than {1}?",
    "List ten {0} for {1}",
    "What is the weather in {0}?",
    "How old is {0}?",
    "Where is {0}?",
    "Please {0} this {1} {2}",
    "Tell me a story",
    "Tell me a joke",
    "What time is it?",
    "What day is it today?",
    "Write a poem",
    "What is the meaning of life?",
    "How are you?",
)


def _vary(rng: random.Random, text: str) -> str:
    draw = rng.random()
    if draw < 0.2:
        text = text.lower()
    elif draw < 0.25:
        text = text.upper()
    if rng.random() < 0.2:
        text = text.rstrip("?!.")
    return text + "?" if rng.random() < 0.03 else text


def calculation(rng: random.Random) -> tuple[str, str]:
    """A sum to 20 or a difference, and its result."""
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.6:
        a = rng.randint(0, 20 - b)
        return rng.choice(SUMS).format(a, b), str(a + b)
    a, b = max(a, b), min(a, b)
    return rng.choice(TAKES).format(a, b), str(a - b)


def echo(rng: random.Random, held_out: bool = False) -> tuple[str, str]:
    """A few words to repeat, and those words."""
    text = " ".join(words.word(rng, held_out) for _ in range(rng.randint(1, 3)))
    return rng.choice(ECHOES).format(text), text


def is_echo(asked: str, answer: str) -> bool:
    """Whether `answer` is what `asked` tells to say."""
    return any(asked == form.format(answer) for form in ECHOES)


def exchange(rng: random.Random, held_out: bool = False) -> tuple[str, str]:
    """A typed message and the right reply."""
    draw = rng.random()
    if draw < 0.3:
        reply = rng.choice(tuple(ASKS))
        return _vary(rng, rng.choice(ASKS[reply])), reply
    if draw < 0.5:
        return echo(rng, held_out)
    if draw < 0.72:
        return calculation(rng)
    chosen = [rng.choice(words.word_list(held_out)) for _ in range(3)]
    return _vary(rng, rng.choice(BEYOND).format(*chosen)), UNKNOWN
