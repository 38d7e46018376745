"""Where the engine lives: in a process of its own, or (for debugging) in a thread of this one.

A host starts it, carries commands to it and calls back from its reader thread with every event and,
last, with the end. It makes no decisions; those are `EngineClient`'s.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from app.core.commands import Command, EngineOptions, Shutdown
from app.core.entry import run_entry

log = logging.getLogger(__name__)

ENTRY = "app.engine.process:serve"
THREAD_ENTRY = "app.engine.process:serve_in_thread"


class EngineHost(Protocol):
    """One life of the engine, from start to end."""

    def start(
        self, on_event: Callable[[object], None], on_end: Callable[[int | None], None]
    ) -> None:
        """Start it; both callbacks come from another thread. on_end gets the exit code."""
        ...

    def send(self, command: Command) -> None:
        """Carry a command; a dead engine is not an error here, its end is reported anyway."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def shut_down(self, grace_seconds: float) -> None:
        """Let it free its memory, wait for its end, kill it after the grace period."""
        ...


class _Channel:
    """The window's end of the pipe: a lock for sending, a thread for reading."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, command: Command) -> None:
        try:
            with self._lock:
                self._connection.send(command)
        except (OSError, ValueError):
            log.debug("the engine is gone, %s was not sent", type(command).__name__)

    def read_until_end(self, on_event: Callable[[object], None]) -> None:
        while True:
            try:
                event = self._connection.recv()
            except (EOFError, OSError):
                return
            on_event(event)

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class ProcessHost:
    """The engine in a spawned process: it may die without taking the window with it."""

    def __init__(self, options: EngineOptions) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        self._theirs = theirs
        self._channel = _Channel(ours)
        self._process = context.Process(
            target=run_entry, args=(ENTRY, theirs, options), name="facet-engine", daemon=True
        )
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._process.pid

    def start(
        self, on_event: Callable[[object], None], on_end: Callable[[int | None], None]
    ) -> None:
        """Spawn the process; see `EngineHost`."""
        self._process.start()
        # Only the child may hold its end, otherwise its death would not close the pipe.
        self._theirs.close()

        def read() -> None:
            self._channel.read_until_end(on_event)
            self._process.join()
            self._channel.close()
            on_end(self._process.exitcode)

        self._reader = threading.Thread(target=read, name="engine-reader", daemon=True)
        self._reader.start()

    def send(self, command: Command) -> None:
        """See `EngineHost`."""
        self._channel.send(command)

    def kill(self) -> None:
        """SIGKILL: works on a process stuck in the driver as well."""
        if self._process.pid is not None and self._process.is_alive():
            self._process.kill()

    def shut_down(self, grace_seconds: float) -> None:
        """See `EngineHost`."""
        if self._reader is None:
            return
        self.send(Shutdown())
        self._reader.join(grace_seconds)
        if self._reader.is_alive():
            log.warning("the engine did not end in %.1f s, killing it", grace_seconds)
            self.kill()
            self._reader.join(grace_seconds)


class ThreadHost:
    """The engine in a thread of this process, for debuggers (`--in-process`) and quick tests.

    It cannot be killed: `kill` only closes its pipe, so it ends at its next event.
    """

    pid = None

    def __init__(self, options: EngineOptions) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=True)
        self._channel = _Channel(ours)
        self._server = threading.Thread(
            target=run_entry, args=(THREAD_ENTRY, theirs, options), name="engine", daemon=True
        )
        self._reader: threading.Thread | None = None

    def start(
        self, on_event: Callable[[object], None], on_end: Callable[[int | None], None]
    ) -> None:
        """Start the threads; see `EngineHost`."""
        self._server.start()

        def read() -> None:
            self._channel.read_until_end(on_event)
            self._server.join()
            self._channel.close()
            on_end(0)

        self._reader = threading.Thread(target=read, name="engine-reader", daemon=True)
        self._reader.start()

    def send(self, command: Command) -> None:
        """See `EngineHost`."""
        self._channel.send(command)

    def kill(self) -> None:
        """Ask it to end; a thread cannot be forced."""
        self.send(Shutdown())

    def shut_down(self, grace_seconds: float) -> None:
        """See `EngineHost`."""
        if self._reader is not None:
            self.send(Shutdown())
            self._reader.join(grace_seconds)


def make_host(options: EngineOptions, *, in_process: bool) -> ProcessHost | ThreadHost:
    """The host for one life of the engine."""
    return ThreadHost(options) if in_process else ProcessHost(options)
