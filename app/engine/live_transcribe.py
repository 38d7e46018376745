"""Recordings of any length written down, line by line. Runs on the MLX thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from app.core.commands import TranscribeFile
from app.core.errors import AppError, ErrorKind
from app.core.events import Event, FinishReason, JobFinished, TranscriptLine, TranscriptStarted
from app.engine.chat import LoadedModel
from app.engine.jobs import JobContext
from app.engine.live_ear import EarRefused, load_ear
from app.engine.live_session import TRANSCRIBE, TRANSLATE, Transcriber
from app.live.buffers import RATE
from app.live.transcript import transcribe
from mlx_gemma4 import load
from mlx_gemma4.media.sound import Sound

NO_EARS = AppError(
    "No model that hears is loaded.",
    kind=ErrorKind.NO_MODEL,
    remedy="Choose E2B, E4B, 12B or the demo under Models.",
)


class _Stopped(Exception):  # noqa: N818 - the person asked for it
    """Raised between two tokens."""


def transcribe_file(
    loaded: LoadedModel | None,
    job: TranscribeFile,
    context: JobContext,
    read: Callable[[Path], Sound],
) -> Iterator[Event]:
    """The events of one job.

    Args:
        loaded: the main model; it writes down itself if it hears, else the job's ear does.
        job: the command.
        context: its cancel flag.
        read: opens the recording (in a worker).

    Raises:
        AppError: no model that hears. MediaError: the recording cannot be read.
    """
    writer = _writer(loaded, job)

    def write_down(pcm: np.ndarray) -> str:
        words = []
        for text in writer.steps(pcm):
            if context.cancelled():
                raise _Stopped
            words.append(text)
        return "".join(words)

    pcm = read(Path(job.path)).pcm
    yield TranscriptStarted(job.job_id, len(pcm) / RATE)
    try:
        for line in transcribe(pcm, write_down):
            yield TranscriptLine(job.job_id, line.start, line.stop, line.text)
            if context.cancelled():
                raise _Stopped
    except _Stopped:
        yield JobFinished(job.job_id, FinishReason.CANCELLED)


def _writer(loaded: LoadedModel | None, job: TranscribeFile) -> Transcriber:
    prompt = TRANSLATE.format(job.language) if job.language else TRANSCRIBE
    if loaded is not None and loaded.model.config.audio is not None:
        return Transcriber(loaded.model, loaded.processor, prompt)
    if not job.ear:
        raise NO_EARS
    if loaded is None:
        return Transcriber(*load(job.ear), prompt)
    try:
        main, context = Path(loaded.info.path), loaded.context_tokens
        memory = {"kv_bits": loaded.kv_bits, "ple_on_disk": loaded.table_on_disk}
        return load_ear(main, Path(job.ear), context, prompt, **memory).transcriber
    except EarRefused as problem:
        raise AppError(str(problem), kind=ErrorKind.UNSUPPORTED_MEDIA, remedy="") from problem
