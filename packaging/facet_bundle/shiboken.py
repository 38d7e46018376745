"""Lays Shiboken's Python part beside it, so that it is compiled once and not at every start.

libshiboken carries these modules as source text inside a base64 zip and compiles them each time it
is loaded. Where a folder `files.dir` lies beside it, it takes them from there: a feature of Qt for
Python (signature_bootstrap.py), which makes that folder itself when told SBK_EMBED=0. The files are
those that the library of the same bundle carries, byte for byte.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile
from pathlib import Path

from facet_bundle.errors import PackagingError

FOLDER = "files.dir"
_PACKAGE = "shibokensupport/"
_ZIP_START = base64.b64encode(b"PK\x03\x04\0\0")[:5]
_TEXT = re.compile(rb"[^\0]")
_CHUNK = re.compile(rb"[A-Za-z0-9+/=\n]+")


def lay_support(site: Path) -> list[Path]:
    """Unpack what libshiboken carries; returns the new files."""
    library = next(iter(sorted((site / "shiboken6").glob("libshiboken6.abi3*"))), None)
    if library is None:
        return []
    target = site / "shiboken6" / FOLDER
    with _embedded(library) as archive:
        names = [n for n in archive.namelist() if n.startswith(_PACKAGE) and n.endswith(".py")]
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(archive.read(name))
            (target / name).chmod(0o644)
    return [target / name for name in names]


def _embedded(library: Path) -> zipfile.ZipFile:
    """The zip inside the library: C strings of equal length, the last one shorter."""
    data = library.read_bytes()
    position = data.find(_ZIP_START)
    chunks: list[bytes] = []
    while position >= 0 and (not chunks or len(chunks[-1]) == len(chunks[0])):
        found = _CHUNK.match(data, position)
        if found is None:
            break
        chunks.append(found.group())
        position = _next_text(data, found.end())
    try:
        return zipfile.ZipFile(io.BytesIO(base64.b64decode(b"".join(chunks))))
    except (zipfile.BadZipFile, binascii.Error) as error:
        raise PackagingError(
            f"{library.name} no longer carries its Python part as this expects: {error}."
        ) from error


def _next_text(data: bytes, start: int) -> int:
    """Where the next C string begins, -1 for nowhere."""
    found = _TEXT.search(data, start)
    return found.start() if found else -1
