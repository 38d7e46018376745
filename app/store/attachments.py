"""Attached files, copied in and named by the hash of their content.

A file's own name never becomes a path: only its cleaned suffix is used. A copy appears under its
final name only when it is complete and on disk.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from app.core.conversation import Attachment, MediaKind
from app.core.errors import AppError, ErrorKind
from app.store.files import sync_folder

CHUNK_BYTES = 1 << 20
# Room left free on the disk, so that attaching never fills it.
SPARE_BYTES = 256 << 20
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_PARTIAL = "partial-"


class AttachmentStore:
    """The folder of attachments. Safe to use from any thread: every operation is one rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, attachment: Attachment) -> Path:
        """Where the copy lies (also for one that is missing); always inside the folder."""
        if not re.fullmatch(r"[0-9a-f]{64}", attachment.sha256):
            raise ValueError("not a content hash")
        name = attachment.sha256 + safe_suffix(attachment.name)
        return self._folder / attachment.sha256[:2] / name

    def add_file(
        self, path: Path, name: str = "", cancelled: Callable[[], bool] = lambda: False
    ) -> Attachment:
        """Copy a file in. Raises AppError with the reason where it cannot be read or kept."""
        try:
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "is not there"
                raise AppError(
                    f"“{name or path.name}” {what}.",
                    kind=ErrorKind.BAD_FILE,
                    remedy="Choose a file.",
                )
            self._check_room(path.stat().st_size)
            with path.open("rb") as source:
                return self._take(_chunks(source, cancelled), name or path.name)
        except OSError as problem:
            raise _cannot_keep(name or path.name, problem) from problem

    def add_bytes(self, data: bytes, name: str) -> Attachment:
        """Keep pasted or recorded data. Raises AppError."""
        try:
            self._check_room(len(data))
            return self._take(iter([data]), name)
        except OSError as problem:
            raise _cannot_keep(name, problem) from problem

    def collect(self, used: set[str], older_than: float = 3600) -> int:
        """Remove copies no message uses and partial ones, both older than that many seconds.

        Returns the bytes freed.
        """
        freed = 0
        limit = time.time() - older_than
        for path in [*self._folder.glob("*/*"), *self._folder.glob(f"{_PARTIAL}*")]:
            if path.name[:64] in used or not path.is_file():
                continue
            facts = path.stat()
            if facts.st_mtime < limit:
                path.unlink(missing_ok=True)
                freed += facts.st_size
        return freed

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if size + SPARE_BYTES > free:
            raise AppError(
                f"The disk has {free >> 20} MB free, too little for this file.",
                kind=ErrorKind.DISK_FULL,
                remedy="Free some space and attach it again.",
            )

    def _take(self, chunks: Iterator[bytes], name: str) -> Attachment:
        digest, size = hashlib.sha256(), 0
        handle, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as target:
                for chunk in chunks:
                    digest.update(chunk)
                    target.write(chunk)
                    size += len(chunk)
                target.flush()
                os.fsync(target.fileno())
            attachment = _attachment(digest.hexdigest(), name, size)
            final = self.path(attachment)
            final.parent.mkdir(exist_ok=True)
            Path(partial).replace(final)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        sync_folder(final.parent)
        return attachment


def safe_suffix(name: str) -> str:
    """The file's ending in small letters, or nothing where it is not a plain one."""
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if _SUFFIX.fullmatch(suffix) else ""


def _attachment(sha256: str, name: str, size: int) -> Attachment:
    display = re.sub(r"[\x00-\x1f\x7f/\\]+", "_", name).strip()[:200] or "file"
    media_type = mimetypes.guess_type(display)[0] or "application/octet-stream"
    return Attachment(sha256, display, MediaKind.UNKNOWN, media_type, size)


def _chunks(source: BinaryIO, cancelled: Callable[[], bool]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        if cancelled():
            raise AppError("Attaching was cancelled.", kind=ErrorKind.BAD_INPUT)
        yield chunk


def _cannot_keep(name: str, problem: OSError) -> AppError:
    return AppError(
        f"“{name}” could not be copied in: {problem.strerror or problem}.",
        kind=ErrorKind.BAD_FILE,
        remedy="Check that you may read it and that the disk has room.",
        detail=repr(problem),
    )
