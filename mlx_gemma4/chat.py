"""Messages to prompt text, as Gemma 4 was trained to read it.

The format is spec section 6, equal byte for byte to the official template of 2026-07-09 except
where that one is wrong; each exception is named at the code. Templates inside checkpoints are
ignored: conversions froze several older revisions of it.

Rendering is incremental. The end of a turn is written by whatever comes next, so the text of
messages[:n] is a prefix of the text of messages[:n+1], except that a new user message removes the
thoughts before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from mlx_gemma4.errors import PromptError
from mlx_gemma4.messages import (
    Audio,
    Image,
    MediaPart,
    Message,
    Part,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from mlx_gemma4.tool_text import MARK, QUOTE, format_call, format_declaration, format_response

Family = Literal["edge", "large"]

EMPTY_THOUGHT = "<|channel>thought\n<channel|>"
OPEN_THOUGHT = "<|channel>thought\n"


class ToolDeclaration(Protocol):
    """What the prompt needs to know of a tool; ``tools.Tool`` is one."""

    @property
    def name(self) -> str:
        """Name the model calls it by."""
        ...

    @property
    def description(self) -> str:
        """What it does."""
        ...

    @property
    def parameters(self) -> Mapping[str, object] | None:
        """JSON schema of its arguments."""
        ...


@dataclass(frozen=True, slots=True)
class TextRun:
    """A piece of prompt text; only pieces with ``control`` may become control tokens."""

    text: str
    control: bool = False


@dataclass(frozen=True, slots=True)
class MediaSlot:
    """The place of a picture, recording or video; its placeholder and soft tokens go here."""

    part: MediaPart


Run = TextRun | MediaSlot


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How a conversation is rendered.

    Attributes:
        family: ``Gemma4Config.family``: "edge" (E2B, E4B) or "large" (12B, 26B-A4B, 31B): they
            differ only with thinking off.
        think: let the model think before it answers.
        tools: tools the model may call.
        preserve_thinking: keep the thoughts of older turns that called tools.
    """

    family: Family = "edge"
    think: bool = False
    tools: tuple[ToolDeclaration, ...] = ()
    preserve_thinking: bool = False


@dataclass(frozen=True, slots=True)
class ChatState:
    """What rendering must remember between two messages.

    Attributes:
        open_role: role of the turn that is not closed yet; None at the very start.
        last: what stands last in that turn.
        calls: names of the calls of this model turn by their ids.
    """

    open_role: Role | None = None
    last: Literal["text", "call", "result"] = "text"
    calls: tuple[tuple[str, str], ...] = ()


def render(
    messages: Sequence[Message],
    *,
    family: Family = "edge",
    think: bool = False,
    tools: Sequence[ToolDeclaration] = (),
    preserve_thinking: bool = False,
    generate: bool = True,
) -> tuple[Run, ...]:
    """Render a whole conversation.

    Args:
        messages: in order; a system message, if any, comes first.
        family: "edge" or "large", see ``ChatOptions``.
        think: let the model think.
        tools: what it may call.
        preserve_thinking: keep older thoughts of turns that called tools.
        generate: end with the prompt for the model's answer; otherwise close the last turn.

    Raises:
        PromptError: a part stands in a message of a role that cannot hold it.
    """
    options = ChatOptions(family, think, tuple(tools), preserve_thinking)
    runs, state, rest = render_start(messages, options)
    last_user = max((i for i, m in enumerate(rest) if m.role == "user"), default=-1)
    for index, message in enumerate(rest):
        more, state = render_message(message, state, options, after_last_user=index > last_user)
        runs += more
    runs += generation_prompt(state, options) if generate else close(state)
    return merge(runs)


def render_start(
    messages: Sequence[Message], options: ChatOptions
) -> tuple[list[Run], ChatState, Sequence[Message]]:
    """Render ``<bos>`` and the system turn.

    Returns:
        The runs, the state after them, and the messages that are still to be rendered.
    """
    runs: list[Run] = [TextRun("<bos>", control=True)]
    first = messages[0] if messages and messages[0].role == "system" else None
    if not (first or options.think or options.tools):
        return runs, ChatState(), messages
    runs += _markup("<|turn>system\n")
    if options.think:
        runs += _markup("<|think|>\n")
    if first:
        runs += _system_text(first)
    for tool in options.tools:
        runs += _markup("<|tool>")
        runs += _quoted(format_declaration(tool.name, tool.description, tool.parameters).strip())
        runs += _markup("<tool|>")
    return runs, ChatState("system"), messages[1:] if first else messages


def render_message(
    message: Message, state: ChatState, options: ChatOptions, *, after_last_user: bool = True
) -> tuple[list[Run], ChatState]:
    """Render one more message after ``state``; its turn stays open.

    Args:
        message: any message but the leading system message.
        state: what the previous call returned.
        options: as for the rest of the conversation.
        after_last_user: no user message follows, so the thoughts of this one are kept.
    """
    if message.role == "tool":
        return _tool_results(message, state)
    runs, state = open_turn(message.role, state)
    if message.role != "model":
        for part in message.parts:
            runs += render_part(part, message.role)
        return runs, replace(state, last="text")
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    keep = after_last_user or (options.preserve_thinking and bool(calls))
    # Calls come last, so that their results can follow. The official template writes the content
    # after the results and then closes the turn the model should go on in (spec 6.6).
    for part in message.parts:
        if not isinstance(part, ToolCall) and (keep or not isinstance(part, Thought)):
            runs += render_part(part, "model")
    for call in calls:
        runs += _call(call)
    if calls:
        return runs, ChatState("model", "call", tuple((call.id, call.name) for call in calls))
    return runs, replace(state, last="text")


def open_turn(role: Role, state: ChatState) -> tuple[list[Run], ChatState]:
    """Close the open turn and begin one of ``role``; a model turn is continued instead."""
    if role == "model" and state.open_role == "model":
        return [], state
    ended = "<turn|>\n" if state.open_role else ""
    return _markup(f"{ended}<|turn>{role}\n"), ChatState(role)


def render_part(part: Part, role: Role) -> list[Run]:
    """Render one part inside an open turn of ``role``; text is trimmed, media get no white space.

    Raises:
        PromptError: this role cannot hold this part.
    """
    match part:
        case Text():
            text = strip_thoughts(part.text) if role == "model" else part.text.strip()
            return [TextRun(text)] if text else []
        case Image() | Audio() | Video() if role != "system":
            return [MediaSlot(part)]
        case Thought() if role == "model":
            if not part.text:
                return []
            return [*_markup(OPEN_THOUGHT), TextRun(part.text), *_markup("\n<channel|>")]
    raise PromptError(
        f"A message of role {role} cannot hold a {type(part).__name__}; move it to another message."
    )


def generation_prompt(state: ChatState, options: ChatOptions) -> list[Run]:
    """What makes the model speak. After a tool result it goes on in the same turn."""
    if state.last == "result":
        return _markup(OPEN_THOUGHT) if options.think else []
    if state.last == "call":
        raise PromptError(
            "The last tool call has no result yet; add a tool message with its result."
        )
    if state.open_role == "model":
        # The conversation ends with what the model said: the template starts a second model turn.
        return [*_markup("<turn|>\n<|turn>model\n"), *_no_thought(options)]
    runs, _ = open_turn("model", state)
    return runs + _no_thought(options)


def close(state: ChatState) -> list[Run]:
    """End a conversation in which nobody is to speak next."""
    if state.last == "call":
        return _markup("<|tool_response>")
    return _markup("<turn|>\n") if state.open_role and state.last == "text" else []


def strip_thoughts(text: str) -> str:
    """Remove everything from ``<|channel>`` to ``<channel|>``, then trim the rest."""
    return "".join(part.split("<|channel>")[0] for part in text.split("<channel|>")).strip()


def merge(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Join neighbouring text of the same kind."""
    merged: list[Run] = []
    for run in runs:
        last = merged[-1] if merged else None
        if isinstance(run, TextRun) and isinstance(last, TextRun) and run.control == last.control:
            merged[-1] = TextRun(last.text + run.text, run.control)
        else:
            merged.append(run)
    return tuple(merged)


def to_text(runs: Sequence[Run]) -> str:
    """The prompt as one string, each medium as its placeholder token."""
    return "".join(run.text if isinstance(run, TextRun) else placeholder(run.part) for run in runs)


def placeholder(part: MediaPart) -> str:
    """The token that stands for a medium in rendered text."""
    return {Image: "<|image|>", Audio: "<|audio|>", Video: "<|video|>"}[type(part)]


def _no_thought(options: ChatOptions) -> list[Run]:
    """With thinking off, large models get an empty thought, else they may think anyway."""
    return _markup(EMPTY_THOUGHT) if options.family == "large" and not options.think else []


def _markup(text: str) -> list[Run]:
    return [TextRun(text, control=True)]


def _quoted(notation: str) -> list[Run]:
    """Tool notation: quotes are control tokens, what stands between them is not."""
    runs: list[Run] = []
    for index, piece in enumerate(notation.split(MARK)):
        runs += [TextRun(QUOTE, control=True)] if index else []
        runs += [TextRun(piece)] if piece else []
    return runs


def _system_text(message: Message) -> list[Run]:
    texts = []
    for part in message.parts:
        if not isinstance(part, Text):
            raise PromptError(
                f"A system message holds text only, not a {type(part).__name__}; "
                "move it to a user message."
            )
        texts.append(part.text.strip())
    return [TextRun(texts[0] if len(texts) == 1 else "".join(f"{text} " for text in texts))]


def _call(call: ToolCall) -> list[Run]:
    body = format_call(call.name, call.arguments)
    return [*_markup("<|tool_call>"), *_quoted(body), *_markup("<tool_call|>")]


def _tool_results(message: Message, state: ChatState) -> tuple[list[Run], ChatState]:
    """Results go on in the model's turn, right after the calls."""
    if state.last not in ("call", "result"):
        raise PromptError("A tool message must follow the model message that called the tool.")
    runs: list[Run] = []
    for part in message.parts:
        if not isinstance(part, ToolResult):
            raise PromptError("A tool message holds tool results only; put the rest elsewhere.")
        runs += _tool_result(part, dict(state.calls))
    return runs, replace(state, last="result")


def _tool_result(result: ToolResult, calls: Mapping[str, str]) -> list[Run]:
    content = result.content
    media: list[Run] = []
    if isinstance(content, tuple):
        media = [MediaSlot(part) for part in content if not isinstance(part, Text)]
        content = "".join(part.text for part in content if isinstance(part, Text))
    name = (calls.get(result.id) if result.id else None) or result.name or "unknown"
    body = _quoted(format_response(name, content))
    return [*_markup("<|tool_response>"), *body, *_markup("<tool_response|>"), *media]
