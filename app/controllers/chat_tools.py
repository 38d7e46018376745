"""The tools an answer asks for: the person is asked, what may run is run, results are collected.

The engine's job has ended by then, so nothing is lost if the engine dies while the person thinks;
the results travel with the next turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from app.controllers.chat_stream import AnswerStream
from app.core.conversation import ToolCall, ToolResult, new_id
from app.core.tools import ToolProblem, checked_arguments
from app.services.tool_box import ChatView, ToolBox

DECLINED = "The person declined this call. Answer without it."


class Decision(StrEnum):
    """What the person says to a call."""

    ONCE = "once"
    CHAT = "chat"
    DECLINE = "decline"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that waits for the person's word."""

    stream: AnswerStream
    call: ToolCall
    arguments: dict[str, Any]


class ToolDesk(QObject):
    """One call after the other, for as many answers as are on their way.

    Signals: `asking(answer_id)` a call waits for `decide`; `changed(answer_id)` the answer has
    another result, or nothing waits any more; `answered(answer_id)` all its calls have results;
    `allowed(conversation_id, name)` a tool needs no further yes in this chat.
    """

    asking = Signal(str)
    changed = Signal(str)
    answered = Signal(str)
    allowed = Signal(str, str)

    def __init__(self, box: ToolBox, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._box = box
        self._asked: dict[str, _Asked] = {}
        self._running: dict[str, tuple[AnswerStream, ToolCall]] = {}
        box.done.connect(self._on_done)

    def begin(self, stream: AnswerStream) -> None:
        """Bring the open calls of an answer to their results; `answered` follows."""
        self._next(stream)

    def asked(self, answer_id: str) -> ToolCall | None:
        """The call of this answer that waits for the person."""
        waiting = self._asked.get(answer_id)
        return waiting.call if waiting else None

    def decide(self, answer_id: str, decision: Decision) -> None:
        """The person's word on the call that waits; nothing happens where none does."""
        waiting = self._asked.pop(answer_id, None)
        if waiting is None:
            return
        if decision is Decision.DECLINE:
            self._settle(waiting.stream, waiting.call, DECLINED, "declined")
            return
        if decision is Decision.CHAT:
            self.allowed.emit(waiting.stream.conversation.id, waiting.call.name)
        self._run(waiting)
        self.changed.emit(answer_id)

    def drop(self, answer_id: str) -> None:
        """The answer was stopped: nothing is asked or waited for any more."""
        self._asked.pop(answer_id, None)
        for token, (stream, _) in list(self._running.items()):
            if stream.answer_id == answer_id:
                del self._running[token]

    def _next(self, stream: AnswerStream) -> None:
        call = stream.open_call()
        if call is None:
            self.answered.emit(stream.answer_id)
            return
        meta = stream.conversation.meta
        try:
            arguments = checked_arguments(call, meta.tools)
        except ToolProblem as problem:
            self._settle(stream, call, str(problem), "failed")
            return
        wanted = _Asked(stream, call, arguments)
        if call.name in meta.allowed_tools:
            self._run(wanted)
        else:
            self._asked[stream.answer_id] = wanted
            self.asking.emit(stream.answer_id)

    def _run(self, wanted: _Asked) -> None:
        stream, call = wanted.stream, wanted.call
        token = new_id()
        self._running[token] = (stream, call)
        view = ChatView.of(stream.conversation, stream.answer_id)
        self._box.run(token, call.name, wanted.arguments, view)

    @Slot(str, str, bool)
    def _on_done(self, token: str, text: str, failed: bool) -> None:
        known = self._running.pop(token, None)
        if known is not None:
            self._settle(*known, text, "failed" if failed else "done")

    def _settle(self, stream: AnswerStream, call: ToolCall, text: str, outcome: str) -> None:
        stream.result(ToolResult(call.name, text, call.id, outcome))
        self.changed.emit(stream.answer_id)
        self._next(stream)
