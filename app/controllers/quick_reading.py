"""Quick reading: a picture from the clipboard or the screen becomes text on the clipboard."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from app.core.commands import ReadDocument
from app.core.conversation import new_id
from app.core.events import JobFailed, JobFinished, PageFailed, PageFinished
from app.services.engine_client import EngineClient
from app.services.screen_picture import ScreenRegion, clipboard_picture


class QuickReading(QObject):
    """`said(words)`: one line about what happens; `read(text)` is on the clipboard now."""

    said = Signal(str)
    read = Signal(str)

    def __init__(
        self, engine: EngineClient, region: ScreenRegion, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._region = region
        self._job_id = ""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._text = ""
        region.taken.connect(self.read_picture)
        engine.received.connect(self._on_event)

    def read_clipboard(self) -> None:
        """Read the picture on the clipboard."""
        png = clipboard_picture()
        if png:
            self.read_picture(png)
        else:
            self.said.emit("There is no picture on the clipboard.")

    def read_region(self) -> None:
        """Let the person draw a region of the screen, then read it."""
        self._region.ask()

    def read_picture(self, png: bytes) -> None:
        """Read a picture; what it says replaces the clipboard."""
        if self._job_id:
            self.said.emit("The picture before is still being read.")
            return
        self._folder = tempfile.TemporaryDirectory(prefix="facet-")
        path = Path(self._folder.name) / "picture.png"
        path.write_bytes(png)
        self._text = ""
        self._job_id = new_id()
        self.said.emit("Reading the picture …")
        self._engine.submit(ReadDocument(self._job_id, str(path)))

    def _on_event(self, event: object) -> None:
        if not self._job_id or getattr(event, "job_id", "") != self._job_id:
            return
        match event:
            case PageFinished():
                self._text = event.text
            case PageFailed():
                self._end(event.message)
            case JobFailed():
                self._end(f"{event.message} {event.remedy}".strip())
            case JobFinished():
                self._end("")

    def _end(self, problem: str) -> None:
        self._job_id = ""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if problem:
            self.said.emit(problem)
        elif self._text.strip():
            QGuiApplication.clipboard().setText(self._text)
            self.said.emit("The text of the picture is on the clipboard.")
            self.read.emit(self._text)
        else:
            self.said.emit("Nothing could be read in the picture.")
