"""Where the files that a command makes go: never over a file that is not its own.

What was written from what is recorded in the data folder, so that the same command run again
replaces its own output. Every other file stays as it is and the new one gets a number.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from app.cli.journal import Journal
from app.core.errors import AppError, ErrorKind

log = logging.getLogger(__name__)

RECORD = "written.jsonl"  # below the data folder
_RECORD_BYTES = 4_000_000  # some 10,000 files; the oldest are forgotten


@dataclass(frozen=True, slots=True)
class _Writing:
    """What is known of a file that was written: what made it, and how it was left."""

    source: str
    command: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that was written. wanted: the name it would have, were that free."""

    path: Path
    wanted: Path

    def __str__(self) -> str:
        taken = f", because {self.wanted.name} was there already"
        return f"written to {self.path}{taken if self.path != self.wanted else ''}"


@dataclass(frozen=True, slots=True)
class Draft:
    """Files on their way: write them into `folder`; `placed` says afterwards where they are."""

    folder: Path
    placed: list[Placed] = field(default_factory=list)


class Outputs:
    """The folder a command writes into, and what the command may not touch there.

    Args:
        folder: where to; made when the first file is written.
        record: the journal of what was written.
    """

    def __init__(self, folder: Path, record: Path) -> None:
        self._folder = folder
        self._journal = Journal(record)
        self._written = _written(self._journal)
        self._inputs: set[tuple[int, int]] = set()

    def check(self) -> None:
        """Before hours of reading: can files be made there? Raises AppError."""
        above = (self._folder, *self._folder.absolute().parents)
        nearest = next(path for path in above if path.exists() or path.is_symlink())
        if not nearest.is_dir():
            raise AppError(
                f"--out names a file, {nearest}.", kind=ErrorKind.BAD_INPUT, remedy="Name a folder."
            )
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise AppError(
                f"Nothing may be written to {nearest.absolute()}.",
                kind=ErrorKind.BAD_INPUT,
                remedy="Name another folder with --out.",
            )

    def inputs(self, found: Sequence[Path], named: Sequence[Path] = ()) -> list[Path]:
        """What to read of the files found; from now on none of it is replaced.

        Left out is what an earlier run made from another of them, unless it is named.
        """
        identities = {identity for path in found if (identity := _identity(path))}
        chosen = {path.absolute() for path in named}
        files = [
            path
            for path in found
            if path.absolute() in chosen or self._source(path) not in identities
        ]
        self._inputs = {identity for path in files if (identity := _identity(path))}
        return files

    @contextmanager
    def draft(self, source: Path, command: str) -> Iterator[Draft]:
        """A place to write files made from `source`; they are moved when the block ends well.

        Args:
            source: the file they are made from.
            command: everything that decides what is in them.

        Raises:
            AppError: they cannot be written; nothing that was there is touched.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # In the same folder, so that moving them is one step.
            with tempfile.TemporaryDirectory(prefix=".facet-", dir=self._folder) as made:
                draft = Draft(Path(made).absolute())
                yield draft
                files = sorted(draft.folder.iterdir(), key=lambda path: (len(path.name), path.name))
                draft.placed.extend(self._place(path, source, command) for path in files)
        except OSError as problem:
            raise AppError(
                f"The output cannot be written to {self._folder.absolute()}: {problem.strerror}.",
                kind=ErrorKind.BAD_FILE,
                remedy="Name another folder with --out.",
            ) from problem

    def _source(self, path: Path) -> tuple[int, int] | None:
        """What an earlier run made this file from, None if it did not."""
        known = self._written.get(_place_of(path))
        made = known is not None and _unchanged(path, known)
        return _identity(Path(known.source)) if known is not None and made else None

    def _place(self, made: Path, source: Path, command: str) -> Placed:
        command = hashlib.sha256(command.encode(errors="replace")).hexdigest()
        origin = str(source.resolve())
        for target in self._candidates(made.name):
            if self._is_own(target, origin, command):
                made.replace(target)
            elif not _take_name(target, made):
                continue
            self._remember(target, origin, command)
            return Placed(target, self._folder / made.name)
        raise AssertionError("names never run out")

    def _is_own(self, target: Path, source: str, command: str) -> bool:
        known = self._written.get(_place_of(target))
        if known is None or (known.source, known.command) != (source, command):
            return False
        return _unchanged(target, known) and _identity(target) not in self._inputs

    def _candidates(self, name: str) -> Iterator[Path]:
        """`page.md`, `page (2).md` …; beside its own source `page (read).md` is the first."""
        plain = self._folder / name
        if _identity(plain) in self._inputs:
            plain = plain.with_stem(f"{plain.stem} (read)")
        yield plain
        yield from (plain.with_stem(f"{plain.stem} ({number})") for number in count(2))

    def _remember(self, target: Path, source: str, command: str) -> None:
        stat = target.stat()
        path = _place_of(target)
        known = _Writing(source, command, stat.st_size, stat.st_mtime_ns)
        self._written[path] = known
        try:
            self._journal.append(
                {
                    "path": path,
                    "source": source,
                    "command": command,
                    "size": known.size,
                    "modified": known.modified,
                }
            )
        except OSError:
            log.warning("what was written could not be recorded", exc_info=True)


def write_out(text: str) -> None:
    """Print to standard output at once. Raises AppError, or BrokenPipeError if nobody reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise AppError(
            f"The text cannot be written to standard output: {problem.strerror}.",
            kind=ErrorKind.DISK_FULL,
        ) from problem


def missing_files(paths: Sequence[Path]) -> list[Path]:
    """Those that are not there."""
    return [path for path in paths if _is_missing(path)]


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


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # whoever opens it says what is wrong
    return False


def _place_of(path: Path) -> str:
    """A name of a file for the record, whatever way leads to its folder."""
    return str(path.parent.resolve() / path.name)


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for every name of a file: through links, `..` and letters of the other case."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _unchanged(path: Path, known: _Writing) -> bool:
    try:
        stat = path.lstat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (known.size, known.modified)


def _take_name(target: Path, made: Path) -> bool:
    """Move a file to a name that is free; False if it is not."""
    try:
        target.open("xb").close()  # only one of two runs at the same time gets the name
    except FileExistsError:
        return False
    try:
        made.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return True


def _written(journal: Journal) -> dict[str, _Writing]:
    found = {}
    try:
        journal.shorten(_RECORD_BYTES)
        for record in journal.records():
            match record:
                case {
                    "path": str(path),
                    "source": str(source),
                    "command": str(command),
                    "size": int(size),
                    "modified": int(modified),
                }:
                    found[path] = _Writing(source, command, size, modified)
    except OSError:
        log.warning("the record of what was written cannot be read", exc_info=True)
    return found
