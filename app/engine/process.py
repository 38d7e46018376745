"""The engine's process: reads commands, answers questions, owns the MLX thread.

Threads: the main thread reads commands and sets cancel flags; one question thread answers `Query`s;
the MLX thread runs jobs and is the only one that touches MLX. The process ends when the pipe closes
or its parent is gone, whatever it is doing.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from app.core import commands
from app.core.conversation import MediaKind
from app.core.events import Described, LocalModels, Planned, SchemaChecked, TokensCounted
from app.core.paths import CRASH_LOG, LAST_CRASH_LOG
from app.engine.jobs import Engine, JobRunner

log = logging.getLogger(__name__)

PARENT_CHECK_SECONDS = 1.0
# An orphan gets this long to free its memory in order before it is ended hard.
ORPHAN_GRACE_SECONDS = 3.0
EXIT_BROKEN = 70
_JOBS = (
    commands.LoadModel,
    commands.UnloadModel,
    commands.CheckEngine,
    commands.ChatTurn,
    commands.LiveStart,
    commands.TranscribeFile,
    commands.ReadDocument,
)
_QUERIES = (
    commands.Plan,
    commands.Describe,
    commands.CountTokens,
    commands.ListLocal,
    commands.CheckSchema,
)


@dataclass(frozen=True, slots=True)
class _Pipe:
    """Sending from several threads over one connection."""

    connection: Connection
    lock: threading.Lock

    def send(self, message: object) -> None:
        try:
            with self.lock:
                self.connection.send(message)
        except (BrokenPipeError, OSError):
            log.info("the window is gone, nobody hears %s", type(message).__name__)


def serve(connection: Connection, options: commands.EngineOptions) -> None:
    """Entry of the child process; returns when it was told to end."""
    crash_log = _prepare_process(options)
    watch = threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True)
    watch.start()
    try:
        serve_connection(connection, make_engine(options))
    finally:
        logging.shutdown()
        if crash_log is not None:
            faulthandler.disable()
            crash_log.close()


def make_engine(options: commands.EngineOptions) -> Engine:
    """The engine named by the options, imported here and not before."""
    if options.script:
        from app.engine.scripted import ScriptedEngine

        return ScriptedEngine(options.script)
    from app.engine.engine import GemmaEngine

    return GemmaEngine(options)


def serve_connection(connection: Connection, engine: Engine) -> None:
    """Serve until `Shutdown` or until the other end closes. Also the body of the thread host."""
    pipe = _Pipe(connection, threading.Lock())
    runner = JobRunner(engine, pipe.send, engine.idle)
    questions: queue.SimpleQueue[commands.Query | None] = queue.SimpleQueue()
    worker = threading.Thread(target=_work, args=(engine, runner, pipe.send), name="mlx")
    answerer = threading.Thread(
        target=_answer, args=(engine, questions, pipe.send), name="questions", daemon=True
    )
    worker.start()
    answerer.start()
    try:
        _read(connection, engine, runner, questions, pipe.send)
    finally:
        questions.put(None)
        runner.cancel_all()
        runner.stop()
        worker.join()
        answerer.join(timeout=5)
        connection.close()


def _read(
    connection: Connection,
    engine: Engine,
    runner: JobRunner,
    questions: queue.SimpleQueue[commands.Query | None],
    send: Callable[[object], None],
) -> None:
    while True:
        try:
            command: Any = connection.recv()
        except (EOFError, OSError):
            return
        match command:
            case commands.Shutdown():
                return
            case commands.Ping():
                send(engine.pong(command.number))
            case commands.Cancel():
                runner.cancel(command.job_id)
            case _ if isinstance(command, _JOBS):
                runner.submit(command)
            case _ if isinstance(command, _QUERIES):
                questions.put(command)
            case _:
                runner.deliver(command)


def _work(engine: Engine, runner: JobRunner, send: Callable[[object], None]) -> None:
    """The MLX thread: opens the engine, runs jobs, frees everything in order."""
    send(engine.open())
    try:
        runner.run_forever()
    finally:
        engine.close()


def _answer(
    engine: Engine,
    questions: queue.SimpleQueue[commands.Query | None],
    send: Callable[[object], None],
) -> None:
    while (query := questions.get()) is not None:
        try:
            send(engine.answer(query))
        except Exception:  # a question must never end the engine
            log.exception("question %s failed", type(query).__name__)
            send(unanswered(query, "It could not be read."))


def unanswered(query: commands.Query, problem: str) -> object:
    """The answer to a question that could not be answered."""
    match query:
        case commands.Plan():
            return Planned(query.query_id, query.source, None, problem)
        case commands.Describe():
            return Described(query.query_id, query.path, MediaKind.UNKNOWN, problem=problem)
        case commands.CountTokens():
            return TokensCounted(query.query_id, 0, 0, False)
        case commands.ListLocal():
            return LocalModels(query.query_id, ())
        case commands.CheckSchema():
            return SchemaChecked(query.query_id, "The schema could not be checked.")


# --- the process itself --------------------------------------------------------------------------


def _prepare_process(options: commands.EngineOptions) -> IO[str] | None:
    """Logging, crash log and signals of the child."""
    # Ctrl-C in a terminal reaches the whole group; the window decides when the engine ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not options.log_folder:
        return None
    folder = Path(options.log_folder)
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / "engine.log", maxBytes=1 << 20, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler], force=True)
    crash_log = _fresh_crash_log(folder)
    faulthandler.enable(crash_log)
    # Metal and malloc write their last words to standard error before they abort.
    os.dup2(crash_log.fileno(), sys.__stderr__.fileno() if sys.__stderr__ else 2)
    return crash_log


def _fresh_crash_log(folder: Path) -> IO[str]:
    """An empty crash log; what an engine before this one left is kept beside it."""
    path = folder / CRASH_LOG
    if path.is_file() and path.stat().st_size:
        path.replace(folder / LAST_CRASH_LOG)
    return path.open("a", encoding="utf-8")


def _watch_parent(parent: int) -> None:
    """End this process soon after its parent: nobody would ever free its memory."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    log.warning("the window's process is gone, ending")
    time.sleep(ORPHAN_GRACE_SECONDS)
    os._exit(EXIT_BROKEN)


def serve_in_thread(connection: Connection, options: commands.EngineOptions) -> None:
    """Entry of the thread host: the same service without touching the process around it."""
    serve_connection(connection, make_engine(options))
