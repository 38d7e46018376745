"""The conversation of a session as entries: what was said by whom, and what of it fits the context.

Messages come and go; what the model said and what was fed live is kept as it was, so that it is
known again when a message names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mlx_gemma4.chat import ChatOptions, ChatState
from mlx_gemma4.errors import PromptError, SessionError
from mlx_gemma4.messages import Message
from mlx_gemma4.session.script import Entry, LiveTurn, Replies, ScriptWriter, SpokenReply
from mlx_gemma4.session.tape import Tape

REPLY_ROOM = 1024
"""Tokens kept free for the answer when old turns are dropped."""
_DROP_TO = 0.75  # of the context, so that dropping is rare: it costs a whole prefill


class Written(NamedTuple):
    """A conversation that fits the context.

    Attributes:
        tape: of all entries kept; the last turn is still open.
        state: at its end.
        script: the entries kept.
        dropped: ids of those left out, oldest first.
    """

    tape: Tape
    state: ChatState
    script: tuple[Entry, ...]
    dropped: tuple[str, ...]


class Talk:
    """Entries, the chat's state behind them, and everything said or fed so far.

    Args:
        writer: makes tapes.
        options: of the chat format.
        context: most tokens of a conversation.
    """

    def __init__(self, writer: ScriptWriter, options: ChatOptions, context: int) -> None:
        self.writer = writer
        self.options = options
        self.script: tuple[Entry, ...] = ()
        self.state = ChatState()
        self._context = context
        self._replies = Replies()
        self._turns: dict[str, LiveTurn] = {}
        self._dropped: set[str] = set()

    def entries(self, messages: Sequence[Message]) -> tuple[Entry, ...]:
        """Messages as entries: replies and live turns of this session are known again."""
        return tuple(self._entry(message) for message in messages)

    def _entry(self, message: Message) -> Entry:
        if message.id in self._turns:
            return self._turns[message.id]
        if message.role == "model" and (reply := self._replies.find(message)):
            return replace(reply, id=message.id)
        return message

    def write(self, script: tuple[Entry, ...]) -> Written:
        """Leave out the oldest turns, never the system message, until the context has room.

        What was left out stays out: dropping moves everything after it, which costs a prefill.

        Raises:
            PromptError: the newest turn alone does not fit.
        """
        self._dropped &= {e.id for e in script}
        kept = [e for e in script if e.id not in self._dropped]
        tape, state = self.writer.write(kept, self.options)
        room, context = min(REPLY_ROOM, self._context // 4), self._context
        if len(tape) + room > context:
            while len(tape) + room > _DROP_TO * context:
                cut = _oldest_turn(kept)
                if not cut:
                    break
                self._dropped |= {e.id for e in cut}
                kept = [e for e in kept if e.id not in self._dropped]
                tape, state = self.writer.write(kept, self.options)
        if len(tape) >= context:
            raise PromptError(
                f"This message alone takes {len(tape):,} tokens but this model reads at most "
                f"{context:,}; shorten it, or attach fewer or smaller files."
            )
        dropped = tuple(e.id for e in script if e.id in self._dropped)
        return Written(tape, state, tuple(kept), dropped)

    def take(self, written: Written) -> None:
        """The conversation is this one from now on."""
        self.script, self.state = written.script, written.state

    def start(self) -> Tape:
        """The tape of a conversation in which nothing was said yet; sets the state."""
        tape, self.state = self.writer.write((), self.options)
        return tape

    def open_user_turn(self) -> list[int]:
        """Ids that begin a turn of the user; sets the state."""
        ids, self.state = self.writer.header(self.state)
        return ids

    def opening(self) -> list[int]:
        """Ids that make the model speak."""
        return self.writer.opening(self.state, self.options)

    def add_turn(self, turn: LiveTurn) -> None:
        """A live turn has ended."""
        self._turns[turn.id] = turn
        self.script = (*self.script, turn)
        self.state = replace(self.state, last="text")

    def go_back(self, state: ChatState, script: tuple[Entry, ...]) -> None:
        """Return to an earlier moment; live turns that ended since are forgotten."""
        kept = {entry.id: entry for entry in script if isinstance(entry, LiveTurn)}
        for entry in self.script:
            if isinstance(entry, LiveTurn) and entry.id not in kept:
                self._turns.pop(entry.id, None)
        self._turns = kept | self._turns
        self.state, self.script = state, script

    def add_reply(self, reply: SpokenReply) -> None:
        """The model has spoken."""
        self._replies.add(reply)
        self.script = (*self.script, reply)
        calls = tuple((c.id, c.name) for c in reply.calls)
        self.state = ChatState("model", "call" if calls else "text", calls)

    @property
    def last_reply(self) -> SpokenReply:
        """The reply the conversation ends with.

        Raises:
            SessionError: it ends otherwise.
        """
        if not self.script or not isinstance(self.script[-1], SpokenReply):
            raise SessionError("There is no reply to shorten; the last message is not an answer.")
        return self.script[-1]

    def shorten_reply(self, cut: SpokenReply) -> None:
        """Put a shorter version in the place of the last reply."""
        self.script = (*self.script[:-1], cut)
        self._replies.add(cut)
        self.state = ChatState("model")

    def in_words(self, texts: dict[str, str], keep: int) -> tuple[tuple[Entry, ...], list[str]]:
        """The script with old live turns replaced by words, and the ids of those turns.

        Args:
            texts: what to keep of each turn, by turn id; turns without a text stay.
            keep: newest live turns that stay.
        """
        turns = [e for e in self.script if isinstance(e, LiveTurn)]
        old = [e.id for e in turns[: max(0, len(turns) - keep)] if e.id in texts and e.tape.runs]
        for id_ in old:
            tape = Tape()
            tape.append_tokens(self.writer.text(texts[id_].strip()))
            self._turns[id_] = LiveTurn(id_, tape)
        return tuple(self._turns[e.id] if e.id in old else e for e in self.script), old

    def held_keys(self) -> Iterator[str]:
        """Content keys of the media of all live turns."""
        for turn in self._turns.values():
            yield from (run.key for run in turn.tape.runs)


def _oldest_turn(script: Sequence[Entry]) -> list[Entry]:
    """The oldest user message and all up to the next one; empty if only the newest is left."""
    users = [
        i
        for i, e in enumerate(script)
        if isinstance(e, LiveTurn) or (isinstance(e, Message) and e.role == "user")
    ]
    if len(users) < 2:
        return []
    return list(script[users[0] : users[1]])
