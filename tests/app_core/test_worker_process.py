"""A worker for foreign files: whatever a request does, the one who asked goes on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import ErrorKind, Failure
from app.core.worker_process import WorkerEnd, WorkerError, WorkerProcess

ENTRY = "tests.app_core.worker_tasks:work"


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    made = WorkerProcess(ENTRY, timeout_s=30, memory_bytes=400 << 20)
    yield made
    made.close()
    assert made.pid is None


def end_of(worker: WorkerProcess, request: tuple, timeout_s: float | None = None) -> WorkerEnd:
    with pytest.raises(WorkerError) as caught:
        worker.ask(request, timeout_s=timeout_s)
    return caught.value.end


def test_one_child_answers_many_requests_of_any_size(worker) -> None:
    first = worker.ask(("pid", None))
    assert first != os.getpid()
    assert worker.ask(("pid", None)) == first == worker.pid
    assert worker.ask(("echo", b"x" * 5_000_000)) == b"x" * 5_000_000


def test_what_libraries_print_does_not_disturb_the_answers(worker) -> None:
    assert worker.ask(("print", "noise")) == "said"
    assert worker.ask(("echo", 1)) == 1


def test_errors_come_back_as_they_were_raised(worker) -> None:
    with pytest.raises(KeyError, match="nothing here"):
        worker.ask(("raise", KeyError("nothing here")))
    with pytest.raises(RuntimeError, match="Unportable: no pickle for me"):
        worker.ask(("unportable", None))
    assert worker.ask(("echo", 2)) == 2


def test_records_and_arrays_travel_and_nothing_else_is_built(worker, tmp_path) -> None:
    record = Failure(ErrorKind.BAD_FILE, "Broken.")
    values = (record, Path("a.png"), np.arange(6, dtype=np.float32).reshape(2, 3), {1.5: None})
    same = worker.ask(("echo", values))
    assert same[0] == record
    assert same[1] == values[1]
    assert np.array_equal(same[2], values[2])
    mark = tmp_path / "mark"
    assert end_of(worker, ("evil", str(mark))) is WorkerEnd.DIED
    assert not mark.exists()
    assert worker.ask(("echo", 4)) == 4


def test_an_answer_of_announced_terabytes_is_not_waited_for(worker) -> None:
    assert end_of(worker, ("announce", 1 << 50)) is WorkerEnd.DIED
    assert worker.ask(("echo", 5)) == 5


def test_a_request_that_hangs_is_ended_and_the_next_one_works(worker) -> None:
    hanging = worker.ask(("pid", None))
    assert end_of(worker, ("sleep", 3600), timeout_s=0.3) is WorkerEnd.TIMEOUT
    assert worker.ask(("pid", None)) != hanging
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)


def test_a_request_that_crashes_or_eats_all_memory_is_ended(worker) -> None:
    assert end_of(worker, ("signal", signal.SIGSEGV)) is WorkerEnd.DIED
    assert end_of(worker, ("allocate", 20 << 30)) is WorkerEnd.MEMORY
    assert end_of(worker, ("fill", 1 << 30)) is WorkerEnd.MEMORY
    assert worker.ask(("echo", 3)) == 3


def test_the_memory_of_the_one_who_asks_does_not_count() -> None:
    """An engine with a model holds more than its worker may."""
    code = (
        "from app.core.worker_process import WorkerProcess\n"
        "held = bytearray(b'x') * (600 << 20)\n"
        f"worker = WorkerProcess({ENTRY!r}, timeout_s=30, memory_bytes=400 << 20)\n"
        "assert worker.ask(('echo', 6)) == 6\n"
        "assert worker.ask(('sleep', 1.2)) is None\n"
        "worker.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_request_can_be_taken_back(worker) -> None:
    asked = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        worker.ask(("sleep", 3600), cancelled=lambda: time.monotonic() > asked + 0.2)
    assert caught.value.end is WorkerEnd.CANCELLED


def test_closing_ends_a_request_of_another_thread(worker) -> None:
    ends: list[WorkerEnd] = []
    thread = threading.Thread(target=lambda: ends.append(end_of(worker, ("sleep", 3600))))
    thread.start()
    deadline = time.monotonic() + 30
    while worker.pid is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    worker.close()
    thread.join(30)
    assert ends == [WorkerEnd.DIED]


def test_a_worker_whose_module_is_missing_says_so() -> None:
    broken = WorkerProcess("tests.app_core.not_there:work", timeout_s=30, memory_bytes=400 << 20)
    with pytest.raises(ModuleNotFoundError):
        broken.ask("anything")
    broken.close()
