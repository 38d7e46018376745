"""The composition root: the only module that knows every class of the window's process.

`build_app` makes stores, services and controllers in order and hands them over as `AppState`;
`run` adds the window. Nothing heavy happens before the first paint: the engine is started after it.
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication

from app.controllers.app_state import AppState
from app.controllers.chat_controller import ChatController
from app.controllers.doctor_controller import DoctorController
from app.controllers.library_controller import LibraryController
from app.controllers.model_controller import ModelController
from app.controllers.picture_controller import PictureController
from app.controllers.settings_controller import SettingsController
from app.core.commands import EngineOptions
from app.core.errors import AppError
from app.core.paths import AppPaths
from app.pages import add_pages
from app.services.device_report import device_sections
from app.services.downloads import Downloads
from app.services.engine_client import EngineClient, Timing
from app.services.garbage import Garbage
from app.services.library import Library
from app.services.screen import open_application
from app.store.instance import InstanceLock, hand_over
from app.store.settings_file import load_settings, save_settings

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AppOptions:
    """What the command line asked for. script: run the scripted engine instead of the real one."""

    model: str = ""
    data_dir: str = ""
    files: tuple[str, ...] = ()
    in_process: bool = False
    log_level: str = "warning"
    screenshot: str = ""
    script: str = ""

    @property
    def paths(self) -> AppPaths:
        """The folders to use."""
        return AppPaths.below(Path(self.data_dir)) if self.data_dir else AppPaths.default()


@dataclass(frozen=True, slots=True)
class App:
    """A running app without its window. closing: what the pages made later have to end."""

    options: AppOptions
    paths: AppPaths
    engine: EngineClient
    library: Library
    downloads: Downloads
    state: AppState
    garbage: Garbage
    closing: list[Callable[[], object]] = field(default_factory=list)

    def start(self) -> None:
        """Start the engine (after the first paint) and tidy up when idle."""
        self.engine.start()
        self.garbage.start()
        QTimer.singleShot(30_000, self.library.tidy)

    def close(self) -> None:
        """End everything in order: what is on its way is saved, no process stays behind."""
        self.engine.stop()
        for close in self.closing:
            close()
        self.downloads.stop()
        self.state.chat.save_now()
        self.state.chat.close()
        self.library.close()
        self.garbage.close()

    def delete_all_data(self) -> None:
        """Remove chats, attachments, settings and logs (after `close`); models stay."""
        for path in (*self.paths.data.iterdir(), self.paths.logs):
            if path == self.paths.lock_file:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def build_app(options: AppOptions, timing: Timing | None = None) -> App:
    """Make everything but the window; needs a Q(Core)Application. Raises AppError."""
    garbage = Garbage()
    paths = options.paths
    paths.create()
    values, notices = load_settings(paths.settings_file)
    if options.model:
        values = replace(values, model=options.model)
    settings = SettingsController(values, lambda new: save_settings(paths.settings_file, new))
    library = Library(paths)
    engine = EngineClient(
        EngineOptions(options.script, str(paths.logs), options.log_level, values.memory_percent),
        in_process=options.in_process,
        timing=timing,
    )
    downloads = Downloads(paths.data / "downloads.json")
    conversations = LibraryController(library)
    chat = ChatController(library, engine, conversations, lambda: settings.settings)
    models = ModelController(engine, downloads, settings)
    models.state_changed.connect(lambda: chat.set_model(models.loaded))
    state = AppState(
        settings=settings,
        conversations=conversations,
        chat=chat,
        pictures=PictureController(engine, library.attachment_path),
        models=models,
        doctor=DoctorController(engine, paths, device_sections),
        notices=tuple(notices),
    )
    return App(options, paths, engine, library, downloads, state, garbage)


class _FirstPaint(QObject):
    """Tells once when the window has drawn itself."""

    painted = Signal()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Wait for the first paint; what follows comes after it."""
        if event.type() is QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self.painted.emit)
        return super().eventFilter(watched, event)


class _FileOpener(QObject):
    """Files from the Finder, the Dock and from other starts of the app, on the window's thread."""

    opened = Signal(list)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Catch the system's open events."""
        if isinstance(event, QFileOpenEvent):
            self.opened.emit([event.file()])
            return True
        return super().eventFilter(watched, event)


def run(options: AppOptions) -> int:
    """Open the window and stay until it is closed; returns the exit code."""
    started = time.perf_counter()
    _log_to(options)
    lock = InstanceLock(options.paths.lock_file)
    try:
        lock.acquire()
    except AppError as problem:
        if hand_over(options.paths.lock_file, options.files):
            return 0
        return _say(problem)
    try:
        return _run_window(options, lock, started)
    except AppError as problem:
        return _say(problem)
    finally:
        lock.release()


def _run_window(options: AppOptions, lock: InstanceLock, started: float) -> int:
    application = open_application(sys.argv[:1])
    application.setApplicationName("Facet")
    application.setAttribute(Qt.ApplicationAttribute.AA_DontShowIconsInMenus, True)
    app = build_app(options)
    from app.ui.main_window import MainWindow

    window = MainWindow(app.state)
    opener = _FileOpener()
    opener.opened.connect(window.open_files, Qt.ConnectionType.QueuedConnection)
    application.installEventFilter(opener)
    lock.listen(opener.opened.emit)
    first_paint = _FirstPaint()
    first_paint.painted.connect(lambda: _after_first_paint(app, window, started))
    window.installEventFilter(first_paint)
    wipe: list[bool] = []
    window.delete_data_wanted.connect(lambda: (wipe.append(True), application.quit()))
    window.show()
    code = application.exec()
    window.hide()
    app.close()
    if wipe:
        app.delete_all_data()
    return code


def _after_first_paint(app: App, window: MainWindow, started: float) -> None:
    log.info("first paint after %.0f ms", (time.perf_counter() - started) * 1000)
    app.start()
    add_pages(app, window)
    gc.freeze()  # what is here stays: walking it to find garbage would stop the window for 100 ms
    if app.options.files:
        window.open_files(list(app.options.files))
    if app.options.screenshot:
        QTimer.singleShot(1500, lambda: _take_screenshot(window, app.options.screenshot))


def _take_screenshot(window: MainWindow, path: str) -> None:
    if not window.grab().save(path):
        log.error("the picture could not be written to %s", path)
    QApplication.quit()


def _say(problem: AppError) -> int:
    failure = problem.failure
    sys.stderr.write(f"facet: {failure.message} {failure.remedy}\n".replace(" \n", "\n"))
    return 2


def _log_to(options: AppOptions) -> None:
    folder = options.paths.logs
    folder.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(folder / "facet.log", maxBytes=1 << 20, backupCount=2)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level.upper(), handlers=[file], force=True)
    sys.excepthook = _logged_exception(sys.excepthook)


def _logged_exception(usual: Callable[..., None]) -> Callable[..., None]:
    """An error in a slot is written to the log; the window stays open."""

    def hook(kind: type[BaseException], problem: BaseException, trace: object) -> None:
        log.critical("unexpected error", exc_info=(kind, problem, trace))  # type: ignore[arg-type]
        usual(kind, problem, trace)

    return hook


__all__ = ["App", "AppOptions", "build_app", "run"]
