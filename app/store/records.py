"""Messages as JSON: the one format of the database and of exported chats.

Reading is strict about types, because an imported file is foreign: anything unexpected raises
`ValueError` with one sentence.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from typing import Any

from app.core.conversation import (
    Attachment,
    Audio,
    Document,
    Image,
    ImageDetail,
    MediaKind,
    Message,
    MessageState,
    Part,
    Role,
    SamplingPreset,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
    Video,
)
from app.core.errors import ErrorKind, Failure

_PARTS: dict[str, type[Any]] = {
    "text": Text,
    "image": Image,
    "audio": Audio,
    "video": Video,
    "document": Document,
    "thought": Thought,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
_NAMES = {kind: name for name, kind in _PARTS.items()}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def part_to_json(part: Part) -> dict[str, Any]:
    """One part as plain data with its `type`."""
    return {"type": _NAMES[type(part)], **asdict(part)}


def part_from_json(data: Any) -> Part:
    """The inverse of `part_to_json`."""
    values = _mapping(data, "a message part")
    kind = _PARTS.get(str(values.pop("type", "")))
    if kind is None:
        raise ValueError("A message part has an unknown type.")
    if "attachment" in values:
        values["attachment"] = attachment_from_json(values["attachment"])
    if kind is Image:
        values["detail"] = ImageDetail(values.get("detail", 0))
    return _build(kind, values)


def attachment_from_json(data: Any) -> Attachment:
    """An attachment whose hash has the form of one (it becomes a file name)."""
    values = _mapping(data, "an attachment")
    values["kind"] = MediaKind(values.get("kind", "unknown"))
    attachment = _build(Attachment, values)
    if not _SHA256.fullmatch(attachment.sha256):
        raise ValueError("An attachment has no valid content hash.")
    return attachment


def message_to_json(message: Message) -> dict[str, Any]:
    """A message as plain data."""
    data = asdict(message)
    data["parts"] = [part_to_json(part) for part in message.parts]
    return data


def message_from_json(data: Any) -> Message:
    """The inverse of `message_to_json`."""
    values = _mapping(data, "a message")
    parts = values.get("parts")
    if not isinstance(parts, list):
        raise ValueError("A message has no list of parts.")
    values["parts"] = tuple(part_from_json(part) for part in parts)
    values["role"] = Role(values.get("role"))
    values["state"] = MessageState(values.get("state", "done"))
    values["usage"] = usage_from_json(values.get("usage"))
    values["failure"] = failure_from_json(values.get("failure"))
    return _build(Message, values)


def usage_from_json(data: Any) -> Usage | None:
    """Usage figures, or None."""
    return None if data is None else _build(Usage, _mapping(data, "the usage"))


def failure_from_json(data: Any) -> Failure | None:
    """A failure, or None."""
    if data is None:
        return None
    values = _mapping(data, "a failure")
    values["kind"] = ErrorKind(values.get("kind", "internal"))
    return _build(Failure, values)


def preset_from_json(data: Any) -> SamplingPreset:
    """A sampling preset."""
    return _build(SamplingPreset, _mapping(data, "a sampling preset"))


def dumps(data: Any) -> str:
    """Compact JSON, letters kept as they are."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def finite(number: float) -> float:
    """The number as a float that a database can hold. Raises ValueError or OverflowError."""
    if not math.isfinite(number):
        raise ValueError("A number is not finite.")
    return float(number)


def _mapping(data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"Expected {what}, found something else.")
    return dict(data)


_ALLOWED = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
}


def _build(kind: type[Any], values: dict[str, Any]) -> Any:
    """`kind(**values)` with the plain fields' types checked."""
    for name, value in list(values.items()):
        declared = kind.__annotations__.get(name)
        if declared is None:
            raise ValueError(f"{kind.__name__} has no field {name!r}.")
        allowed = _ALLOWED.get(str(declared))
        if allowed and (not isinstance(value, allowed) or isinstance(value, bool)):
            raise ValueError(f"Field {name!r} of {kind.__name__} has the wrong type.")
        if declared == "float":
            values[name] = finite(value)
    try:
        return kind(**values)
    except TypeError as problem:
        raise ValueError(f"{kind.__name__} is incomplete.") from problem
