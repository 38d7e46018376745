"""The doctor page: asks the engine to check itself, collects the report, copies and packs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.commands import CheckEngine, ListLocal
from app.core.conversation import new_id
from app.core.events import EngineChecked, EngineStarted, JobFailed, LocalModels, ModelInfo
from app.core.paths import AppPaths
from app.services.diagnostics import Report, Section, as_text, make_report, write_zip
from app.services.engine_client import EngineClient


class DoctorController(QObject):
    """State of the doctor page. `changed`: a new report; it grows as answers come in."""

    changed = Signal()

    def __init__(
        self,
        engine: EngineClient,
        paths: AppPaths,
        devices: Callable[[], Iterable[Section]] = tuple,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._paths = paths
        self._devices = devices
        self._started: EngineStarted | None = None
        self._checked: EngineChecked | None = None
        self._models: tuple[ModelInfo, ...] = ()
        self._check_id = ""
        self._list_id = ""
        self.report: Report | None = None
        engine.received.connect(self._on_event)

    def run(self) -> None:
        """Look at everything again; `changed` follows, again with each answer of the engine."""
        self._check_id, self._list_id = new_id(), new_id()
        self._engine.submit(CheckEngine(self._check_id))
        self._engine.ask(ListLocal(self._list_id))
        self._refresh()

    @property
    def busy(self) -> bool:
        """The engine is still checking itself."""
        return bool(self._check_id)

    def text(self) -> str:
        """The report for the clipboard."""
        return as_text(self.report) if self.report else ""

    def save_zip(self, path: str) -> None:
        """Report and logs in one file, without chats. Raises AppError."""
        if self.report is None:
            self._refresh()
        assert self.report is not None
        write_zip(self.report, self._paths, Path(path))

    def _refresh(self) -> None:
        self.report = make_report(
            self._paths,
            engine=self._started,
            checked=self._checked,
            models=self._models,
            more=self._devices(),
        )
        self.changed.emit()

    def _on_event(self, event: object) -> None:
        match event:
            case EngineStarted():
                self._started = event
            case EngineChecked() if event.job_id == self._check_id:
                self._checked, self._check_id = event, ""
                self._refresh()
            case JobFailed() if event.job_id == self._check_id:
                self._check_id = ""
                item = ("Self-check", False, event.message)
                self._checked = EngineChecked(event.job_id, (item,))
                self._refresh()
            case LocalModels() if event.query_id == self._list_id:
                self._models = event.models
                self._refresh()
