"""What every office file passes before a library sees it: it is a zip file, and may be a bomb."""

from __future__ import annotations

import zipfile
from pathlib import Path

from app.documents.types import DocumentError, DocumentProblem

MOST_ENTRIES = 20_000
MOST_BYTES = 1 << 30  # unpacked, pictures included
MOST_XML_BYTES = 150 << 20  # of the parts that are parsed
MOST_RATIO = 300  # of parts larger than a megabyte; honest XML stays below 100


def check_zip(path: Path) -> None:
    """Refuse what would unpack to unreasonable size, from the directory alone.

    The directory may lie, but a reader stops at the size it declares.

    Raises:
        DocumentError: damaged, or a bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        # NotImplementedError: zipfile's, of a later version of the format
        raise damaged(path, problem) from problem
    xml = sum(entry.file_size for entry in entries if entry.filename.endswith((".xml", ".rels")))
    total = sum(entry.file_size for entry in entries)
    packed = (e for e in entries if e.file_size > 1 << 20)
    bomb = any(e.file_size > MOST_RATIO * max(e.compress_size, 1) for e in packed)
    if len(entries) > MOST_ENTRIES or total > MOST_BYTES or xml > MOST_XML_BYTES or bomb:
        message = f"“{path.name}” unpacks to far more than a document holds and was not opened."
        detail = f"{len(entries)} entries, {total} bytes, {xml} of XML"
        raise DocumentError(DocumentProblem.TOO_LARGE, message, detail)


def damaged(path: Path, problem: Exception) -> DocumentError:
    """The error for a file its library cannot make sense of."""
    message = f"“{path.name}” is damaged and cannot be read; open and save it again."
    return DocumentError(DocumentProblem.BROKEN, message, f"{type(problem).__name__}: {problem}")
