"""Long recordings written down one after the other, line by line; saved as text or subtitles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.commands import TranscribeFile
from app.core.conversation import new_id
from app.core.events import (
    Event,
    FinishReason,
    JobFailed,
    JobFinished,
    TranscriptLine,
    TranscriptStarted,
)
from app.live.transcript import WRITERS, Line
from app.services.engine_client import EngineClient


@dataclass(slots=True)
class Recording:
    """A recording and what is written down of it. state: waiting, running, done, stopped, failed.

    seconds: its length, 0 until it was opened; problem: why it failed, one sentence.
    """

    id: str
    path: str
    name: str
    language: str = ""
    state: str = "waiting"
    seconds: float = 0.0
    problem: str = ""
    lines: list[Line] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of it is written down, 0 to 1."""
        if self.state == "done":
            return 1.0
        return self.lines[-1].stop / self.seconds if self.lines and self.seconds else 0.0

    @property
    def text(self) -> str:
        """The words without times."""
        return " ".join(line.text for line in self.lines)


class TranscribeController(QObject):
    """State of the recordings page. `changed(id)`: a recording is new or has more lines.

    Args:
        engine: does the work.
        ear: folder of a model that hears, for a loaded one that does not.
    """

    changed = Signal(str)

    def __init__(
        self, engine: EngineClient, ear: Callable[[], str], parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.recordings: dict[str, Recording] = {}
        self._engine, self._ear = engine, ear
        engine.received.connect(self._on_event)

    def add(self, path: str, name: str = "", language: str = "") -> str:
        """Write a recording down (or translate it); returns its id."""
        job_id = new_id()
        self.recordings[job_id] = Recording(job_id, path, name or Path(path).name, language)
        self.changed.emit(job_id)
        self._engine.submit(TranscribeFile(job_id, path, self._ear(), language))
        return job_id

    def stop(self, recording_id: str) -> None:
        """Stop writing; the lines so far stay."""
        self._engine.cancel(recording_id)

    def remove(self, recording_id: str) -> None:
        """Forget a recording."""
        self.stop(recording_id)
        self.recordings.pop(recording_id, None)
        self.changed.emit(recording_id)

    def edit(self, recording_id: str, number: int, text: str) -> None:
        """The user corrects a line."""
        line = self.recordings[recording_id].lines[number]
        self.recordings[recording_id].lines[number] = Line(line.start, line.stop, text)

    def export(self, recording_id: str, path: str) -> str:
        """Write the transcript; the ending (txt, srt, vtt) decides. Returns a problem or ""."""
        writer = WRITERS.get(Path(path).suffix.lower().lstrip("."), WRITERS["txt"])
        try:
            Path(path).write_text(writer(self.recordings[recording_id].lines), encoding="utf-8")
        except OSError as problem:
            return f"“{Path(path).name}” could not be written ({problem.strerror})."
        return ""

    def _on_event(self, event: Event) -> None:
        recording = self.recordings.get(getattr(event, "job_id", ""))
        if recording is None:
            return
        match event:
            case TranscriptStarted():
                recording.state, recording.seconds = "running", event.seconds
            case TranscriptLine():
                recording.lines.append(Line(event.start, event.stop, event.text))
            case JobFinished():
                cancelled = event.reason is FinishReason.CANCELLED
                recording.state = "stopped" if cancelled else "done"
            case JobFailed():
                recording.state = "failed"
                recording.problem = f"{event.message} {event.remedy}".strip()
            case _:
                return
        self.changed.emit(recording.id)
