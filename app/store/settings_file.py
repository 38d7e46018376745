"""The settings file: JSON with a version, checked against the declaration, written atomically.

One bad value never costs the others: it falls back to its default and is reported. What a newer
version has written and this one does not know stays in the file.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.core.settings import Settings, checked, spec, specs
from app.store.files import write_atomic

log = logging.getLogger(__name__)

VERSION = 1
Step = Callable[[dict[str, Any]], dict[str, Any]]
# Step n turns values of version n into those of version n + 1.
STEPS: Mapping[int, Step] = {}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError)


def load_settings(path: Path, steps: Mapping[int, Step] = STEPS) -> tuple[Settings, list[str]]:
    """The settings and one sentence for each thing that had to fall back to a default.

    A file that cannot be read at all is moved aside, never overwritten.
    """
    try:
        version, values = _read(path)
        for number in range(version, VERSION):
            values = steps[number](values)
    except FileNotFoundError:
        return Settings(), []
    except _UNREADABLE as problem:
        log.warning("settings file unreadable: %r", problem)
        return Settings(), [_set_aside(path)]
    return _accepted(values)


def save_settings(path: Path, settings: Settings) -> None:
    """Write all settings. Raises OSError."""
    version, unknown = _of_newer(path)
    data = {"version": version, "values": unknown | asdict(settings)}
    text = json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(path, text.encode())


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    """The file's version and its values. Raises one of `_UNREADABLE`."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return int(data["version"]), dict(data["values"])


def _of_newer(path: Path) -> tuple[int, dict[str, Any]]:
    """The version to write, and values of the file that only a newer version knows."""
    try:
        version, values = _read(path)
    except _UNREADABLE:
        return VERSION, {}
    if version < VERSION:
        return VERSION, {}  # an older one's leftovers
    known = {each.name for each in specs()}
    return version, {name: value for name, value in values.items() if name not in known}


def _accepted(values: dict[str, Any]) -> tuple[Settings, list[str]]:
    good: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        try:
            good[name] = checked(name, value)
        except KeyError:
            log.info("setting %s is unknown here; it stays in the file", name)
        except ValueError as problem:
            problems.append(f"{problem} The default is used: {spec(name).default!r}.")
    return Settings(**good), problems


def _set_aside(path: Path) -> str:
    kept = path.with_name(f"{path.stem}-damaged-{int(time.time())}.json")
    try:
        path.rename(kept)
    except OSError:
        return "The settings file is damaged and was ignored; defaults are used."
    return f"The settings file was damaged; defaults are used, the old file is kept as {kept.name}."
