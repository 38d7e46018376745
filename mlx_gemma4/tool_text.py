"""The notation Gemma 4 uses for tools: declarations, calls and responses, written and read.

A notation of its own, not JSON: keys are bare and sorted, strings stand between two ``<|"|>``
    tokens. The grammar is spec 6.4 and was checked byte for byte against the official template
    (2026-07-09).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlx_gemma4.errors import ToolError

QUOTE = '<|"|>'
MARK = "\x00"  # stands for a quote token while text is written, for a whole string while it is read
_MAX_DEPTH = 64  # deeper nesting is hostile, and would exhaust Python's stack
_STANDARD_KEYS = frozenset({"description", "type", "properties", "required", "nullable"})


# ---------------------------------------------------------------- writing
# What these functions return has MARK where a quote token belongs, so that the characters of a
# quote inside a string cannot end it.


def _string(value: Any) -> str:
    return f"{MARK}{_bare(value)}{MARK}"


def _bare(value: Any) -> str:
    return str(value).replace(MARK, "")


def format_value(value: Any, *, quote_keys: bool = False) -> str:
    """One value of a call, a response, or an ``enum``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + _entries(value, quote_keys=quote_keys) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(format_value(item, quote_keys=quote_keys) for item in value) + "]"
    return str(value)


def format_call(name: str, arguments: Mapping[str, Any]) -> str:
    """What stands between ``<|tool_call>`` and ``<tool_call|>``."""
    return f"call:{_bare(name)}{{{_entries(arguments)}}}"


def format_response(name: str, content: str | Mapping[str, Any]) -> str:
    """What stands between ``<|tool_response>`` and ``<tool_response|>``."""
    body = _entries(content) if isinstance(content, Mapping) else f"value:{format_value(content)}"
    return f"response:{_bare(name)}{{{body}}}"


def format_declaration(name: str, description: str, parameters: Mapping[str, Any] | None) -> str:
    """What stands between ``<|tool>`` and ``<tool|>``.

    Args:
        name: of the function.
        description: what it does.
        parameters: JSON schema of its arguments, an object schema; None or empty when it takes
            none.
    """
    text = f"declaration:{_bare(name)}{{description:{_string(description)}"
    if parameters:
        fields = []
        if parameters.get("properties"):
            fields.append(f"properties:{{{_properties(parameters['properties'])}}}")
        if parameters.get("required"):
            fields.append(f"required:{format_value(list(parameters['required']))}")
        # The official template forgets the closing brace when the type is missing.
        fields.append(f"type:{_type(parameters.get('type') or 'object')}")
        text += ",parameters:{" + ",".join(fields) + "}"
    return text + "}"


def _sorted(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Entries in the order of Jinja's ``dictsort``: by key, upper and lower case alike."""
    return sorted(mapping.items(), key=lambda entry: str(entry[0]).lower())


def _entries(mapping: Mapping[str, Any], *, quote_keys: bool = False) -> str:
    def written(key: str) -> str:
        return _string(key) if quote_keys else _bare(key)

    return ",".join(
        f"{written(key)}:{format_value(value, quote_keys=quote_keys)}"
        for key, value in _sorted(mapping)
    )


def _type(value: Any) -> str:
    """A ``type`` as the template prints it; a list of types comes out as Python prints the list."""
    return _string(str("" if value is None else value).upper())


def _properties(properties: Mapping[str, Any]) -> str:
    return ",".join(
        f"{_bare(key)}:{{{_property(schema)}}}"
        for key, schema in _sorted(properties)
        if isinstance(schema, Mapping)
    )


def _property(schema: Mapping[str, Any]) -> str:
    kind = str(schema.get("type") or "").upper()
    fields = []
    if schema.get("description"):
        fields.append(f"description:{_string(schema['description'])}")
    if kind == "STRING" and schema.get("enum"):
        fields.append(f"enum:{format_value(schema['enum'], quote_keys=True)}")
    if kind == "ARRAY" and isinstance(schema.get("items"), Mapping) and schema["items"]:
        fields.append(f"items:{{{_items(schema['items'])}}}")
    if schema.get("nullable"):
        fields.append("nullable:true")
    if kind == "OBJECT":
        fields += _object_fields(schema)
    fields.append(f"type:{_type(schema.get('type'))}")
    return ",".join(fields)


def _object_fields(schema: Mapping[str, Any]) -> list[str]:
    """``properties`` and ``required`` of a nested object; the schema itself may hold them."""
    nested = schema.get("properties")
    if not isinstance(nested, Mapping):
        nested = {key: value for key, value in schema.items() if key not in _STANDARD_KEYS}
    fields = [f"properties:{{{_properties(nested)}}}"]
    if schema.get("required"):
        fields.append(f"required:{format_value(list(schema['required']))}")
    return fields


def _items(items: Mapping[str, Any]) -> str:
    """The element schema of an array: every keyword is kept here, unlike in a property."""
    fields = []
    for key, value in _sorted(items):
        if value is None:
            continue
        if key == "properties":
            nested = _properties(value) if isinstance(value, Mapping) else ""
            fields.append(f"properties:{{{nested}}}")
        elif key == "required":
            fields.append(f"required:{format_value(list(value))}")
        elif key == "type":
            upper = value.upper() if isinstance(value, str) else [str(v).upper() for v in value]
            fields.append(f"type:{format_value(upper)}")
        else:
            fields.append(f"{_bare(key)}:{format_value(value, quote_keys=True)}")
    return ",".join(fields)


# ---------------------------------------------------------------- reading


def parse_call_segments(segments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Read a call cut at its quote tokens, so that a string may contain anything.

    Args:
        segments: text outside and inside strings by turns, starting outside.

    Returns:
        Name and arguments. Missing closers at the end are tolerated (the reply was cut), and so is
        a missing ``call:``.

    Raises:
        ToolError: there is no name, or the arguments make no sense.
    """
    outside = [segment.replace(MARK, "") for segment in segments[0::2]]
    source = MARK.join(outside) + (MARK if len(segments) % 2 == 0 else "")
    head, brace, body = source.strip().partition("{")
    name = head.strip().removeprefix("call:").strip()
    if not name or MARK in name:
        raise ToolError("The model called a tool without naming it; let it try again.")
    if not brace:
        return name, {}
    return name, _Reader(body, segments[1::2]).members()


_BARE = re.compile(r"[^,\[\]{}\x00]*")
_KEY = re.compile(r"[^:,\[\]{}\x00]*")
_SPACE = re.compile(r"\s*")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_INTEGER = re.compile(r"[+-]?\d{1,4000}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None, "none": None}


class _Reader:
    """Recursive descent over the text outside of strings."""

    def __init__(self, text: str, strings: Iterable[str]) -> None:
        self._text = text
        self._strings = iter(strings)
        self._at = 0
        self._depth = 0

    def members(self) -> dict[str, Any]:
        """Members up to ``}`` or the end; the opening brace was read before."""
        self._enter()
        found: dict[str, Any] = {}
        while not self._closes("}"):
            key = self._key()
            found[key] = self._value() if self._take(":") else None
            if not self._take(",") and self._peek() not in ("}", ""):
                raise self._senseless()
        self._depth -= 1
        return found

    def _elements(self) -> list[Any]:
        self._enter()
        found = []
        while not self._closes("]"):
            found.append(self._value())
            if not self._take(",") and self._peek() not in ("]", ""):
                raise self._senseless()
        self._depth -= 1
        return found

    def _value(self) -> Any:
        if self._take("{"):
            return self.members()
        if self._take("["):
            return self._elements()
        if self._take(MARK):
            return next(self._strings, "")
        quoted = _JSON_STRING.match(self._text, self._at)
        if quoted:
            self._at = quoted.end()
            return _json_string(quoted.group())
        return _scalar(self._match(_BARE).strip())

    def _key(self) -> str:
        if self._take(MARK):
            return next(self._strings, "")
        key = self._match(_KEY).strip().strip("\"'")
        if not key:
            raise self._senseless()
        return key

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._senseless()

    def _closes(self, closer: str) -> bool:
        return self._take(closer) or self._peek() == ""

    def _peek(self) -> str:
        self._match(_SPACE)
        return self._text[self._at : self._at + 1]

    def _take(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self._at += 1
        return True

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "these patterns match the empty string"
        self._at = match.end()
        return match.group()

    def _senseless(self) -> ToolError:
        return ToolError(
            "The arguments the model gave to the tool cannot be understood; let it try again."
        )


def _json_string(text: str) -> str:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return text[1:-1]


def _scalar(word: str) -> Any:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INTEGER.fullmatch(word):
        return int(word)
    if _NUMBER.fullmatch(word):
        return float(word)
    return word
