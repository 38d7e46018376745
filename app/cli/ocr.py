"""`facet ocr`: documents to text, tables or searchable PDFs, on this machine, without a window.

The engine's own reading job, run in this process. Every finished page is kept in the data folder
at once, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import getpass
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO

from app.cli import told
from app.cli.checkpoints import checkpoint
from app.cli.kept_pages import KeptPages, prepare
from app.cli.outputs import RECORD, Outputs, missing_files, output_names, write_out
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
from app.engine.schema_check import MAX_SCHEMA_CHARACTERS, schema_problem

EXAMPLES = """\
examples:
  facet ocr scan.pdf                              print the text, as Markdown
  facet ocr scan.pdf --format pdf --out read      a searchable PDF, as read/scan.pdf
  facet ocr invoices/ --format xlsx --out tables  the tables of a folder, as workbooks
  facet ocr form.jpg --schema form.json           the fields of a form
  facet ocr book.pdf --pages 10-20 --language German

A run that was stopped goes on at the page where it stopped. The same command run again replaces
what it wrote; other files are never replaced, the new one gets a number.

exit codes: 0 all read, 1 some files or pages could not be read, 2 nothing could be done (wrong
options, no such model), 130 stopped with Ctrl-C
"""
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
    add("--task", choices=kinds, metavar="NAME", help=f"what: {', '.join(kinds)} (default: page)")
    add("--schema", type=Path, metavar="FILE", help="JSON schema whose fields to fill in")
    add("--language", default="", metavar="NAME", help="language of the pages, in English")
    add(
        "--text-layer",
        choices=("use", "check", "ignore"),
        default="use",
        help="the PDF's own text: use it where it is good, compare with it, or ignore it",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write into (default: md, txt and json to the screen, others here)",
    )
    add(
        "--password",
        default="",
        metavar="WORD",
        help="of encrypted files (asked for in a terminal)",
    )
    add("--model", default="", metavar="PATH", help="checkpoint folder (default: the demo)")
    add(
        "--data-dir",
        default="",
        metavar="DIR",
        help="where finished pages are kept until a file is done",
    )
    add("--script", default="", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Read every file; one that cannot be read does not stop the others."""
    wanted = _wanted(args)
    paths = AppPaths.below(Path(args.data_dir)) if args.data_dir else AppPaths.default()
    outputs = Outputs(args.out or Path(), paths.data / RECORD)
    if _to_files(args):
        outputs.check()
    keep = prepare(paths.documents / "ocr")
    model = _LazyModel(args)
    files, problems = _inputs(args.files, outputs)
    for sentence in problems:
        sys.stderr.write(f"facet ocr: {sentence}\n")
    failed = len(problems)
    model.engine.open()
    try:
        for path, name in zip(files, output_names(files), strict=True):
            job = replace(wanted, job_id=new_id(), path=str(path))
            failed += not _read_file(model, job, args, keep, outputs, name)
    finally:
        model.engine.close()
    return 1 if failed else 0


def _wanted(args: argparse.Namespace) -> ReadDocument:
    """The job for any file. Raises AppError for options that do not go together."""
    schema = _schema(args.schema) if args.schema else ""
    task = args.task or ("fields" if schema else "page")
    if (task == ReadingTask.FIELDS) != bool(schema):
        raise AppError(
            "--task fields needs a schema." if not schema else "--schema is for --task fields.",
            kind=ErrorKind.BAD_INPUT,
            remedy="Name it with --schema FILE." if not schema else "Leave one of them out.",
        )
    return ReadDocument(
        "",
        "",
        parse_pages(args.pages),
        args.detail,
        task,
        args.language,
        schema,
        args.text_layer,
        password=args.password,
    )


def _schema(path: Path) -> str:
    schema = ""
    try:
        with path.open(encoding="utf-8") as file:
            schema = file.read(MAX_SCHEMA_CHARACTERS + 1)
        problem = schema_problem(schema)
    except OSError as error:
        problem = f"The schema {path} cannot be read: {error.strerror}."
    except UnicodeDecodeError:
        problem = f"The schema {path} is no text; name a file with a JSON schema."
    if problem:
        raise AppError(problem, kind=ErrorKind.BAD_INPUT)
    return schema


def _inputs(names: Sequence[str], outputs: Outputs) -> tuple[list[Path], list[str]]:
    """The files to read, and a sentence for everything named that gives none."""
    paths = [Path(name) for name in names]
    missing = missing_files(paths)
    intake = expand(path for path in paths if path not in missing)
    problems = [f"There is no file {path}; check its name." for path in missing]
    problems += intake.skipped
    if intake.cut:
        problems.append(
            f"Only the first {len(intake.files):,} files are read; read the rest in another run."
        )
    else:
        read = {folder for path in intake.files for folder in path.parents}
        problems += [
            f"There is nothing to read in {path}: no PDF, picture, office file or text."
            for path in paths
            if path.is_dir() and path.absolute() not in read
        ]
    return outputs.inputs(intake.files, paths), problems


def _to_files(args: argparse.Namespace) -> bool:
    return args.out is not None or ExportFormat(args.format) not in TO_SCREEN


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
        self._path = checkpoint(args.model) if args.model else str(demo_model_dir())
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
        context, seen = JobContext(job.job_id), 0
        try:
            for event in self.engine.run(job, context):
                yield event
                seen += 1
        except AppError as problem:
            if problem.failure.kind is not ErrorKind.NO_MODEL or self._loaded:
                raise
            self._loaded = True
            for _ in self.engine.run(LoadModel(new_id(), self._path), JobContext("load")):
                pass
            # Without the model it came just as far.
            yield from islice(self.engine.run(job, context), seen, None)


def _read_file(
    model: _LazyModel,
    job: ReadDocument,
    args: argparse.Namespace,
    keep: Path,
    outputs: Outputs,
    target_name: str,
) -> bool:
    """Read one file and write what came of it; True if all of it worked."""
    name = Path(job.path).name
    bar = ProgressBar(sys.stderr, name)
    try:
        kept = KeptPages(keep, job, model.name)
        bad = _read_pages(model, job, kept, bar)
        bar.clear()
        if not kept.pages:
            raise AppError(f"Nothing could be read of “{name}”.", kind=ErrorKind.BAD_FILE)
        pages = [kept.pages[page] for page in sorted(kept.pages)]
        if _to_files(args):
            text = ""
            _write(job, pages, args, outputs, target_name)
        else:
            text = _as_text(ExportFormat(args.format), pages, Path(job.path))
    except (AppError, DocumentError, OSError) as problem:
        bar.clear()
        sys.stderr.write(f"facet ocr: {_sentence(problem, name)}\n")
        return False
    write_out(text)
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
    job: ReadDocument,
    pages: Sequence[PageText],
    args: argparse.Namespace,
    outputs: Outputs,
    name: str,
) -> None:
    """To files, under this name if it is free."""
    kind = ExportFormat(args.format)
    path = Path(job.path)
    command = repr((replace(job, job_id="", path="", password=""), args.model, kind))
    with outputs.draft(path, command) as draft:
        target = draft.folder / f"{name}.{kind.value}"
        if kind is ExportFormat.PDF:
            _write_pdf(job, pages, target)
        else:
            export(kind, pages, target, title=path.stem)
    for placed in draft.placed:
        sys.stderr.write(f"{path.name}: {placed}\n")


def _write_pdf(job: ReadDocument, pages: Sequence[PageText], target: Path) -> None:
    with DocumentHost() as host:
        host.open(job.path, job.password)
        made = host.searchable_pdf(job.path, list(pages), target)
    if made.unmatched:
        sys.stderr.write(
            f"{Path(job.path).name}: {made.unmatched:,} of {made.lines:,} lines have no exact "
            "place.\n"
        )


def _as_text(kind: ExportFormat, pages: Sequence[PageText], path: Path) -> str:
    """What goes to the screen, made by the same writers as files."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"page.{kind.value}"
        export(kind, pages, target, title=path.stem)
        text = target.read_text(encoding="utf-8")
    return text if text.endswith("\n") else f"{text}\n"


def _sentence(problem: Exception, name: str) -> str:
    if isinstance(problem, AppError):
        text = told(problem.failure.message, problem.failure.remedy)
    else:
        text = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
    return text if name in text else f"{name}: {text}"


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
