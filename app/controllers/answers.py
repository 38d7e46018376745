"""The answers on their way, of every chat: asked for, streamed, paused for a tool, ended, saved.

The conversation is the truth, the engine only holds caches of it. A streaming answer is on disk at
most half a second behind what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.chat_stream import AnswerStream, prompt_messages
from app.controllers.chat_tools import ToolDesk
from app.controllers.library_controller import LibraryController
from app.core.commands import ChatTurn, ReplyOptions, ToolSpec
from app.core.conversation import Conversation, ConversationMeta, Message, MessageState, new_id
from app.core.errors import Failure
from app.core.events import (
    FinishReason,
    JobFailed,
    JobFinished,
    JobStarted,
    Notice,
    PromptProgress,
    TextDelta,
    ToolCalled,
)
from app.core.settings import Settings
from app.core.tools import MAX_ROUNDS
from app.services.engine_client import EngineClient
from app.services.library import Library
from app.services.tool_box import ToolBox

SAVE_EVERY_MS = 500


@dataclass(frozen=True, slots=True)
class PromptReading:
    """The model reads the prompt: done of total tokens, cached ones were known already."""

    done: int
    total: int
    cached: int


class Answers(QObject):
    """Everything that happens between a question and its complete answer.

    Signals: `changed(conversation, id)` an answer grew; `ended(conversation, id)` it is complete,
    stopped or failed; `reading(conversation, PromptReading)`; `notice(str)` one quiet line;
    `asking(chat, id)` it waits for a yes or no to a tool.
    """

    changed = Signal(object, str)
    ended = Signal(object, str)
    reading = Signal(object, object)
    notice = Signal(str)
    asking = Signal(str, str)

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
        self._streams: dict[str, AnswerStream] = {}
        self._box = ToolBox(library.search_chat, parent=self)
        self.tools = ToolDesk(self._box, self)
        self.tools.asking.connect(self._on_asking)
        self.tools.changed.connect(self._on_tool)
        self.tools.answered.connect(self._go_on)
        self.tools.allowed.connect(self._on_allowed)
        self._saver = QTimer(self, interval=SAVE_EVERY_MS, singleShot=True)
        self._saver.timeout.connect(self._save)
        engine.received.connect(self._on_event)
        conversations.relabelled.connect(self._on_relabelled)
        conversations.deleted.connect(self._on_deleted)

    # --- what is on its way ----------------------------------------------------------------------

    def busy(self, conversation: Conversation) -> bool:
        """An answer for this chat is on its way."""
        return any(stream.conversation is conversation for stream in self._streams.values())

    def conversation(self, conversation_id: str) -> Conversation | None:
        """The chat with this id, if it is being answered."""
        chats = (stream.conversation for stream in self._streams.values())
        return next((chat for chat in chats if chat.id == conversation_id), None)

    def begin(
        self, conversation: Conversation, answer_id: str, offered: tuple[ToolSpec, ...]
    ) -> None:
        """Let the model write this (empty) answer. offered: the tools it may ask for."""
        parent_id = conversation[answer_id].parent_id
        assert parent_id is not None
        stream = AnswerStream(conversation, answer_id, offered)
        self._submit(stream, conversation.path_to(parent_id))

    def stop(self, conversation: Conversation) -> None:
        """Stop the answers of this chat; what was said so far is kept."""
        for job_id, stream in list(self._streams.items()):
            if stream.conversation is not conversation:
                continue
            if stream.paused:
                self.tools.drop(stream.answer_id)
                stopped = replace(stream.message(MessageState.STOPPED), usage=stream.spent(None))
                self._end(job_id, stream, stopped)
            else:
                self._engine.cancel(job_id)

    def _on_relabelled(self, meta: ConversationMeta) -> None:
        conversation = self.conversation(meta.id)
        if conversation is not None:
            conversation.update_meta(title=meta.title, pinned=meta.pinned)

    def _on_deleted(self, conversation_id: str) -> None:
        """Nobody would see the rest, and the next question would wait behind it."""
        conversation = self.conversation(conversation_id)
        if conversation is not None:
            self.stop(conversation)

    def _submit(self, stream: AnswerStream, history: list[Message]) -> None:
        """Let the model answer, or go on after its tools answered."""
        meta, job_id = stream.conversation.meta, new_id()
        self._streams[job_id] = stream
        prompt = prompt_messages(meta.system_prompt, history, self._library.attachment_path)
        self._engine.submit(ChatTurn(job_id, meta.id, prompt, self._options(stream)))

    def _options(self, stream: AnswerStream) -> ReplyOptions:
        meta, settings = stream.conversation.meta, self._settings()
        parent_id = stream.conversation[stream.answer_id].parent_id
        question = stream.conversation[parent_id] if parent_id else None
        return ReplyOptions(
            preset=meta.preset,
            max_tokens=settings.max_reply_tokens,
            think=meta.think,
            tools=stream.offered,
            json_schema=(question.json_schema if question else "") or meta.json_schema,
            context_tokens=settings.context_tokens,
        )

    # --- what the engine says --------------------------------------------------------------------

    def _on_event(self, event: object) -> None:
        stream = self._streams.get(getattr(event, "job_id", ""))
        if stream is None:
            return
        match event:
            case JobStarted():
                stream.started(time.monotonic())
                self._update(stream)
            case PromptProgress():
                reading = PromptReading(event.done, event.total, event.cached)
                self.reading.emit(stream.conversation, reading)
            case TextDelta():
                stream.append(event.text, event.channel, time.monotonic())
                self._update(stream)
            case ToolCalled():
                stream.call(event.call)
                self._update(stream)
            case Notice():
                self.notice.emit(event.text)
            case JobFinished():
                self._on_round_end(event, stream)
            case JobFailed():
                failure = Failure(event.kind, event.message, event.remedy, event.detail)
                self._end(event.job_id, stream, stream.message(MessageState.FAILED, failure))

    def _on_round_end(self, event: JobFinished, stream: AnswerStream) -> None:
        """The answer is complete, unless it waits for tools."""
        usage = stream.spent(event.usage)
        wants_tools = stream.offered and stream.open_call() is not None
        if wants_tools and event.reason in (FinishReason.STOP, FinishReason.TOOL):
            if stream.rounds <= MAX_ROUNDS:
                stream.paused = True
                self.tools.begin(stream)
                return
            self.notice.emit(f"The answer was ended because it used tools {MAX_ROUNDS} times.")
        stopped = event.reason is FinishReason.CANCELLED
        state = MessageState.STOPPED if stopped else MessageState.DONE
        self._end(event.job_id, stream, replace(stream.message(state), usage=usage))

    def _end(self, job_id: str, stream: AnswerStream, message: Message) -> None:
        del self._streams[job_id]
        stream.conversation.replace(message)
        self._library.save_message(stream.conversation.id, message)
        self.changed.emit(stream.conversation, message.id)
        self.ended.emit(stream.conversation, message.id)

    # --- tools -----------------------------------------------------------------------------------

    def _on_asking(self, answer_id: str) -> None:
        self._on_tool(answer_id)
        stream = self._stream_of(answer_id)
        if stream is not None:
            self.asking.emit(stream.conversation.id, answer_id)

    def _on_tool(self, answer_id: str) -> None:
        stream = self._stream_of(answer_id)
        if stream is not None:
            self._update(stream)

    def _go_on(self, answer_id: str) -> None:
        """All tools of a round have answered: the model reads that and speaks on."""
        job_id = next(j for j, s in self._streams.items() if s.answer_id == answer_id)
        stream = self._streams.pop(job_id)
        stream.go_on()
        answer = stream.message(MessageState.STREAMING)
        stream.conversation.replace(answer)
        self._submit(stream, stream.conversation.path_to(answer_id))

    def _on_allowed(self, conversation_id: str, name: str) -> None:
        for stream in self._streams.values():
            conversation = stream.conversation
            if conversation.id == conversation_id and name not in conversation.meta.allowed_tools:
                conversation.update_meta(allowed_tools=(*conversation.meta.allowed_tools, name))
                self._list.update(conversation.meta)

    def _stream_of(self, answer_id: str) -> AnswerStream | None:
        return next((s for s in self._streams.values() if s.answer_id == answer_id), None)

    # --- saving ----------------------------------------------------------------------------------

    def _update(self, stream: AnswerStream) -> None:
        stream.conversation.replace(stream.message(MessageState.STREAMING))
        stream.unsaved = True
        if not self._saver.isActive():
            self._saver.start()
        self.changed.emit(stream.conversation, stream.answer_id)

    def save_now(self) -> None:
        """Hand everything unsaved to the library (before quitting)."""
        self._saver.stop()
        self._save()

    def _save(self) -> None:
        for stream in self._streams.values():
            if stream.unsaved:
                stream.unsaved = False
                message = stream.conversation[stream.answer_id]
                self._library.save_message(stream.conversation.id, message)

    def close(self) -> None:
        """End the thread tools run on."""
        self._box.close()
