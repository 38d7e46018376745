"""The tools a model may be given: what they are called, what they take, what one says about them.

Declarations and checks only; `app.services.tool_box` runs them. Every tool reads and changes
nothing outside the chat it is used in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.core.commands import ToolSpec
from app.core.conversation import ToolCall

MAX_ROUNDS = 8
MAX_ARGUMENT_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class BuiltInTool:
    """One tool.

    title, purpose: for the person. description: for the model. properties: name -> (JSON type,
    description) of its arguments; required: those that must be there.
    """

    name: str
    title: str
    purpose: str
    description: str
    properties: tuple[tuple[str, str, str], ...] = ()
    required: tuple[str, ...] = ()

    def spec(self) -> ToolSpec:
        """As the model is told of it."""
        properties = {
            name: {"type": kind, "description": words} for name, kind, words in self.properties
        }
        schema = {"type": "object", "properties": properties, "required": list(self.required)}
        return ToolSpec(self.name, self.description, json.dumps(schema))


CLOCK = BuiltInTool(
    "clock",
    "Clock",
    "Tells the date and the time of this Mac.",
    "The present date, weekday and time.",
    (("timezone", "string", "IANA name such as Europe/Berlin; leave out for the local time"),),
)
CALCULATOR = BuiltInTool(
    "calculator",
    "Calculator",
    "Works out arithmetic exactly.",
    "Works out an arithmetic expression and returns its value.",
    (("expression", "string", "such as (3 + 4) * sqrt(2) / 7**2"),),
    ("expression",),
)
READ_FILE = BuiltInTool(
    "read_file",
    "Read attached files",
    "Reads the text of documents attached to this chat, part by part.",
    "Reads the text of a document attached to this chat, one part at a time.",
    (
        ("name", "string", "name of the file; leave out where only one is attached"),
        ("part", "integer", "which part, from 1"),
    ),
)
SEARCH_CHAT = BuiltInTool(
    "search_chat",
    "Search this chat",
    "Finds earlier messages of this chat by their words.",
    "Finds earlier messages of this chat that contain all of some words.",
    (("words", "string", "the words to look for"),),
    ("words",),
)
TOOLS: tuple[BuiltInTool, ...] = (CLOCK, CALCULATOR, READ_FILE, SEARCH_CHAT)
_TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int}


class ToolProblem(ValueError):  # noqa: N818 - told to the model, not an error of the program
    """Why a call cannot be run, in one sentence the model can act on."""


def tool_named(name: str) -> BuiltInTool | None:
    """The tool called `name`."""
    return next((tool for tool in TOOLS if tool.name == name), None)


def tool_title(name: str) -> str:
    """What the person calls the tool; a name no tool has is shown as it is."""
    tool = tool_named(name)
    return tool.title if tool else name


def checked_arguments(call: ToolCall, enabled: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a call of one of the `enabled` tools. Raises ToolProblem."""
    tool = tool_named(call.name)
    if tool is None or call.name not in enabled:
        raise ToolProblem(f"There is no tool {call.name!r}; there are: {', '.join(enabled)}.")
    try:
        values = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
        raise ToolProblem("The arguments could not be understood; write the call again.")
    missing = [name for name in tool.required if name not in values]
    if missing:
        raise ToolProblem(f"Arguments are missing: {', '.join(missing)}.")
    kinds = {name: kind for name, kind, _ in tool.properties}
    return {name: _argument(name, value, kinds) for name, value in values.items()}


def _argument(name: str, value: Any, kinds: dict[str, str]) -> Any:
    if name not in kinds:
        raise ToolProblem(f"Unknown argument: {name}.")
    if kinds[name] == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _TYPES[kinds[name]]) or isinstance(value, bool):
        raise ToolProblem(f"The argument {name} must be of type {kinds[name]}.")
    return value
