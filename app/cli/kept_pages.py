"""Finished pages of a document that is not done: an interrupted `facet ocr` goes on with them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from app.cli.journal import Journal
from app.core.commands import ReadDocument
from app.core.errors import AppError, ErrorKind
from app.documents.types import PageText


def prepare(folder: Path) -> Path:
    """Make the folder for the pages of all files. Raises AppError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _unusable(folder, problem) from problem
    return folder


class KeptPages:
    """Pages of one file and one way of reading it.

    The name is a hash of everything that would change the text, so other options begin anew.

    Raises:
        AppError: the folder cannot be used (also from `opened` and `add`).
    """

    def __init__(self, folder: Path, job: ReadDocument, model: str) -> None:
        self._journal = Journal(folder / f"{_key(job, model)}.jsonl")
        self._count = 0
        self.pages: dict[int, PageText] = {}
        try:
            for record in self._journal.records():
                self._take(record, job)
        except OSError as problem:
            raise _unusable(folder, problem) from problem

    def _take(self, record: dict[str, object], job: ReadDocument) -> None:
        match record:
            case {"count": int(count)}:
                self._count = count
            case {"page": int(page), "text": str(text), "notices": list(notices)}:
                if not job.pages or page in job.pages:
                    self.pages[page] = PageText(page, text, notices=tuple(map(str, notices)))

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

    def remove(self) -> None:
        """The output is written: nothing to go on with."""
        self._journal.path.unlink(missing_ok=True)

    def _append(self, record: dict[str, object]) -> None:
        try:
            self._journal.append(record)
        except OSError as problem:
            raise _unusable(self._journal.path.parent, problem) from problem


def _unusable(folder: Path, problem: OSError) -> AppError:
    return AppError(
        f"Finished pages cannot be kept in {folder}: {problem.strerror}.",
        kind=ErrorKind.BAD_INPUT,
        remedy="Name another folder with --data-dir.",
    )


def _key(job: ReadDocument, model: str) -> str:
    try:
        stat = Path(job.path).stat()
        facts = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        facts = (0, 0)
    text = repr((replace(job, job_id="", password="", pages=()), facts, model))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
