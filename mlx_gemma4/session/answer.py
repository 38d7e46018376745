"""A reply as a session collects it, and the part of it that was heard."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_gemma4.messages import ToolCall
from mlx_gemma4.reply import Delta, ReplyParser
from mlx_gemma4.session.script import SpokenReply
from mlx_gemma4.tokenizer import Tokenizer


class SpokenSoFar:
    """Collects a reply while it is decoded."""

    def __init__(self, id_: str, opening: tuple[int, ...]) -> None:
        self._id = id_
        self._opening = opening
        self._tokens: list[int] = []
        self._text: list[str] = []
        self._calls: list[ToolCall] = []

    def add(self, token: int, events: Sequence[Delta | ToolCall], *, stops: bool) -> None:
        """One more token; a stop token belongs to the markup, not to the reply."""
        if not stops:
            self._tokens.append(token)
        for event in events:
            if isinstance(event, ToolCall):
                self._calls.append(event)
            elif event.channel == "answer":
                self._text.append(event.text)

    def reply(self) -> SpokenReply:
        """What was said so far."""
        text = "".join(self._text)
        return SpokenReply(self._id, self._opening, tuple(self._tokens), text, tuple(self._calls))


def heard_part(tokenizer: Tokenizer, reply: SpokenReply, chars: int) -> tuple[int, str]:
    """The longest run of whole tokens whose answer has at most ``chars`` characters.

    Returns:
        How many tokens that are, and their text.
    """
    inside = bool(reply.opening) and tokenizer.special("channel_end") not in reply.opening
    parser = ReplyParser(tokenizer, "thought" if inside else "answer")
    text = kept = ""
    count = 0
    for index, token in enumerate(reply.tokens, start=1):
        for event in parser.feed(token):
            if isinstance(event, Delta) and event.channel == "answer":
                text += event.text
        if len(text) > chars:
            break
        count, kept = index, text
    return count, kept
