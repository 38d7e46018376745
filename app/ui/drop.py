"""What a drop will do, in words, before it happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData

from app.core.events import Capabilities

if TYPE_CHECKING:
    from app.controllers.document_drop import DropCount

IMAGE = frozenset(["png", "jpg", "jpeg", "heic", "heif", "webp", "gif", "bmp", "tif", "tiff"])
SOUND = frozenset(["wav", "mp3", "m4a", "flac", "ogg", "opus", "aac", "aiff", "aif"])
FILM = frozenset(["mp4", "mov", "m4v", "mkv", "webm", "avi"])
DOCUMENT = frozenset(
    ["pdf", "docx", "xlsx", "pptx", "txt", "md", "csv", "json", "html", "htm", "rtf"]
)


def kind_of(path: str) -> str:
    """A guess from the name, good enough for words; the engine looks at the content later."""
    ending = PurePath(path).suffix.lower().lstrip(".")
    groups = (("image", IMAGE), ("audio", SOUND), ("video", FILM), ("document", DOCUMENT))
    return next((kind for kind, endings in groups if ending in endings), "unknown")


def paths_of(data: QMimeData) -> list[str]:
    """Local files of a drag; remote addresses are never fetched."""
    return [url.toLocalFile() for url in data.urls() if url.isLocalFile()]


def reading_words(paths: Sequence[str]) -> tuple[str, str]:
    """(words, icon) for files held over the documents page, before they are counted."""
    name = PurePath(paths[0]).name if len(paths) == 1 else f"{len(paths)} files"
    return f"Read {name}", "scan-text"


def counted_words(paths: Sequence[str], count: DropCount) -> str:
    """What will be read, once the files were looked into: `Read 12 pages`."""
    if count.files == 0:
        return "There is no document in this folder."
    if count.files == 1 and len(paths) == 1 and (one := _one_file(paths[0], count)):
        return one
    if count.uncounted:
        return f"Read {_many(count.uncounted, 'file')}"
    words = []
    if count.pages:
        of = f" of {count.paged:,} files" if count.paged > 1 else ""
        words.append(f"Read {_many(count.pages, 'page')}{of}")
    if count.texts:
        begin = "and" if words else "Read"
        words.append(f"{begin} the text of {_many(count.texts, 'file')}")
    rest = []
    if count.locked:
        rest.append(f"{count.locked:,} {'asks' if count.locked == 1 else 'ask'} for a password")
    if count.refused:
        rest.append(f"{count.refused:,} cannot be read")
    return " · ".join([" ".join(words), *rest] if words else rest)


def _one_file(path: str, count: DropCount) -> str:
    name = PurePath(path).name
    if count.locked:
        return f"Open {name} with its password"
    if count.refused:
        return f"{name} cannot be read"
    return f"Read the text of {name}" if count.texts else ""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def drop_words(
    paths: Sequence[str], model: str, takes: Capabilities | None, other: str = ""
) -> tuple[str, str]:
    """(words, icon) for files held over the window.

    model: the loaded one's name, empty for none. takes: what it takes in. other: a model on this
    machine that could hear, offered where the loaded one cannot.
    """
    if not paths:
        return "Add this text", "type"
    kinds = {kind_of(path) for path in paths}
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    name = PurePath(paths[0]).name if len(paths) == 1 else f"{len(paths)} files"
    to = f" to {model}" if model else ""
    if kind == "audio" and takes is not None and not takes.audio:
        instead = f": transcribe with {other}?" if other else ". E2B, E4B and 12B can."
        return f"{model} cannot hear{instead}", "ear"
    if kind in {"image", "video"} and takes is not None and not takes.image:
        return f"{model} cannot see pictures.", "eye-off"
    words = {
        "image": f"Show {_this(paths, 'picture')}{to}",
        "audio": f"Play {_this(paths, 'recording')}{to}",
        "video": f"Show {_this(paths, 'film')}{to}",
        "document": f"Read {name}",
        "mixed": f"Add {name} to your message",
        "unknown": f"Add {name} to your message",
    }
    icons = {"image": "image", "audio": "ear", "video": "film", "document": "file-text"}
    return words[kind], icons.get(kind, "paperclip")


def are_documents(paths: Sequence[str]) -> bool:
    """Every one of them looks like a document."""
    return bool(paths) and all(kind_of(path) == "document" for path in paths)


def _this(paths: Sequence[str], noun: str) -> str:
    return f"this {noun}" if len(paths) == 1 else f"these {len(paths)} {noun}s"
