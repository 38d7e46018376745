"""The settings file: JSON with a version, checked against the declaration, written atomically.

One bad value never costs the others: it falls back to its default and is reported.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.core.settings import Settings, checked, spec
from app.store.files import write_atomic

log = logging.getLogger(__name__)

VERSION = 1
Step = Callable[[dict[str, Any]], dict[str, Any]]
# Step n turns values of version n into those of version n + 1.
STEPS: Mapping[int, Step] = {}


def load_settings(path: Path, steps: Mapping[int, Step] = STEPS) -> tuple[Settings, list[str]]:
    """The settings and one sentence for each thing that had to fall back to a default.

    A file that cannot be read at all is moved aside, never overwritten.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        values = dict(data["values"])
        version = int(data["version"])
    except FileNotFoundError:
        return Settings(), []
    except (OSError, ValueError, KeyError, TypeError) as problem:
        log.warning("settings file unreadable: %s", problem)
        return Settings(), [_set_aside(path)]
    for number in range(version, VERSION):
        values = steps[number](values)
    return _accepted(values)


def save_settings(path: Path, settings: Settings) -> None:
    """Write all settings. Raises OSError."""
    data = {"version": VERSION, "values": asdict(settings)}
    text = json.dumps(data, ensure_ascii=False, indent=2, sort_keys=True)
    write_atomic(path, text.encode())


def _accepted(values: dict[str, Any]) -> tuple[Settings, list[str]]:
    good: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        try:
            good[name] = checked(name, value)
        except KeyError:
            log.info("setting %s is unknown here and was left out", name)
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
