"""The library's `MediaReader` for the engine: a process that may die of a file opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.core.worker_process import WorkerEnd, WorkerError, WorkerProcess
from app.engine.file_looker import ENTRY, MEMORY_BYTES, REMEDY, problem_words
from mlx_gemma4.errors import MediaError
from mlx_gemma4.image_processing import VIDEO_BUDGET
from mlx_gemma4.media.images import ImageSource, load_image
from mlx_gemma4.media.sound import Sound
from mlx_gemma4.media.video import VideoFrames
from mlx_gemma4.session import Cancelled

IMAGE_SECONDS = 60.0
# A film may have to be decoded from its first frame; an hour of sound takes about a minute.
FILM_SECONDS = 300.0


class MediaWorker:
    """Arrays are taken as they are, files opened in the worker. Used by the MLX thread alone."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._worker = WorkerProcess(ENTRY, timeout_s=FILM_SECONDS, memory_bytes=memory_bytes)
        self.cancelled: Callable[[], bool] = lambda: False
        """Whether the job that wants a file was cancelled; set when a job begins."""

    def image(self, source: ImageSource) -> np.ndarray:
        """See `MediaReader`."""
        if not isinstance(source, (str, Path)):
            return load_image(source)
        rgb: np.ndarray = self._ask("image", source, seconds=IMAGE_SECONDS)
        return rgb

    def sound(self, path: str | Path) -> Sound:
        """See `MediaReader`."""
        sound: Sound = self._ask("sound", path)
        return sound

    def video(
        self,
        path: str | Path,
        num_frames: int | None = None,
        fps: float | None = None,
        budget: int = VIDEO_BUDGET,
    ) -> VideoFrames:
        """See `MediaReader`."""
        frames: VideoFrames = self._ask("video", path, num_frames, fps, budget)
        return frames

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _ask(
        self, task: str, path: str | Path, *arguments: Any, seconds: float = FILM_SECONDS
    ) -> Any:
        request = (task, str(path), arguments)
        try:
            return self._worker.ask(request, timeout_s=seconds, cancelled=self.cancelled)
        except WorkerError as problem:
            if problem.end is WorkerEnd.CANCELLED:
                raise Cancelled from problem
            words = problem_words(Path(path).name, problem)
            raise MediaError(f"{words} {REMEDY}") from problem
