"""Code colouring: source text and language name to runs of one theme token each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.token import _TokenType

from functools import lru_cache

# Longer code is shown uncoloured: lexers are slow on it and nobody reads it in a chat.
MAX_HIGHLIGHT_CHARACTERS = 40_000


def _token_rules() -> tuple[tuple[_TokenType, str], ...]:
    from pygments.token import Comment, Keyword, Literal, Name, Number, Operator, String

    return (
        (Comment, "code_comment"),
        (Keyword, "code_keyword"),
        (String, "code_string"),
        (Number, "code_number"),
        (Literal, "code_number"),
        (Name.Function, "code_name"),
        (Name.Class, "code_name"),
        (Name.Builtin, "code_name"),
        (Name.Tag, "code_keyword"),
        (Name.Attribute, "code_name"),
        (Operator.Word, "code_keyword"),
    )


@lru_cache(maxsize=256)
def highlight(code: str, language: str) -> tuple[tuple[str, str], ...]:
    """Return (text, theme token) runs that join to `code`; unknown languages give one run."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    if not language or len(code) > MAX_HIGHLIGHT_CHARACTERS:
        return ((code, "text"),)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return ((code, "text"),)
    rules = _token_rules()
    runs: list[tuple[str, str]] = []
    for kind, value in lexer.get_tokens(code):
        token = next((name for family, name in rules if kind in family), "text")
        if runs and runs[-1][1] == token:
            runs[-1] = (runs[-1][0] + value, token)
        else:
            runs.append((value, token))
    return tuple(runs)
