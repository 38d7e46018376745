"""One running app per data folder: a lock that dies with its process, and a door for files.

The first instance holds an exclusive lock and listens on a local socket; a second one hands its
files over through it and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from app.core.errors import AppError, ErrorKind

log = logging.getLogger(__name__)

_MAX_MESSAGE = 1 << 20
_TIMEOUT_SECONDS = 2.0


class InstanceLock:
    """Held as long as this app uses the folder. `acquire` raises AppError if another one does."""

    def __init__(self, lock_file: Path) -> None:
        self._path = lock_file
        self._file: IO[str] | None = None
        self._door: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.address = _socket_path(lock_file)

    def acquire(self) -> None:
        """Take the lock. Raises AppError (BUSY) with what to do."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            file.seek(0)
            owner = file.read(32).strip()
            file.close()
            raise AppError(
                f"Facet is already running with this data folder (process {owner or 'unknown'}).",
                kind=ErrorKind.BUSY,
                remedy="Use its window, or start with another --data-dir.",
            ) from problem
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def listen(self, on_files: Callable[[list[str]], None]) -> None:
        """Let other starts hand their files over; `on_files` is called from a thread."""
        self.address.unlink(missing_ok=True)
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(str(self.address))
        self.address.chmod(0o600)
        self._door.listen(4)
        self._thread = threading.Thread(
            target=_serve, args=(self._door, on_files), name="instance-door", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Give the folder free."""
        if self._door is not None:
            with contextlib.suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            self.address.unlink(missing_ok=True)
            if self._thread is not None:
                self._thread.join(_TIMEOUT_SECONDS)
            self._door = None
        if self._file is not None:
            self._file.close()
            self._file = None


def hand_over(lock_file: Path, files: Sequence[str]) -> bool:
    """Give files to the running instance and bring it to the front; False if none listens."""
    message = json.dumps([str(Path(name).absolute()) for name in files]).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(_TIMEOUT_SECONDS)
            door.connect(str(_socket_path(lock_file)))
            door.sendall(message)
            door.shutdown(socket.SHUT_WR)
            return door.recv(2) == b"ok"
    except OSError:
        return False


def _serve(door: socket.socket, on_files: Callable[[list[str]], None]) -> None:
    while True:
        try:
            caller, _ = door.accept()
        except OSError:
            return
        with caller:
            caller.settimeout(_TIMEOUT_SECONDS)
            try:
                on_files(_received(caller))
                caller.sendall(b"ok")
            except (OSError, ValueError) as problem:
                log.warning("another start could not hand its files over: %s", problem)


def _received(caller: socket.socket) -> list[str]:
    data = b""
    while chunk := caller.recv(65536):
        data += chunk
        if len(data) > _MAX_MESSAGE:
            raise ValueError("message too long")
    files = json.loads(data)
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise ValueError("not a list of names")
    return files


def _socket_path(lock_file: Path) -> Path:
    """A short address (the system allows about 100 bytes) that belongs to this folder and user."""
    digest = hashlib.sha256(str(lock_file.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"facet-{os.getuid()}-{digest}.sock"
