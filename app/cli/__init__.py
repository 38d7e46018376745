"""Subcommands of `facet` that need no display; one module each, imported when called."""

from __future__ import annotations

_OPTIONS = {
    "Choose another model under Models": "Name another model with --model",
    "Or choose another model under Models": "Or name another model with --model",
    "Choose a model under Models": "Name a model with --model",
    "Choose a Gemma 4 model with vision under Models": "Name one with vision with --model",
    "choose one of them under Models": "name one of them with --model",
    "under Models": "with --model",
}


def told(message: str, remedy: str = "") -> str:
    """A failure in words for a terminal, where the page "Models" is the option --model."""
    text = f"{message} {remedy}".strip()
    for page, option in _OPTIONS.items():
        text = text.replace(page, option)
    return text
