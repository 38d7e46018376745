"""A file of JSON objects, one a line, that outlives crashes: what was appended is there or is not.

A line cut by a crash is passed over; it never takes the lines before or after it along.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.store.files import write_atomic


class Journal:
    """Records in the order they were appended. The file is made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> Iterator[dict[str, Any]]:
        """What can be read; nothing where there is no file. Raises OSError."""
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return
        for line in content.split(b"\n"):
            try:
                record = json.loads(line)
            except ValueError:  # also of bytes that are no UTF-8
                continue
            if isinstance(record, dict):
                yield record

    def shorten(self, most_bytes: int) -> None:
        """Forget the older half once the file is larger than this. Raises OSError."""
        if self.path.is_file() and self.path.stat().st_size > most_bytes:
            write_atomic(self.path, self.path.read_bytes()[-most_bytes // 2 :])

    def append(self, record: dict[str, object]) -> None:
        """Add a record; it survives a power cut when this returns. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The line feed in front ends a line that a crash left half written.
        line = b"\n" + json.dumps(record).encode("ascii") + b"\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())
