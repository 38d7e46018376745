"""Model downloads for the window: one helper process each, killed to pause, resumed at any time.

Remembers in a small file which downloads were begun, so they can go on after a quit or a crash.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot

from app.core.entry import run_entry
from app.core.errors import ErrorKind, Failure
from app.core.events import ModelInfo
from app.store.files import write_atomic

log = logging.getLogger(__name__)

ENTRY = "app.services.download_worker:work"
WINDOW_SECONDS = 5.0
# Two halves of the window may differ by this share before a time left is shown.
STEADY = 0.3


class DownloadState(StrEnum):
    """What a download is doing."""

    LISTING = "listing"
    RUNNING = "downloading"
    WAITING = "waiting"
    CHECKING = "checking"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DownloadStatus:
    """Bytes done and in all, bytes a second over 5 s; eta in seconds, None while unsteady."""

    repo: str
    state: DownloadState
    done: int = 0
    total: int = 0
    speed: float = 0.0
    eta: float | None = None
    problem: str = ""


class SpeedMeter:
    """Bytes a second over a sliding window; times in seconds of any monotonic clock."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        self._window = window
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """Note how far it is."""
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[0][0] < now - self._window:
            self._samples.popleft()

    @property
    def speed(self) -> float:
        """Over the whole window."""
        return _rate(self._samples[0], self._samples[-1]) if len(self._samples) > 1 else 0.0

    def eta(self, total: int) -> float | None:
        """Seconds left, or None while the speed is not steady."""
        if len(self._samples) < 3:
            return None
        first, last = self._samples[0], self._samples[-1]
        if last[0] - first[0] < 0.8 * self._window or self.speed <= 0:
            return None
        middle_time = (first[0] + last[0]) / 2
        middle = min(self._samples, key=lambda sample: abs(sample[0] - middle_time))
        if abs(_rate(first, middle) - _rate(middle, last)) > STEADY * self.speed:
            return None
        return (total - last[1]) / self.speed


def _rate(first: tuple[float, int], last: tuple[float, int]) -> float:
    seconds = last[0] - first[0]
    return (last[1] - first[1]) / seconds if seconds > 0 else 0.0


@dataclass
class _Running:
    process: BaseProcess
    reader: threading.Thread
    meter: SpeedMeter


class Downloads(QObject):
    """All downloads of this app.

    Signals: `changed` some status moved; `finished(repo, folder)`; `failed(repo, Failure)`;
    `deleted(label, bytes)`.
    """

    changed = Signal()
    finished = Signal(str, str)
    failed = Signal(str, object)
    deleted = Signal(str, object)
    _posted = Signal(str, object)

    def __init__(
        self,
        memory_file: Path,
        parent: QObject | None = None,
        *,
        endpoint: str = "",
        cache: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self._memory_file = memory_file
        self._endpoint = endpoint
        self._cache = cache
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._statuses: dict[str, DownloadStatus] = _remembered(memory_file)
        self._deleter = ThreadPoolExecutor(1, thread_name_prefix="model-deleter")
        self._posted.connect(self._on_message, Qt.ConnectionType.QueuedConnection)

    def statuses(self) -> dict[str, DownloadStatus]:
        """Every download that is running, paused or failed, by repo."""
        return dict(self._statuses)

    def start(self, repo: str) -> None:
        """Begin, or go on where it stopped."""
        if repo in self._running:
            return
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=run_entry,
            args=(ENTRY, theirs, repo, self._endpoint, self._cache),
            name="facet-download",
            daemon=True,
        )
        process.start()
        theirs.close()
        reader = threading.Thread(
            target=self._read, args=(repo, ours, process), name="download-reader", daemon=True
        )
        self._running[repo] = _Running(process, reader, SpeedMeter())
        known = self._statuses.get(repo, DownloadStatus(repo, DownloadState.LISTING))
        self._set(replace(known, state=DownloadState.LISTING, problem="", speed=0.0, eta=None))
        reader.start()

    def pause(self, repo: str) -> None:
        """Stop now; every byte that arrived stays."""
        running = self._running.pop(repo, None)
        if running is None:
            return
        _end(running)
        self._set(replace(self._statuses[repo], state=DownloadState.PAUSED, speed=0.0, eta=None))

    def discard(self, repo: str) -> None:
        """Forget a download and remove its parts."""
        self.pause(repo)
        self._statuses.pop(repo, None)
        self._remember()
        self._deleter.submit(_discard, repo, self._cache)
        self.changed.emit()

    def stop(self) -> None:
        """Quit: pause everything that runs."""
        for repo in list(self._running):
            self.pause(repo)
        self._deleter.shutdown(wait=True)

    def size_to_free(self, path: str) -> int:
        """Bytes deleting this checkpoint would free."""
        from mlx_gemma4 import hub

        return hub.size_to_free(Path(path))

    def delete(self, info: ModelInfo) -> None:
        """Delete a checkpoint in the background; `deleted` or `failed` follows."""

        def work() -> None:
            from mlx_gemma4 import hub
            from mlx_gemma4.errors import HubError

            try:
                self.deleted.emit(info.label, hub.delete(info.path))
            except HubError as problem:
                self.failed.emit(info.repo, Failure(ErrorKind.BAD_FILE, str(problem)))

        self._deleter.submit(work)

    # --- the helper processes --------------------------------------------------------------------

    def _read(self, repo: str, connection: Connection, process: BaseProcess) -> None:
        """On the reader thread of one download."""
        ended = False
        try:
            while not ended:
                message = connection.recv()
                ended = message[0] != "progress"
                self._posted.emit(repo, (process.pid, message))
        except (EOFError, OSError):
            self._posted.emit(repo, (process.pid, ("lost",)))
        finally:
            connection.close()
        process.join()

    @Slot(str, object)
    def _on_message(self, repo: str, posted: tuple[int, tuple[Any, ...]]) -> None:
        pid, message = posted
        running = self._running.get(repo)
        if running is None or running.process.pid != pid:
            return  # of a download that was paused meanwhile
        match message:
            case ("progress", stage, done, total, _file, problem):
                running.meter.add(self._clock(), done)
                eta = running.meter.eta(total)
                speed = running.meter.speed
                state = DownloadState(stage) if stage != "done" else DownloadState.CHECKING
                self._set(DownloadStatus(repo, state, done, total, speed, eta, problem))
            case ("finished", folder):
                self._drop(repo)
                self.finished.emit(repo, folder)
            case ("failed", reason, sentence):
                self._fail(repo, Failure(_KINDS.get(reason, ErrorKind.NETWORK), sentence))
            case _:
                sentence = "The download stopped unexpectedly; resume it."
                self._fail(repo, Failure(ErrorKind.NETWORK, sentence))

    def _fail(self, repo: str, failure: Failure) -> None:
        _end(self._running.pop(repo))
        status = replace(
            self._statuses[repo],
            state=DownloadState.FAILED,
            problem=failure.message,
            speed=0.0,
            eta=None,
        )
        self._set(status)
        self.failed.emit(repo, failure)

    def _drop(self, repo: str) -> None:
        _end(self._running.pop(repo))
        self._statuses.pop(repo, None)
        self._remember()
        self.changed.emit()

    def _set(self, status: DownloadStatus) -> None:
        known = self._statuses.get(status.repo)
        self._statuses[status.repo] = status
        if known is None or known.state is not status.state or known.total != status.total:
            self._remember()
        self.changed.emit()

    def _remember(self) -> None:
        data = {repo: [status.done, status.total] for repo, status in self._statuses.items()}
        try:
            write_atomic(self._memory_file, json.dumps(data).encode())
        except OSError:
            log.exception("the list of downloads could not be written")


_KINDS = {
    "offline": ErrorKind.OFFLINE,
    "unauthorised": ErrorKind.UNAUTHORISED,
    "gated": ErrorKind.GATED,
    "not_found": ErrorKind.NOT_FOUND,
    "disk_full": ErrorKind.DISK_FULL,
    "corrupt": ErrorKind.NETWORK,
    "foreign": ErrorKind.BAD_INPUT,
    "busy": ErrorKind.BUSY,
}


def _end(running: _Running) -> None:
    if running.process.is_alive():
        running.process.kill()
    running.reader.join(5)


def _discard(repo: str, cache: str) -> None:
    from mlx_gemma4.hub import discard

    discard(repo, Path(cache) if cache else None)


def _remembered(memory_file: Path) -> dict[str, DownloadStatus]:
    try:
        data = json.loads(memory_file.read_text(encoding="utf-8"))
        return {
            str(repo): DownloadStatus(str(repo), DownloadState.PAUSED, int(done), int(total))
            for repo, (done, total) in data.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        log.warning("the list of downloads is unreadable: %s", problem)
        return {}
