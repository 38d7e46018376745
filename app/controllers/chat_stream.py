"""An answer while it arrives, and the prompt that asks for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.core.commands import PromptMedia, PromptMessage, PromptPart, PromptText
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
)
from app.core.errors import Failure
from app.core.events import Channel
from app.core.paths import sound_copy


class AnswerStream:
    """Collects the pieces of one answer. Times are seconds of a monotonic clock."""

    def __init__(self, conversation: Conversation, answer_id: str) -> None:
        self.conversation = conversation
        self.answer_id = answer_id
        self.unsaved = False
        self._text = ""
        self._thought = ""
        self._calls: list[ToolCall] = []
        self._thought_from: float | None = None
        self._thought_seconds = 0.0

    def started(self, now: float) -> None:
        """The engine took the job up."""
        self._thought_from = now

    def append(self, text: str, channel: Channel, now: float) -> None:
        """Another piece of the answer or of the thought."""
        if channel is Channel.THOUGHT:
            self._thought += text
            self._thought_seconds = now - (self._thought_from or now)
        else:
            self._text += text

    def call(self, call: ToolCall) -> None:
        """The model asked for a tool."""
        self._calls.append(call)

    def message(self, state: MessageState, failure: Failure | None = None) -> Message:
        """The answer as far as it is."""
        parts: list[Part] = []
        if self._thought:
            parts.append(Thought(self._thought, self._thought_seconds))
        if self._text:
            parts.append(Text(self._text))
        parts.extend(self._calls)
        old = self.conversation[self.answer_id]
        return replace(old, parts=tuple(parts), state=state, failure=failure)


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
        parts = tuple(
            made for part in message.parts if (made := _prompt_part(part, path_of)) is not None
        )
        if parts and message.state is not MessageState.DRAFT:
            found.append(PromptMessage(message.id, message.role, parts))
    return tuple(found)


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
