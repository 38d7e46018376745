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
    """One exchange. said: what the user typed or what was written down of his speech.

    heard: how much of `reply` was spoken; the rest was cut off.
    """

    number: int
    started: float
    said: str = ""
    spoken: bool = True
    seconds: float = 0.0
    reply: str = ""
    heard: int = 0
    state: str = "open"
    frames: int = 0
    timing: reports.Timing | None = None

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
    """The running record of a live conversation."""

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
            turn.said = said
        return turn

    def messages(self) -> tuple[PromptMessage, ...]:
        """The finished exchanges as a prompt: words for sound, which is gone."""
        made: list[PromptMessage] = []
        for turn in self.turns:
            if turn.state in ("done", "interrupted") and turn.words and turn.kept_reply:
                ids = (f"live-{turn.number}-user", f"live-{turn.number}-model")
                made.append(PromptMessage(ids[0], Role.USER, (PromptText(turn.words),)))
                made.append(PromptMessage(ids[1], Role.MODEL, (PromptText(turn.kept_reply),)))
        return tuple(made)

    def conversation(self, now: float) -> Conversation | None:
        """The finished exchanges as a chat like any other, None if there were none.

        Args:
            now: seconds since the epoch.
        """
        messages = self.messages()
        if not messages:
            return None
        first = messages[0].parts[0]
        title = title_from(first.text if isinstance(first, PromptText) else "")
        chat = Conversation(ConversationMeta(new_id(), title, created=now, updated=now))
        parent = None
        for prompt in messages:
            words = tuple(Text(p.text) for p in prompt.parts if isinstance(p, PromptText))
            message = Message(new_id(), parent, prompt.role, words, created=now)
            chat.add(message)
            parent = message.id
        return chat

    def _change(self, report: Report) -> TalkTurn | None:
        turn = self._find(getattr(report, "turn", None))
        if turn is None:
            return None
        match report:
            case reports.TurnClosed():
                turn.seconds, turn.state = report.seconds, "answering"
            case reports.TurnRevised():
                turn.reply, turn.state = "", "open"
            case reports.ReplyText():
                turn.reply, turn.state = report.text, "answering"
            case reports.ReplyDone():
                turn.reply, turn.heard = report.text, report.heard_chars
                turn.state = "interrupted" if report.reason == "interrupted" else "done"
            case reports.Transcript():
                turn.said = turn.said or report.text
            case reports.Timing():
                turn.timing = report
        return turn

    def _find(self, number: int | None) -> TalkTurn | None:
        return next((t for t in reversed(self.turns) if t.number == number), None)
