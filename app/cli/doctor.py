"""`facet doctor`: facts about this machine, the models and the engine, as text, JSON or a zip."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from app.core.commands import CheckEngine, EngineOptions, ListLocal
from app.core.events import (
    EngineChecked,
    EngineStarted,
    JobFailed,
    JobFinished,
    LocalModels,
    ModelInfo,
)
from app.core.paths import AppPaths
from app.services.diagnostics import Report, Section, as_json, as_text, make_report, write_zip
from app.services.engine_host import ProcessHost

EXAMPLES = """\
examples:
  facet doctor                     what Facet finds on this machine
  facet doctor --zip report.zip    pack it with the logs, for a bug report (no chats in it)
  facet doctor --json --no-engine  for other programs, without starting the engine

exit codes: 0 all as it should be, 1 something is not (marked ✗), 2 no report could be made
"""
ENGINE_SECONDS = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--zip", default="", metavar="FILE", help="also pack report and logs")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="the data folder to look at")
    parser.add_argument("--no-engine", action="store_true", help="do not start the engine")


def run(options: argparse.Namespace) -> int:
    """Print the report; returns 1 where something is not as it should be."""
    paths = AppPaths.below(Path(options.data_dir)) if options.data_dir else AppPaths.default()
    report = collect(paths, ask_engine=not options.no_engine)
    sys.stdout.write(as_json(report) if options.json else as_text(report))
    if options.zip:
        write_zip(report, paths, Path(options.zip))
    return 1 if report.problems else 0


def collect(paths: AppPaths, *, ask_engine: bool) -> Report:
    """The report, with what the engine says about itself."""
    answers = _Answers()
    if ask_engine:
        answers.ask()
    return make_report(
        paths,
        engine=answers.started,
        checked=answers.checked,
        models=answers.models,
        more=_devices(),
    )


def _devices() -> tuple[Section, ...]:
    from PySide6.QtCore import QCoreApplication

    from app.services.device_report import device_sections

    application = QCoreApplication.instance() or QCoreApplication(["facet"])
    sections = tuple(device_sections())
    del application
    return sections


class _Answers:
    """Starts an engine of its own, asks it two things and lets it end."""

    def __init__(self) -> None:
        self.started: EngineStarted | None = None
        self.checked: EngineChecked | None = None
        self.models: tuple[ModelInfo, ...] = ()
        self._open = {"check", "list"}
        self._done = threading.Event()

    def ask(self) -> None:
        """Wait for both answers, the engine's end, or the time limit."""
        host = ProcessHost(EngineOptions())
        host.start(self._take, lambda _code: self._done.set())
        host.send(CheckEngine("check"))
        host.send(ListLocal("list"))
        try:
            answered = self._done.wait(ENGINE_SECONDS)
        except KeyboardInterrupt:
            host.kill()  # it may be long in importing; nobody waits for it
            raise
        if not answered or self.checked is None:
            message = "the engine did not finish its self-check"
            self.checked = EngineChecked("check", (("Self-check", False, message),))
        host.shut_down(5.0)

    def _take(self, event: object) -> None:
        match event:
            case EngineStarted():
                self.started = event
            case EngineChecked():
                self.checked = event
            case LocalModels():
                self.models = event.models
                self._answered("list")
            case JobFinished():
                self._answered("check")
            case JobFailed():
                self.checked = EngineChecked("check", (("Self-check", False, event.message),))
                self._answered("check")

    def _answered(self, what: str) -> None:
        self._open.discard(what)
        if not self._open:
            self._done.set()
