"""An engine that follows a script: same events as the real one, no model, no MLX.

Used by tests, screenshots, figures and for trying the window on a machine without a model. Its
answers depend only on the script and the message.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.core import commands
from app.core.commands import Job, PromptMedia, PromptMessage, PromptText, Query
from app.core.conversation import Role, ToolCall, ToolResult, Usage
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Answer,
    Capabilities,
    Channel,
    EngineChecked,
    EngineStarted,
    Event,
    FinishReason,
    FrameSeen,
    JobFinished,
    LiveReady,
    LiveReplyFinished,
    LiveReplyStarted,
    ModelInfo,
    ModelLoadProgress,
    ModelReady,
    ModelUnloaded,
    Pong,
    PromptProgress,
    TextDelta,
    TokensCounted,
    ToolCalled,
    TranscriptLine,
    TranscriptStarted,
)
from app.core.paths import demo_model_dir
from app.engine.file_looker import FileLooker
from app.engine.jobs import JobContext
from app.engine.script import Failing, Rule, Script, load_script

if TYPE_CHECKING:
    from app.engine.document_pages import HostKeeper

_CHUNK_TOKENS = 256


class ScriptedEngine:
    """See `app.engine.jobs.Engine`."""

    def __init__(self, script: str) -> None:
        self._script: Script = load_script(script)
        self._loaded: ModelInfo | None = None
        self._seen: set[str] = set()
        self._asleep = threading.Event()
        self._looker = FileLooker()
        self._documents: HostKeeper | None = None

    def open(self) -> EngineStarted:
        """Nothing to prepare but the delay of the script."""
        time.sleep(self._script.open_s)
        return EngineStarted(os.getpid(), "scripted", "scripted", 16 << 30)

    def idle(self) -> bool:
        """A script has no work between jobs."""
        return False

    def close(self) -> None:
        """Nothing to free but the workers for files."""
        self._loaded = None
        self._looker.close()
        if self._documents is not None:
            self._documents.drop()

    def pong(self, number: int) -> Pong:
        """A heartbeat with made-up, constant memory."""
        return Pong(number, 1 << 30, 1 << 28, 2 << 30, 1 << 29)

    def failure(self, problem: Exception) -> AppError | None:
        """Scripts raise AppError themselves."""
        return None

    def answer(self, query: Query) -> Answer:
        """Files and plans are answered for real; tokens are counted as words."""
        if isinstance(query, commands.CountTokens):
            counts = tuple(_tokens(message) for message in query.messages)
            return TokensCounted(
                query.query_id, sum(counts), self._script.context_tokens, True, counts
            )
        from app.engine.questions import answer

        return answer(query, self._looker)

    def run(self, job: Job, context: JobContext) -> Iterator[Event]:
        """The events of one job."""
        match job:
            case commands.LoadModel():
                yield from self._load(job, context)
            case commands.UnloadModel():
                self._loaded = None
                yield ModelUnloaded(job.job_id)
            case commands.CheckEngine():
                yield EngineChecked(job.job_id, (("Script", True, "no kernels to check"),))
            case commands.ChatTurn():
                yield from self._chat(job, context)
            case commands.ReadDocument():
                yield from self._read(job, context)
            case commands.LiveStart():
                yield from self._live(job, context)
            case commands.TranscribeFile():
                yield TranscriptStarted(job.job_id, 4.0)
                for second, word in enumerate(self._script.pages[0].split()[:4]):
                    yield TranscriptLine(job.job_id, float(second), second + 1.0, word)

    # --- models ----------------------------------------------------------------------------------

    def _load(self, job: commands.LoadModel, context: JobContext) -> Iterator[Event]:
        self._loaded = None
        started = time.monotonic()
        steps = 5
        for step in range(steps):
            yield ModelLoadProgress(job.job_id, step / steps, "reading")
            self._pause(self._script.load_s / steps, context)
        self._loaded = ModelInfo(
            job.path,
            "Scripted",
            "scripted",
            context_tokens=self._script.context_tokens,
            capabilities=Capabilities(
                self._script.sees, self._script.hears, self._script.sees, self._script.uses_tools
            ),
            source="demo" if Path(job.path) == demo_model_dir() else "folder",
        )
        yield ModelReady(job.job_id, self._loaded, time.monotonic() - started)

    # --- chat ------------------------------------------------------------------------------------

    def _chat(self, job: commands.ChatTurn, context: JobContext) -> Iterator[Event]:
        if self._loaded is None:
            raise no_model()
        started = time.monotonic()
        prompt = sum(_tokens(message) for message in job.messages)
        cached = sum(_tokens(message) for message in job.messages if message.id in self._seen)
        self._seen.update(message.id for message in job.messages)
        yield from self._prefill(job.job_id, prompt, cached, context)
        first = time.monotonic() - started
        text = _last_text(job.messages)
        rule = self._script.rule_for(text) or Rule("", _echo(job.messages[-1]))
        words = 0
        for piece in self._say(job.job_id, rule, context):
            words += isinstance(piece, TextDelta)
            total = time.monotonic() - started
            context.usage = Usage(prompt, cached, words, first, total, words / (total or 1e-9))
            yield piece
        reason = FinishReason.TOOL if rule.tool else FinishReason.STOP
        yield JobFinished(job.job_id, reason, context.usage)

    def _prefill(
        self, job_id: str, prompt: int, cached: int, context: JobContext
    ) -> Iterator[Event]:
        done = cached
        while done < prompt:
            count = min(_CHUNK_TOKENS, prompt - done)
            self._pause(count * self._script.prompt_token_s, context)
            done += count
            yield PromptProgress(job_id, done, prompt, cached)

    def _say(
        self, job_id: str, rule: Rule, context: JobContext, reply: int = -1
    ) -> Iterator[Event]:
        spoken = 0
        texts = ((Channel.THOUGHT, rule.thought), (Channel.ANSWER, rule.answer * rule.repeat))
        for channel, text in texts:
            for word in re.findall(r"\s*\S+\s*", text):
                if rule.failing is not None and spoken == rule.failing.after_words:
                    _break(rule.failing)
                self._pause(self._script.word_s, context)
                yield TextDelta(job_id, word, channel, reply=reply)
                spoken += 1
        if rule.failing is not None and spoken <= rule.failing.after_words:
            _break(rule.failing)
        if rule.tool:
            yield ToolCalled(job_id, ToolCall(rule.tool, rule.arguments, f"call-{job_id}"))

    def _pause(self, seconds: float, context: JobContext) -> None:
        """Wait in small steps, so that a cancel is seen between them."""
        until = time.monotonic() + seconds
        while not context.cancelled() and (left := until - time.monotonic()) > 0:
            self._asleep.wait(min(left, 0.02))

    def _hosts(self) -> HostKeeper:
        from app.engine.document_pages import HostKeeper

        if self._documents is None:
            self._documents = HostKeeper()
        return self._documents

    # --- documents and live ----------------------------------------------------------------------

    def _read(self, job: commands.ReadDocument, context: JobContext) -> Iterator[Event]:
        """Real files through the real worker; only what the model would say is from the script."""
        from app.engine.documents import read_document
        from app.engine.scripted_eyes import ScriptedEyes

        def eyes() -> ScriptedEyes:
            if self._loaded is None:
                raise no_model()
            return ScriptedEyes(self._script, lambda seconds: self._pause(seconds, context))

        yield from read_document(job, context, self._hosts(), eyes)

    def _live(self, job: commands.LiveStart, context: JobContext) -> Iterator[Event]:
        if self._loaded is None:
            raise no_model()
        ear = "Scripted ear" if job.ear and not self._script.hears else ""
        yield LiveReady(job.job_id, self._script.hears or bool(ear), self._script.sees, ear)
        heard = 0
        while (command := context.inbox.get()) is not None:
            match command:
                case commands.LiveEnd():
                    return
                case commands.PushAudio():
                    heard += len(command.pcm) // 4
                case commands.PushFrame():
                    yield FrameSeen(job.job_id, command.t)
                case commands.LiveReply():
                    yield from self._live_reply(job.job_id, command, heard, context)
                    heard = 0

    def _live_reply(
        self, job_id: str, command: commands.LiveReply, heard: int, context: JobContext
    ) -> Iterator[Event]:
        yield LiveReplyStarted(job_id, command.reply)
        said = f"I heard {heard / 16000:.1f} seconds."
        rule = self._script.rule_for(command.text) or Rule("", said)
        reason = FinishReason.STOP
        words = self._say(job_id, rule, context, command.reply)
        for event in words:
            yield event
            if _stop_asked(context):
                reason = FinishReason.CANCELLED
                break
        yield LiveReplyFinished(job_id, command.reply, reason)


def no_model() -> AppError:
    """The failure of a job that needs a model while none is loaded."""
    return AppError(
        "No model is loaded.",
        kind=ErrorKind.NO_MODEL,
        remedy="Choose a model under Models; the demo model is ready at once.",
    )


def _stop_asked(context: JobContext) -> bool:
    """Look for a `StopReply` among the waiting commands, keeping the others in order."""
    waiting = []
    while not context.inbox.empty():
        waiting.append(context.inbox.get())
    for command in waiting:
        if not isinstance(command, commands.StopReply):
            context.inbox.put(command)
    return any(isinstance(command, commands.StopReply) for command in waiting)


def _break(failing: Failing) -> None:
    if failing.die:
        os.kill(os.getpid(), signal.SIGKILL)
    if failing.hang_s:
        time.sleep(failing.hang_s)
    if failing.message:
        raise AppError(failing.message, kind=failing.kind, remedy="Try again.")


def _last_text(messages: tuple[PromptMessage, ...]) -> str:
    users = [message for message in messages if message.role in (Role.USER, Role.TOOL)]
    parts = users[-1].parts if users else ()
    return " ".join(
        part.text if isinstance(part, PromptText) else part.content
        for part in parts
        if isinstance(part, PromptText | ToolResult)
    )


def _echo(message: PromptMessage) -> str:
    text = _last_text((message,))
    if message.role is Role.TOOL:
        return f"The tool says: {text}"
    media = [part for part in message.parts if isinstance(part, PromptMedia)]
    seen = "".join(f" I got {part.kind.value} “{part.name}”." for part in media)
    return (f"You wrote: {text}" if text else "") + seen


def _tokens(message: PromptMessage) -> int:
    words = sum(len(part.text.split()) for part in message.parts if isinstance(part, PromptText))
    media = sum(
        part.detail.budget or 280 for part in message.parts if isinstance(part, PromptMedia)
    )
    return 4 + words + media
