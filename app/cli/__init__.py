"""Subcommands of `facet` that need no display; one module each, imported when called."""


def told(message: str, remedy: str = "") -> str:
    """A failure in words for a terminal, where the page "Models" is the option --model."""
    return f"{message} {remedy}".strip().replace("under Models", "with --model")
