"""Downloads as the window sees them: helper processes, pause, resume after a quit, failures."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.core.errors import ErrorKind
from app.core.events import ModelInfo
from app.services.downloads import Downloads, DownloadState, SpeedMeter
from tests.app_engine.conftest import wait_until
from tests.hub.server import Hub, running

REPO = "owner/name"
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = {
        "config.json": b'{"model_type": "gemma4"}',
        "model.safetensors": bytes(range(256)) * 12_000,
    }
    with running(Hub(files)) as server:
        yield server


@pytest.fixture
def make(qt, hub: Hub, tmp_path: Path) -> Iterator[Callable[[], Downloads]]:
    made: list[Downloads] = []

    def start() -> Downloads:
        cache, memory = str(tmp_path / "cache"), tmp_path / "downloads.json"
        made.append(Downloads(memory, endpoint=hub.url, cache=cache))
        return made[-1]

    yield start
    for each in made:
        each.stop()


def test_to_the_end(make, hub: Hub) -> None:
    downloads = make()
    finished: list = []
    downloads.finished.connect(lambda repo, folder: finished.append((repo, Path(folder))))
    downloads.start(REPO)
    assert downloads.statuses()[REPO].state is DownloadState.LISTING
    wait_until(lambda: bool(finished))
    repo, folder = finished[0]
    assert repo == REPO
    assert (folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
    assert downloads.statuses() == {}
    info = ModelInfo(str(folder), "Tiny", repo=REPO)
    deleted: list = []
    downloads.deleted.connect(lambda label, size: deleted.append((label, size)))
    said = downloads.size_to_free(str(folder))
    downloads.delete(info)
    wait_until(lambda: bool(deleted))
    assert deleted == [("Tiny", said)]
    assert not folder.exists()


def test_pause_quit_and_resume(make, hub: Hub) -> None:
    hub.behaviour.slow_s = 0.05
    first = make()
    first.start(REPO)
    wait_until(lambda: first.statuses()[REPO].done > 300_000)
    first.pause(REPO)
    paused = first.statuses()[REPO]
    assert paused.state is DownloadState.PAUSED
    assert paused.total == 12_000 * 256 + len(hub.files["config.json"])
    first.stop()
    second = make()
    assert second.statuses()[REPO].state is DownloadState.PAUSED
    assert second.statuses()[REPO].total == paused.total
    hub.behaviour.slow_s = 0.0
    hub.asked.clear()
    finished: list = []
    second.finished.connect(lambda *what: finished.append(what))
    second.start(REPO)
    wait_until(lambda: bool(finished))
    (wanted,) = hub.bytes_sent("model.safetensors")
    assert int(wanted.removeprefix("bytes=").rstrip("-")) > 200_000


def test_a_failure_is_kept_with_its_words(make, hub: Hub) -> None:
    hub.behaviour.status, hub.behaviour.status_times = 401, -1
    hub.behaviour.error_code = "GatedRepo"
    downloads = make()
    failures: list = []
    downloads.failed.connect(lambda repo, failure: failures.append(failure))
    downloads.start(REPO)
    wait_until(lambda: bool(failures))
    assert failures[0].kind is ErrorKind.GATED
    status = downloads.statuses()[REPO]
    assert status.state is DownloadState.FAILED
    assert "licence" in status.problem
    downloads.discard(REPO)
    assert downloads.statuses() == {}


def test_a_helper_that_dies_is_a_failure_not_a_hang(make, hub: Hub) -> None:
    hub.behaviour.slow_s = 0.05
    downloads = make()
    failures: list = []
    downloads.failed.connect(lambda repo, failure: failures.append(failure))
    downloads.start(REPO)
    wait_until(lambda: downloads.statuses()[REPO].done > 0)
    downloads._running[REPO].process.kill()
    wait_until(lambda: bool(failures))
    assert "resume" in failures[0].message


def test_a_damaged_list_is_no_obstacle(qt, tmp_path: Path) -> None:
    memory = tmp_path / "downloads.json"
    for content in ("", "[]", '{"a": 1}', '{"a": ["x", "y"]}'):
        memory.write_text(content)
        assert Downloads(memory).statuses() == {}


def test_speed_is_over_five_seconds_and_time_left_only_when_steady() -> None:
    meter = SpeedMeter()
    for tick in range(21):
        meter.add(tick * 0.5, tick * 500_000)
    assert meter.speed == pytest.approx(1_000_000)
    assert meter.eta(20_000_000) == pytest.approx(10.0)
    fresh = SpeedMeter()
    for tick in range(4):
        fresh.add(tick * 0.5, tick * 500_000)
    assert fresh.eta(20_000_000) is None
    for tick in range(20):
        fresh.add(2 + tick * 0.5, 2_000_000 + tick * tick * 100_000)
    assert fresh.eta(100_000_000) is None
    started = time.monotonic()
    for tick in range(10_000):
        meter.add(100 + tick * 0.01, tick)
    assert len(meter._samples) < 600
    assert time.monotonic() - started < 5
