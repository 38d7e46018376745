"""An append-only conversation over one model that never computes anything twice.

The session owns a talk (entries and the chat's state), a runner (the tape of all it fed to the
model, a KV cache that holds a prefix of it, snapshots to go back to) and the soft tokens of every
medium. ``sync`` brings the tape in line with a list of messages, ``push_*`` feed a live turn while
it happens, ``reply`` decodes. Everything runs on the calling thread, which must be the one that
loaded the model.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np

from mlx_gemma4.audio_processing import SAMPLE_RATE
from mlx_gemma4.chat import ChatOptions, ChatState, ToolDeclaration
from mlx_gemma4.errors import MediaError, PromptError, SessionError
from mlx_gemma4.generate import Clock, Decoder, Finish, Reason, notice_of
from mlx_gemma4.messages import Image, Message, ToolCall
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.session.answer import SpokenSoFar, heard_part
from mlx_gemma4.session.feed import Feed, FeedMark
from mlx_gemma4.session.live import FrameNote, LiveInput
from mlx_gemma4.session.media import MediaMemory
from mlx_gemma4.session.reports import CompactReport, ReplyOptions, SyncReport
from mlx_gemma4.session.runner import Runner, Watch
from mlx_gemma4.session.script import Entry, ScriptWriter, SpokenReply
from mlx_gemma4.session.soft import Rows
from mlx_gemma4.session.talk import Talk
from mlx_gemma4.session.tape import MediaRun, Tape
from mlx_gemma4.tools import ReplyEvent, Tool, ToolOutcome, run_with_tools


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A moment of a session; see :meth:`Session.mark`."""

    tape: Tape
    state: ChatState
    script: tuple[Entry, ...]
    feed: FeedMark


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
        PromptError: another number of bits, or no room at all.
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
        if context is not None and context < 1:
            raise PromptError(f"A conversation cannot have a context of {context} tokens.")
        self.context = min(context or limit, limit)
        self._model = model
        self._processor = processor
        self._media = MediaMemory(model, feature_bytes)
        self._runner = Runner(model, self._soft_tokens, snapshot_bytes, kv_bits=kv_bits)
        writer = ScriptWriter(processor.tokenizer, processor.encode, self._media.keep_source)
        self._talk = Talk(writer, ChatOptions(family=model.config.family), self.context)
        self._live = LiveInput(model, processor, self._media.features)
        self._feed = Feed(self._live, self._runner, self._talk, self._media)

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
        return self._feed.clip_seconds

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
        self._feed.drop()
        self._talk.options = replace(self._talk.options, think=think, tools=tuple(tools))
        return self._rebuild(self._talk.entries(messages), watch)

    def compact(self, texts: dict[str, str], *, keep: int = 1) -> CompactReport:
        """Replace the sound and frames of old live turns by words; call it in idle time.

        A turn that is running stays as it is; its tokens are run again with its next ones.

        Args:
            texts: what to keep of each turn, by turn id (its transcript, a caption of its frames);
                turns without a text are left as they are.
            keep: newest live turns that stay as they were fed.
        """
        self._forbid_while_replying("compact the conversation")
        before = self.tokens
        script, turns = self._talk.in_words(texts, keep)
        self._feed.lift()
        try:
            self._rebuild(script, None, keep=False)
        finally:
            self._feed.lay_down()
        self._feed.forget_view()
        return CompactReport(before, self.tokens, tuple(turns))

    def _rebuild(
        self, script: tuple[Entry, ...], watch: Watch | None, *, keep: bool = True
    ) -> SyncReport:
        encoded, runner = self._media.encoded, self._runner
        written = self._talk.write(script)
        reused = runner.replace(written.tape, keep=keep)
        self._talk.take(written)
        self._media.forget_all_but(self._held_keys())
        run = runner.pending
        runner.advance(watch=watch)
        runner.snapshot()
        dropped = written.dropped
        notices = (self._dropped_notice(len(dropped)),) if dropped else ()
        return SyncReport(reused, run, self._media.encoded - encoded, dropped, notices)

    def _dropped_notice(self, count: int) -> str:
        return (
            f"The conversation is longer than this model can read ({self.context:,} tokens), so "
            f"its {count} oldest messages were left out."
        )

    # A live turn

    def push_audio(self, pcm: np.ndarray, t: float = 0.0, *, rate: int = SAMPLE_RATE) -> int:
        """Feed sound of the running turn; finished tokens are run while more is coming.

        Args:
            pcm: mono samples [n] at 16 kHz, float32 in −1..1 or int16; any n.
            t: when it began, seconds (for logs only: order is what counts).
            rate: samples a second, checked only: who records also resamples, to 16,000.

        Returns:
            How many clips reached 30 seconds and were closed.

        Raises:
            MediaError: the model does not hear, or the samples are damaged or of another rate.
        """
        if rate != SAMPLE_RATE:
            raise MediaError(
                f"This sound has {rate:,} samples a second; resample it to {SAMPLE_RATE:,} first."
            )
        return self._feed.push_audio(pcm, t)

    def push_frame(self, rgb: np.ndarray, t: float = 0.0) -> FrameNote:
        """Encode a camera frame uint8 [h, w, 3]; it is placed at the next border of clips.

        Raises:
            MediaError: the model does not see, or this is no picture.
        """
        return self._feed.push_frame(rgb, t)

    def push_text(self, text: str) -> None:
        """Add words to the running turn (a typed question during a call)."""
        self._feed.push_text(text)

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
        self._feed.end_clip()

    def mark(self) -> Mark:
        """Remember this moment, before a reply that may have to be taken back.

        Costs no pass: who runs what waits, most often the reply, remembers this place on its way,
        so that coming back runs nothing again.
        """
        if not self._feed.paused:
            self._runner.snapshot_on_the_way()
        talk = self._talk
        return Mark(self._runner.tape.part(), talk.state, talk.script, self._feed.mark())

    def rollback(self, mark: Mark) -> None:
        """Return to a mark, exactly: the clip that was open then is open again."""
        self._forbid_while_replying("go back")
        self._runner.replace(mark.tape.part(), keep=False)
        self._talk.go_back(mark.state, mark.script)
        self._feed.rollback(mark.feed)

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
            context=self.context,
        )
        self._feed.close(options.turn_id or uuid.uuid4().hex)
        known = self._runner.cache.offset
        opening = self._talk.opening()
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
        self._feed.paused = True
        try:
            for step in steps:
                clock.token()
                runner.tape.append_tokens([step.token])
                spoken.add(step.token, step.events, stops=step.reason in ("stop", "tool"))
                reason = step.reason or reason
                yield from step.events
        finally:
            steps.close()
            self._feed.paused = False
            self._end_reply(spoken)
        usage = clock.usage(prompt=len(prompt), cached=known, drafts=decoder.drafts)
        yield Finish(reason, usage, notice_of(reason))

    def _end_reply(self, spoken: SpokenSoFar) -> None:
        self._talk.add_reply(spoken.reply())
        self._runner.snapshot()
        self._feed.make_room()

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
        reply = self._talk.last_reply
        start = self._reply_start(reply)
        count, text = heard_part(self._processor.tokenizer, reply, chars)
        self._runner.truncate(start + count)
        self._talk.shorten_reply(replace(reply, tokens=reply.tokens[:count], text=text, calls=()))
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
        opening = self._talk.opening()
        channel = self._processor.tokenizer.special("channel")
        return tuple(opening[opening.index(channel) :]) if channel in opening else ()

    def _soft_tokens(self, run: MediaRun) -> Rows:
        rows = self._live.rows(run.key)
        return self._media.soft_tokens(run) if rows is None else rows

    def _held_keys(self) -> Iterator[str]:
        yield from (run.key for run in self._runner.tape.runs)
        yield from self._talk.held_keys()
        yield from self._feed.held_keys()

    def _forbid_while_replying(self, what: str) -> None:
        if self._feed.paused:
            raise SessionError(f"A reply is being written; stop it before you {what}.")
