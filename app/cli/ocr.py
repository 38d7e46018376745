"""`facet ocr`: documents to text, tables or searchable PDFs, on this machine, without a window.

The engine's own reading job, run in this process. Every finished page is kept in the data folder
at once, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from app.core.commands import EngineOptions, LoadModel, ReadDocument
from app.core.conversation import new_id
from app.core.errors import AppError, ErrorKind
from app.core.events import (
    DocumentOpened,
    Event,
    JobFailed,
    PageFailed,
    PageFinished,
    PageStarted,
)
from app.core.paths import AppPaths, demo_model_dir
from app.documents.export import ExportFormat, export
from app.documents.host import DocumentHost
from app.documents.intake import expand
from app.documents.prompts import ReadingTask
from app.documents.types import DocumentError, PageText, ReadingDetail
from app.engine.jobs import Engine, JobContext

TO_SCREEN = (ExportFormat.MARKDOWN, ExportFormat.TEXT, ExportFormat.JSON)
BAR = 24


def _values(kinds: type[StrEnum]) -> list[str]:
    """Plain strings: argparse shows members of an enumeration as Python writes them."""
    return [kind.value for kind in kinds]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="PDF, picture, office file, text, or a folder")
    add("--format", choices=_values(ExportFormat), default="md", help="what to write")
    add("--pages", default="", metavar="1-3,7", help="only these pages")
    add(
        "--detail",
        choices=_values(ReadingDetail),
        default="auto",
        metavar="NAME",
        help=f"how finely: {', '.join(ReadingDetail)}",
    )
    kinds = _values(ReadingTask)
    add("--task", choices=kinds, default="page", metavar="NAME", help=f"what: {', '.join(kinds)}")
    add("--schema", type=Path, metavar="FILE", help="JSON schema to fill, for --task fields")
    add("--language", default="", help="language of the pages, in English")
    add(
        "--text-layer",
        choices=("use", "check", "ignore"),
        default="use",
        help="the PDF's own text: use it where it is good, compare with it, or ignore it",
    )
    add("--out", type=Path, metavar="DIR", help="folder to write into (md, txt, json: the screen)")
    add("--password", default="", help="of encrypted files (asked for in a terminal)")
    add("--model", default="", help="checkpoint folder (default: the demo)")
    add("--data-dir", default="", help="where finished pages are kept until a file is done")
    add("--script", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Read every file; one that cannot be read does not stop the others."""
    pages = parse_pages(args.pages)
    schema = args.schema.read_text(encoding="utf-8") if args.schema else ""
    paths = AppPaths.below(Path(args.data_dir)) if args.data_dir else AppPaths.default()
    intake = expand(args.files)
    failed = len(intake.skipped)
    for sentence in intake.skipped:
        sys.stderr.write(f"facet ocr: {sentence}\n")
    names = output_names(intake.files)
    engine = _LazyModel(args)
    engine.engine.open()
    try:
        for path, name in zip(intake.files, names, strict=True):
            job = ReadDocument(
                new_id(),
                str(path),
                pages,
                args.detail,
                args.task,
                args.language,
                schema,
                args.text_layer,
                password=args.password,
            )
            failed += not _read_file(engine, job, args, paths.documents / "ocr", name)
    finally:
        engine.engine.close()
    return 1 if failed else 0


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name without ending for what comes of each file; no two alike, on no file system.

    Files that differ only in their ending keep it: `page.pdf` and `page.png` → `page.pdf.docx` …
    """
    stems = Counter(path.stem.casefold() for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        wanted = path.stem if stems[path.stem.casefold()] == 1 else path.name
        name, number = wanted, 1
        while name.casefold() in taken:
            number += 1
            name = f"{wanted} ({number})"
        taken.add(name.casefold())
        names.append(name)
    return names


def parse_pages(text: str) -> tuple[int, ...]:
    """`1-3,7` as (0, 1, 2, 6); empty: all. Raises AppError."""
    found: list[int] = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= first + 100_000:
            raise AppError(
                f"“{piece}” names no pages.",
                kind=ErrorKind.BAD_INPUT,
                remedy="Write numbers from 1 on, such as --pages 1-3,7.",
            )
        found += range(first - 1, last)
    return tuple(dict.fromkeys(found))


class _LazyModel:
    """The engine; its model is loaded when the first page has to be looked at."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._path = args.model or str(demo_model_dir())
        self._loaded = False
        self.name = args.script or self._path
        self.engine: Engine
        if args.script:
            from app.engine.scripted import ScriptedEngine

            self.engine = ScriptedEngine(args.script)
        else:
            from app.engine.engine import GemmaEngine

            self.engine = GemmaEngine(EngineOptions())

    def events(self, job: ReadDocument) -> Iterator[Event]:
        """The job's events; a job that needs the model is begun again once it is loaded."""
        context = JobContext(job.job_id)
        try:
            yield from self.engine.run(job, context)
        except AppError as problem:
            if problem.failure.kind is not ErrorKind.NO_MODEL or self._loaded:
                raise
            self._loaded = True
            for _ in self.engine.run(LoadModel(new_id(), self._path), JobContext("load")):
                pass
            yield from self.engine.run(job, context)


def _read_file(
    model: _LazyModel, job: ReadDocument, args: argparse.Namespace, keep: Path, target_name: str
) -> bool:
    """Read one file and write what came of it; True if all of it worked."""
    name = Path(job.path).name
    kept = KeptPages(keep, job, model.name)
    bar = ProgressBar(sys.stderr, name)
    try:
        bad = _read_pages(model, job, kept, bar)
        bar.clear()
        if not kept.pages:
            raise AppError(f"Nothing could be read of “{name}”.", kind=ErrorKind.BAD_FILE)
        _write(job, [kept.pages[page] for page in sorted(kept.pages)], args, target_name)
    except (AppError, DocumentError, OSError) as problem:
        bar.clear()
        sys.stderr.write(f"facet ocr: {_sentence(problem, name)}\n")
        return False
    finally:
        kept.close()
    if not bad:
        kept.remove()
    return not bad


def _read_pages(model: _LazyModel, job: ReadDocument, kept: KeptPages, bar: ProgressBar) -> int:
    """Ask for the pages that are not kept yet; returns how many could not be read."""
    bad = 0
    refused: AppError | None = None
    for attempt in _with_password(job):
        missing = kept.missing(attempt)
        if missing is not None and not missing:
            return 0
        wanted = replace(attempt, pages=missing or ())
        try:
            for event in model.events(wanted):
                bad += _take(event, kept, bar, job)
            return bad
        except AppError as problem:
            if problem.failure.kind is not ErrorKind.PASSWORD:
                raise
            refused = problem
    assert refused is not None  # every attempt that came here asked for a password
    raise refused


def _with_password(job: ReadDocument) -> Iterator[ReadDocument]:
    """The job, then again with a password typed in a terminal."""
    yield job
    if sys.stdin.isatty() and sys.stderr.isatty():
        typed = getpass.getpass(f"Password of {Path(job.path).name}: ")
        yield replace(job, password=typed)


def _take(event: Event, kept: KeptPages, bar: ProgressBar, job: ReadDocument) -> int:
    match event:
        case DocumentOpened():
            kept.opened(event.pages)
            for notice in event.notices:
                bar.say(notice)
        case PageStarted():
            bar.show(event.index, event.total, event.page)
        case PageFinished():
            kept.add(PageText(event.page, event.text, notices=event.notices))
            for notice in event.notices:
                bar.say(f"{Path(job.path).name}, page {event.page + 1}: {notice}")
            bar.done()
        case PageFailed():
            bar.say(f"{Path(job.path).name}, page {event.page + 1}: {event.message}")
            return 1
        case JobFailed():
            raise AppError(event.message, kind=event.kind, remedy=event.remedy)
    return 0


def _write(
    job: ReadDocument, pages: Sequence[PageText], args: argparse.Namespace, name: str
) -> None:
    kind = ExportFormat(args.format)
    path = Path(job.path)
    if args.out is None and kind in TO_SCREEN:
        _print(kind, pages, path)
        return
    folder = args.out or Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    target = _target(folder, name, path, kind)
    if kind is ExportFormat.PDF:
        with DocumentHost() as host:
            host.open(path, job.password)
            made = host.searchable_pdf(path, list(pages), target)
        if made.unmatched:
            sys.stderr.write(
                f"{path.name}: {made.unmatched:,} of {made.lines:,} lines have no exact place.\n"
            )
        return
    export(kind, pages, target, title=path.stem)


def _target(folder: Path, name: str, path: Path, kind: ExportFormat) -> Path:
    """In the folder under its name; never the file itself."""
    target = folder / f"{name}.{kind.value}"
    if target.absolute() == path.absolute():
        target = folder / f"{name} (read).{kind.value}"
    return target


def _print(kind: ExportFormat, pages: Sequence[PageText], path: Path) -> None:
    """Text formats go to the screen, through the same writers as files."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"page.{kind.value}"
        export(kind, pages, target, title=path.stem)
        text = target.read_text(encoding="utf-8")
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _sentence(problem: Exception, name: str) -> str:
    if isinstance(problem, AppError):
        text = f"{problem.failure.message} {problem.failure.remedy}".strip()
    else:
        text = str(problem)
    return text if name in text else f"{name}: {text}"


# --- pages kept until the file is done -----------------------------------------------------------


class KeptPages:
    """Finished pages of one file and one way of reading it, one JSON line each.

    The name is a hash of everything that would change the text, so other options begin anew.
    """

    def __init__(self, folder: Path, job: ReadDocument, model: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{_key(job, model)}.jsonl"
        self._count = 0
        self.pages: dict[int, PageText] = {}
        for record in _lines(self._path):
            if "count" in record:
                self._count = int(record["count"])
            else:
                page = PageText(record["page"], record["text"], notices=tuple(record["notices"]))
                self.pages[page.page] = page
        self.pages = {n: p for n, p in self.pages.items() if not job.pages or n in job.pages}
        self._file: IO[str] = self._path.open("a", encoding="utf-8")

    def opened(self, count: int) -> None:
        """The file has so many pages."""
        if count != self._count:
            self._count = count
            self._append({"count": count})

    def missing(self, job: ReadDocument) -> tuple[int, ...] | None:
        """Pages still to read; None where it is not known how many there are."""
        if job.pages:
            return tuple(page for page in job.pages if page not in self.pages)
        if not self._count:
            return None
        return tuple(page for page in range(self._count) if page not in self.pages)

    def add(self, page: PageText) -> None:
        """Keep a page; it survives a power cut when this returns."""
        self.pages[page.page] = page
        record = {"page": page.page, "text": page.markdown, "notices": list(page.notices)}
        self._append(record)

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._file.close()

    def remove(self) -> None:
        """The output is written: nothing to go on with."""
        self._path.unlink(missing_ok=True)

    def _append(self, record: dict[str, object]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass(frozen=True, slots=True)
class _Facts:
    size: int
    modified: int


def _key(job: ReadDocument, model: str) -> str:
    try:
        stat = Path(job.path).stat()
        facts = _Facts(stat.st_size, stat.st_mtime_ns)
    except OSError:
        facts = _Facts(0, 0)
    text = repr((replace(job, job_id="", password="", pages=()), facts, model))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    """The records of a file; a last line cut by a crash is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


# --- what is seen meanwhile ----------------------------------------------------------------------


class ProgressBar:
    """One line on standard error that moves; in a file or pipe, one line for each page."""

    def __init__(self, stream: IO[str], name: str) -> None:
        self._stream = stream
        self._name = name
        self._moves = stream.isatty()
        self._began = time.monotonic()
        self._done = 0

    def show(self, index: int, total: int, page: int) -> None:
        """Page number `page`, the `index`-th of `total`, begins."""
        if not self._moves:
            self._stream.write(f"{self._name}: page {page + 1} ({index + 1} of {total})\n")
            return
        filled = round(BAR * index / max(total, 1))
        left = ""
        if self._done:
            each = (time.monotonic() - self._began) / self._done
            left = f", {each * (total - index):.0f} s left"
        bar = "█" * filled + "░" * (BAR - filled)
        self._stream.write(f"\r\x1b[K{self._name} {bar} {index + 1}/{total}{left}")
        self._stream.flush()

    def done(self) -> None:
        """A page is read."""
        self._done += 1

    def say(self, words: str) -> None:
        """A line of its own."""
        self.clear()
        self._stream.write(f"{words}\n")

    def clear(self) -> None:
        """Take the moving line away."""
        if self._moves:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
