"""A chat turn: the conversation's messages in, events of one answer out.

The one place that knows how the app's words become the library's. Runs on the MLX thread.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.core import commands
from app.core.commands import ChatTurn, PromptMedia, PromptMessage, PromptPart, PromptText, ToolSpec
from app.core.conversation import MediaKind, SamplingPreset, ToolCall, ToolResult, Usage
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Channel,
    Event,
    FinishReason,
    JobFinished,
    MemoryPressure,
    ModelInfo,
    Notice,
    PromptProgress,
    TextDelta,
    ToolCalled,
)
from app.engine.jobs import JobContext
from app.engine.memory import MemoryWatch
from mlx_gemma4 import messages as library
from mlx_gemma4.constrain import Constraint
from mlx_gemma4.errors import MediaError
from mlx_gemma4.generate import Finish, GenerateOptions, stream
from mlx_gemma4.model import Gemma4
from mlx_gemma4.plan import OnDisk
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import Cancelled, ReplyOptions, Session, Watch

SESSIONS_KEPT = 2
SNAPSHOT_BYTES = 1 << 30
DEFAULT_REPLY_TOKENS = 4096
_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "loop": FinishReason.LENGTH,
    "tool": FinishReason.TOOL,
}


@dataclass
class LoadedModel:
    """The loaded checkpoint and the newest conversations' caches.

    kv_bits: keys and values of full layers are kept in this many bits; None keeps them whole.
    table_on_disk: how it was asked to be loaded; an ear beside it is loaded the same way.
    """

    model: Gemma4
    processor: Processor
    info: ModelInfo
    context_tokens: int
    sessions: OrderedDict[str, Session]
    kv_bits: int | None = None
    table_on_disk: OnDisk = "auto"

    def session(self, conversation_id: str) -> Session:
        """The conversation's session; the oldest one is dropped where there are too many."""
        if conversation_id not in self.sessions:
            while len(self.sessions) >= SESSIONS_KEPT:
                self.sessions.popitem(last=False)
            self.sessions[conversation_id] = Session(
                self.model,
                self.processor,
                SNAPSHOT_BYTES // SESSIONS_KEPT,
                context=self.context_tokens or None,
                kv_bits=self.kv_bits,
            )
        self.sessions.move_to_end(conversation_id)
        return self.sessions[conversation_id]


def chat_turn(loaded: LoadedModel, job: ChatTurn, context: JobContext) -> Iterator[Event]:
    """The events of one answer."""
    clock = _Clock()
    try:
        if loaded.info.capabilities.chat:
            yield from _answer(loaded, job, context, clock)
        else:
            yield from _continue_text(loaded, job, context, clock)
    except Cancelled:
        yield JobFinished(job.job_id, FinishReason.CANCELLED, context.usage)
    except MediaError as problem:
        raise AppError(
            with_names(str(problem), job.messages),
            kind=ErrorKind.UNSUPPORTED_MEDIA,
            remedy="Remove the file or choose another one.",
        ) from problem


def _answer(
    loaded: LoadedModel, job: ChatTurn, context: JobContext, clock: _Clock
) -> Iterator[Event]:
    session = loaded.session(job.conversation_id)
    report = session.sync(
        [library_message(message) for message in job.messages],
        think=job.options.think,
        tools=[_Declared.of(tool) for tool in job.options.tools],
        watch=_watch(job.job_id, context),
    )
    for notice in report.notices:
        yield Notice(job.job_id, notice)
    prompt = report.reused + report.run
    yield PromptProgress(job.job_id, prompt, prompt, report.reused)
    steps = session.reply(ReplyOptions(generate_options(job.options)))
    yield from _events(job.job_id, steps, context, clock, report.reused)


def _continue_text(
    loaded: LoadedModel, job: ChatTurn, context: JobContext, clock: _Clock
) -> Iterator[Event]:
    """A base checkpoint has learned no conversation: it continues the last message's text."""
    text = "".join(part.text for part in job.messages[-1].parts if isinstance(part, PromptText))
    inputs = loaded.processor.raw(text)
    yield Notice(job.job_id, "This model was not trained to talk: it continues your text.")
    steps = stream(loaded.model, loaded.processor, inputs, generate_options(job.options))
    yield from _events(job.job_id, steps, context, clock, 0)


def _events(
    job_id: str, steps: Iterator[Any], context: JobContext, clock: _Clock, cached: int
) -> Iterator[Event]:
    watch = MemoryWatch()
    for step in steps:
        match step:
            case Delta(text=text, channel="answer" | "thought" as channel):
                clock.token()
                context.usage = clock.usage(cached)
                yield TextDelta(job_id, text, Channel(channel))
            case library.ToolCall():
                call = ToolCall(step.name, json.dumps(dict(step.arguments)), step.id)
                yield ToolCalled(job_id, call)
            case Finish():
                if step.notice:
                    yield Notice(job_id, step.notice)
                yield JobFinished(job_id, _REASONS[step.reason], clock.finished(step, cached))
                return
        if context.cancelled():
            yield JobFinished(job_id, FinishReason.CANCELLED, context.usage)
            return
        yield from _relieve(watch)


def _relieve(watch: MemoryWatch) -> Iterator[Event]:
    level, available = watch.check()
    if level:
        yield MemoryPressure(level, available)
    if level == "critical":
        raise AppError(
            "The answer was stopped because this machine ran out of memory.",
            kind=ErrorKind.OUT_OF_MEMORY,
            remedy="Close other apps, or use a smaller model or a shorter chat memory.",
        )


def _watch(job_id: str, context: JobContext) -> Watch:
    def progress(done: int, total: int) -> None:
        context.emit(PromptProgress(job_id, done, total))

    return Watch(progress, context.cancelled)


class _Clock:
    """Times of one answer as the person sees them: from the job's start."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._first = 0.0
        self._count = 0

    def token(self) -> None:
        self._count += 1
        if self._count == 1:
            self._first = time.perf_counter() - self._start

    def usage(self, cached: int) -> Usage:
        """So far, for an answer that is cut: pieces of text stand for tokens."""
        total = time.perf_counter() - self._start
        speed = self._count / max(total - self._first, 1e-9)
        return Usage(0, cached, self._count, self._first, total, speed)

    def finished(self, finish: Finish, cached: int) -> Usage:
        """The library's exact counts with this clock's times."""
        exact = finish.usage
        return Usage(
            prompt=exact.prompt_tokens,
            cached=cached,
            generated=exact.generated_tokens,
            first_token_s=self._first,
            total_s=time.perf_counter() - self._start,
            tokens_per_s=exact.tokens_per_s,
            peak_bytes=exact.peak_bytes,
        )


# --- the app's words in the library's ------------------------------------------------------------


def library_message(message: PromptMessage) -> library.Message:
    """One message of the prompt."""
    parts = tuple(_part(part) for part in message.parts)
    return library.Message(message.id, message.role.value, parts)


def _part(part: PromptPart) -> library.Part:
    match part:
        case PromptText():
            return library.Text(part.text)
        case PromptMedia(kind=MediaKind.IMAGE):
            return library.Image(part.path, part.detail.budget)
        case PromptMedia(kind=MediaKind.AUDIO):
            return library.Audio(part.sound_path or part.path)
        case PromptMedia(kind=MediaKind.VIDEO):
            return library.Video(part.path, part.sound_path or None)
        case ToolCall():
            return library.ToolCall(part.name, _arguments(part.arguments), part.id)
        case ToolResult():
            return library.ToolResult(part.name, part.content, part.id)
        case _:
            raise AppError(
                f"“{part.name}” has no text Facet could read.",
                kind=ErrorKind.UNSUPPORTED_MEDIA,
                remedy="Open it under Documents to have its pages read, or attach it as a picture.",
            )


def _arguments(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}


def generate_options(options: commands.ReplyOptions) -> GenerateOptions:
    """Length, sampling and constraint."""
    return GenerateOptions(
        max_tokens=options.max_tokens or DEFAULT_REPLY_TOKENS,
        sampling=sampling_options(options.preset),
        constraint=Constraint.json_schema(options.json_schema) if options.json_schema else None,
    )


def sampling_options(preset: SamplingPreset) -> SamplingOptions:
    """The preset in the library's words."""
    return SamplingOptions(
        temperature=preset.temperature,
        top_p=preset.top_p,
        top_k=preset.top_k,
        min_p=preset.min_p,
        repetition_penalty=preset.repetition_penalty,
        seed=preset.seed,
    )


@dataclass(frozen=True, slots=True)
class _Declared:
    """A tool as the prompt declares it; running it is the window's business."""

    name: str
    description: str
    parameters: Mapping[str, object] | None

    @classmethod
    def of(cls, tool: ToolSpec) -> _Declared:
        return cls(tool.name, tool.description, _arguments(tool.parameters) or None)


def with_names(text: str, messages: tuple[PromptMessage, ...]) -> str:
    """Attachments lie under their hash; the person knows them by another name."""
    for message in messages:
        for part in message.parts:
            if isinstance(part, PromptMedia) and part.name:
                stored = part.path.replace("\\", "/").rsplit("/", 1)[-1]
                text = text.replace(stored, part.name)
    return text
