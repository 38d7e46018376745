"""Reads a reply token by token: answer, thoughts, tool calls.

Works on token ids, never on text, so markup that is split over several deltas cannot leak and text
that looks like markup cannot confuse it. Tolerates what models really produce: a missing label, no
opening tag, tags that never close or close twice, a call inside an open thought, a response made up
by the model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from mlx_gemma4.errors import ToolError
from mlx_gemma4.messages import ToolCall
from mlx_gemma4.tokenizer import Tokenizer
from mlx_gemma4.tool_text import QUOTE, parse_call_segments

log = logging.getLogger(__name__)

Channel = Literal["answer", "thought", "tool"]
_LABEL = "thought\n"
_MAX_CALL_TOKENS = 65_536  # a longer call is a runaway; its text is kept, its arguments are not


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of new text. Deltas of one channel, joined, are that channel's text."""

    text: str
    channel: Channel = "answer"


Event = Delta | ToolCall


class ReplyParser:
    """Turns the tokens of one reply into events.

    Args:
        tokenizer: of the model.
        start_channel: "thought" when the prompt ended inside an open thought (after a tool result
            with thinking on), else "answer".
        call_prefix: start of the ids given to tool calls; make it unique in a conversation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        start_channel: Channel = "answer",
        *,
        call_prefix: str = "call",
    ) -> None:
        special = tokenizer.special
        self._handlers = {
            special("channel"): self._open_channel,
            special("channel_end"): self._close_channel,
            special("tool_call"): self._open_call,
            special("tool_call_end"): self._close_call,
            special("tool_response"): self._open_response,
            special("tool_response_end"): self._close_response,
        }
        self._handlers.pop(None, None)
        self._quote = special("quote")
        self._tokenizer = tokenizer
        self._stream = tokenizer.stream()
        self._channel: Channel = start_channel
        self._label: str | None = None  # text read of a label that may still be "thought\n"
        self._newline = ""  # a line break at the end of a thought belongs to the markup
        self._segments: list[list[str]] = []  # pieces of the open call, cut at quotes
        self._call_tokens = 0
        self._in_response = False
        self._call_prefix = call_prefix
        self._calls = 0

    @property
    def channel(self) -> Channel:
        """The channel the next token belongs to, unless it is a control token."""
        return self._channel

    def feed(self, token: int) -> list[Event]:
        """Read one token; return what became certain by it."""
        handler = self._handlers.get(token)
        if handler is not None:
            return [*self._flush(), *handler()]
        if token == self._quote and self._channel == "tool":
            return [*self._flush(), *self._new_segment()]
        return self._text(self._stream.push(token))

    def finish(self) -> list[Event]:
        """End the reply; return the rest, including a call that was never closed."""
        events = self._flush()
        if self._channel == "tool":
            events += self._close_call()
        return events

    # ------------------------------------------------------------ control tokens

    def _open_channel(self) -> list[Event]:
        if self._channel != "tool":
            self._channel, self._label = "thought", ""
        return []

    def _close_channel(self) -> list[Event]:
        if self._channel == "thought":
            self._channel = "answer"
        return []

    def _open_call(self) -> list[Event]:
        events = self._close_call() if self._channel == "tool" else []
        self._channel, self._segments, self._call_tokens = "tool", [[]], 0
        return events

    def _close_call(self) -> list[Event]:
        if self._channel != "tool":
            return []  # closed twice
        self._channel = "answer"
        segments = ["".join(pieces) for pieces in self._segments]
        self._segments = []
        if not "".join(segments).strip():
            return []
        self._calls += 1
        return [self._call(segments)]

    def _open_response(self) -> list[Event]:
        events = self._close_call()
        self._in_response = True
        return events

    def _close_response(self) -> list[Event]:
        self._in_response = False
        return []

    # ------------------------------------------------------------ text

    def _flush(self) -> list[Event]:
        """Text held back by the decoder and by a label that did not come."""
        events = self._text(self._stream.finish())
        if self._label:
            rest, self._label = self._label.removeprefix(_LABEL.strip()), None
            events += self._emit(rest)
        self._label, self._newline = None, ""
        return events

    def _text(self, text: str) -> list[Event]:
        if not text or self._in_response:
            return []
        if self._channel == "tool":
            return self._call_text(text)
        if self._label is not None:
            text = self._after_label(text)
        return self._emit(text)

    def _after_label(self, text: str) -> str:
        """Drop ``thought`` and its line break; text that turns out to be no label is a thought."""
        assert self._label is not None
        read = self._label + text
        if len(read) < len(_LABEL) and _LABEL.startswith(read):
            self._label = read
            return ""
        self._label = None
        return read.removeprefix(_LABEL)

    def _emit(self, text: str) -> list[Event]:
        if self._channel == "thought":
            text = self._newline + text
            self._newline = "\n" if text.endswith("\n") else ""
            text = text.removesuffix("\n")
        return [Delta(text, self._channel)] if text else []

    def _call_text(self, text: str) -> list[Event]:
        self._call_tokens += 1
        if self._call_tokens <= _MAX_CALL_TOKENS:
            self._segments[-1].append(text)
        return [Delta(text, "tool")]

    def _new_segment(self) -> list[Event]:
        self._call_tokens += 1
        if self._call_tokens <= _MAX_CALL_TOKENS:
            self._segments.append([])
        return [Delta(QUOTE, "tool")]

    def _call(self, segments: list[str]) -> ToolCall:
        id_ = f"{self._call_prefix}-{self._calls}"
        try:
            name, arguments = parse_call_segments(segments)
        except ToolError:
            log.debug("tool call not understood", exc_info=True)
            # The loop answers a call without a name with an error, so that the model can try again.
            return ToolCall("", {"text": QUOTE.join(segments)}, id_)
        return ToolCall(name, arguments, id_)
