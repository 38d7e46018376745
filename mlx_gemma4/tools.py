"""Tools: functions a model may call, how they are declared, run, and answered in the same turn.

A tool is trusted code of the program or its user; its result is not trusted, so it is bounded in
size. A tool
that fails does not end the reply: the model is told and may try something else.
"""

from __future__ import annotations

import enum
import importlib.util
import inspect
import json
import logging
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from mlx_gemma4.errors import ToolError
from mlx_gemma4.generate import Finish, Usage
from mlx_gemma4.messages import (
    Audio,
    Image,
    Message,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
    message,
)
from mlx_gemma4.prefill import Progress
from mlx_gemma4.reply import Delta

log = logging.getLogger(__name__)

MAX_RESULT_CHARS = 20_000  # about 5,000 tokens; more would push the conversation out of the context
MAX_RESULT_MEDIA = 16
MAX_ROUNDS = 8
_NAME = re.compile(r"[A-Za-z_][\w.:-]{0,127}")
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_MEDIA = (Image, Audio, Video)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function a model may call.

    Attributes:
        name: letters, digits and ``_ - . :``.
        description: what it does, for the model.
        parameters: JSON schema of its arguments (an object schema).
        function: called with the arguments by name; returns text, a mapping, media parts or
            pictures, or anything JSON can hold.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)
    function: Callable[..., Any]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ToolError(f"{self.name!r} is no name for a tool; use letters, digits and _ - . :")
        if self.parameters and self.parameters.get("type", "object") != "object":
            raise ToolError(f"The schema of tool {self.name} must describe an object.")

    @classmethod
    def from_function(cls, function: Callable[..., Any]) -> Tool:
        """Make a tool of a typed function with a docstring in Google's style.

        Raises:
            ToolError: a parameter has no type, or one JSON has no word for.
        """
        description, arguments = _read_docstring(inspect.getdoc(function) or "")
        hints = typing.get_type_hints(function)
        properties, required = {}, []
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or (
                name not in hints
            ):
                raise ToolError(f"Parameter {name} of tool {function.__name__} needs a type.")
            properties[name] = _schema_of(hints[name], f"{function.__name__}.{name}")
            if name in arguments:
                properties[name]["description"] = arguments[name]
            if parameter.default is parameter.empty:
                required.append(name)
        schema = {"type": "object", "properties": properties, "required": required}
        return cls(function.__name__, description, schema, function)


def tools_from_file(path: str | Path) -> tuple[Tool, ...]:
    """Every public function defined in a Python file, as tools. The file is run.

    Raises:
        ToolError: the file cannot be run, or holds no such function.
    """
    file = Path(path).expanduser()
    spec = importlib.util.spec_from_file_location("user_tools", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ToolError(f"{path} is no Python file; pass a file that defines functions.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ToolError(f"{path} cannot be run ({type(error).__name__}: {error}).") from error
    functions = [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == "user_tools" and name[0] != "_"
    ]
    if not functions:
        raise ToolError(f"{path} defines no public function to use as a tool.")
    return tuple(Tool.from_function(function) for function in functions)


# ---------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """A tool has been run; ``error`` says why it failed, else it is empty."""

    call: ToolCall
    result: ToolResult
    error: str = ""

    @property
    def summary(self) -> str:
        """One line for a log or a terminal."""
        if self.error:
            return f"{self.call.name or 'tool'}: {self.error}"
        content = self.result.content
        text = content if isinstance(content, str) else repr(content)
        return f"{self.call.name}: {text[:200]}{'…' if len(text) > 200 else ''}"


def run_call(call: ToolCall, tools: Sequence[Tool]) -> ToolOutcome:
    """Run one call. Never raises: a failure becomes a result the model can read."""
    try:
        tool = _wanted(call, tools)
        content = _content(tool.function(**call.arguments))
    except ToolError as error:
        return _failed(call, str(error))
    except Exception as error:
        log.debug("tool %s raised", call.name, exc_info=True)
        return _failed(call, f"{type(error).__name__}: {error}"[:1000])
    return ToolOutcome(call, ToolResult(call.name, content, call.id))


ReplyEvent = Progress | Delta | ToolCall | Finish


def run_with_tools(
    reply: Callable[[list[Message]], Iterator[ReplyEvent]],
    messages: Sequence[Message],
    tools: Sequence[Tool],
    *,
    max_rounds: int = MAX_ROUNDS,
) -> Iterator[ReplyEvent | ToolOutcome]:
    """Answer, and as long as the model calls tools, run them and let it go on in the same turn.

    Args:
        reply: makes the model answer a conversation; its events end with one ``Finish``.
        messages: the conversation so far.
        tools: what may be called.
        max_rounds: most times tools are run before the reply is ended.

    Yields:
        The events of all rounds, a ``ToolOutcome`` after each call that was run, and one ``Finish``
        with the costs of all rounds.
    """
    conversation = list(messages)
    spent: Usage | None = None
    for round_ in range(max_rounds + 1):
        turn, calls, finish = yield from _one_round(reply(conversation))
        spent = finish.usage if spent is None else _sum(spent, finish.usage)
        if not (tools and calls) or finish.reason in ("length", "loop"):
            yield replace(finish, usage=spent)
            return
        if round_ == max_rounds:
            notice = f"The reply was ended because it called tools {max_rounds} times in a row."
            yield Finish("tool", spent, notice)
            return
        results = []
        for call in calls:
            outcome = run_call(call, tools)
            results.append(outcome.result)
            yield outcome
        conversation += [message("model", *turn, *calls), message("tool", *results)]


def _one_round(
    events: Iterator[ReplyEvent],
) -> typing.Generator[ReplyEvent, None, tuple[list[Part], list[ToolCall], Finish]]:
    """Pass events on; return what was thought and said, what was called, and the end."""
    text: dict[str, str] = {"thought": "", "answer": "", "tool": ""}
    calls: list[ToolCall] = []
    for event in events:
        if isinstance(event, Finish):
            turn: list[Part] = [Thought(text["thought"])] if text["thought"] else []
            return turn + ([Text(text["answer"])] if text["answer"].strip() else []), calls, event
        if isinstance(event, Delta):
            text[event.channel] += event.text
        elif isinstance(event, ToolCall):
            calls.append(event)
        yield event
    raise ToolError("The reply ended without saying why; try again.")


def _sum(first: Usage, second: Usage) -> Usage:
    return Usage(
        prompt_tokens=second.prompt_tokens,
        cached_tokens=second.cached_tokens,
        generated_tokens=first.generated_tokens + second.generated_tokens,
        prefill_s=first.prefill_s + second.prefill_s,
        first_token_s=first.first_token_s,
        decode_s=first.decode_s + second.decode_s,
        peak_bytes=max(first.peak_bytes, second.peak_bytes),
        draft_blocks=first.draft_blocks + second.draft_blocks,
        drafted_tokens=first.drafted_tokens + second.drafted_tokens,
        accepted_tokens=first.accepted_tokens + second.accepted_tokens,
    )


def _wanted(call: ToolCall, tools: Sequence[Tool]) -> Tool:
    """The tool a call means, if its arguments can be passed."""
    if not call.name:
        raise ToolError("The call could not be understood; write it again.")
    tool = next((tool for tool in tools if tool.name == call.name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in tools)
        raise ToolError(f"There is no tool {call.name}; there are: {known}.")
    missing = [key for key in tool.parameters.get("required", ()) if key not in call.arguments]
    if missing:
        raise ToolError(f"Arguments are missing: {', '.join(missing)}.")
    properties = tool.parameters.get("properties", {})
    unknown = [key for key in call.arguments if key not in properties]
    if unknown:
        raise ToolError(f"Unknown arguments: {', '.join(unknown)}.")
    return tool


def _failed(call: ToolCall, sentence: str) -> ToolOutcome:
    result = ToolResult(call.name or "unknown", {"error": sentence}, call.id)
    return ToolOutcome(call, result, sentence)


def _content(value: Any) -> str | Mapping[str, Any] | tuple[Text | Image | Audio | Video, ...]:
    """What a tool returned, in a form a message can hold, bounded in size."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, (Text, *_MEDIA)) or _is_picture(value):
        return _parts([value])
    if isinstance(value, (list, tuple)) and any(
        isinstance(v, _MEDIA) or _is_picture(v) for v in value
    ):
        return _parts(value)
    try:
        written = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return _cut(str(value))
    if isinstance(value, Mapping) and len(written) <= MAX_RESULT_CHARS:
        return json.loads(written)
    return _cut(written)


def _is_picture(value: Any) -> bool:
    """A Pillow image or an array [height, width, 3], without importing Pillow."""
    if any(cls.__module__ == "PIL.Image" for cls in type(value).__mro__):
        return True
    shape = getattr(value, "shape", ())
    return isinstance(shape, tuple) and len(shape) == 3 and shape[2] == 3


def _parts(values: Sequence[Any]) -> tuple[Text | Image | Audio | Video, ...]:
    if len(values) > MAX_RESULT_MEDIA:
        raise ToolError(f"The tool returned {len(values)} items; at most {MAX_RESULT_MEDIA} fit.")
    parts: list[Text | Image | Audio | Video] = []
    for value in values:
        if _is_picture(value):
            parts.append(Image(value))
        elif isinstance(value, _MEDIA):
            parts.append(value)
        else:
            parts.append(Text(_cut(value.text if isinstance(value, Text) else str(value))))
    return tuple(parts)


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    return f"{text[:MAX_RESULT_CHARS]}\n[cut: {len(text) - MAX_RESULT_CHARS:,} more characters]"


# ---------------------------------------------------------------- declarations from Python


def _schema_of(hint: Any, where: str) -> dict[str, Any]:
    """JSON schema of a type annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        if len(kinds) == 1:
            return _schema_of(kinds[0], where) | {"nullable": True}
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return {"type": "string", "enum": list(arguments)}
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return {"type": "string", "enum": [member.value for member in hint]}
    if hint is list or origin in (list, tuple, set):
        items = _schema_of(arguments[0], where) if arguments else {"type": "string"}
        return {"type": "array", "items": items}
    if hint is dict or origin is dict:
        return {"type": "object", "properties": {}}
    raise ToolError(f"The type of {where} has no JSON schema; use str, int, float, bool or a list.")


_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Example|Examples|Note):\s*$"
)
_ARGUMENT = re.compile(r"^\s{2,}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Description (everything before the first section) and the lines under ``Args:``."""
    description: list[str] = []
    arguments: dict[str, str] = {}
    section = current = ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        entry = _ARGUMENT.match(line)
        if heading:
            section = heading.group(1)
        elif not section:
            description.append(line.strip())
        elif section in ("Args", "Arguments", "Parameters") and entry:
            current = entry.group(1)
            arguments[current] = entry.group(2).strip()
        elif section in ("Args", "Arguments", "Parameters") and current and line.strip():
            arguments[current] += f" {line.strip()}"
    return " ".join(" ".join(description).split()), arguments
