"""Markdown to blocks of tokens; nothing in it can load, run or fetch.

HTML in the source stays text, pictures become links, and only a few link schemes live. While an
answer streams, `MarkdownStream` parses again only from the last open top-level block on. Knows no
Qt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.documents.markdown_parser import markdown_parser

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE_SCHEME = "facet-page"  # a page of a document; only the documents page follows it
LINK_SCHEMES = frozenset({"http", "https", "mailto", PAGE_SCHEME})
# A reply longer than this is shown as plain text; no model answers that much in one turn.
MAX_MARKDOWN_CHARACTERS = 300_000
_REFERENCE_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]+\]:", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One top-level block: where it starts in the text, its source and its tokens."""

    start: int
    source: str
    tokens: tuple[Token, ...]


def is_safe_link(target: str) -> bool:
    """True for addresses that may be opened by a click."""
    try:
        return urlsplit(target).scheme.lower() in LINK_SCHEMES
    except ValueError:
        return False


def plain_block(text: str) -> Block:
    """One paragraph that shows `text` as it is, with its line breaks (as U+2028)."""
    from markdown_it.token import Token

    shown = text.replace("\n", "\u2028")
    inline = Token("inline", "", 0, content=text, children=[Token("text", "", 0, content=shown)])
    tokens = (Token("paragraph_open", "p", 1), inline, Token("paragraph_close", "p", -1))
    return Block(0, text, tokens)


def parse_blocks(text: str) -> list[Block]:
    """Split Markdown into top-level blocks.

    Link references defined anywhere in `text` hold in all of it. Texts over 300,000 characters
    come back as one plain paragraph.
    """
    if len(text) > MAX_MARKDOWN_CHARACTERS:
        return [plain_block(text)]
    offsets = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    blocks: list[Block] = []
    current: list[Token] = []
    for token in markdown_parser().parse(text):
        current.append(token)
        if token.level == 0 and token.nesting <= 0:
            first, end = current[0].map or (0, len(offsets) - 1)
            start = offsets[first]
            blocks.append(Block(start, text[start : offsets[end]], tuple(current)))
            current = []
    return blocks


class MarkdownStream:
    """Blocks of a text that grows at its end.

    `update` returns how many leading blocks stay as they are and the blocks that follow them, so a
    view redraws only the tail. A text that does not continue the earlier one starts over.
    """

    def __init__(self) -> None:
        self._text = ""
        self._starts: list[int] = []
        self.parsed_characters = 0

    def update(self, text: str) -> tuple[int, list[Block]]:
        """Take the whole text so far; return (blocks kept, blocks after them)."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        continues = text.startswith(self._text) and not _REFERENCE_DEFINITION.search(text)
        keep = max(0, len(self._starts) - 1) if continues else 0
        start = self._starts[keep] if continues and self._starts else 0
        blocks = parse_blocks(text[start:])
        self.parsed_characters += len(text) - start
        self._starts[keep:] = [start + block.start for block in blocks]
        self._text = text
        return keep, blocks
