"""Files and folders dropped together, as a bounded list of files that can be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.documents.sniff import find_format
from app.documents.types import DocumentError

MOST_FILES = 2000
MOST_LOOKED_AT = 50_000  # entries of folders, readable or not
MOST_SENTENCES = 50


@dataclass(frozen=True, slots=True)
class Intake:
    """What can be read, in order.

    skipped: why others cannot be; only of files the person named, not of those merely lying in a
    folder. cut: there were more than the limit.
    """

    files: tuple[Path, ...]
    skipped: tuple[str, ...] = ()
    cut: bool = False


def expand(paths: Iterable[str | Path], limit: int = MOST_FILES) -> Intake:
    """Folders become the files below them, sorted by name; only first bytes are looked at.

    Hidden files, links to folders and files named twice are left out.
    """
    files: dict[Path, None] = {}
    skipped: list[str] = []
    for path, chosen in _candidates(paths):
        if len(files) >= limit:
            return Intake(tuple(files), tuple(skipped), cut=True)
        try:
            find_format(path)
        except DocumentError as problem:
            if chosen and len(skipped) < MOST_SENTENCES:
                skipped.append(problem.message)
            continue
        files[path] = None
    return Intake(tuple(files), tuple(skipped))


def _candidates(paths: Iterable[str | Path]) -> Iterator[tuple[Path, bool]]:
    """Files with whether the person named them."""
    looked_at = 0
    for path in map(Path, paths):
        if not path.is_dir():
            yield path.absolute(), True
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names, key=_natural):
                looked_at += 1
                if looked_at > MOST_LOOKED_AT:
                    return
                if not name.startswith("."):
                    yield Path(folder, name).absolute(), False


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Page 2 before page 10."""
    pieces: list[tuple[int, int, str]] = []
    digits = ""
    for character in name.lower() + "\0":
        if character.isdecimal():
            digits += character
            continue
        if digits:
            pieces.append((0, int(digits[:18]), ""))
            digits = ""
        pieces.append((1, 0, character))
    return tuple(pieces)
