"""Files that are complete or not there at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What neither XML nor a terminal takes: control characters but tab and line feed, lone surrogates.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file beside the target to write to; takes its place when the block ends without an error.

    Raises:
        OSError: it cannot be written; the target is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_string(target: Path, text: str) -> None:
    """A UTF-8 text file.

    Raises:
        OSError: it cannot be written; the target is untouched.
    """
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace", newline="\n")


def writable(text: str) -> str:
    """Text that every format takes."""
    return _UNWRITABLE.sub("", text)
