"""From a prompt to streamed text: prefill, then decoding one token ahead of the host.

While the host reads token n, the accelerator already computes token n + 1. Every function here is a
generator: it can be stopped between any two evaluations by closing it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import mlx.core as mx
import numpy as np

from mlx_gemma4.cache import Cache
from mlx_gemma4.constrain import AnswerGate, Constraint, ReplyGate
from mlx_gemma4.errors import PromptError
from mlx_gemma4.inputs import ModelInputs
from mlx_gemma4.loops import LoopDetector
from mlx_gemma4.messages import ToolCall
from mlx_gemma4.model import Gemma4
from mlx_gemma4.prefill import DEFAULT_CHUNK, Progress, prefill
from mlx_gemma4.reply import Channel, Delta, Event, ReplyParser
from mlx_gemma4.sampling import Sampler, SamplingOptions
from mlx_gemma4.speculation import DraftSource, Speculation
from mlx_gemma4.speculation_pace import DraftCounts
from mlx_gemma4.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mlx_gemma4.processor import Processor

Reason = Literal["stop", "length", "tool", "loop"]
_CLEAR_EVERY = 256  # tokens between two releases of unused buffers


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """How a reply is made.

    Attributes:
        max_tokens: most tokens of the reply.
        sampling: how tokens are picked.
        stop: token ids that end the reply, beside those of the checkpoint.
        chunk: most prompt tokens run at once.
        loop_guard: stop when the reply repeats itself without end.
        constraint: a schema or grammar the answer must follow; thoughts stay free.
        draft: where drafts for speculative decoding come from; the reply stays the same (greedy)
            or equally distributed.
    """

    max_tokens: int = 2048
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    stop: tuple[int, ...] = ()
    chunk: int = DEFAULT_CHUNK
    loop_guard: bool = True
    constraint: Constraint | None = None
    draft: DraftSource | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.chunk < 1:
            raise PromptError(
                "A reply and a prefill chunk need at least one token; raise the number."
            )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost.

    Attributes:
        prompt_tokens: tokens of the whole prompt, soft tokens included.
        cached_tokens: how many of them were not run again.
        generated_tokens: tokens of the reply, the stop token included.
        prefill_s: seconds to encode media and run the prompt.
        first_token_s: seconds until the first token was known.
        decode_s: seconds from the first token to the last.
        peak_bytes: most memory MLX held during the reply.
        draft_blocks: passes that verified drafted tokens.
        drafted_tokens: tokens that were drafted.
        accepted_tokens: drafted tokens that stood.
    """

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    prefill_s: float
    first_token_s: float
    decode_s: float
    peak_bytes: int
    draft_blocks: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def acceptance(self) -> float:
        """Share of drafted tokens that stood; 0 without drafts."""
        return self.accepted_tokens / self.drafted_tokens if self.drafted_tokens else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed; 0 for a reply of one token."""
        return (self.generated_tokens - 1) / self.decode_s if self.decode_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply.

    Attributes:
        reason: "stop" (the model ended it), "length" (``max_tokens`` or the context is used up),
            "tool" (it waits for the result of a tool call), "loop" (it repeated itself).
        usage: what it cost.
        notice: a sentence for the user when the end needs one, else empty.
    """

    reason: Reason
    usage: Usage
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One decoded token, what it adds to the reply, and whether it ends it."""

    token: int
    events: tuple[Event, ...]
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished reply."""

    text: str
    thought: str
    tool_calls: tuple[ToolCall, ...]
    reason: Reason
    usage: Usage
    notice: str = ""


_NOTICES: dict[Reason, str] = {
    "length": "The reply was cut because it reached the length limit.",
    "loop": "The reply was stopped because it repeated itself; ask again or raise the temperature.",
}


def notice_of(reason: Reason) -> str:
    """The sentence that tells the user why a reply ended, empty for an ordinary end."""
    return _NOTICES.get(reason, "")


def stream(
    model: Gemma4,
    processor: Processor,
    inputs: ModelInputs,
    options: GenerateOptions | None = None,
    *,
    kv_bits: int | None = None,
) -> Iterator[Progress | Delta | ToolCall | Finish]:
    """Answer one prompt.

    Args:
        model: from ``load``.
        processor: from ``load``.
        inputs: from ``processor.inputs(messages)`` or ``processor.raw(text)``.
        options: how to reply.
        kv_bits: keep keys and values of full layers in 8 or 4 bits; ``None`` keeps them whole.

    Yields:
        ``Progress`` while the prompt is read, then ``Delta`` and ``ToolCall``, and one ``Finish``
        last. Close the iterator to cancel.

    Raises:
        PromptError: the prompt does not fit the model.
        ToolError: the constraint is not usable.
    """
    options = options or GenerateOptions()
    clock = Clock()
    cache = model.make_cache(kv_bits=kv_bits)
    prefix = f"call-{len(inputs)}"  # prompts of a conversation grow, so ids stay unique in it
    decoder = Decoder(model, processor.tokenizer, options, call_prefix=prefix)
    hidden = yield from prefill(model, inputs, cache, chunk=options.chunk)
    clock.prefilled()
    reason: Reason = "stop"
    for step in decoder.run(hidden, cache, inputs.ids):
        clock.token()
        yield from step.events
        reason = step.reason or reason
    usage = clock.usage(prompt=len(inputs), cached=0, drafts=decoder.drafts)
    yield Finish(reason, usage, notice_of(reason))


def generate(
    model: Gemma4,
    processor: Processor,
    inputs: ModelInputs,
    options: GenerateOptions | None = None,
    *,
    kv_bits: int | None = None,
) -> Reply:
    """Answer one prompt and wait for the end; see ``stream``."""
    return collect(stream(model, processor, inputs, options, kv_bits=kv_bits))


def collect(events: Iterator[Progress | Delta | ToolCall | Finish]) -> Reply:
    """Join the events of one reply."""
    text: dict[Channel, list[str]] = {"answer": [], "thought": [], "tool": []}
    calls: list[ToolCall] = []
    for event in events:
        if isinstance(event, Delta):
            text[event.channel].append(event.text)
        elif isinstance(event, ToolCall):
            calls.append(event)
        elif isinstance(event, Finish):
            answer, thought = "".join(text["answer"]), "".join(text["thought"])
            return Reply(answer, thought, tuple(calls), event.reason, event.usage, event.notice)
    raise PromptError("The reply was cancelled before it ended.")


class Decoder:
    """Decodes one reply from the hidden state of the last prompt token.

    Args:
        model: the model.
        tokenizer: of the model.
        options: how to reply.
        call_prefix: start of the ids of tool calls.
        stops: whether stop tokens end the reply; without, it always has its full length.
        context: most tokens of prompt and reply together; by default the model's own limit.

    Raises:
        ToolError: the constraint is not usable.
    """

    def __init__(
        self,
        model: Gemma4,
        tokenizer: Tokenizer,
        options: GenerateOptions,
        *,
        call_prefix: str = "call",
        stops: bool = True,
        context: int | None = None,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._options = options
        self._call_prefix = call_prefix
        self._context = context or model.config.text.max_position_embeddings
        self._stop = stop_ids(model, tokenizer) | set(options.stop) if stops else set[int]()
        constraint = options.constraint
        self._matcher = constraint.matcher(tokenizer) if constraint else None
        self._speculation: Speculation | None = None

    @property
    def drafts(self) -> DraftCounts:
        """What drafting did in this reply."""
        return self._speculation.counts if self._speculation else DraftCounts()

    def run(
        self, hidden: mx.array, cache: Cache, prompt: np.ndarray
    ) -> Generator[Step, None, None]:
        """Decode until the reply ends.

        When a step is yielded, its token has been given to ``cache`` already, stop tokens included:
        the cache holds the prompt and all tokens yielded so far, whenever the iterator is closed.
        Until then drafted tokens may stand behind them.

        Args:
            hidden: [1, 1, hidden] of the last prompt token.
            cache: holds the prompt.
            prompt: ids of the prompt [T] (for the repetition penalty and the start channel).
        """
        options = self._options
        parser = ReplyParser(
            self._tokenizer,
            start_channel(self._tokenizer, prompt),
            call_prefix=self._call_prefix,
        )
        loops = LoopDetector() if options.loop_guard else None
        limit = min(options.max_tokens, self._context - cache.offset)
        tokens = self._tokens(hidden, cache, prompt, parser, limit)
        try:
            for count, token in enumerate(tokens, start=1):
                reason = self._reason(token, count, limit, loops)
                events = parser.feed(token)
                if reason:
                    events += parser.finish()
                yield Step(token, tuple(events), reason)
                if reason:
                    return
        finally:
            tokens.close()

    def _reason(
        self, token: int, count: int, limit: int, loops: LoopDetector | None
    ) -> Reason | None:
        if token in self._stop:
            return "tool" if token == self._tokenizer.special("tool_response") else "stop"
        if loops and loops.feed(token):
            return "loop"
        return "length" if count >= limit else None

    def _tokens(
        self,
        hidden: mx.array,
        cache: Cache,
        prompt: np.ndarray,
        parser: ReplyParser,
        limit: int,
    ) -> Generator[int, None, object]:
        config, sampling = self._model.config, self._options.sampling
        sampler = Sampler(
            sampling,
            softcap=config.text.final_logit_softcapping,
            # A placeholder stands for a medium; as an answer it means nothing and could not be
            # read again as part of the conversation.
            suppress={*config.suppress_token_ids, *config.soft_token_ids},
            history=prompt,
            vocab_size=config.text.vocab_size,
        )
        gate = self._gate(prompt, parser)
        if gate is None:
            first = sampler(self._model.greedy_logits(hidden))
            plain = partial(self._one_ahead, sampler, cache)
        else:
            first = sampler(self._model.greedy_logits(hidden), gate.allowed())
            plain = partial(self._gated, sampler, cache, gate)
        mx.async_eval(first)
        if self._options.draft is None:
            return plain(first, lambda _token, _seconds: False)
        drafter = self._options.draft.start(self._model, prompt, sampling)
        self._speculation = Speculation(self._model, drafter, sampler, sampling, cache, limit, gate)
        return self._speculation.run(first, plain)

    def _gate(self, prompt: np.ndarray, parser: ReplyParser) -> ReplyGate | None:
        if self._matcher is None:
            return None
        matcher, tokenizer = self._matcher.deep_copy(), self._tokenizer
        gate = AnswerGate(matcher, tokenizer, prompt, self._model.config.text.vocab_size)
        return ReplyGate(gate, parser, tokenizer)

    def _one_ahead(
        self,
        sampler: Sampler,
        cache: Cache,
        token: mx.array,
        leave: Callable[[int, float | None], bool],
    ) -> Generator[int, None, tuple[mx.array, mx.array]]:
        """Queue the pass for token n + 1 before waiting for token n.

        Args:
            sampler: picks tokens.
            cache: does not hold ``token`` yet.
            token: the first token, picked.
            leave: told each token and, if they say anything, the seconds it took; True ends it.

        Returns:
            The hidden state behind the last token yielded and the token picked from it.
        """
        model = self._model
        for count in _counter():
            started = time.perf_counter()
            hidden = model.step_hidden(token, cache)
            following = sampler(model.greedy_logits(hidden))
            if count > 1:
                mx.async_eval(following)
            known = _id(token)
            seconds = time.perf_counter() - started
            yield known
            token = following
            if count == 1:  # queueing may block, and nothing may delay the first token
                mx.async_eval(token)
            if count % _CLEAR_EVERY == 0:
                mx.clear_cache()
            if leave(known, seconds if count > 2 else None):
                return hidden, token
        raise AssertionError("counting never ends")

    def _gated(
        self,
        sampler: Sampler,
        cache: Cache,
        gate: ReplyGate,
        token: mx.array,
        leave: Callable[[int, float | None], bool],
    ) -> Generator[int, None, tuple[mx.array, mx.array]]:
        """As ``_one_ahead`` under a grammar, which needs token n to say what n + 1 may be.

        The mask is made during the pass.
        """
        model = self._model
        for count in _counter():
            known = _id(token)
            started = time.perf_counter()
            gate.feed(known)
            hidden = model.step_hidden(known, cache)
            logits = model.greedy_logits(hidden)
            mx.async_eval(logits)
            seconds = time.perf_counter() - started
            yield known
            started = time.perf_counter()
            token = sampler(logits, gate.allowed())
            mx.eval(token)
            seconds += time.perf_counter() - started
            if count % _CLEAR_EVERY == 0:
                mx.clear_cache()
            if leave(known, seconds if count > 1 else None):
                return hidden, token
        raise AssertionError("counting never ends")


def _id(token: mx.array) -> int:
    """Wait for a token: the only point at which the host and the accelerator meet."""
    return cast("int", token.item())


def _counter() -> Iterator[int]:
    count = 0
    while True:
        count += 1
        yield count


def stop_ids(model: Gemma4, tokenizer: Tokenizer) -> set[int]:
    """All ids that end a reply: the checkpoint's, ``<turn|>``, ``<eos>``, ``<|tool_response>``.

    The last one follows a tool call. Some checkpoints leave it out of their list, and then the
    model goes on and invents the response (spec T49).
    """
    own = (tokenizer.special(name) for name in ("eos", "turn_end", "tool_response"))
    return {*model.config.eos_token_ids, *(token for token in own if token is not None)}


def start_channel(tokenizer: Tokenizer, prompt: np.ndarray) -> Channel:
    """Where a reply begins: inside a thought if the last channel tag is an opening one."""
    opening = tokenizer.special("channel")
    ends = [tokenizer.special(name) for name in ("channel_end", "turn", "turn_end")]
    tags = np.flatnonzero(np.isin(prompt, [tag for tag in (opening, *ends) if tag is not None]))
    return "thought" if tags.size and prompt[tags[-1]] == opening else "answer"


class Clock:
    """Measures one reply; starts when made."""

    def __init__(self) -> None:
        mx.reset_peak_memory()
        self._start = time.perf_counter()
        self._prefilled = self._first = self._last = self._start
        self._tokens = 0

    def prefilled(self) -> None:
        """The prompt has been run."""
        self._prefilled = time.perf_counter()

    def token(self) -> None:
        """A token has become known."""
        self._last = time.perf_counter()
        self._tokens += 1
        if self._tokens == 1:
            self._first = self._last

    def usage(self, *, prompt: int, cached: int, drafts: DraftCounts | None = None) -> Usage:
        """The figures up to now."""
        drafts = drafts or DraftCounts()
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            generated_tokens=self._tokens,
            prefill_s=self._prefilled - self._start,
            first_token_s=max(self._first - self._start, 0.0),
            decode_s=max(self._last - self._first, 0.0),
            peak_bytes=mx.get_peak_memory(),
            draft_blocks=drafts.blocks,
            drafted_tokens=drafts.drafted,
            accepted_tokens=drafts.accepted,
        )
