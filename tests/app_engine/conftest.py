"""Fixtures of the engine's tests: a Qt application, engines of both kinds, and leak checks."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PySide6.QtCore import QCoreApplication, QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from app.core import commands
from app.core.commands import EngineOptions, PromptMessage, PromptText
from app.core.conversation import Role, new_id
from app.core.events import EngineState, JobFailed, JobFinished
from app.services.engine_client import EngineClient, Timing

# Python's own helper of spawned processes; it lives as long as the interpreter.
_OWN_HELPERS = ("resource_tracker", "forkserver")


def _children() -> set[int]:
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            line = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if child.status() != psutil.STATUS_ZOMBIE and not any(n in line for n in _OWN_HELPERS):
            found.add(child.pid)
    return found


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails if the test leaves a thread or a child process behind."""
    threads, children = set(threading.enumerate()), _children()
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        multiprocessing.active_children()  # reaps
        new_threads = [t for t in threading.enumerate() if t not in threads and t.is_alive()]
        new_children = _children() - children
        if not new_threads and not new_children:
            return
        time.sleep(0.05)
    raise AssertionError(f"left behind: threads {new_threads}, processes {new_children}")


@pytest.fixture(scope="session")
def qt() -> QCoreApplication:
    return QApplication.instance() or QApplication([])


class Driver:
    """An engine client with the means to wait for its events."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.events: list[object] = []
        client.received.connect(self.events.append)

    def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Run the event loop until the condition holds."""
        wait_until(condition, seconds, lambda: self.events[-5:])

    def started(self) -> "Driver":
        self.client.start()
        self.wait(lambda: self.client.state is EngineState.RUNNING)
        return self

    def ends(self, job_id: str) -> list[JobFinished | JobFailed]:
        return [
            event
            for event in self.events
            if isinstance(event, (JobFinished, JobFailed)) and event.job_id == job_id
        ]

    def of(self, kind: type, job_id: str | None = None) -> list:
        return [
            event
            for event in self.events
            if isinstance(event, kind) and (job_id is None or event.job_id == job_id)
        ]

    def run(self, job: commands.Job, seconds: float = 30.0) -> JobFinished | JobFailed:
        self.client.submit(job)
        self.wait(lambda: bool(self.ends(job.job_id)), seconds)
        return self.ends(job.job_id)[0]

    def load(self, path: str = "scripted") -> JobFinished | JobFailed:
        return self.run(commands.LoadModel(new_id(), path))

    def say(self, text: str, **options: object) -> str:
        job = commands.ChatTurn(new_id(), "chat", (user(text),), commands.ReplyOptions(**options))
        self.client.submit(job)
        return job.job_id

    def text(self, job_id: str) -> str:
        from app.core.events import TextDelta

        return "".join(event.text for event in self.of(TextDelta, job_id))


def wait_until(
    condition: Callable[[], bool], seconds: float = 20.0, told: Callable[[], object] = str
) -> None:
    loop = QEventLoop()
    tick = QTimer()
    tick.timeout.connect(lambda: condition() and loop.quit())
    tick.start(5)
    QTimer.singleShot(int(seconds * 1000), loop.quit)
    if not condition():
        loop.exec()
    tick.stop()
    assert condition(), f"not within {seconds} s: {told()}"


def user(text: str, message_id: str = "") -> PromptMessage:
    return PromptMessage(message_id or new_id(), Role.USER, (PromptText(text),))


@pytest.fixture
def make_driver(qt: QCoreApplication, tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Engine clients that are stopped at the end, whatever happened."""
    made: list[EngineClient] = []

    def make(script: str = "instant", *, in_process: bool = False, **timing: float) -> Driver:
        options = EngineOptions(script=script, log_folder=str(tmp_path / "logs"))
        client = EngineClient(options, in_process=in_process, timing=Timing(**timing))
        made.append(client)
        return Driver(client)

    yield make
    for client in made:
        client.stop()
        client.deleteLater()
    QCoreApplication.processEvents()


@pytest.fixture
def script_file(tmp_path: Path) -> Callable[..., str]:
    """Write a script for the scripted engine and give its path."""
    import json

    def write(**script: object) -> str:
        path = tmp_path / f"script-{new_id()[:8]}.json"
        path.write_text(json.dumps(script))
        return str(path)

    return write
