"""Runs approved tools on a thread of its own; what comes back is text for the model.

Tools run in the window's process because the chats live there: the engine has none of them. No
tool opens a file or a connection; documents are read from the text that was taken from them when
they were attached.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QDateTime, QObject, QTimeZone, Signal

from app.core import tools
from app.core.conversation import Conversation, Document, Role
from app.core.tools import ToolProblem
from app.store.conversations import SearchHit

log = logging.getLogger(__name__)

PART_CHARACTERS = 4_000
MAX_HITS = 8
SEARCH_SECONDS = 20.0
SearchChat = Callable[[str, str], Future[list[SearchHit]]]


@dataclass(frozen=True, slots=True)
class ChatView:
    """What tools may see of a chat: its documents' texts, and who said what.

    hidden: messages a search leaves out (the question being answered, and the answer itself).
    """

    conversation_id: str
    documents: tuple[tuple[str, str], ...] = ()
    speakers: tuple[tuple[str, Role], ...] = ()
    hidden: frozenset[str] = frozenset()

    @classmethod
    def of(cls, conversation: Conversation, answer_id: str) -> ChatView:
        """A chat as it is now, for a tool called by the answer `answer_id`."""
        path = conversation.path_to(answer_id)
        documents = [
            (part.attachment.name, part.text)
            for message in path
            for part in message.parts
            if isinstance(part, Document)
        ]
        speakers = tuple((message.id, message.role) for message in path)
        hidden = frozenset(message.id for message in path[-2:])
        return cls(conversation.id, tuple(documents), speakers, hidden)


class ToolBox(QObject):
    """`done(token, text, failed)` answers each `run`, on the caller's thread through its slot."""

    done = Signal(str, str, bool)

    def __init__(
        self,
        search: SearchChat,
        now: Callable[[dt.tzinfo | None], dt.datetime] = dt.datetime.now,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._search = search
        self._now = now
        self._runner = ThreadPoolExecutor(1, thread_name_prefix="tools")

    def run(self, token: str, name: str, arguments: dict[str, Any], view: ChatView) -> None:
        """Run a tool whose call was checked; `done` follows."""
        self._runner.submit(self._work, token, name, arguments, view)

    def close(self) -> None:
        """Wait for the tool that runs; the others are given up."""
        self._runner.shutdown(wait=True, cancel_futures=True)

    def _work(self, token: str, name: str, arguments: dict[str, Any], view: ChatView) -> None:
        try:
            self.done.emit(token, self.result(name, arguments, view), False)
        except ToolProblem as problem:
            self.done.emit(token, str(problem), True)
        except Exception:  # a tool must never end the reply
            log.exception("the tool %s failed", name)
            self.done.emit(token, "The tool failed; answer without it.", True)

    def result(self, name: str, arguments: dict[str, Any], view: ChatView) -> str:
        """What the tool answers. Raises ToolProblem with one sentence."""
        match name:
            case tools.CLOCK.name:
                return self._time(arguments.get("timezone", ""))
            case tools.CALCULATOR.name:
                return _calculated(arguments["expression"])
            case tools.READ_FILE.name:
                return read_part(view.documents, **arguments)
            case tools.SEARCH_CHAT.name:
                return self._found(arguments["words"], view)
        raise ToolProblem(f"There is no tool {name!r}.")

    def _time(self, timezone: str) -> str:
        now = self._now(dt.UTC)
        now = now.astimezone(_zone(timezone, now) if timezone else None)
        offset = now.strftime("%z")
        return f"{now:%A, %Y-%m-%d %H:%M:%S} (UTC{offset[:3]}:{offset[3:5]})"

    def _found(self, words: str, view: ChatView) -> str:
        hits = self._search(view.conversation_id, words).result(SEARCH_SECONDS)
        speakers = dict(view.speakers)
        lines = [
            f"{'Person' if speakers[hit.message_id] is Role.USER else 'Model'}: {hit.snippet}"
            for hit in hits
            if hit.message_id in speakers and hit.message_id not in view.hidden
        ]
        return "\n".join(lines[:MAX_HITS]) or "No earlier message contains all of these words."


def _zone(name: str, moment: dt.datetime) -> dt.timezone:
    """The named zone's distance from UTC at `moment`, from the system by way of Qt.

    The standard library's zoneinfo wants build data of the interpreter that the bundle leaves out.
    """
    zone = QTimeZone(name.encode())
    if not zone.isValid():
        raise ToolProblem(f"There is no time zone {name[:80]!r}.")
    seconds = zone.offsetFromUtc(QDateTime.fromSecsSinceEpoch(int(moment.timestamp())))
    return dt.timezone(dt.timedelta(seconds=seconds))


def read_part(documents: tuple[tuple[str, str], ...], name: str = "", part: int = 1) -> str:
    """Part `part` (from 1) of a document's text and its place in it. Raises ToolProblem."""
    if not documents:
        raise ToolProblem("No document is attached to this chat.")
    wanted = [each for each in documents if each[0].casefold() == name.casefold()]
    if not name and len(documents) == 1:
        wanted = list(documents)
    if not wanted:
        known = ", ".join(f"“{each}”" for each, _ in documents)
        raise ToolProblem(f"Say which document to read; attached are: {known}.")
    found, text = wanted[-1]
    if not text.strip():
        raise ToolProblem(f"“{found}” has no text that could be read.")
    parts = -(-len(text) // PART_CHARACTERS)
    if not 1 <= part <= parts:
        raise ToolProblem(f"“{found}” has parts 1 to {parts}.")
    start = (part - 1) * PART_CHARACTERS
    return f"“{found}”, part {part} of {parts}:\n\n{text[start : start + PART_CHARACTERS]}"


def _calculated(expression: str) -> str:
    # Loads with the first calculation: the first paint does not wait for it.
    from app.core.calculator import CalculationError, calculate

    try:
        return calculate(expression)
    except CalculationError as problem:
        raise ToolProblem(str(problem)) from problem
