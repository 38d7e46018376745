"""Models: what is installed, what could be, what is loaded, and the state of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.settings_controller import SettingsController
from app.core.commands import ListLocal, LoadModel, MemoryOptions, Plan, UnloadModel
from app.core.conversation import new_id
from app.core.errors import ErrorKind, Failure
from app.core.events import (
    EngineStarted,
    EngineState,
    EngineStopped,
    Fit,
    JobFailed,
    JobFinished,
    LocalModels,
    MemoryPressure,
    ModelInfo,
    ModelLoadProgress,
    ModelReady,
    ModelUnloaded,
    Planned,
    PlanResult,
    Pong,
)
from app.core.known_models import KnownModel, known_models
from app.core.paths import demo_model_dir
from app.core.settings import spec
from app.services.downloads import Downloads, DownloadStatus
from app.services.engine_client import EngineClient
from app.services.machine import MachineFacts, machine_facts

# A setting that is being turned step by step asks for its verdicts once it rests.
PLAN_AFTER_MS = 300


class ModelState(StrEnum):
    """What the model is doing."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of the model page.

    known: its entry in the table; info: the installed checkpoint; plan: verdict for this machine;
    download: its download, if there is one. At least one of known, info, download is set.
    """

    key: str
    known: KnownModel | None = None
    info: ModelInfo | None = None
    plan: PlanResult | None = None
    download: DownloadStatus | None = None
    loaded: bool = False

    @property
    def installed(self) -> bool:
        """It can be loaded now."""
        return self.info is not None and not self.info.problem

    @property
    def label(self) -> str:
        """Its name for the list."""
        if self.known is not None:
            return self.known.label
        return self.info.label if self.info else self.key


class ModelController(QObject):
    """State of the model page, the model menu and the engine's state line.

    Signals: `rows_changed`; `state_changed` (model or engine state); `progress(fraction, stage)` of
    loading; `failed(Failure)`; `download_failed(Failure)`, which its row says, too;
    `memory_changed(Pong)`; `engine_stopped(EngineStopped)`; `freed(label, bytes)` after a delete;
    `outdated`: the loaded model was loaded with other settings than those of now.
    """

    rows_changed = Signal()
    state_changed = Signal()
    progress = Signal(float, str)
    failed = Signal(object)
    download_failed = Signal(object)
    memory_changed = Signal(object)
    memory_pressure = Signal(object)
    engine_stopped = Signal(object)
    freed = Signal(str, object)
    outdated = Signal()

    def __init__(
        self,
        engine: EngineClient,
        downloads: Downloads,
        settings: SettingsController,
        parent: QObject | None = None,
        facts: Callable[[], MachineFacts] = machine_facts,
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._downloads = downloads
        self._settings = settings
        self._facts = facts
        self._local: tuple[ModelInfo, ...] = ()
        self._plans: dict[str, PlanResult] = {}
        self._jobs: dict[str, str] = {}
        self._list_id = ""
        self._plan_ids: dict[str, str] = {}
        self._wanted = self._died_loading = ""
        self._loaded_with = MemoryOptions()
        self._planner = QTimer(self, singleShot=True, interval=PLAN_AFTER_MS)
        self._planner.timeout.connect(self._plan_again)
        self.engine_state = EngineState.STOPPED
        self.device: EngineStarted | None = None
        self.state = ModelState.NONE
        self.loaded: ModelInfo | None = None
        self.failure: Failure | None = None
        engine.received.connect(self._on_event)
        engine.state_changed.connect(self._on_engine_state)
        downloads.changed.connect(self._on_downloads)
        downloads.finished.connect(self._on_download_finished)
        downloads.failed.connect(self._on_download_failed)
        downloads.deleted.connect(self._on_deleted)
        settings.changed.connect(self._on_setting)

    # --- what there is ---------------------------------------------------------------------------

    def facts(self) -> MachineFacts:
        """Chip, memory and free disk of this machine."""
        return self._facts()

    def rows(self) -> list[ModelRow]:
        """Installed checkpoints first (the demo last of them), then the known ones to get."""
        return _rows(self._local, self._plans, self._downloads.statuses(), self._loaded_path())

    def recommended(self) -> KnownModel:
        """The one checkpoint to suggest for this machine; used by every page."""
        return recommend(self._facts().memory)

    def demo_path(self) -> str:
        """The folder of the tiny model that ships with the app; empty if it is not there."""
        folder = demo_model_dir()
        return str(folder) if (folder / "config.json").is_file() else ""

    def refresh(self) -> None:
        """Look again at what is on disk; `rows_changed` follows."""
        self._list_id = new_id()
        self._engine.ask(ListLocal(self._list_id, self._settings.settings.model_folders))
        for known in known_models():
            self._ask_plan(known.repo)

    def _ask_plan(self, source: str) -> None:
        query_id = new_id()
        self._plan_ids[query_id] = source
        self._engine.ask(Plan(query_id, source, self._memory()))

    def _memory(self) -> MemoryOptions:
        values = self._settings.settings
        return MemoryOptions(values.context_tokens, values.kv_bits, values.table_on_disk)

    def _loaded_path(self) -> str:
        return self.loaded.path if self.loaded else ""

    # --- loading ---------------------------------------------------------------------------------

    def load(self, path: str) -> None:
        """Load this checkpoint in place of the present one."""
        job_id = new_id()
        self._jobs[job_id] = path
        self._wanted = path
        self._set_state(ModelState.LOADING)
        self._loaded_with = self._memory()
        self._engine.submit(LoadModel(job_id, path, memory=self._loaded_with))

    def load_again(self) -> None:
        """Load the loaded model with the settings as they are now; nothing where none is."""
        if self.loaded is not None:
            self.load(self.loaded.path)

    def unload(self) -> None:
        """Free the model's memory."""
        self._wanted = ""
        job_id = new_id()
        self._jobs[job_id] = ""
        self._engine.submit(UnloadModel(job_id))

    def cancel_load(self) -> None:
        """Stop loading; the model before it is gone as soon as loading has begun."""
        self._wanted = ""
        for job_id in [job_id for job_id, path in self._jobs.items() if path]:
            self._engine.cancel(job_id)

    def load_default(self) -> None:
        """Load the model of the settings, or the demo; nothing where neither is there."""
        path = self._settings.settings.model
        if not path or not Path(path).is_dir():
            path = self.demo_path()
        if path:
            self.load(path)

    def restart_engine(self) -> None:
        """Start the engine again after it was given up."""
        self._engine.restart()

    # --- downloads -------------------------------------------------------------------------------

    def download(self, repo: str) -> None:
        """Get a checkpoint, or go on with a paused one."""
        self._downloads.start(repo)

    def pause(self, repo: str) -> None:
        """Stop the download; what came so far stays."""
        self._downloads.pause(repo)

    def discard(self, repo: str) -> None:
        """Forget a paused or failed download and its partial files."""
        self._downloads.discard(repo)

    def delete(self, path: str) -> None:
        """Delete an installed checkpoint from disk; `freed(label, bytes)` follows.

        The loaded one is unloaded first.
        """
        info = next((each for each in self._local if each.path == path), None)
        if info is None or info.source == "demo":
            return
        if path == self._loaded_path():
            self.unload()
        self._downloads.delete(info)

    def size_to_free(self, path: str) -> int:
        """Bytes `delete` would free."""
        return self._downloads.size_to_free(path)

    # --- events ----------------------------------------------------------------------------------

    def _on_deleted(self, label: str, size: object) -> None:
        self.freed.emit(label, size)
        self.refresh()

    def _on_event(self, event: object) -> None:
        match event:
            case EngineStarted():
                self.device = event
                self._reload()
                self.refresh()
            case EngineStopped():
                self._on_engine_stopped(event)
            case LocalModels() if event.query_id == self._list_id:
                self._local = event.models
                for info in event.models:
                    self._ask_plan(info.path)
                self.rows_changed.emit()
            case Planned():
                source = self._plan_ids.pop(event.query_id, "")
                if source and event.result is not None:
                    self._plans[source] = event.result
                    self.rows_changed.emit()
            case Pong():
                self.memory_changed.emit(event)
            case MemoryPressure():
                self.memory_pressure.emit(event)
            case _ if getattr(event, "job_id", "") in self._jobs:
                self._on_job(event)

    def _on_engine_stopped(self, event: EngineStopped) -> None:
        if self.state is ModelState.LOADING:
            self._on_death_while_loading(event)
        self._jobs.clear()
        self.loaded = None
        self._set_state(ModelState.FAILED if self.failure else ModelState.NONE)
        self.engine_stopped.emit(event)

    def _on_death_while_loading(self, event: EngineStopped) -> None:
        """Try once more, unless it was its size, or it is the second time: it would only recur."""
        hopeless = event.kind is ErrorKind.OUT_OF_MEMORY or self._died_loading == self._wanted
        self._died_loading = self._wanted
        if hopeless or not event.will_restart:
            self._wanted = ""
            self.failure = Failure(event.kind, event.reason, "Choose a smaller model.")

    def _on_job(self, event: object) -> None:
        match event:
            case ModelLoadProgress():
                self.loaded = None  # the engine frees the one before first
                self.progress.emit(event.fraction, event.stage)
            case ModelReady():
                self.loaded = event.info
                self.failure = None
                self._died_loading = ""
                self._settings.set("model", event.info.path)
                self._set_state(ModelState.READY)
            case ModelUnloaded():
                self.loaded = None
                self._set_state(ModelState.NONE)
            case JobFinished():
                del self._jobs[event.job_id]
                if self.state is ModelState.LOADING and not self._jobs:
                    self._set_state(ModelState.READY if self.loaded else ModelState.NONE)
            case JobFailed():
                del self._jobs[event.job_id]
                self.loaded = None
                self.failure = Failure(event.kind, event.message, event.remedy, event.detail)
                self._set_state(ModelState.FAILED)
                self.failed.emit(self.failure)

    def _reload(self) -> None:
        if self._wanted:
            self.load(self._wanted)
        elif self._settings.settings.load_at_start and self.state is ModelState.NONE:
            self.load_default()

    def _set_state(self, state: ModelState) -> None:
        self.state = state
        self.state_changed.emit()
        self.rows_changed.emit()

    def _on_setting(self, name: str) -> None:
        if spec(name).at_load:
            self._planner.start()

    def _plan_again(self) -> None:
        """The verdicts depend on what a model is loaded with."""
        self._plan_ids.clear()
        for source in (*(known.repo for known in known_models()), *(m.path for m in self._local)):
            self._ask_plan(source)
        if self.loaded is not None and self._memory() != self._loaded_with:
            self.outdated.emit()

    def _on_engine_state(self, state: EngineState) -> None:
        self.engine_state = state
        self.state_changed.emit()

    def _on_downloads(self) -> None:
        self.rows_changed.emit()

    def _on_download_finished(self, repo: str, _path: str) -> None:
        QTimer.singleShot(0, self, self.refresh)

    def _on_download_failed(self, repo: str, failure: Failure) -> None:
        downloading = repo in self._downloads.statuses()
        (self.download_failed if downloading else self.failed).emit(failure)


def recommend(memory: int) -> KnownModel:
    """The checkpoint for a machine with `memory` bytes: the best that leaves room to work.

    Tiers after the measured peaks in peers.md E.4: E2B up to 8 GB, E4B up to 16, 12B from 24,
    26B-A4B from 32, all at 4 bits.
    """
    models = [model for model in known_models() if model.recommended_from]
    fitting = [model for model in models if model.recommended_from <= memory]
    if not fitting:
        return min(models, key=lambda model: model.recommended_from)
    return max(fitting, key=lambda model: model.recommended_from)


def _rows(
    local: tuple[ModelInfo, ...],
    plans: dict[str, PlanResult],
    downloads: dict[str, DownloadStatus],
    loaded: str,
) -> list[ModelRow]:
    known = {model.repo: model for model in known_models()}
    rows: list[ModelRow] = []
    seen: set[str] = set()
    for info in sorted(local, key=lambda info: (info.source == "demo", info.label)):
        seen.add(info.repo)
        entry = known.get(info.repo)
        rows.append(
            ModelRow(info.path, entry, info, plans.get(info.path), None, info.path == loaded)
        )
    for repo, status in downloads.items():
        if repo not in seen:
            seen.add(repo)
            rows.append(ModelRow(repo, known.get(repo), None, plans.get(repo), status))
    rows += [
        ModelRow(repo, model, None, plans.get(repo))
        for repo, model in known.items()
        if repo not in seen
    ]
    return rows


def verdict_words(plan: PlanResult | None) -> str:
    """The verdict in plain words."""
    if plan is None:
        return ""
    if plan.fit is Fit.FITS:
        return "runs well"
    if plan.fit is Fit.TIGHT:
        return "tight: close other apps"
    return plan.advice or f"needs {-(-plan.total >> 30)} GB"


__all__ = ["ModelController", "ModelRow", "ModelState", "recommend", "verdict_words"]
