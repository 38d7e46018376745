"""What was said, shown and sent in a live conversation, rebuilt from reports. No Qt, no devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.core.commands import PromptMessage, PromptText
from app.core.conversation import (
    Conversation,
    ConversationMeta,
    Message,
    Role,
    Text,
    new_id,
    title_from,
)
from app.live import reports
from app.live.reports import Report

_FRAMES_KEPT = 60


@dataclass(slots=True)
class TalkTurn:
    """One exchange. said: what the user typed and what was written down of his speech.

    edited: he corrected it, so a transcript that comes later changes nothing. heard: how much of
    `reply` was spoken; the rest was cut off. ids: of its two messages in the chat; kept_at: when
    they were first kept, seconds since the epoch.
    """

    number: int
    started: float
    said: str = ""
    spoken: bool = True
    edited: bool = False
    seconds: float = 0.0
    reply: str = ""
    heard: int = 0
    state: str = "open"
    frames: int = 0
    timing: reports.Timing | None = None
    ids: tuple[str, str] = field(default_factory=lambda: (new_id(), new_id()))
    kept_at: float = 0.0

    @property
    def words(self) -> str:
        """The question; a spoken one that was not written down yet is only named."""
        return self.said or (f"(A spoken question, {self.seconds:.0f} s.)" if self.spoken else "")

    @property
    def kept_reply(self) -> str:
        """The reply as the conversation keeps it."""
        return self.reply[: self.heard] if self.state == "interrupted" else self.reply


@dataclass(slots=True)
class Talk:
    """The running record of a live conversation. id: of the chat it becomes."""

    id: str = field(default_factory=new_id)
    turns: list[TalkTurn] = field(default_factory=list)
    frames: list[reports.FrameSent] = field(default_factory=list)
    used: dict[float, bool] = field(default_factory=dict)

    def take(self, report: Report) -> TalkTurn | None:
        """Take a report in; gives the turn it changed."""
        match report:
            case reports.TurnOpened():
                turn = TalkTurn(report.turn, report.t, report.typed, not report.typed)
                self.turns.append(turn)
                return turn
            case reports.TurnForgotten():
                self.turns = [t for t in self.turns if t.number != report.turn]
            case reports.FrameSent():
                self.frames = [*self.frames[-_FRAMES_KEPT:], report]
                if self.turns:
                    self.turns[-1].frames += 1
            case reports.FrameUsed():
                self.used[report.taken] = not report.skipped
            case _:
                return self._change(report)
        return None

    def edit(self, number: int, said: str) -> TalkTurn | None:
        """The user corrects what was written down."""
        turn = self._find(number)
        if turn:
            turn.said, turn.edited = said, True
        return turn

    @property
    def finished(self) -> list[TalkTurn]:
        """The exchanges that are over and held something on both sides."""
        return [
            turn
            for turn in self.turns
            if turn.state in ("done", "interrupted") and turn.words and turn.kept_reply
        ]

    def messages(self) -> tuple[PromptMessage, ...]:
        """The finished exchanges as a prompt: words for sound, which is gone."""
        made: list[PromptMessage] = []
        for turn in self.finished:
            asked, answered = turn.ids
            made.append(PromptMessage(asked, Role.USER, (PromptText(turn.words),)))
            made.append(PromptMessage(answered, Role.MODEL, (PromptText(turn.kept_reply),)))
        return tuple(made)

    def conversation(self, now: float) -> Conversation | None:
        """The finished exchanges as a chat like any other, None if there were none.

        Asked again later it is the same chat: ids and times of its messages stay.

        Args:
            now: seconds since the epoch.
        """
        finished = self.finished
        if not finished:
            return None
        title = title_from(finished[0].words)
        created = finished[0].kept_at or now
        chat = Conversation(ConversationMeta(self.id, title, created=created, updated=now))
        parent = None
        for turn in finished:
            turn.kept_at = turn.kept_at or now
            sides = ((Role.USER, turn.words), (Role.MODEL, turn.kept_reply))
            for message_id, (role, words) in zip(turn.ids, sides, strict=True):
                message = Message(message_id, parent, role, (Text(words),), created=turn.kept_at)
                chat.add(message)
                parent = message_id
        return chat

    def _change(self, report: Report) -> TalkTurn | None:
        turn = self._find(getattr(report, "turn", None))
        if turn is None:
            return None
        match report:
            case reports.TurnClosed():
                turn.seconds, turn.state = report.seconds, "answering"
                turn.spoken = True
                if not turn.edited:
                    turn.said = report.typed
            case reports.TurnRevised():
                turn.reply, turn.state = "", "open"
            case reports.ReplyText():
                turn.reply, turn.state = report.text, "answering"
            case reports.ReplyDone():
                turn.reply, turn.heard = report.text, report.heard_chars
                turn.state = "interrupted" if report.reason == "interrupted" else "done"
            case reports.Transcript():
                if not turn.edited:
                    turn.said = "\n".join(filter(None, (turn.said, report.text)))
            case reports.Timing():
                turn.timing = report
        return turn

    def _find(self, number: int | None) -> TalkTurn | None:
        return next((t for t in reversed(self.turns) if t.number == number), None)
