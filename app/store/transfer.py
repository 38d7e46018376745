"""Chats out of the app and in again: Markdown to read, HTML to show, JSON to keep everything.

The JSON form carries attachments inside (base64), so it can be imported on another machine. The
HTML form is inert: no scripts, nothing loaded from anywhere, everything escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app.core.conversation import (
    Attachment,
    Conversation,
    ConversationMeta,
    Message,
    Part,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    new_id,
)
from app.core.errors import AppError, ErrorKind
from app.store import records
from app.store.attachments import AttachmentStore, safe_suffix
from app.store.files import write_atomic

log = logging.getLogger(__name__)
FORMAT = "facet-chat"
VERSION = 1
MAX_IMPORT_BYTES = 1 << 30
# Larger files are named but not carried along.
MAX_CARRIED_BYTES = 64 << 20
# Each costs a copy; honest chats know a content by one or two (.jpg, .jpeg).
_MOST_ENDINGS = 8
_SPEAKERS = {Role.USER: "You", Role.MODEL: "Gemma", Role.TOOL: "Tool", Role.SYSTEM: "Instructions"}
PathOf = Callable[[Attachment], Path]


def export(conversation: Conversation, path: Path, path_of: PathOf) -> None:
    """Write a chat in the form its file's ending names (.md, .html, .json). Raises AppError."""
    writers: dict[str, Callable[[], str]] = {
        ".md": lambda: to_markdown(conversation),
        ".html": lambda: to_html(conversation),
        ".json": lambda: to_json(conversation, path_of),
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise AppError(
            f"“{path.suffix}” is no export format.",
            kind=ErrorKind.BAD_INPUT,
            remedy="Use a name that ends in .md, .html or .json.",
        )
    try:
        write_atomic(path, writer().encode())
    except OSError as problem:
        raise AppError(
            f"“{path.name}” could not be written: {problem.strerror}.",
            kind=ErrorKind.BAD_FILE,
            remedy="Choose another folder.",
            detail=repr(problem),
        ) from problem


def to_markdown(conversation: Conversation) -> str:
    """The shown path as Markdown; other versions are left out."""
    blocks = [f"# {conversation.meta.title}"]
    for message in conversation.walk():
        blocks.append(f"## {_SPEAKERS[message.role]}")
        blocks += [_markdown(part) for part in message.parts]
    return "\n\n".join(blocks) + "\n"


def _markdown(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Thought():
            quoted = "\n".join(f"> {line}" for line in part.text.splitlines())
            return f"> *Thought for {part.seconds:.0f} s*\n>\n{quoted}"
        case ToolCall():
            return f"```json\n{part.name} {part.arguments}\n```"
        case ToolResult():
            return f"```\n{part.content}\n```"
        case _:
            return f"*[{part.attachment.kind.value}: {part.attachment.name}]*"


_STYLE = """body{font:16px/1.45 system-ui,sans-serif;max-width:44rem}
body{margin:2rem auto;padding:0 1rem}
h2{font-size:1rem;margin:1.6rem 0 .3rem}pre{white-space:pre-wrap;font:inherit;margin:0}
.thought,.tool,.file{color:#5b5b60}"""


_POLICY = (
    "<meta http-equiv='Content-Security-Policy' "
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def to_html(conversation: Conversation) -> str:
    """The shown path as one inert page; text as it was written, nothing interpreted."""
    title = html.escape(conversation.meta.title)
    blocks = [
        "<!doctype html><html><head><meta charset='utf-8'>",
        _POLICY,
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
    ]
    for message in conversation.walk():
        blocks.append(f"<h2>{_SPEAKERS[message.role]}</h2>")
        blocks += [_html(part) for part in message.parts]
    blocks.append("</body></html>\n")
    return "\n".join(blocks)


def _html(part: Part) -> str:
    match part:
        case Text():
            return f"<pre dir='auto'>{html.escape(part.text)}</pre>"
        case Thought():
            return f"<pre class='thought' dir='auto'>{html.escape(part.text)}</pre>"
        case ToolCall():
            return f"<pre class='tool'>{html.escape(part.name + ' ' + part.arguments)}</pre>"
        case ToolResult():
            return f"<pre class='tool'>{html.escape(part.content)}</pre>"
        case _:
            name = html.escape(part.attachment.name)
            return f"<p class='file'>[{part.attachment.kind.value}: {name}]</p>"


def to_json(conversation: Conversation, path_of: PathOf) -> str:
    """Everything: all versions, which are shown, and the attachments' bytes."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "meta": asdict(conversation.meta),
        "messages": [records.message_to_json(m) for m in conversation.messages.values()],
        "chosen": [[parent, child] for parent, child in conversation.chosen.items()],
        "attachments": _carried(conversation, path_of),
    }
    return json.dumps(data, ensure_ascii=False, indent=1)


def _carried(conversation: Conversation, path_of: PathOf) -> dict[str, str]:
    found: dict[str, str] = {}
    for message in conversation.messages.values():
        for attachment in message.attachments:
            path = path_of(attachment)
            if path.is_file() and path.stat().st_size <= MAX_CARRIED_BYTES:
                found[attachment.sha256] = base64.b64encode(path.read_bytes()).decode()
    return found


def read(path: Path, conversation_id: str, attachments: AttachmentStore) -> Conversation:
    """Read a chat exported as JSON under new ids, its files into the store. Raises AppError."""
    try:
        data = _read_data(path)
        conversation = _conversation(data, conversation_id)
        _keep_files(data.get("attachments", {}), conversation, attachments)
    except _UnfitError as problem:
        raise _not_imported(path, str(problem), problem) from problem
    except OSError as problem:
        raise _not_imported(path, (problem.strerror or str(problem)).lower(), problem) from problem
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as problem:
        raise _not_imported(path, "it is damaged", problem) from problem
    return conversation


class _UnfitError(Exception):
    """Why a file is not taken, in words for the person."""


def _not_imported(path: Path, reason: str, problem: Exception) -> AppError:
    log.info("import refused", exc_info=problem)
    return AppError(
        f"“{path.name}” cannot be imported: {reason}.",
        kind=ErrorKind.BAD_FILE,
        remedy="Choose a chat that was exported as JSON.",
        detail=repr(problem),
    )


def _read_data(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_IMPORT_BYTES:
        raise _UnfitError("it is larger than 1 GB")
    try:
        data = _whole(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as problem:
        raise _UnfitError("it is no chat exported by Facet, or it is damaged") from problem
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _UnfitError("it is no chat exported by Facet")
    if data.get("version") != VERSION:
        raise _UnfitError("it was written by a newer Facet")
    return data


def _whole(data: Any) -> Any:
    """JSON can escape half a surrogate pair, which neither a file nor the database can hold."""
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_whole(value) for value in data]
    if isinstance(data, str) and not data.isascii():
        return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return data


def _conversation(data: dict[str, Any], conversation_id: str) -> Conversation:
    meta = _meta(data["meta"], conversation_id)
    messages = [records.message_from_json(message) for message in data["messages"]]
    ids = {message.id: new_id() for message in messages}
    fresh = [_renamed(message, ids) for message in messages]
    chosen: dict[str | None, str] = {}
    for parent, child in data["chosen"]:
        chosen[ids.get(parent) if parent else None] = ids.get(child, "")
    conversation = Conversation.from_messages(meta, fresh, chosen)
    if not messages:
        raise _UnfitError("there is no message in it")
    if len(conversation.messages) < len(messages):
        raise ValueError("a message answers one that is not before it")
    return conversation


def _meta(values: Any, conversation_id: str) -> ConversationMeta:
    """What holds for the chat, but for its tools: a file from elsewhere may not switch them on."""
    if not isinstance(values, dict):
        raise ValueError("what holds for the chat is missing")
    return ConversationMeta(
        id=conversation_id,
        title=str(values.get("title", "Imported chat"))[:200],
        pinned=bool(values.get("pinned", False)),
        system_prompt=str(values.get("system_prompt", "")),
        preset=records.preset_from_json(values["preset"]),
        think=bool(values.get("think", False)),
        json_schema=str(values.get("json_schema", "")),
        model=str(values.get("model", "")),
        created=records.finite(values.get("created", 0.0)),
        updated=time.time(),
    )


def _renamed(message: Message, ids: dict[str, str]) -> Message:
    parent = ids.get(message.parent_id) if message.parent_id else None
    state = message.settled_state
    return replace(message, id=ids[message.id], parent_id=parent, state=state)


def _keep_files(carried: Any, conversation: Conversation, attachments: AttachmentStore) -> None:
    """Store the carried bytes, each content once for each ending it has.

    Raises:
        ValueError: the bytes of a file do not match its hash, or it has too many endings.
        AppError: they cannot be kept.
    """
    if not isinstance(carried, dict):
        raise ValueError("its attachments are damaged")
    for sha256, names in _names(conversation).items():
        if sha256 not in carried:
            continue
        data = base64.b64decode(carried[sha256], validate=True)
        if hashlib.sha256(data).hexdigest() != sha256 or len(names) > _MOST_ENDINGS:
            raise ValueError("a file in it is damaged")
        for name in names.values():
            attachments.add_bytes(data, name)


def _names(conversation: Conversation) -> dict[str, dict[str, str]]:
    """Of every attached content by its hash: one name for each ending, which decides the path."""
    found: dict[str, dict[str, str]] = {}
    for message in conversation.messages.values():
        for attachment in message.attachments:
            endings = found.setdefault(attachment.sha256, {})
            endings.setdefault(safe_suffix(attachment.name), attachment.name)
    return found


__all__ = ["export", "read", "to_html", "to_json", "to_markdown"]
