"""A reply in JSON as a table: a list of objects, or the fields of one. Pure data, no Qt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 400_000
MAX_COLUMNS = 30
# More rows than these are not drawn; copies carry all of them.
MAX_SHOWN_ROWS = 200
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|$~^&\"'@:=/])")


@dataclass(frozen=True, slots=True)
class JsonTable:
    """columns and rows of text; `source`: the JSON, indented."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: str

    def markdown(self) -> str:
        """As a Markdown table in which nothing is markup."""
        lines = [_line(self.columns), _line(("---",) * len(self.columns), escaped=False)]
        lines += [_line(row) for row in self.rows[:MAX_SHOWN_ROWS]]
        hidden = len(self.rows) - MAX_SHOWN_ROWS
        if hidden > 0:
            lines += ["", f"… and {hidden:,} more rows; a copy has all of them."]
        return "\n".join(lines)


def looks_like_json(text: str) -> bool:
    """Whether an answer that is still being written seems to be JSON."""
    return text.lstrip().startswith(("{", "["))


def parse_table(text: str) -> JsonTable | None:
    """The table an answer is; None where it is anything else than objects in JSON."""
    if len(text) > MAX_CHARACTERS:
        return None
    fenced = _FENCED.fullmatch(text)
    source = (fenced.group(1) if fenced else text).strip()
    if not source.startswith(("{", "[")):
        return None
    try:
        value = json.loads(source)
    except (ValueError, RecursionError):
        return None
    shape = _shape(value)
    if shape is None or len(shape[0]) > MAX_COLUMNS:
        return None
    return JsonTable(*shape, json.dumps(value, ensure_ascii=False, indent=2))


def _shape(value: Any) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None:
    if isinstance(value, dict) and len(value) == 1:
        inner = next(iter(value.values()))
        if _is_list_of_objects(inner):
            value = inner
    if _is_list_of_objects(value):
        columns = tuple(dict.fromkeys(key for each in value for key in each))
        rows = tuple(tuple(_cell(each.get(key)) for key in columns) for each in value)
        return (columns, rows) if columns else None
    if isinstance(value, dict) and value:
        return ("Field", "Value"), tuple((key, _cell(each)) for key, each in value.items())
    return None


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(e, dict) for e in value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return ", ".join(_cell(each) for each in value)
    return json.dumps(value, ensure_ascii=False)


def _line(cells: tuple[str, ...], *, escaped: bool = True) -> str:
    shown = [_MARKUP.sub(r"\\\1", " ".join(c.split())) if escaped else c for c in cells]
    return f"| {' | '.join(shown)} |"
