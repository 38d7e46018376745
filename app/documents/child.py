"""One life of the worker process: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from typing import IO, Any

import psutil

from app.documents import wire

START_SECONDS = 60.0
WATCH_SECONDS = 0.05  # between looks at the worker's memory
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from app.documents.worker import main; sys.exit(main(sys.argv[1:]))"
)


class WorkerEndedError(Exception):
    """The worker gave no answer. why: "time", "memory" or "crash"."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(f"{why}: {detail}")
        self.why = why


class WorkerProcess:
    """A running worker. After any `WorkerEndedError` it is of no more use: `end` it.

    Args:
        memory_bytes: most resident memory; looked at while it works.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory = memory_bytes
        # sys.executable runs plain Python for "-c", in the bundle too; the path travels along.
        command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(memory_bytes)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            bufsize=0,
        )
        self.pid = self._process.pid
        self._requests = _opened(self._process.stdin)
        self._replies = _opened(self._process.stdout)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)

    def wait_ready(self) -> None:
        """Until it has imported what it needs.

        Raises:
            WorkerEndedError: it did not come up.
        """
        self._reply(time.monotonic() + START_SECONDS)

    def exchange(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its reply.

        Raises:
            WorkerEndedError: no answer in time, too much memory, or a crash.
        """
        try:
            self._requests.write(wire.pack(request))
        except OSError as problem:
            raise self._crashed(str(problem)) from problem
        return self._reply(time.monotonic() + seconds)

    def kill(self) -> None:
        """End it from any thread; one that waits for a reply gets its `WorkerEndedError`."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def end(self) -> None:
        """Kill it and free everything it held."""
        self.kill()
        self._process.wait()
        self._selector.close()
        self._requests.close()
        self._replies.close()

    def _reply(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        try:
            head = self._read(wire.LENGTHS.size, deadline)
            header_bytes, payload_bytes = wire.lengths(head)
            header = wire.header_of(self._read(header_bytes, deadline))
            return header, self._read(payload_bytes, deadline)
        except wire.WireError as problem:
            raise WorkerEndedError("crash", str(problem)) from problem

    def _read(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes, with an eye on the clock and on the worker's memory."""
        data = bytearray()
        while len(data) < count:
            ready = self._selector.select(WATCH_SECONDS)
            self._check(deadline, look_at_memory=not ready)
            if not ready:
                continue
            piece = os.read(self._replies.fileno(), min(count - len(data), 1 << 20))
            if not piece:
                raise self._crashed("its output closed")
            data += piece
        return bytes(data)

    def _check(self, deadline: float, *, look_at_memory: bool) -> None:
        if time.monotonic() > deadline:
            raise WorkerEndedError("time", "no answer in time")
        if not look_at_memory:
            return
        with contextlib.suppress(psutil.Error):
            held = psutil.Process(self.pid).memory_info().rss
            if held > self._memory:
                raise WorkerEndedError("memory", f"{held >> 20} MB")

    def _crashed(self, detail: str) -> WorkerEndedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return WorkerEndedError("crash", f"{detail}, exit code {self._process.returncode}")


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise OSError("a pipe of the document worker is missing")
    return stream


def _environment() -> dict[str, str]:
    """One thread for every library: several workers share the machine with the model."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one}
