"""The real engine: owns the loaded model and hands each job to its pipeline.

Everything except `answer` and `pong` runs on the MLX thread, which imports MLX, loads, runs and
frees; only plain data leaves it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.core import commands
from app.core.commands import EngineOptions, Job, Query
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    Answer,
    EngineChecked,
    EngineStarted,
    Event,
    FinishReason,
    JobFinished,
    ModelInfo,
    ModelLoadProgress,
    ModelReady,
    ModelUnloaded,
    Pong,
    TokensCounted,
)
from app.core.paths import demo_model_dir
from app.engine.file_looker import FileLooker
from app.engine.jobs import JobContext
from mlx_gemma4 import errors

if TYPE_CHECKING:
    from app.documents.types import PageFacts, ReadingDetail
    from app.engine.chat import LoadedModel
    from app.engine.document_pages import HostKeeper
    from app.engine.media_worker import MediaWorker
    from app.engine.self_check import KernelTrial

log = logging.getLogger(__name__)

_KINDS: tuple[tuple[type[Exception], ErrorKind, str], ...] = (
    (errors.MediaError, ErrorKind.UNSUPPORTED_MEDIA, ""),
    (errors.ConfigError, ErrorKind.MODEL_BROKEN, "Or choose another model under Models."),
    (errors.WeightsError, ErrorKind.MODEL_BROKEN, "Or choose another model under Models."),
    (errors.HubError, ErrorKind.MODEL_MISSING, "Choose another model under Models."),
    (errors.Gemma4Error, ErrorKind.BAD_INPUT, ""),
)
_MEMORY_WORDS = ("malloc", "out of memory", "Insufficient Memory", "allocate")


class _LoadCancelled(Exception):  # noqa: N818 - the person asked for it
    """Raised inside the loader's progress call."""


class GemmaEngine:
    """See `app.engine.jobs.Engine`."""

    def __init__(self, options: EngineOptions) -> None:
        self._options = options
        self._loaded: LoadedModel | None = None
        self._looker = FileLooker()
        self._documents: HostKeeper | None = None
        self._media: MediaWorker | None = None
        self._kernels: KernelTrial | None = None

    # --- life ------------------------------------------------------------------------------------

    def open(self) -> EngineStarted:
        """Import MLX on this thread and set its limits."""
        import psutil

        from app.engine.memory import set_limits

        set_limits(self._options.memory_percent)
        return EngineStarted(
            pid=os.getpid(),
            device=_device(),
            chip=platform.processor() or platform.machine(),
            memory=psutil.virtual_memory().total,
            versions=(("mlx", importlib.metadata.version("mlx")),),
        )

    def close(self) -> None:
        """Free the model, then MLX's streams: the order that ends cleanly."""
        import mlx.core as mx

        self._looker.close()
        if self._documents is not None:
            self._documents.drop()
        if self._media is not None:
            self._media.close()
        self._free()
        mx.synchronize()
        mx.clear_streams()

    def _free(self) -> None:
        from app.engine.memory import free_unused

        self._kernels = None
        if self._loaded is not None:
            self._loaded = None
            free_unused()

    def idle(self) -> bool:
        """Between jobs the loaded model's kernels are tried, one call at a time."""
        return self._kernels is not None and self._kernels.step()

    def pong(self, number: int) -> Pong:
        """Memory figures; reading MLX's counters is safe from any thread."""
        import mlx.core as mx
        import psutil

        rss = psutil.Process().memory_info().rss

        return Pong(
            number, mx.get_active_memory(), mx.get_cache_memory(), mx.get_peak_memory(), rss
        )

    # --- questions -------------------------------------------------------------------------------

    def answer(self, query: Query) -> Answer:
        """Questions that need the tokenizer are answered exactly while a model is loaded."""
        from app.engine import questions

        loaded = self._loaded
        if isinstance(query, commands.CountTokens) and loaded is not None:
            return _count(query, loaded)
        return questions.answer(query, self._looker)

    # --- jobs ------------------------------------------------------------------------------------

    def run(self, job: Job, context: JobContext) -> Iterator[Event]:
        """The events of one job."""
        if self._media is not None:
            self._media.cancelled = context.cancelled
        match job:
            case commands.LoadModel():
                yield from self._load(job, context)
            case commands.UnloadModel():
                self._free()
                yield ModelUnloaded(job.job_id)
            case commands.CheckEngine():
                from app.engine.self_check import self_check

                yield EngineChecked(job.job_id, tuple(self_check()))
            case commands.ChatTurn():
                from app.engine.chat import chat_turn

                yield from chat_turn(self._need_model(), job, context)
            case commands.LiveStart():
                yield from self._live(job, context)
            case commands.TranscribeFile():
                from app.engine.live_transcribe import transcribe_file

                read = self._media_worker().sound
                yield from transcribe_file(self._loaded, job, context, read)
            case commands.ReadDocument():
                yield from self._read(job, context)

    def _read(self, job: commands.ReadDocument, context: JobContext) -> Iterator[Event]:
        from app.engine.documents import read_document
        from app.engine.page_reader import PageReader, auto_detail

        loaded = self._loaded

        def reader() -> PageReader:
            return PageReader(self._need_model(), job, context)

        def auto(facts: PageFacts) -> ReadingDetail:
            return auto_detail(loaded, facts) if loaded else facts.suggested

        yield from read_document(job, context, self._hosts(), reader, auto)

    def _need_model(self) -> LoadedModel:
        if self._loaded is None:
            raise AppError(
                "No model is loaded.",
                kind=ErrorKind.NO_MODEL,
                remedy="Choose a model under Models; the demo model is ready at once.",
            )
        return self._loaded

    def _load(self, job: commands.LoadModel, context: JobContext) -> Iterator[Event]:
        from app.engine.chat import LoadedModel
        from app.engine.self_check import KernelTrial
        from mlx_gemma4 import load

        started, memory = time.perf_counter(), job.memory
        self._free()
        yield ModelLoadProgress(job.job_id, 0.0, "looking")
        _refuse_too_large(job.path)

        def progress(done: int, total: int, stage: str) -> None:
            if context.cancelled():
                raise _LoadCancelled
            context.emit(ModelLoadProgress(job.job_id, done / max(total, 1), stage))

        try:
            model, processor = load(
                job.path,
                adapter=job.adapter or None,
                progress=progress,
                ple_on_disk=memory.table_on_disk,
            )
        except _LoadCancelled:
            self._free()
            yield JobFinished(job.job_id, FinishReason.CANCELLED)
            return
        info = _info(job.path)
        limit = info.context_tokens
        tokens = min(memory.context_tokens or limit, limit)
        info = replace(info, context_tokens=tokens)
        processor = processor.reading_with(self._media_worker())
        self._kernels = KernelTrial(model)
        self._loaded = LoadedModel(
            model,
            processor,
            info,
            tokens,
            OrderedDict(),
            memory.kv_bits or None,
            memory.table_on_disk,
        )
        yield ModelReady(job.job_id, info, time.perf_counter() - started)

    def _hosts(self) -> HostKeeper:
        from app.engine.document_pages import HostKeeper

        if self._documents is None:
            self._documents = HostKeeper()
        return self._documents

    def _media_worker(self) -> MediaWorker:
        from app.engine.media_worker import MediaWorker

        if self._media is None:
            self._media = MediaWorker()
        return self._media

    def _live(self, job: commands.LiveStart, context: JobContext) -> Iterator[Event]:
        from app.engine.chat import library_message
        from app.engine.live_session import run_live

        messages = [library_message(message) for message in job.messages]
        yield from run_live(self._need_model(), messages, job, context)

    def failure(self, problem: Exception) -> AppError | None:
        """Words for what the library raises; None for a defect."""
        text = str(problem)
        if isinstance(problem, MemoryError) or (
            isinstance(problem, RuntimeError) and any(word in text for word in _MEMORY_WORDS)
        ):
            return AppError(
                "There was not enough memory for this.",
                kind=ErrorKind.OUT_OF_MEMORY,
                remedy="Use a smaller model or a shorter chat memory, or close other apps.",
                detail=text,
            )
        for kind, error_kind, remedy in _KINDS:
            if isinstance(problem, kind):
                return AppError(text, kind=error_kind, remedy=remedy, detail=repr(problem))
        return None


def _device() -> str:
    import mlx.core as mx

    if mx.metal.is_available():
        return "Metal"
    return "CUDA" if mx.default_device() == mx.Device(mx.gpu) else "CPU"


def _info(path: str) -> ModelInfo:
    from app.engine.questions import model_info
    from mlx_gemma4 import hub

    source = "demo" if Path(path).resolve() == demo_model_dir().resolve() else "folder"
    return model_info(hub.describe(path, source=source))


def _refuse_too_large(path: str) -> None:
    """A checkpoint larger than all memory would only take the machine down."""
    import psutil

    from mlx_gemma4 import hub

    size, total = hub.folder_size(Path(path)), psutil.virtual_memory().total
    if size > total:
        raise AppError(
            f"This model needs {size / 1e9:.0f} GB, this machine has {total / 1e9:.0f} GB.",
            kind=ErrorKind.OUT_OF_MEMORY,
            remedy="Choose a smaller model or a smaller quantisation.",
        )


def _count(query: commands.CountTokens, loaded: LoadedModel) -> TokensCounted:
    """Words exactly, media by their budget (an upper bound)."""
    from app.engine import questions

    guess = questions.estimate(query, loaded.context_tokens)
    counts, exact = [], True
    for message, rough in zip(query.messages, guess.per_message, strict=True):
        texts = [words for part in message.parts if (words := questions.written(part))]
        tokens = sum(len(loaded.processor.tokenizer.encode(text)) for text in texts)
        media = rough - questions.estimate_text(texts)
        exact = exact and media <= questions.TURN_TOKENS
        counts.append(tokens + media)
    return TokensCounted(query.query_id, sum(counts), guess.context, exact, tuple(counts))
