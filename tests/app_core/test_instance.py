"""One app per data folder; a second start hands its files over."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.core.errors import AppError, ErrorKind
from app.store.instance import InstanceLock, hand_over


def test_a_second_instance_is_told_and_its_files_arrive(tmp_path: Path) -> None:
    lock = InstanceLock(tmp_path / "facet.lock")
    lock.acquire()
    got: list[list[str]] = []
    arrived = threading.Event()
    lock.listen(lambda files: (got.append(files), arrived.set()))
    try:
        code = (
            "import sys; from pathlib import Path\n"
            "from app.store.instance import InstanceLock, hand_over\n"
            "from app.core.errors import AppError\n"
            "path = Path(sys.argv[1])\n"
            "try: InstanceLock(path).acquire()\n"
            "except AppError as e: print(e.failure.message, hand_over(path, ['x.png']))\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "facet.lock")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "already running" in done.stdout
        assert done.stdout.strip().endswith("True")
        assert arrived.wait(5)
        assert got == [[str(Path("x.png").absolute())]]
    finally:
        lock.release()
    again = InstanceLock(tmp_path / "facet.lock")
    again.acquire()
    again.release()
    assert not lock.address.exists()


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from app.store.instance import InstanceLock\n"
        "lock = InstanceLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "time.sleep(60)"
    )
    path = tmp_path / "facet.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(AppError) as caught:
        InstanceLock(path).acquire()
    assert caught.value.failure.kind is ErrorKind.BUSY
    assert str(holder.pid) in caught.value.failure.message
    holder.kill()
    holder.wait()
    holder.stdout.close()
    lock = InstanceLock(path)
    lock.acquire()
    lock.release()


def test_nobody_listens(tmp_path: Path) -> None:
    assert not hand_over(tmp_path / "facet.lock", ["a"])


def test_rubbish_at_the_door_is_ignored(tmp_path: Path) -> None:
    import socket

    lock = InstanceLock(tmp_path / "facet.lock")
    lock.acquire()
    got: list[list[str]] = []
    lock.listen(got.append)
    try:
        for rubbish in (b"", b"{", b'{"a": 1}', b"[1]"):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(lock.address))
                caller.sendall(rubbish)
                caller.shutdown(socket.SHUT_WR)
                assert caller.recv(2) == b""
        assert hand_over(tmp_path / "facet.lock", [])
        assert got == [[]]
    finally:
        lock.release()
