"""A conversation: a tree of messages, of which one path is shown.

Edits and regenerated answers are siblings, so nothing that was said is ever lost. Parts, messages
and attachments are immutable; a `Conversation` changes only by adding or replacing whole messages,
and only its controller does that. Pure data: no Qt, no disk, no model.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from app.core.errors import Failure


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"
    TOOL = "tool"


class MessageState(StrEnum):
    """How far a message is. Only STREAMING and QUEUED ones may still change."""

    DRAFT = "draft"
    QUEUED = "queued"
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class MediaKind(StrEnum):
    """What a file is to the model."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"
    UNKNOWN = "unknown"


class ImageDetail(IntEnum):
    """How finely a picture is looked at; the value is its budget in soft tokens (0: automatic)."""

    AUTO = 0
    QUICK = 70
    LIGHT = 140
    NORMAL = 280
    FINE = 560
    FINEST = 1120

    @property
    def label(self) -> str:
        """The plain word for it."""
        return self.name.capitalize()

    @property
    def budget(self) -> int | None:
        """Soft tokens, or None where the task decides."""
        return int(self) or None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file kept by its content.

    sha256: of the bytes, the key in the attachment store. name: as the person knew it, for display
    only, never used as a path. size in bytes; width, height in pixels; seconds of sound or video;
    pages of a document; 0 where unknown or not applicable.
    """

    sha256: str
    name: str
    kind: MediaKind
    media_type: str
    size: int
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """Written words."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, looked at with `detail`."""

    attachment: Attachment
    detail: ImageDetail = ImageDetail.AUTO


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording."""

    attachment: Attachment


@dataclass(frozen=True, slots=True)
class Video:
    """A film, seen as frames and heard as sound where the model can."""

    attachment: Attachment


@dataclass(frozen=True, slots=True)
class Document:
    """A text-bearing file; `text` is what a reader took from it (empty until read)."""

    attachment: Attachment
    text: str = ""


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought before it answered, and for how many seconds."""

    text: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool; `arguments` is a JSON object as text."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered to call `id`; outcome: "done", "failed" or "declined"."""

    name: str
    content: str
    id: str = ""
    outcome: str = "done"


Part = Text | Image | Audio | Video | Document | Thought | ToolCall | ToolResult
MediaPart = Image | Audio | Video | Document


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost.

    first_token_s and total_s in seconds; prompt, cached and generated in tokens (cached ones are
    part of prompt); tokens_per_s of decoding alone; peak_bytes of the engine's memory.
    """

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    tokens_per_s: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One turn's worth of one speaker. parent_id None: the first message of a conversation.

    created in seconds since the epoch; model is the label of the one that answered; json_schema is
    what the answer to this message must obey, empty where the chat's own holds.
    """

    id: str
    parent_id: str | None
    role: Role
    parts: tuple[Part, ...]
    state: MessageState = MessageState.DONE
    created: float = 0.0
    model: str = ""
    usage: Usage | None = None
    failure: Failure | None = None
    json_schema: str = ""

    @property
    def settled_state(self) -> MessageState:
        """Its state in a copy: one that is still being written is a stopped one there."""
        ended = (MessageState.DONE, MessageState.STOPPED, MessageState.FAILED)
        return self.state if self.state in ended else MessageState.STOPPED

    @property
    def text(self) -> str:
        """The written words, without thoughts and media."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def thought(self) -> Thought | None:
        """The first thought, if any."""
        return next((part for part in self.parts if isinstance(part, Thought)), None)

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files of this message, in order."""
        return tuple(part.attachment for part in self.parts if isinstance(part, MediaPart))


@dataclass(frozen=True, slots=True)
class SamplingPreset:
    """How freely the model picks its words. temperature 0: always the likeliest token."""

    name: str
    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int = 64
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None


# Gemma 4's generation_config recommends temperature 1, top-p 0.95, top-k 64.
PRESETS: tuple[SamplingPreset, ...] = (
    SamplingPreset("Balanced"),
    SamplingPreset("Precise", temperature=0.0),
    SamplingPreset("Inventive", temperature=1.3, top_p=0.98, top_k=128),
)


def preset_named(name: str) -> SamplingPreset:
    """The preset called `name`, or the balanced one."""
    return next((preset for preset in PRESETS if preset.name == name), PRESETS[0])


@dataclass(frozen=True, slots=True)
class ConversationMeta:
    """Everything about a conversation but its messages; what the list shows.

    created and updated in seconds since the epoch; model is a folder, empty for "the loaded one".
    tools: names of those the model may ask for; allowed_tools: of those that need no further yes.
    """

    id: str
    title: str = "New chat"
    pinned: bool = False
    system_prompt: str = ""
    preset: SamplingPreset = PRESETS[0]
    think: bool = False
    tools: tuple[str, ...] = ()
    json_schema: str = ""
    model: str = ""
    created: float = 0.0
    updated: float = 0.0
    allowed_tools: tuple[str, ...] = ()


def new_id() -> str:
    """A fresh id for a message, conversation or job."""
    return uuid.uuid4().hex


@dataclass(slots=True)
class Conversation:
    """The message tree of one chat; `chosen` names each parent's child on the active path."""

    meta: ConversationMeta
    messages: dict[str, Message] = field(default_factory=dict)
    children: dict[str | None, list[str]] = field(default_factory=dict)
    chosen: dict[str | None, str] = field(default_factory=dict)

    @classmethod
    def from_messages(
        cls, meta: ConversationMeta, messages: list[Message], chosen: dict[str | None, str]
    ) -> Conversation:
        """Rebuild from stored rows. `messages` in the order they were made.

        Messages whose parent is missing are dropped; a choice without its child becomes the newest.
        """
        conversation = cls(meta)
        for message in messages:
            if message.parent_id is None or message.parent_id in conversation.messages:
                conversation.add(message)
        for parent, child in chosen.items():
            if child in conversation.children.get(parent, ()):
                conversation.chosen[parent] = child
        return conversation

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self.meta.id

    def __getitem__(self, message_id: str) -> Message:
        return self.messages[message_id]

    def __contains__(self, message_id: object) -> bool:
        return message_id in self.messages

    def walk(self) -> Iterator[Message]:
        """The active path from the first message to the last."""
        child = self.chosen.get(None)
        while child is not None:
            yield self.messages[child]
            child = self.chosen.get(child)

    def path(self) -> list[Message]:
        """The active path as a list."""
        return list(self.walk())

    def path_to(self, message_id: str) -> list[Message]:
        """The messages from the first one to `message_id`, both included."""
        found: list[Message] = []
        step: str | None = message_id
        while step is not None:
            found.append(self.messages[step])
            step = self.messages[step].parent_id
        return found[::-1]

    @property
    def leaf_id(self) -> str | None:
        """The last message of the active path."""
        last = None
        for message in self.walk():
            last = message.id
        return last

    def add(self, message: Message) -> None:
        """Put a new message under its parent and show it.

        Raises KeyError for an unknown parent, ValueError for an id already used.
        """
        if message.id in self.messages:
            raise ValueError(f"message {message.id} exists already")
        if message.parent_id is not None and message.parent_id not in self.messages:
            raise KeyError(message.parent_id)
        self.messages[message.id] = message
        self.children.setdefault(message.parent_id, []).append(message.id)
        self.chosen[message.parent_id] = message.id

    def replace(self, message: Message) -> None:
        """Swap in a newer state of a message; its place in the tree must stay the same."""
        if self.messages[message.id].parent_id != message.parent_id:
            raise ValueError("a message cannot move in the tree")
        self.messages[message.id] = message

    def versions(self, message_id: str) -> tuple[str, ...]:
        """All versions at this place, oldest first (the ids behind ‹2/3›)."""
        return tuple(self.children[self.messages[message_id].parent_id])

    def version_of(self, message_id: str) -> tuple[int, int]:
        """(which one, of how many), counted from 1."""
        versions = self.versions(message_id)
        return versions.index(message_id) + 1, len(versions)

    def select(self, message_id: str) -> None:
        """Make the active path run through `message_id`."""
        step: str | None = message_id
        while step is not None:
            parent = self.messages[step].parent_id
            self.chosen[parent] = step
            step = parent

    def subtree(self, message_id: str) -> list[str]:
        """`message_id` and everything below it, parents before children."""
        found = [message_id]
        for current in found:
            found.extend(self.children.get(current, ()))
        return found

    def remove(self, message_id: str) -> list[Message]:
        """Take a message and everything below it out; returns what was taken, parents first."""
        parent = self.messages[message_id].parent_id
        taken = [self.messages.pop(child) for child in self.subtree(message_id)]
        for message in taken:
            self.children.pop(message.id, None)
            self.chosen.pop(message.id, None)
        siblings = self.children[parent]
        siblings.remove(message_id)
        if self.chosen.get(parent) == message_id:
            del self.chosen[parent]
            if siblings:
                self.chosen[parent] = siblings[-1]
        return taken

    def update_meta(self, **changes: object) -> None:
        """Change title, pin, presets and the like."""
        self.meta = replace(self.meta, **changes)  # type: ignore[arg-type]


def title_from(text: str, limit: int = 48) -> str:
    """A title for the list: the first line of what was asked, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line or "New chat"
    cut = line[:limit].rsplit(" ", 1)[0]
    return f"{cut} …"
