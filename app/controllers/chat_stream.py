"""An answer while it arrives, and the prompt that asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from app.core.commands import PromptMedia, PromptMessage, PromptPart, PromptText, ToolSpec
from app.core.conversation import (
    Attachment,
    Conversation,
    Document,
    Image,
    ImageDetail,
    MediaPart,
    Message,
    MessageState,
    Part,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
)
from app.core.errors import Failure
from app.core.events import Channel
from app.core.paths import sound_copy


@dataclass(slots=True)
class _Round:
    """What was thought, said and called between two runs of the model."""

    thought: str = ""
    thought_seconds: float = 0.0
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)


class AnswerStream:
    """Collects the pieces of one answer. Times are seconds of a monotonic clock.

    offered: the tools declared to the model for this answer. paused: no job runs, tools are asked.
    """

    def __init__(
        self, conversation: Conversation, answer_id: str, offered: tuple[ToolSpec, ...] = ()
    ) -> None:
        self.conversation = conversation
        self.answer_id = answer_id
        self.offered = offered
        self.unsaved = False
        self.paused = False
        self._rounds = [_Round()]
        self._usage: Usage | None = None
        self._round_from: float | None = None

    @property
    def rounds(self) -> int:
        """How many times the model ran for this answer."""
        return len(self._rounds)

    def started(self, now: float) -> None:
        """The engine took the job up."""
        self._round_from = now

    def append(self, text: str, channel: Channel, now: float) -> None:
        """Another piece of the answer or of the thought."""
        current = self._rounds[-1]
        if channel is Channel.THOUGHT:
            current.thought += text
            current.thought_seconds = now - (self._round_from or now)
        else:
            current.text += text

    def call(self, call: ToolCall) -> None:
        """The model asked for a tool."""
        self._rounds[-1].calls.append(call)

    def open_call(self) -> ToolCall | None:
        """The first call that has no result yet."""
        current = self._rounds[-1]
        open_calls = current.calls[len(current.results) :]
        return open_calls[0] if open_calls else None

    def result(self, result: ToolResult) -> None:
        """What the tool of the open call answered."""
        self._rounds[-1].results.append(result)

    def go_on(self) -> None:
        """The model runs again, with the results."""
        self.paused = False
        self._rounds.append(_Round())

    def spent(self, usage: Usage | None) -> Usage | None:
        """What this round cost; returns the sum of all rounds."""
        if usage is not None:
            self._usage = usage if self._usage is None else _sum(self._usage, usage)
        return self._usage

    def message(self, state: MessageState, failure: Failure | None = None) -> Message:
        """The answer as far as it is."""
        parts: list[Part] = []
        said = False
        for each in self._rounds:
            if each.thought:
                parts.append(Thought(each.thought, each.thought_seconds))
            if each.text:
                # What is said after a tool's answer is a paragraph of its own.
                parts.append(Text(f"\n\n{each.text.lstrip()}" if said else each.text))
                said = True
            parts += [*each.calls, *each.results]
        old = self.conversation[self.answer_id]
        return replace(old, parts=tuple(parts), state=state, failure=failure)


def _sum(first: Usage, second: Usage) -> Usage:
    """Costs of two rounds: the first word counts once, the rest adds up."""
    generated = first.generated + second.generated
    decoding = sum(u.generated / u.tokens_per_s for u in (first, second) if u.tokens_per_s)
    return Usage(
        prompt=second.prompt,
        cached=second.cached,
        generated=generated,
        first_token_s=first.first_token_s,
        total_s=first.total_s + second.total_s,
        tokens_per_s=generated / decoding if decoding else 0.0,
        peak_bytes=max(first.peak_bytes, second.peak_bytes),
    )


def prompt_messages(
    system_prompt: str, history: list[Message], path_of: Callable[[Attachment], Path]
) -> tuple[PromptMessage, ...]:
    """The path as the engine needs it: empty and failed answers left out, files as paths."""
    found: list[PromptMessage] = []
    if system_prompt.strip():
        # An id stands for its content, so that the engine notices changed instructions.
        digest = hashlib.sha256(system_prompt.encode()).hexdigest()[:16]
        system = PromptMessage(f"system-{digest}", Role.SYSTEM, (PromptText(system_prompt),))
        found.append(system)
    for message in history:
        if message.state is not MessageState.DRAFT:
            found += _stretches(message, path_of)
    return tuple(found)


def _stretches(message: Message, path_of: Callable[[Attachment], Path]) -> Iterator[PromptMessage]:
    """A message as the model reads it: an answer is cut where a tool's results came in.

    A call without a result (the answer was stopped) is left out. Each stretch has an id of its own,
    because an id stands for its content.
    """
    answered = {part.id for part in message.parts if isinstance(part, ToolResult)}
    asked = [p for p in message.parts if not isinstance(p, ToolCall) or p.id in answered]
    for number, (is_result, parts) in enumerate(
        groupby(asked, lambda part: isinstance(part, ToolResult))
    ):
        made = tuple(p for part in parts if (p := _prompt_part(part, path_of)) is not None)
        if made:
            role = Role.TOOL if is_result else message.role
            stretch_id = f"{message.id}/{number}" if number else message.id
            yield PromptMessage(stretch_id, role, made)


def _prompt_part(part: Part, path_of: Callable[[Attachment], Path]) -> PromptPart | None:
    match part:
        case Text():
            return PromptText(part.text) if part.text else None
        case ToolCall() | ToolResult():
            return part
        case Thought():
            return None
        case Document() if part.text:
            return PromptText(f"{part.attachment.name}:\n\n{part.text}\n\n")
        case _:
            assert isinstance(part, MediaPart)
            attachment = part.attachment
            detail = part.detail if isinstance(part, Image) else ImageDetail.AUTO
            path = path_of(attachment)
            sound = sound_copy(path)
            return PromptMedia(
                attachment.kind,
                str(path),
                attachment.sha256,
                detail,
                attachment.name,
                str(sound) if sound.exists() else "",
            )
