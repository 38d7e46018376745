"""The open chat: what is sent, stopped, edited, regenerated and kept, and what holds for it.

Every change is saved before or while it is shown; the answers themselves come through `Answers`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.controllers.answers import Answers, PromptReading
from app.controllers.chat_stream import prompt_messages
from app.controllers.chat_tools import Decision
from app.controllers.drafts import Drafts
from app.controllers.library_controller import LibraryController
from app.controllers.play_copies import PlayCopies
from app.core.commands import CountTokens, ToolSpec
from app.core.conversation import (
    Conversation,
    ConversationMeta,
    Image,
    ImageDetail,
    MediaPart,
    Message,
    MessageState,
    Part,
    Role,
    SamplingPreset,
    Text,
    new_id,
    preset_named,
    title_from,
)
from app.core.events import ModelInfo, TokensCounted
from app.core.settings import Settings
from app.core.tools import TOOLS
from app.services.engine_client import EngineClient
from app.services.library import Library

if TYPE_CHECKING:
    from app.controllers.schema_check import SchemaCheck


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How full the model's memory of this chat is, in tokens; may exceed 1."""

    tokens: int
    context: int
    exact: bool

    @property
    def share(self) -> float:
        """0 to 1, above where it no longer fits."""
        return self.tokens / self.context if self.context else 0.0


class ChatController(QObject):
    """State of the chat page.

    Signals: `conversation_changed` another chat is open; `path_changed` other messages are shown;
    `message_added(id)`, `message_changed(id)` one row; `busy_changed(bool)`;
    `reading(PromptReading)`; `context_changed(ContextUse)`; `notice(str)` one quiet line;
    `finished(id)` an answer is complete; `asking(chat, id)` an answer waits for a yes or no to a
    tool; `meta_changed` what holds for the open chat is different.
    """

    conversation_changed = Signal()
    path_changed = Signal()
    message_added = Signal(str)
    message_changed = Signal(str)
    busy_changed = Signal(bool)
    reading = Signal(object)
    context_changed = Signal(object)
    notice = Signal(str)
    finished = Signal(str)
    asking = Signal(str, str)
    meta_changed = Signal()

    def __init__(
        self,
        library: Library,
        engine: EngineClient,
        conversations: LibraryController,
        settings: Callable[[], Settings],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._engine = engine
        self._list = conversations
        self._settings = settings
        self.drafts = Drafts(library, engine, self)
        self.copies = PlayCopies(library.make_playable, self)
        self._answers = Answers(library, engine, conversations, settings, self)
        self.tools = self._answers.tools
        self._model: ModelInfo | None = None
        self._next_schemas: dict[str, str] = {}
        self._conversation = self._fresh()
        self._count_id = ""
        self._answers.changed.connect(self._on_answer)
        self._answers.ended.connect(self._on_ended)
        self._answers.reading.connect(self._on_reading)
        self._answers.notice.connect(self.notice)
        self._answers.asking.connect(self.asking)
        engine.received.connect(self._on_event)
        conversations.relabelled.connect(self._on_relabelled)

    # --- what is open ----------------------------------------------------------------------------

    @property
    def conversation(self) -> Conversation:
        """The open conversation."""
        return self._conversation

    def messages(self) -> list[Message]:
        """The messages shown, first to last."""
        return self._conversation.path()

    @property
    def busy(self) -> bool:
        """An answer for the open chat is on its way."""
        return self._answers.busy(self._conversation)

    @property
    def composer_key(self) -> str:
        """Whose words and files wait in the composer; chats without a message share one place."""
        return self._conversation.id if self._conversation.messages else ""

    def attachment_path(self, part: MediaPart) -> str:
        """Where the kept copy of a file lies."""
        return str(self._library.attachment_path(part.attachment))

    def new_conversation(self) -> None:
        """Open an empty chat; it enters the list with its first message."""
        self._show(self._fresh())

    def open_conversation(self, conversation_id: str) -> None:
        """Open a chat from the list. A chat that is being answered stays the same object."""
        answered = self._answers.conversation(conversation_id)
        self._show(answered or self._library.load(conversation_id))

    def _fresh(self) -> Conversation:
        settings = self._settings()
        now = time.time()
        return Conversation(
            ConversationMeta(
                new_id(),
                system_prompt=settings.system_prompt,
                preset=preset_named(settings.preset),
                think=settings.think,
                created=now,
                updated=now,
            )
        )

    def _show(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.drafts.show_chat(self.composer_key)
        self.conversation_changed.emit()
        self.busy_changed.emit(self.busy)
        self.count_context()

    # --- sending ---------------------------------------------------------------------------------

    def send(self, text: str) -> str | None:
        """Send the text with the composer's files; the new message's id.

        None if there is nothing to send, or a file stands in the way (`Drafts.obstacle`).
        """
        if self.drafts.obstacle:
            self.notice.emit(self.drafts.obstacle)
            return None
        parts: list[Part] = list(self.drafts.take())
        if text.strip():
            parts.append(Text(text))
        if not parts:
            return None
        schema = self._next_schemas.pop(self.composer_key, "")
        question_id = self._say(self._conversation.leaf_id, tuple(parts), schema)
        if schema:
            self.meta_changed.emit()
        return question_id

    def send_parts(self, parts: Sequence[Part]) -> str:
        """Send a message that was put together elsewhere (pages and a question); returns its id."""
        return self._say(self._conversation.leaf_id, tuple(parts))

    def edit(self, message_id: str, text: str, media: tuple[MediaPart, ...] | None = None) -> str:
        """Send a changed version of a sent message; the old one stays as ‹1/2›."""
        old = self._conversation[message_id]
        kept = media if media is not None else _media_of(old)
        return self._say(old.parent_id, (*kept, Text(text)), old.json_schema)

    def regenerate(self, message_id: str) -> str:
        """Answer again; the old answer stays as a version. Returns the new answer's id."""
        old = self._conversation[message_id]
        assert old.role is Role.MODEL
        return self._answer(old.parent_id)

    def retry(self, message_id: str) -> str:
        """Answer again after a failure (the button under a failed answer)."""
        return self.regenerate(message_id)

    def stop(self) -> None:
        """Stop the answer of the open chat; what was said so far is kept."""
        self._answers.stop(self._conversation)

    def set_detail(self, message_id: str, index: int, detail: ImageDetail) -> str:
        """Look at the picture in part `index` of a sent message more (or less) finely."""
        old = self._conversation[message_id]
        part = old.parts[index]
        assert isinstance(part, Image)
        parts = (*old.parts[:index], replace(part, detail=detail), *old.parts[index + 1 :])
        return self._say(old.parent_id, parts, old.json_schema)

    def _say(self, parent_id: str | None, parts: tuple[Part, ...], schema: str = "") -> str:
        question = Message(
            new_id(), parent_id, Role.USER, parts, created=time.time(), json_schema=schema
        )
        self._title_and_list(question)
        self._add(question)
        self._answer(question.id)
        return question.id

    def _title_and_list(self, question: Message) -> None:
        changes: dict[str, object] = {"updated": time.time()}
        if not self._conversation.messages:
            names = [attachment.name for attachment in question.attachments]
            changes["title"] = title_from(question.text or ", ".join(names))
        self._conversation.update_meta(**changes)
        self._list.update(self._conversation.meta)

    def _add(self, message: Message) -> None:
        self._conversation.add(message)
        self._library.save_message(self._conversation.id, message)
        self._save_choices(message.parent_id)
        self.drafts.show_chat(self.composer_key)
        self.path_changed.emit()
        self.message_added.emit(message.id)

    def _answer(self, parent_id: str | None) -> str:
        """Ask for an answer; one still on its way in this chat would go on where nobody sees it."""
        self.stop()
        answer = Message(
            new_id(),
            parent_id,
            Role.MODEL,
            (),
            MessageState.QUEUED,
            created=time.time(),
            model=self._model.label if self._model else "",
        )
        self._add(answer)
        self._answers.begin(self._conversation, answer.id, self._offered(self._conversation.meta))
        self.busy_changed.emit(True)
        return answer.id

    def _offered(self, meta: ConversationMeta) -> tuple[ToolSpec, ...]:
        """The chat's tools, where the model was taught to use any."""
        if self._model is None or not self._model.capabilities.tools:
            return ()
        return tuple(tool.spec() for tool in TOOLS if tool.name in meta.tools)

    # --- the tree --------------------------------------------------------------------------------

    def select_version(self, message_id: str, step: int) -> None:
        """Show the version `step` places away (‹ is -1, › is +1); stays within the ends."""
        versions = self._conversation.versions(message_id)
        place = versions.index(message_id) + step
        if 0 <= place < len(versions):
            self._conversation.select(versions[place])
            self._save_choices(self._conversation[message_id].parent_id)
            self.path_changed.emit()
            self.count_context()

    def branch(self, message_id: str) -> str:
        """Copy the chat up to this message into a new one and open it; returns its id."""
        source = self._conversation
        meta = replace(
            source.meta,
            id=new_id(),
            title=f"{source.meta.title} (branch)",
            pinned=False,
            created=time.time(),
            updated=time.time(),
        )
        copy = Conversation(meta)
        parent: str | None = None
        self._list.update(meta)
        for message in source.path_to(message_id):
            state = message.settled_state
            twin = replace(message, id=new_id(), parent_id=parent, state=state)
            copy.add(twin)
            self._library.save_message(meta.id, twin)
            parent = twin.id
        self._show(copy)
        return meta.id

    def _save_choices(self, parent_id: str | None) -> None:
        child = self._conversation.chosen.get(parent_id)
        if child is not None:
            self._library.save_choice(self._conversation.id, parent_id, child)

    # --- per chat --------------------------------------------------------------------------------

    def set_system_prompt(self, text: str) -> None:
        """What the model should keep in mind in this chat."""
        self._change_meta(system_prompt=text)

    def set_preset(self, preset: SamplingPreset) -> None:
        """How freely the model picks its words in this chat."""
        self._change_meta(preset=preset)

    def set_think(self, think: bool) -> None:
        """Think before answering in this chat."""
        self._change_meta(think=think)

    def set_tools(self, names: Sequence[str]) -> None:
        """The tools the model may ask for in this chat; a yes given before counts no longer."""
        kept = tuple(n for n in self._conversation.meta.allowed_tools if n in names)
        self._change_meta(tools=tuple(names), allowed_tools=kept)

    def decide(self, message_id: str, decision: Decision) -> None:
        """Allow or decline the tool this answer waits for."""
        self.tools.decide(message_id, decision)

    def set_model(self, model: ModelInfo | None) -> None:
        """Another model is loaded, or none."""
        self._model = model
        self.drafts.set_model(model)

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model."""
        return self._model

    @cached_property
    def schemas(self) -> SchemaCheck:
        """Asks the engine whether a pasted schema can be used."""
        from app.controllers.schema_check import SchemaCheck

        return SchemaCheck(self._engine, self)

    @property
    def json_schema(self) -> str:
        """What the next answer must obey, empty for free text."""
        waiting = self._next_schemas.get(self.composer_key, "")
        return waiting or self._conversation.meta.json_schema

    @property
    def schema_once(self) -> bool:
        """It holds for the next answer only, not for the whole chat."""
        return self.composer_key in self._next_schemas

    def set_json_schema(self, schema: str, *, once: bool = False) -> None:
        """Answers must obey this JSON schema; empty for free text. once: the next answer only."""
        self._next_schemas.pop(self.composer_key, None)
        if once and schema:
            self._next_schemas[self.composer_key] = schema
        self._change_meta(json_schema="" if once else schema)

    def _on_relabelled(self, meta: ConversationMeta) -> None:
        """The list gave the open chat another title or pin."""
        if meta.id == self._conversation.id:
            self._conversation.update_meta(title=meta.title, pinned=meta.pinned)
            self.meta_changed.emit()

    def _change_meta(self, **changes: object) -> None:
        self._conversation.update_meta(**changes)
        if self._conversation.messages:
            self._list.update(self._conversation.meta)
        self.meta_changed.emit()
        self.count_context()

    def count_context(self) -> None:
        """Ask how full the context is; `context_changed` follows."""
        self._count_id = new_id()
        prompt = prompt_messages(
            self._conversation.meta.system_prompt, self.messages(), self._library.attachment_path
        )
        self._engine.ask(CountTokens(self._count_id, prompt))

    # --- what the engine says --------------------------------------------------------------------

    def _on_event(self, event: object) -> None:
        if isinstance(event, TokensCounted) and event.query_id == self._count_id:
            self.context_changed.emit(ContextUse(event.tokens, event.context, event.exact))

    def _on_answer(self, conversation: Conversation, answer_id: str) -> None:
        if conversation is self._conversation:
            self.message_changed.emit(answer_id)

    def _on_reading(self, conversation: Conversation, reading: PromptReading) -> None:
        if conversation is self._conversation:
            self.reading.emit(reading)

    def _on_ended(self, conversation: Conversation, answer_id: str) -> None:
        self.finished.emit(answer_id)
        self.busy_changed.emit(self.busy)
        if conversation is self._conversation:
            self.count_context()

    def save_now(self) -> None:
        """Hand everything unsaved to the library (before quitting)."""
        self._answers.save_now()

    def close(self) -> None:
        """End the thread tools run on."""
        self._answers.close()


def _media_of(message: Message) -> tuple[MediaPart, ...]:
    return tuple(part for part in message.parts if isinstance(part, MediaPart))
