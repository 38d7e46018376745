"""An append-only conversation over one model that never computes anything twice.

The session owns a tape (all it fed to the model), a KV cache that holds a prefix of it, snapshots
to go back to, and the soft tokens of every medium. ``sync`` brings the tape in line with a list of
messages, ``push_*`` feed a live turn while it happens, ``reply`` decodes. Everything runs on the
calling thread, which must be the one that loaded the model.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import mlx.core as mx
import numpy as np

from mlx_gemma4.chat import ChatOptions, ChatState, ToolDeclaration
from mlx_gemma4.errors import PromptError, SessionError
from mlx_gemma4.generate import Clock, Decoder, Finish, GenerateOptions, Reason, notice_of
from mlx_gemma4.messages import Image, Message, ToolCall
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.session.answer import SpokenSoFar, heard_part
from mlx_gemma4.session.live import (
    FrameNote,
    LiveInput,
    LiveState,
    Placement,
    Renamed,
    Soft,
    Tokens,
)
from mlx_gemma4.session.media import MediaMemory
from mlx_gemma4.session.runner import Runner, Watch
from mlx_gemma4.session.script import Entry, LiveTurn, Replies, ScriptWriter, SpokenReply
from mlx_gemma4.session.soft import Rows
from mlx_gemma4.session.tape import MediaRun, Tape
from mlx_gemma4.tools import ReplyEvent, Tool, ToolOutcome, run_with_tools

log = logging.getLogger(__name__)

LIVE_BATCH = 16
"""Soft tokens of an open clip that wait before they are run: 0.64 s of sound."""
REPLY_ROOM = 1024
"""Tokens kept free for the answer when old turns are dropped."""
_When = Literal["now", "soon", "later"]
_DROP_TO = 0.75  # of the context, so that dropping is rare: it costs a whole prefill


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What ``sync`` did.

    Attributes:
        reused: tokens that were in the cache already.
        run: tokens run now.
        encoded: media encoded now.
        dropped: ids of messages left out because the context is full, oldest first.
        notices: sentences for the user.
    """

    reused: int
    run: int
    encoded: int
    dropped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What ``compact`` did: tokens of the conversation before and after, and turns shortened."""

    before: int
    after: int
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How to answer.

    Attributes:
        generate: length, sampling, stop tokens, constraint.
        reply_id: id of the answer's message; made up if empty.
        turn_id: id of the live turn that the answer closes; made up if empty.
    """

    generate: GenerateOptions = field(default_factory=GenerateOptions)
    reply_id: str = ""
    turn_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A moment of a session; see :meth:`Session.mark`."""

    tape: Tape
    state: ChatState
    script: tuple[Entry, ...]
    live: LiveState
    queued: tuple[Placement, ...]
    turn_start: int | None


class Session:
    """One conversation.

    Args:
        model: from ``load``.
        processor: from ``load``.
        snapshot_bytes: room for KV snapshots.
        feature_bytes: room for soft tokens of encoded media.
        context: most tokens to use; the model's own limit by default.
        kv_bits: keep keys and values of full layers in 8 or 4 bits; ``None`` keeps them whole.

    Raises:
        PromptError: another number of bits.
    """

    def __init__(
        self,
        model: Gemma4,
        processor: Processor,
        snapshot_bytes: int = 1 << 30,
        *,
        feature_bytes: int = 256 << 20,
        context: int | None = None,
        kv_bits: int | None = None,
    ) -> None:
        limit = model.config.text.max_position_embeddings
        self.context = min(context or limit, limit)
        self._model = model
        self._processor = processor
        self._media = MediaMemory(model, feature_bytes)
        self._runner = Runner(model, self._soft_tokens, snapshot_bytes, kv_bits=kv_bits)
        self._writer = ScriptWriter(processor.tokenizer, processor.encode, self._media.keep_source)
        self._live = LiveInput(model, processor, self._media.features)
        self._replies = Replies()
        self._turns: dict[str, LiveTurn] = {}
        self._script: tuple[Entry, ...] = ()
        self._options = ChatOptions(family=model.config.family)
        self._state = ChatState()
        self._queued: list[Placement] = []
        self._turn_start: int | None = None
        self._replying = False
        self._dropped: set[str] = set()

    # What it holds

    @property
    def tokens(self) -> int:
        """Length of the conversation in tokens."""
        return len(self._runner.tape)

    @property
    def ids(self) -> np.ndarray:
        """Ids of the conversation, int32 [tokens]; soft positions hold their placeholder."""
        return self._runner.tape.ids

    @property
    def nbytes(self) -> int:
        """Bytes held beside the model: KV cache, snapshots, soft tokens."""
        return self._runner.cache.nbytes + self._runner.snapshots.nbytes + self._media.nbytes

    @property
    def clip_seconds(self) -> float:
        """Length of the open sound clip; 0 when none is open."""
        return self._live.clip_seconds

    # Whole messages

    def sync(
        self,
        messages: Sequence[Message],
        *,
        think: bool = False,
        tools: Sequence[ToolDeclaration] = (),
        watch: Watch | None = None,
    ) -> SyncReport:
        """Make the conversation equal to ``messages``; runs only what differs.

        A message id stands for its content: changed content needs a new id. Model messages this
        session produced keep the tokens they were made of. Open clips and waiting frames are
        dropped.

        Raises:
            PromptError: the newest turn alone does not fit the context.
            MediaError: a file cannot be used.
            Cancelled: ``watch`` asked to stop; what was run is kept.
        """
        self._forbid_while_replying("change the conversation")
        self._live.drop()
        self._queued.clear()
        self._turn_start = None
        self._options = replace(self._options, think=think, tools=tuple(tools))
        script = tuple(self._entry(m) for m in messages)
        return self._rebuild(script, watch)

    def compact(self, texts: dict[str, str], *, keep: int = 1) -> CompactReport:
        """Replace the sound and frames of old live turns by words; call it in idle time.

        Args:
            texts: what to keep of each turn, by turn id (its transcript, a caption of its frames);
                turns without a text are left as they are.
            keep: newest live turns that stay as they were fed.
        """
        self._forbid_while_replying("compact the conversation")
        before = self.tokens
        turns = [e for e in self._script if isinstance(e, LiveTurn)]
        old = {e.id for e in turns[: max(0, len(turns) - keep)] if e.id in texts and e.tape.runs}
        for id_ in old:
            tape = Tape()
            tape.append_tokens(self._writer.text(texts[id_].strip()))
            self._turns[id_] = LiveTurn(id_, tape)
        script = tuple(self._turns[e.id] if e.id in old else e for e in self._script)
        self._rebuild(script, None, keep=False)
        self._live.forget_view()
        return CompactReport(before, self.tokens, tuple(e.id for e in turns if e.id in old))

    def _entry(self, message: Message) -> Entry:
        if message.id in self._turns:
            return self._turns[message.id]
        if message.role == "model" and (reply := self._replies.find(message)):
            return replace(reply, id=message.id)
        return message

    def _rebuild(
        self, script: tuple[Entry, ...], watch: Watch | None, *, keep: bool = True
    ) -> SyncReport:
        encoded, runner = self._media.encoded, self._runner
        tape, state, script, dropped = self._fitting(script)
        reused = runner.replace(tape, keep=keep)
        self._script, self._state = script, state
        self._media.forget_all_but(self._held_keys())
        run = runner.pending
        runner.advance(watch=watch)
        runner.snapshot()
        notices = (self._dropped_notice(len(dropped)),) if dropped else ()
        return SyncReport(reused, run, self._media.encoded - encoded, dropped, notices)

    def _dropped_notice(self, count: int) -> str:
        return (
            f"The conversation is longer than this model can read ({self.context:,} tokens), so "
            f"its {count} oldest messages were left out."
        )

    def _fitting(
        self, script: tuple[Entry, ...]
    ) -> tuple[Tape, ChatState, tuple[Entry, ...], tuple[str, ...]]:
        """Leave out the oldest turns, never the system message, until the context has room.

        What was left out stays out: dropping moves everything after it, which costs a prefill.
        """
        self._dropped &= {e.id for e in script}
        kept = [e for e in script if e.id not in self._dropped]
        tape, state = self._writer.write(kept, self._options)
        if len(tape) + self._room > self.context:
            while len(tape) + self._room > _DROP_TO * self.context:
                cut = _oldest_turn(kept)
                if not cut:
                    break
                self._dropped |= {e.id for e in cut}
                kept = [e for e in kept if e.id not in self._dropped]
                tape, state = self._writer.write(kept, self._options)
        if len(tape) >= self.context:
            raise PromptError(
                f"This message alone takes {len(tape):,} tokens but this model reads at most "
                f"{self.context:,}; shorten it, or attach fewer or smaller files."
            )
        dropped = tuple(e.id for e in script if e.id in self._dropped)
        return tape, state, tuple(kept), dropped

    @property
    def _room(self) -> int:
        return min(REPLY_ROOM, self.context // 4)

    # A live turn

    def push_audio(self, pcm: np.ndarray, t: float = 0.0) -> int:
        """Feed sound of the running turn; finished tokens are run while more is coming.

        Args:
            pcm: mono samples [n] at 16 kHz, float32 in −1..1 or int16; any n.
            t: when it began, seconds (for logs only: order is what counts).

        Returns:
            How many clips reached 30 seconds and were closed.

        Raises:
            MediaError: the model does not hear, or the samples are damaged.
        """
        placed, full = self._live.push_audio(np.asarray(pcm))
        if full:
            log.info("clip closed at 30 s, t=%.2f", t)
        self._place(placed)
        return full

    def push_frame(self, rgb: np.ndarray, t: float = 0.0) -> FrameNote:
        """Encode a camera frame uint8 [h, w, 3]; it is placed at the next border of clips.

        Raises:
            MediaError: the model does not see, or this is no picture.
        """
        note = self._live.push_frame(np.asarray(rgb), t)
        if note.key:
            self._media.keep_fed(note.key)
        return note

    def push_text(self, text: str) -> None:
        """Add words to the running turn (a typed question during a call)."""
        self.end_clip()
        self._place(self._live.place_frames(newest_only=False)[0])
        self._place([Tokens(tuple(self._writer.text(text.strip())))])

    def encode_ahead(self, part: Image) -> int:
        """Encode a picture that a later message will bring; legal between two events of a reply.

        Returns:
            Its soft tokens.

        Raises:
            MediaError: the picture cannot be used.
        """
        patches = self._processor.image(part.source, part.budget)
        self._media.encode(patches)
        return patches.soft_tokens

    def end_clip(self) -> None:
        """Close the open clip: a pause of 300 ms or more, 30 seconds, or the end of the turn."""
        self._place(self._live.end_clip(), "now")

    def mark(self) -> Mark:
        """Remember this moment, before a reply that may have to be taken back."""
        if not self._replying and not self._runner.pending:
            self._runner.snapshot()
        return Mark(
            self._runner.tape.part(),
            self._state,
            self._script,
            self._live.mark(),
            tuple(self._queued),
            self._turn_start,
        )

    def rollback(self, mark: Mark) -> None:
        """Return to a mark, exactly: the clip that was open then is open again."""
        self._forbid_while_replying("go back")
        self._runner.replace(mark.tape.part(), keep=False)
        self._state, self._script = mark.state, mark.script
        self._live.rollback(mark.live)
        self._queued = list(mark.queued)
        self._turn_start = mark.turn_start

    def _place(self, placed: Sequence[Placement], run: _When = "soon") -> None:
        """Put soft tokens on the tape, unless a reply is decoding.

        Args:
            placed: what to put there.
            run: "now", "soon" (when a batch is together) or "later" (with the next pass).
        """
        self._queued += placed
        if self._replying or not self._queued:
            return
        if self._turn_start is None:
            if not self.tokens:
                tape, self._state = self._writer.write((), self._options)
                self._runner.replace(tape)
            ids, self._state = self._writer.header(self._state)
            self._runner.tape.append_tokens(ids)
            self._turn_start = len(self._runner.tape)
        tape, queued = self._runner.tape, self._queued
        self._queued = []
        for item in queued:
            if isinstance(item, Soft):
                tape.append_soft(*item)
            elif isinstance(item, Renamed):
                tape.rename_last(item.key)
                self._media.keep_fed(item.key)
            else:
                tape.append_tokens(item.ids)
        if run == "now" or (run == "soon" and self._runner.pending >= LIVE_BATCH):
            self._runner.advance()

    # Answers

    def reply(self, options: ReplyOptions | None = None) -> Iterator[Delta | ToolCall | Finish]:
        """Answer the conversation as it stands; a live turn is closed first.

        Sound and frames pushed between two events are encoded and queued for the next turn. Closing
        the iterator cancels; what was said until then stays in the conversation.

        Yields:
            ``Delta`` and ``ToolCall``, then one ``Finish``.

        Raises:
            SessionError: another reply is still being read. PromptError: the context is full.
            ToolError: the constraint is not usable.
        """
        self._forbid_while_replying("start another reply")
        options = options or ReplyOptions()
        clock = Clock()
        decoder = Decoder(
            self._model,
            self._processor.tokenizer,
            options.generate,
            call_prefix=uuid.uuid4().hex[:8],
        )
        self._close_turn(options.turn_id or uuid.uuid4().hex)
        known = self._runner.cache.offset
        opening = self._writer.opening(self._state, self._options)
        self._runner.tape.append_tokens(opening)
        if len(self._runner.tape) >= self.context:
            self._runner.truncate(len(self._runner.tape) - len(opening))
            raise PromptError(
                "The conversation has reached the length this model can read; start a new chat or "
                "remove some of its messages."
            )
        hidden = self._runner.read_last()
        clock.prefilled()
        yield from self._decode(decoder, hidden, options, known, clock)

    def reply_with_tools(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        options: ReplyOptions | None = None,
        *,
        think: bool = False,
    ) -> Iterator[ReplyEvent | ToolOutcome]:
        """Answer ``messages``; tools the model calls are run and it goes on in the same turn.

        Yields:
            The events of every round, a ``ToolOutcome`` after each call, one ``Finish`` at the end.
        """

        def answer(conversation: list[Message]) -> Iterator[ReplyEvent]:
            self.sync(conversation, think=think, tools=tools)
            return self.reply(options)

        return run_with_tools(answer, messages, tools)

    def _decode(
        self, decoder: Decoder, hidden: mx.array, options: ReplyOptions, known: int, clock: Clock
    ) -> Iterator[Delta | ToolCall | Finish]:
        runner = self._runner
        prompt = runner.tape.ids
        spoken = SpokenSoFar(options.reply_id or uuid.uuid4().hex, self._reply_opening(prompt))
        reason: Reason = "stop"
        steps = decoder.run(hidden, runner.cache, prompt)
        self._replying = True
        try:
            for step in steps:
                clock.token()
                runner.tape.append_tokens([step.token])
                spoken.add(step.token, step.events, stops=step.reason in ("stop", "tool"))
                reason = step.reason or reason
                yield from step.events
        finally:
            steps.close()
            self._replying = False
            self._end_reply(spoken)
        usage = clock.usage(prompt=len(prompt), cached=known, drafts=decoder.drafts)
        yield Finish(reason, usage, notice_of(reason))

    def _end_reply(self, spoken: SpokenSoFar) -> None:
        reply = spoken.reply()
        self._replies.add(reply)
        self._script = (*self._script, reply)
        calls = tuple((c.id, c.name) for c in reply.calls)
        self._state = ChatState("model", "call" if calls else "text", calls)
        self._runner.snapshot()

    def cut_reply(self, chars: int) -> str:
        """After an interruption: keep only what was really heard of the last reply.

        Args:
            chars: characters of the answer that were spoken.

        Returns:
            The text that stays: the longest run of whole tokens with at most ``chars`` characters.

        Raises:
            SessionError: the conversation does not end with a reply.
        """
        self._forbid_while_replying("shorten a reply")
        if not self._script or not isinstance(self._script[-1], SpokenReply):
            raise SessionError("There is no reply to shorten; the last message is not an answer.")
        reply = self._script[-1]
        start = self._reply_start(reply)
        count, text = heard_part(self._processor.tokenizer, reply, chars)
        cut = replace(reply, tokens=reply.tokens[:count], text=text, calls=())
        self._runner.truncate(start + count)
        self._script = (*self._script[:-1], cut)
        self._replies.add(cut)
        self._state = ChatState("model")
        return text

    def _reply_start(self, reply: SpokenReply) -> int:
        """Where the last reply's tokens begin: the tape ends with them and maybe a stop token."""
        tape = self._runner.tape.ids
        tokens = np.array(reply.tokens, dtype=np.int32)
        for stop in (len(tape), len(tape) - 1):
            start = stop - len(tokens)
            if np.array_equal(tape[start:stop], tokens):
                return start
        raise SessionError("The last reply is no longer part of the conversation.")

    def _reply_opening(self, prompt: np.ndarray) -> tuple[int, ...]:
        """What stands between the model turn's header and the reply: nothing or thought markup."""
        opening = self._writer.opening(self._state, self._options)
        channel = self._processor.tokenizer.special("channel")
        return tuple(opening[opening.index(channel) :]) if channel in opening else ()

    def _close_turn(self, turn_id: str) -> None:
        """End a live turn: close the clip, place the newest waiting frame, keep its soft tokens."""
        self._place(self._live.end_clip(), "later")
        placed, notes = self._live.place_frames(newest_only=True)
        for note in notes:
            log.debug("frame t=%.2f %s", note.t, note.fate)
        self._place(placed, "later")
        if self._turn_start is None:
            return
        turn = LiveTurn(turn_id, self._runner.tape.part(self._turn_start))
        self._turns[turn_id] = turn
        self._script = (*self._script, turn)
        self._state = replace(self._state, last="text")
        self._turn_start = None

    def _soft_tokens(self, run: MediaRun) -> Rows:
        rows = self._live.rows(run.key)
        return self._media.soft_tokens(run) if rows is None else rows

    def _held_keys(self) -> Iterator[str]:
        for tape in (self._runner.tape, *(turn.tape for turn in self._turns.values())):
            yield from (run.key for run in tape.runs)

    def _forbid_while_replying(self, what: str) -> None:
        if self._replying:
            raise SessionError(f"A reply is being written; stop it before you {what}.")


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
