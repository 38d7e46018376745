"""Opening the app's one SQLite file: WAL with synchronous=FULL, brought to the newest layout."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.core.errors import AppError, ErrorKind
from app.store import migrations


def connected(
    path: Path, steps: Sequence[migrations.Step] = migrations.STEPS
) -> sqlite3.Connection:
    """A connection of its own. Raises AppError where the file cannot be used."""
    try:
        return _connected(path, steps)
    except migrations.NewerDatabaseError as problem:
        raise AppError(
            "Your chats were written by a newer version of Facet.",
            kind=ErrorKind.BAD_FILE,
            remedy="Install the newest Facet to open them.",
            detail=str(problem),
        ) from problem
    except sqlite3.Error as problem:
        raise AppError(
            f"Your chats could not be opened: {problem}.",
            kind=ErrorKind.BAD_FILE,
            remedy=f"The file is {path}; restore it from a backup or move it away.",
            detail=repr(problem),
        ) from problem


def _connected(path: Path, steps: Sequence[migrations.Step]) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        migrations.migrate(db, steps)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
