"""What a file is, by its first bytes; zip files are looked into, names only break ties of text."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from app.documents.types import DocumentError, DocumentProblem

HEAD_BYTES = 4096
PICTURES = frozenset({"png", "jpeg", "webp", "tiff", "heic", "gif", "bmp"})
TEXTS = frozenset({"docx", "xlsx", "pptx", "html", "csv", "md", "txt"})
_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OFFICE = {"word/": "docx", "xl/": "xlsx", "ppt/": "pptx"}
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|table|div|p)[\s>]", re.IGNORECASE)
_BY_NAME = {".md": "md", ".markdown": "md", ".csv": "csv", ".tsv": "csv"}
# Control characters that text really contains: tab, line feed, form feed, return, escape.
_TEXT_CONTROLS = frozenset(b"\t\n\x0c\r\x1b")
MOST_CONTROLS = 0.02
MOST_ZEROS = 0.1  # careless programs leave some in text; everything else has far more


def find_format(path: Path) -> str:
    """The format, "pdf", "png" … "txt".

    Raises:
        DocumentError: missing, empty, unreadable, a folder, or nothing that can be read.
    """
    head = _head(path)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "heic"
    if _is_film_or_sound(head):
        raise _unsupported(path, "is a film or a recording, no document; attach it to a chat")
    # Readers accept some bytes before the header; so do scanners' programs that write them.
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04"):
        return _office(path)
    if head.startswith(_OLE):
        raise _unsupported(
            path, "is an old Office file or one with a password; save it as DOCX, XLSX or PPTX"
        )
    if head.startswith(b"{\\rtf"):
        raise _unsupported(path, "is an RTF file; save it as DOCX or PDF")
    if is_text(head):
        return _text_format(head, path)
    raise _unsupported(path, "is no document or picture that can be read; save it as PDF")


def _is_film_or_sound(head: bytes) -> bool:
    """Pictures of one colour and silence compress to bytes that would pass for text."""
    if head.startswith((b"\x1aE\xdf\xa3", b"OggS\0", b"fLaC\0")):
        return True
    return head[4:8] == b"ftyp" or (head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b"AVI "))


def _head(path: Path) -> bytes:
    name = f"“{path.name}”"
    try:
        if path.is_dir():
            raise DocumentError(
                DocumentProblem.UNSUPPORTED, f"{name} is a folder; choose the files in it."
            )
        if not path.is_file():
            if path.exists():
                raise DocumentError(DocumentProblem.UNSUPPORTED, f"{name} is no ordinary file.")
            raise DocumentError(
                DocumentProblem.GONE, f"{name} is not there any more; choose it again."
            )
        with path.open("rb") as source:
            head = source.read(HEAD_BYTES)
    except PermissionError:
        message = f"{name} may not be read; change its permissions or copy it."
        raise DocumentError(DocumentProblem.BROKEN, message) from None
    except OSError as problem:
        message = f"{name} cannot be read ({problem.strerror}); copy it to another place."
        raise DocumentError(DocumentProblem.BROKEN, message) from problem
    if not head:
        raise DocumentError(
            DocumentProblem.EMPTY, f"{name} is empty (0 bytes); copy or download it again."
        )
    return head


def _unsupported(path: Path, why: str) -> DocumentError:
    return DocumentError(DocumentProblem.UNSUPPORTED, f"“{path.name}” {why}.")


def _office(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        # NotImplementedError: zipfile's, of a later version of the format
        message = f"“{path.name}” is damaged or cut short; copy or download it again."
        raise DocumentError(DocumentProblem.BROKEN, message, str(problem)) from problem
    for start, found in _OFFICE.items():
        if any(name.startswith(start) for name in names):
            return found
    if {"content.xml", "META-INF/manifest.xml"} <= set(names):
        raise _unsupported(path, "is an OpenDocument file; save it as DOCX, XLSX, PPTX or PDF")
    raise _unsupported(path, "is an archive or a format that cannot be read; unpack it first")


def is_text(head: bytes) -> bool:
    """Whether bytes from a file's start look like text in any common encoding."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or wide_text(head):
        return True
    controls = sum(0 < byte < 32 and byte not in _TEXT_CONTROLS for byte in head)
    few = controls <= MOST_CONTROLS * len(head)
    return few and head.count(0) <= 1 + MOST_ZEROS * len(head)


def wide_text(head: bytes) -> str:
    """The byte order of UTF-16 without its mark ("utf-16-le", "utf-16-be"), or nothing.

    Recognised by its zeros: in text of mostly Latin letters every other byte is one.
    """
    even, odd = head[0::2], head[1::2]
    if len(odd) < 8:
        return ""
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.05 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.05 * len(odd):
        return "utf-16-be"
    return ""


def _text_format(head: bytes, path: Path) -> str:
    start = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if start[:1] == b"<" and _HTML.search(start):
        return "html"
    return _BY_NAME.get(path.suffix.lower(), "txt")
