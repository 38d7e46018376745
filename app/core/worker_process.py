"""A child process for work that may hang, crash or eat all memory: opening foreign files.

`WorkerProcess` starts `python -m app.core.worker_process package.module:function …` on the first
request, hands it one request at a time and kills it when a request takes too long; the next request
starts a new one. The function gets a request and returns its answer; both travel as pickles over
pipes. An error it raises is raised again here. A child has looked at foreign files and is not
trusted: of what it sends only plain values, arrays and our own records are built, and nothing that
exists here already is changed (`_Answers`).

Not `multiprocessing`: the engine is itself a daemonic child, which may have none of that kind.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import resource
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import IO, Any, ClassVar

from app.core.entry import run_entry

log = logging.getLogger(__name__)

MODULE = "app.core.worker_process"
EXIT_MEMORY = 71
_LENGTH = struct.Struct("<Q")
_READ_BYTES = 1 << 20
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.5
_BACKGROUND = 5  # niceness: a window that waits for a core stutters
_START_SECONDS = 30.0
_OUR_PACKAGES = frozenset({"app", "mlx_gemma4", "tests"})
_PLAIN = frozenset(
    {
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("builtins", "frozenset"),
        ("builtins", "set"),
        ("pathlib", "PosixPath"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
# Memory of the address space, not of the process: room for libraries that only reserve.
_SPARE_ADDRESSES = 2 << 30


class WorkerEnd(StrEnum):
    """Why there is no answer."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    DIED = "died"
    CANCELLED = "cancelled"


class WorkerError(Exception):
    """The worker gave no answer; `end` says why. It is gone, the next request has a new one."""

    def __init__(self, end: WorkerEnd, message: str) -> None:
        super().__init__(message)
        self.end = end


def _never() -> bool:
    return False


class WorkerProcess:
    """One worker over all its lives. Thread-safe: requests wait for each other.

    Args:
        entry: "package.module:function", the function called with each request in the child.
        timeout_s: longest time for one request, start of the child not included.
        memory_bytes: most memory the child may take.
    """

    def __init__(self, entry: str, *, timeout_s: float, memory_bytes: int) -> None:
        self._entry = entry
        self._timeout = timeout_s
        self._memory = memory_bytes
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the present child, None where there is none."""
        return self._child.pid if self._child is not None else None

    def ask(
        self,
        request: Any,
        *,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] = _never,
    ) -> Any:
        """The answer to `request`.

        Raises:
            WorkerError: no answer within the time, out of memory, died, or cancelled.
            Exception: whatever the function raised.
        """
        with self._lock:
            child = self._running()
            deadline = time.monotonic() + (self._timeout if timeout_s is None else timeout_s)
            try:
                _write(child.stdin, request)
                ok, answer = _Answer(child, deadline, cancelled, self._memory).read()
            except WorkerError as problem:
                log.warning("worker for %s: %s", self._entry, problem)
                self._end()
                raise
            except OSError as problem:
                self._end()
                raise WorkerError(WorkerEnd.DIED, "the worker ended") from problem
        if ok:
            return answer
        raise answer

    def close(self) -> None:
        """End the child for good; a request that runs in another thread fails as died."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise WorkerError(WorkerEnd.DIED, "the worker was closed")
        if self._child is not None and self._child.poll() is not None:
            self._end()
        if self._child is None:
            self._child = _spawn(self._entry, self._memory)
            deadline = time.monotonic() + _START_SECONDS
            ready = _Answer(self._child, deadline, _never, self._memory)
            try:
                ready.read()
            except WorkerError:
                self._end()
                raise
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    log.debug("the worker left a request unread")


def _spawn(entry: str, memory: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, entry, str(memory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


class _Answer:
    """Reads one frame from a child, never longer than until the deadline."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        deadline: float,
        cancelled: Callable[[], bool],
        most_bytes: int,
    ) -> None:
        assert child.stdout is not None
        self._most = most_bytes
        self._child = child
        self._descriptor = child.stdout.fileno()
        self._deadline = deadline
        self._cancelled = cancelled

    def read(self) -> tuple[bool, Any]:
        """(True, answer) or (False, exception). Raises WorkerError."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            (length,) = _LENGTH.unpack(self._bytes(selector, _LENGTH.size))
            if length > self._most:
                raise WorkerError(WorkerEnd.DIED, f"the worker announced {length} bytes")
            return _Answers(io.BytesIO(self._bytes(selector, length))).answer()

    def _bytes(self, selector: selectors.BaseSelector, count: int) -> bytearray:
        taken = bytearray()
        while len(taken) < count:
            if self._cancelled():
                raise WorkerError(WorkerEnd.CANCELLED, "the request was taken back")
            if time.monotonic() > self._deadline:
                raise WorkerError(WorkerEnd.TIMEOUT, "no answer within the time")
            if selector.select(_POLL_SECONDS):
                piece = os.read(self._descriptor, min(_READ_BYTES, count - len(taken)))
                if not piece:
                    raise self._ended()
                taken += piece
        return taken

    def _ended(self) -> WorkerError:
        code = self._child.wait()
        if code == EXIT_MEMORY:
            return WorkerError(WorkerEnd.MEMORY, "the worker ran out of memory")
        return WorkerError(WorkerEnd.DIED, f"the worker ended with {code}")


# The one written in Python: only there an operation can be replaced.
_Unpickler: Any = pickle._Unpickler  # noqa: SLF001


class _Answers(_Unpickler):
    """Builds what a child may send: plain values, arrays, and our own records, enums and errors.

    State may be set on an object that the stream itself has built, never on a class, a function or
    a member of an enum: those are shared with everything else here.
    """

    def answer(self) -> tuple[bool, Any]:
        """(True, answer) or (False, exception). Raises WorkerError for anything else."""
        try:
            ok, value = self.load()
        except Exception as problem:  # a forged stream can fail in any way
            what = f"{type(problem).__name__}: {problem}"
            raise WorkerError(WorkerEnd.DIED, f"the worker sent rubbish ({what})") from problem
        if not ok and not isinstance(value, Exception):
            raise WorkerError(WorkerEnd.DIED, "the worker sent an error that is none")
        return bool(ok), value

    def load_build(self) -> None:
        """Set the state of an object. Raises UnpicklingError where it is not the stream's own."""
        target = self.stack[-2]
        if isinstance(target, (type, Enum)) or not (
            is_dataclass(target) or isinstance(target, Exception) or _is_of_numpy(target)
        ):
            raise pickle.UnpicklingError(f"changing {type(target).__name__} is not allowed")
        super().load_build()

    def load_bytearray8(self) -> None:
        """Take a bytearray; the inherited method fills the announced length before it reads."""
        (length,) = _LENGTH.unpack(self.read(_LENGTH.size))
        self.append(bytearray(self.read(length)))

    dispatch: ClassVar = {
        **_Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Called for every name in the stream. Raises UnpicklingError for what is not allowed."""
        if (module_name, global_name) == ("builtins", "getattr"):
            return _member  # how some versions of Python name the members of an enum
        if (module_name, global_name) == ("numpy", "dtype"):
            return _number
        if (module_name, global_name) in _PLAIN:
            return super().find_class(module_name, global_name)
        if module_name == "builtins" or module_name.split(".")[0] in _OUR_PACKAGES:
            found = super().find_class(module_name, global_name)
            if isinstance(found, type) and (
                is_dataclass(found) or issubclass(found, (Enum, Exception))
            ):
                return found
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed")


def _member(kind: object, name: str) -> Enum:
    """`getattr` for members of enums. Raises UnpicklingError for anything else."""
    if isinstance(kind, type) and issubclass(kind, Enum) and name in kind.__members__:
        return kind.__members__[name]
    raise pickle.UnpicklingError(f"{name} of {kind} is not allowed")


def _number(name: str, align: bool = False, copy: bool = False) -> Any:
    """`numpy.dtype` for numbers; forged fields of another could point anywhere in memory.

    Raises UnpicklingError for anything but a number.
    """
    import numpy as np

    kind = np.dtype(name, align=align, copy=copy)
    if kind.kind not in "biufc":
        raise pickle.UnpicklingError(f"an array of {kind} is not allowed")
    return kind


def _is_of_numpy(value: object) -> bool:
    return type(value).__module__.split(".")[0] == "numpy" and not callable(value)


def _write(stream: IO[bytes] | None, value: Any) -> None:
    assert stream is not None
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


# --- in the child --------------------------------------------------------------------------------


def serve(entry: str, memory_bytes: int) -> None:
    """Answer requests from standard input until it closes."""
    requests, answers = _take_pipes()
    os.nice(_BACKGROUND)
    _limit_memory(memory_bytes)
    threading.Thread(target=_watch, args=(os.getppid(), memory_bytes), daemon=True).start()
    _write(answers, (True, None))
    while (head := requests.read(_LENGTH.size)) and len(head) == _LENGTH.size:
        request = pickle.loads(requests.read(*_LENGTH.unpack(head)))
        _write(answers, _outcome(entry, request))


def _outcome(entry: str, request: Any) -> tuple[bool, Any]:
    try:
        return True, run_entry(entry, request)
    except MemoryError:
        os._exit(EXIT_MEMORY)
    except Exception as problem:  # noqa: BLE001 - it is raised again where the request came from
        return False, _portable(problem)


def _portable(problem: Exception) -> Exception:
    """The exception without its trace, or its words where it cannot travel."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(problem))
    except Exception:  # noqa: BLE001 - any failure to pickle means the same
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return copy


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for requests alone: what libraries print goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests, answers


def _limit_memory(memory_bytes: int) -> None:
    """Linux refuses more address space; macOS does not, there the watch ends the process."""
    if sys.platform == "linux":
        most = memory_bytes + _SPARE_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _resident_bytes() -> int:
    """Memory this process holds (Linux), or the most it ever held (macOS).

    Linux hands the highest mark of a parent on to its children, even through exec, so the mark of
    an engine with a model loaded would end every worker at once.
    """
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _watch(parent: int, memory_bytes: int) -> None:
    """End this process with its parent, and when it has taken too much memory."""
    while os.getppid() == parent:
        if _resident_bytes() > memory_bytes:
            os._exit(EXIT_MEMORY)
        time.sleep(_WATCH_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
