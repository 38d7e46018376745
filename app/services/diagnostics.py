"""The doctor's findings: facts about versions, machine, models and the engine. No chat content.

Plain data collected without Qt widgets; the page and `facet doctor` show the same report.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.core.errors import AppError, ErrorKind
from app.core.events import EngineChecked, EngineStarted, ModelInfo
from app.core.paths import AppPaths, demo_model_dir, samples_dir
from app.services.machine import machine_facts
from app.store.files import write_atomic

_PACKAGES = (
    "facet", "mlx", "mlx-lm", "PySide6", "huggingface_hub", "tokenizers", "numpy", "pillow",
    "opencv-python-headless", "sounddevice", "soundfile", "pypdfium2",
)  # fmt: skip
_LOG_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what, its value, and whether it is as it should be (None: just a fact)."""

    name: str
    value: str
    ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its findings."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report; made at `when`, seconds since the epoch."""

    when: float
    sections: tuple[Section, ...]

    @property
    def problems(self) -> list[Finding]:
        """What is not as it should be."""
        return [f for section in self.sections for f in section.findings if f.ok is False]


def make_report(
    paths: AppPaths,
    *,
    engine: EngineStarted | None = None,
    checked: EngineChecked | None = None,
    models: Sequence[ModelInfo] = (),
    more: Iterable[Section] = (),
) -> Report:
    """Collect everything that can be known without a window.

    engine and checked: what the engine said about itself, if it was asked; more: sections found by
    others (permissions and devices).
    """
    sections = [
        Section("Versions", tuple(_versions())),
        Section("Machine", tuple(_machine(paths))),
        Section("Models", tuple(_models(models))),
        Section("Engine", tuple(_engine(paths, engine, checked))),
        *more,
    ]
    return Report(time.time(), tuple(sections))


def _versions() -> Iterable[Finding]:
    import importlib.metadata

    yield Finding("Python", sys.version.split()[0])
    for name in _PACKAGES:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", ok=name in ("facet", "opencv-python-headless"))


def _machine(paths: AppPaths) -> Iterable[Finding]:
    folder = next(path for path in (paths.data, *paths.data.parents) if path.is_dir())
    facts = machine_facts(folder)
    yield Finding("System", facts.system)
    yield Finding("Chip", facts.chip)
    yield Finding("Architecture", platform.machine())
    yield Finding("Memory", f"{gib(facts.memory)}, {gib(facts.available_memory)} available")
    yield Finding("Free disk", gib(facts.free_disk), ok=facts.free_disk > 2 << 30)
    yield Finding("Data folder", _private(paths.data))
    yield Finding("Samples", "present" if samples_dir().is_dir() else "missing")


def _models(models: Sequence[ModelInfo]) -> Iterable[Finding]:
    demo = (demo_model_dir() / "config.json").is_file()
    yield Finding("Demo model", "present" if demo else "missing", ok=demo)
    for info in models:
        if info.source != "demo":
            state = info.problem or f"{gib(info.size)}, {info.quantisation or 'as stored'}"
            yield Finding(info.label, state, ok=not info.problem)


def _engine(
    paths: AppPaths, engine: EngineStarted | None, checked: EngineChecked | None
) -> Iterable[Finding]:
    if engine is not None:
        yield Finding("Device", engine.device, ok=True)
        for name, version in engine.versions:
            yield Finding(name, version)
    for name, ok, text in checked.items if checked is not None else ():
        yield Finding(name, text, ok=ok)
    yield Finding("Last crash", last_crash(paths))


def last_crash(paths: AppPaths) -> str:
    """The first line of the engine's crash log, or that there is none."""
    for path in (paths.crash_log, paths.last_crash_log):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if text.strip():
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
            return f"{when}: {text.strip().splitlines()[0]}"
    return "none"


def gib(size: int) -> str:
    """Bytes in words: 15.6 GB (powers of 1024, as memory is sold)."""
    return f"{size / (1 << 30):.1f} GB"


def as_text(report: Report) -> str:
    """For the terminal and the clipboard."""
    marks = {True: "✓", False: "✗", None: " "}
    lines = [time.strftime("Facet doctor, %Y-%m-%d %H:%M", time.localtime(report.when))]
    for section in report.sections:
        lines += ["", section.title]
        lines += [f"  {marks[each.ok]} {each.name}: {each.value}" for each in section.findings]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    """For other programs."""
    return json.dumps(asdict(report), ensure_ascii=False, indent=2) + "\n"


def write_zip(report: Report, paths: AppPaths, target: Path) -> None:
    """The report and the logs, without chats, file names of attachments or settings.

    Raises AppError where the file cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.txt", as_text(report))
        archive.writestr("report.json", as_json(report))
        for log_file in sorted(paths.logs.glob("*.log")):
            with log_file.open("rb") as source:
                source.seek(max(0, log_file.stat().st_size - _LOG_BYTES))
                text = source.read().decode("utf-8", "replace")
            archive.writestr(f"logs/{log_file.name}", text.replace(str(Path.home()), "~"))
    try:
        write_atomic(target, buffer.getvalue())
    except OSError as problem:
        raise AppError(
            f"“{target.name}” could not be written: {problem.strerror}.",
            kind=ErrorKind.BAD_FILE,
            remedy="Choose another folder.",
        ) from problem


def _private(path: Path) -> str:
    """A path without the name of the person."""
    return str(path).replace(str(Path.home()), "~")
