"""Builders shared by the tests of the core and the store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.conversation import (
    Conversation,
    ConversationMeta,
    Message,
    MessageState,
    Part,
    Role,
    Text,
    new_id,
)
from app.core.paths import AppPaths


@pytest.fixture
def paths(tmp_path: Path) -> AppPaths:
    found = AppPaths.below(tmp_path / "data")
    found.create()
    return found


@pytest.fixture
def make_message() -> Callable[..., Message]:
    def make(
        parent: str | None,
        *parts: Part | str,
        role: Role = Role.USER,
        state: MessageState = MessageState.DONE,
    ) -> Message:
        made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
        return Message(new_id(), parent, role, made, state, created=1.5)

    return make


@pytest.fixture
def chat(make_message: Callable[..., Message]) -> Conversation:
    """Question, answer, question, answer."""
    conversation = Conversation(ConversationMeta("c1", "Lease", created=1.0, updated=2.0))
    parent = None
    for number in range(4):
        role = Role.MODEL if number % 2 else Role.USER
        message = make_message(parent, f"words {number}", role=role)
        conversation.add(message)
        parent = message.id
    return conversation
