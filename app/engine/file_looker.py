"""Looking at foreign files for the window, in a process that may hang or die of them.

Imports nothing that opens files: that is the worker's business (`app.engine.media_tasks`).
"""

from __future__ import annotations

from pathlib import Path

from app.core.commands import Describe
from app.core.conversation import MediaKind
from app.core.events import Described
from app.core.worker_process import WorkerEnd, WorkerError, WorkerProcess

ENTRY = "app.engine.media_tasks:work"
# A picture of 120 million pixels takes 360 MB, and twice that while it is turned or flattened.
MEMORY_BYTES = 3 << 30
LOOK_SECONDS = 30.0
_WORDS = {
    WorkerEnd.TIMEOUT: "takes too long to open, so opening it was stopped.",
    WorkerEnd.MEMORY: "needs more memory to open than a file of its kind should.",
    WorkerEnd.DIED: "makes its decoder crash, so it was not opened.",
    WorkerEnd.CANCELLED: "was not opened.",
}
REMEDY = "Convert it to a plain JPEG, WAV, MP4 or PDF and try again."


def problem_words(name: str, problem: WorkerError) -> str:
    """What happened to the file, in one sentence."""
    return f"“{name}” {_WORDS[problem.end]}"


class FileLooker:
    """Answers `Describe`, whatever the file does. The worker starts with the first question."""

    def __init__(self, seconds: float = LOOK_SECONDS, memory_bytes: int = MEMORY_BYTES) -> None:
        self._worker = WorkerProcess(ENTRY, timeout_s=seconds, memory_bytes=memory_bytes)

    def describe(self, query: Describe) -> Described:
        """What the file is, or why it cannot be taken; never raises for a bad file."""
        try:
            answer: Described = self._worker.ask(("describe", query, ()))
        except WorkerError as problem:
            words = problem_words(query.name or Path(query.path).name, problem)
            return Described(
                query.query_id, query.path, MediaKind.UNKNOWN, problem=words, remedy=REMEDY
            )
        return answer

    def close(self) -> None:
        """End the worker."""
        self._worker.close()
