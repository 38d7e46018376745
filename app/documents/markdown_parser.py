"""The one Markdown parser, for what is shown and for what is exported; its library loads late."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

# Nesting beyond this is flattened by the parser, which bounds its time on hostile input.
MOST_NESTING = 20
_LATEX_PAIRS = {"(": r"\)", "[": r"\]"}


@cache
def markdown_parser() -> MarkdownIt:
    """CommonMark with tables, strikethrough and LaTeX; HTML stays text. It holds no state."""
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MOST_NESTING})
    parser.enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    parser.inline.ruler.before("escape", "latex_delimiters", _latex_delimiters)
    return parser


def _latex_delimiters(state: StateInline, silent: bool) -> bool:
    r"""Inline rule for \( … \) and \[ … \], which models write as often as dollars."""
    if state.src[state.pos] != "\\" or state.pos + 1 >= state.posMax:
        return False
    closing = _LATEX_PAIRS.get(state.src[state.pos + 1])
    if closing is None:
        return False
    end = state.src.find(closing, state.pos + 2)
    content = state.src[state.pos + 2 : end].strip() if end > 0 else ""
    if not content:
        return False
    if not silent:
        kind = "math_inline" if closing == r"\)" else "math_inline_double"
        state.push(kind, "math", 0).content = content
    state.pos = end + 2
    return True
