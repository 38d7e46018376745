"""The vocabulary of a conversation: messages and the parts they are made of.

Everything here is frozen and plain, so that messages can be compared, stored and sent to another
process. Nothing in this module knows how a message is rendered or tokenised.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlx_gemma4.errors import PromptError

Role = Literal["system", "user", "model", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "model", "tool")


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text. It is never read as control tokens, whatever it contains."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model thought before it answered or called a tool, without the channel markup."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Media:
    """A file (path) or decoded data; equal if path or object, and options, are the same."""

    source: Any

    def _identity(self) -> tuple[Any, ...]:
        source = self.source
        by_value = isinstance(source, (str, bytes, Path))
        return (type(self), source if by_value else id(source))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Media) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, slots=True, eq=False)
class Image(_Media):
    """A picture.

    Attributes:
        source: path, encoded bytes, PIL image, or uint8 array [height, width, 3].
        budget: most soft tokens it may take (70, 140, 280, 560 or 1120); None means the default.
    """

    budget: int | None = None

    def _identity(self) -> tuple[Any, ...]:
        return (*super(Image, self)._identity(), self.budget)  # slots: no bare super()


@dataclass(frozen=True, slots=True, eq=False)
class Audio(_Media):
    """A recording: a path, or mono float32 samples [n] at 16 kHz."""


@dataclass(frozen=True, slots=True, eq=False)
class Video(_Media):
    """A video file (path).

    Attributes:
        sound: path of its sound track as a file of its own, where the one inside cannot be read.
    """

    sound: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model wants to run: its name, its arguments, and an id that its result repeats."""

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back: text, a mapping, or a tuple of text and media parts."""

    name: str
    content: str | Mapping[str, Any] | tuple[Text | Image | Audio | Video, ...] = field(hash=False)
    id: str = ""


MediaPart = Image | Audio | Video
Part = Text | Thought | Image | Audio | Video | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a conversation; ``id`` is unique in it and stands for this very content."""

    id: str
    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        """Raises PromptError for a role that chats do not have, such as other APIs' "assistant"."""
        if self.role not in ROLES:
            raise PromptError(
                f'A message cannot have the role "{self.role}"; it is system, user, model or tool.'
            )

    @property
    def text(self) -> str:
        """All text parts joined, without thoughts and tool traffic."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def message(role: Role, *parts: Part | str, id: str | None = None) -> Message:  # noqa: A002
    """Build a message; strings become ``Text``, and a missing id is made up."""
    made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    return Message(uuid.uuid4().hex if id is None else id, role, made)
