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

from app.core import worker_process
from app.core.errors import AppError, ErrorKind, Failure
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


FORGED = b"N}\x8c\x06forgedK\x01s\x86b"  # set the attribute `forged` to 1
SLOTTED = b"capp.core.errors\nFailure\n"
MEMBER = b"capp.core.errors\nErrorKind\n\x8c\x08bad_file\x85R"


@pytest.mark.parametrize(
    "answer",
    [
        SLOTTED + FORGED,
        SLOTTED + b"0" + SLOTTED + b"(\x8c\x06remedyNdb",  # a dict as state
        b"capp.core.errors\nErrorKind\n" + FORGED,
        MEMBER + FORGED,
        MEMBER + b"}\x8c\x07_value_K\x01sb",
        b"cbuiltins\nKeyError\n" + FORGED,
        b"cnumpy\nndarray\n" + FORGED,
        b"cbuiltins\ngetattr\n" + FORGED,
        b"cnumpy._core.numeric\n_frombuffer\n" + FORGED,
        b"capp.core.errors\nNoSuchName\n",
        b"capp.no_such_module\nName\n",
        b"cnumpy\ndtype\n\x8c\x02V8\x85R",
        b"cnumpy\ndtype\n\x8c\x01O\x85R",
        b"\x96" + (1 << 40).to_bytes(8, "little"),  # a bytearray that is never sent
        b"h\x07",  # what was never remembered
        b"\xff",
        b"\x88" * 2 + b"R",
    ],
)
def test_a_forged_answer_changes_nothing_here_and_fails_in_words(worker, answer: bytes) -> None:
    kinds = [Failure, ErrorKind, ErrorKind.BAD_FILE, KeyError, np.ndarray]
    assert end_of(worker, ("forge", b"\x80\x04\x88" + answer + b"\x86.")) is WorkerEnd.DIED
    assert not any(hasattr(kind, "forged") for kind in kinds)
    assert not hasattr(worker_process._member, "forged")
    assert not hasattr(np._core.numeric._frombuffer, "forged")
    assert ErrorKind.BAD_FILE.value == "bad_file"
    assert worker.ask(("echo", 7)) == 7


def test_errors_with_facts_and_arrays_of_any_number_travel(worker) -> None:
    with pytest.raises(AppError) as caught:
        worker.ask(("raise", AppError("Broken.", kind=ErrorKind.BAD_FILE, remedy="Mend it.")))
    assert caught.value.failure == Failure(ErrorKind.BAD_FILE, "Broken.", "Mend it.")
    for kind in ("?", "u1", "i2", "f4", "f8", "c8"):
        sent = np.arange(12).reshape(3, 4).astype(kind)
        for array in (sent, sent[:, ::2], sent.T, sent[1, 1]):
            back = worker.ask(("echo", array))
            assert np.array_equal(back, array)
            assert back.dtype == array.dtype
    assert worker.ask(("echo", bytearray(b"x" * 300_000))) == bytearray(b"x" * 300_000)


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
