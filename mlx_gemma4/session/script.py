"""A conversation as a session keeps it, and how it becomes a tape.

Most entries are messages. Two kinds are not rendered from their text: what the model said is kept
as the tokens it produced, and a live turn is kept as the soft tokens that were fed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlx_gemma4.chat import (
    EMPTY_THOUGHT,
    ChatOptions,
    ChatState,
    Run,
    generation_prompt,
    open_turn,
    render_message,
    render_start,
)
from mlx_gemma4.inputs import Media, ModelInputs
from mlx_gemma4.messages import Message, Text, ToolCall
from mlx_gemma4.session.tape import Tape
from mlx_gemma4.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class LiveTurn:
    """A user turn that was pushed as sound, frames and text."""

    id: str
    tape: Tape
    """What stands between the turn's header and its end."""


@dataclass(frozen=True, slots=True, eq=False)
class SpokenReply:
    """One stretch of what the model produced, up to its end or a tool call.

    Attributes:
        id: of the message.
        opening: ids the prompt put after the model turn's header (an empty or an open thought).
        tokens: ids it produced, without the stop token.
        text: its answer.
        calls: its tool calls.
    """

    id: str
    opening: tuple[int, ...]
    tokens: tuple[int, ...]
    text: str
    calls: tuple[ToolCall, ...] = ()


Entry = Message | LiveTurn | SpokenReply


class Replies:
    """What the model said in this session, found again by content."""

    def __init__(self) -> None:
        self._by_content: dict[str, SpokenReply] = {}

    def add(self, reply: SpokenReply) -> None:
        """Remember a reply."""
        self._by_content[_content_key(reply.text, reply.calls)] = reply

    def find(self, message: Message) -> SpokenReply | None:
        """The tokens of a model message, if this session produced it."""
        calls = tuple(p for p in message.parts if isinstance(p, ToolCall))
        if any(not isinstance(p, Text | ToolCall) for p in message.parts):
            texts = [p.text for p in message.parts if isinstance(p, Text)]
            return self._by_content.get(_content_key("".join(texts), calls))
        return self._by_content.get(_content_key(message.text, calls))


class ScriptWriter:
    """Turns entries into a tape.

    Args:
        tokenizer: of the model.
        encode: expands rendered runs to ids and media (``Processor.encode``).
        keep_source: told how to make each medium on the tape again, by content key.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        encode: Callable[[Sequence[Run]], ModelInputs],
        keep_source: Callable[[str, Callable[[], Media]], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._encode = encode
        self._keep_source = keep_source
        self._pieces: dict[object, Tape] = {}
        self._used: dict[object, Tape] = {}

    def write(self, script: Sequence[Entry], options: ChatOptions) -> tuple[Tape, ChatState]:
        """The tape of a conversation whose last turn is still open, and the state at its end."""
        first = script[0] if script else None
        head = [first] if isinstance(first, Message) and first.role == "system" else []
        runs, state, _ = render_start(head, options)
        self._used = {}
        tape = Tape()
        tape.append_tape(self._piece(runs, key=("start", tuple(head), _options_key(options))))
        rest = script[len(head) :]
        last_user = max((i for i, e in enumerate(rest) if _is_user(e)), default=-1)
        for index, entry in enumerate(rest):
            state = self._append(tape, entry, state, options, kept=index > last_user)
        self._pieces = self._used  # pieces of messages that are gone are let go
        return tape, state

    def opening(self, state: ChatState, options: ChatOptions) -> list[int]:
        """Ids that make the model speak."""
        return self._ids(generation_prompt(state, options))

    def header(self, state: ChatState) -> tuple[list[int], ChatState]:
        """Ids that end the open turn and begin one of the user."""
        runs, state = open_turn("user", state)
        return self._ids(runs), state

    def text(self, text: str) -> list[int]:
        """Ids of a user's text."""
        return self._tokenizer.encode(text)

    def without_thought(self, reply: SpokenReply) -> tuple[int, ...]:
        """What history keeps of a reply: everything but its thoughts (spec 6.3)."""
        opened, closed = self._tokenizer.special("channel"), self._tokenizer.special("channel_end")
        empty = tuple(self._tokenizer.encode(EMPTY_THOUGHT, control=True))
        inside = bool(reply.opening) and reply.opening != empty
        if not inside and opened not in reply.tokens:
            return reply.opening + reply.tokens
        kept: list[int] = []
        for token in reply.tokens:
            if token == opened:
                inside = True
            elif token == closed:
                inside = False
            elif not inside:
                kept.append(token)
        return tuple(kept)

    def _append(
        self, tape: Tape, entry: Entry, state: ChatState, options: ChatOptions, *, kept: bool
    ) -> ChatState:
        if isinstance(entry, LiveTurn):
            ids, state = self.header(state)
            tape.append_tokens(ids)
            tape.append_tape(entry.tape)
            return replace(state, last="text")
        if isinstance(entry, SpokenReply):
            runs, state = open_turn("model", state)
            tape.append_tokens(self._ids(runs))
            whole = kept or (options.preserve_thinking and bool(entry.calls))
            tape.append_tokens(
                entry.opening + entry.tokens if whole else self.without_thought(entry)
            )
            if entry.calls:
                return ChatState("model", "call", tuple((c.id, c.name) for c in entry.calls))
            return replace(state, last="text")
        runs, after = render_message(entry, state, options, after_last_user=kept)
        tape.append_tape(self._piece(runs, key=(entry, state, kept)))
        return after

    def _piece(self, runs: Sequence[Run], key: object) -> Tape:
        """Rendered runs as a tape; made once per message, as files must be read for it."""
        known = self._pieces.get(key)
        if known is not None:
            self._used[key] = known
            return known
        inputs = self._encode(runs)
        for index, medium in enumerate(inputs.media):
            self._keep_source(medium.key, lambda i=index: self._encode(runs).media[i])
        piece = Tape()
        piece.extend(inputs)
        self._pieces[key] = self._used[key] = piece
        return piece

    def _ids(self, runs: Sequence[Run]) -> list[int]:
        return self._encode(runs).ids.tolist() if runs else []


def _is_user(entry: Entry) -> bool:
    return isinstance(entry, LiveTurn) or (isinstance(entry, Message) and entry.role == "user")


def _options_key(options: ChatOptions) -> tuple[object, ...]:
    tools = tuple((t.name, t.description, json.dumps(t.parameters)) for t in options.tools)
    return options.family, options.think, tools


def _content_key(text: str, calls: Sequence[ToolCall]) -> str:
    made = [[call.name, dict(call.arguments)] for call in calls]
    return json.dumps([text.strip(), made], sort_keys=True, default=str)
