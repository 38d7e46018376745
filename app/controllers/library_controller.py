"""The list of conversations: titles, pins, delete with undo, search, export and import."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.core.conversation import ConversationMeta, new_id
from app.services.library import Library, SearchHit


@dataclass(frozen=True, slots=True)
class Group:
    """A heading of the list ("Pinned", "Today") and its conversations, newest first."""

    title: str
    items: tuple[ConversationMeta, ...]


class LibraryController(QObject):
    """What the side bar shows.

    Signals: `changed` the list; `relabelled(ConversationMeta)` a chat was given another title or
    pin here; `deleted(id)`; `undo_changed` the title that can return.
    """

    changed = Signal()
    relabelled = Signal(object)
    deleted = Signal(str)
    undo_changed = Signal(str)
    search_done = Signal(str, object)
    failed = Signal(object)

    def __init__(self, library: Library, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._library = library
        self._metas = {meta.id: meta for meta in library.conversations()}
        self._deleted: list[ConversationMeta] = []
        library.search_done.connect(self.search_done)
        library.failed.connect(self.failed)

    def conversations(self) -> list[ConversationMeta]:
        """All conversations, pinned first, then the newest first."""
        return sorted(self._metas.values(), key=lambda meta: (not meta.pinned, -meta.updated))

    def groups(self, now: float) -> list[Group]:
        """The list under its headings; `now` in seconds since the epoch."""
        return group_by_date(self.conversations(), now)

    def meta(self, conversation_id: str) -> ConversationMeta:
        """One entry. Raises KeyError."""
        return self._metas[conversation_id]

    def update(self, meta: ConversationMeta) -> None:
        """A conversation changed (called by the chat as well)."""
        self._metas[meta.id] = meta
        self._library.save_meta(meta)
        self.changed.emit()

    def rename(self, conversation_id: str, title: str) -> None:
        """Give it another title; an empty one is ignored."""
        title = " ".join(title.split())
        if title:
            self._relabel(replace(self._metas[conversation_id], title=title))

    def set_pinned(self, conversation_id: str, pinned: bool) -> None:
        """Keep it on top."""
        self._relabel(replace(self._metas[conversation_id], pinned=pinned))

    def _relabel(self, meta: ConversationMeta) -> None:
        self.update(meta)
        self.relabelled.emit(meta)

    def delete(self, conversation_id: str) -> None:
        """Take it off the list; `undo_delete` brings it back."""
        meta = self._metas.pop(conversation_id, None)
        if meta is None:
            return
        self._library.delete(conversation_id)
        self._deleted.append(meta)
        self.deleted.emit(conversation_id)
        self.changed.emit()
        self.undo_changed.emit(meta.title)

    @property
    def can_undo(self) -> bool:
        """Something was deleted that can come back."""
        return bool(self._deleted)

    def undo_delete(self) -> str | None:
        """Bring the last deleted conversation back; returns its id."""
        if not self._deleted:
            return None
        meta = self._deleted.pop()
        self._library.restore(meta.id)
        self._metas[meta.id] = meta
        self.changed.emit()
        self.undo_changed.emit(self._deleted[-1].title if self._deleted else "")
        return meta.id

    def search(self, query: str) -> None:
        """Look through titles and messages; `search_done(query, hits)` follows."""
        self._library.search(query)

    def export(self, conversation_id: str, path: str) -> None:
        """Write it as Markdown, JSON or HTML, by the file's ending. Raises AppError."""
        self._library.export(conversation_id, Path(path))

    def import_chat(self, path: str) -> str:
        """Read a chat exported as JSON; returns its new id. Raises AppError."""
        meta = self._library.import_chat(Path(path), new_id())
        self._metas[meta.id] = meta
        self.changed.emit()
        return meta.id


def group_by_date(metas: list[ConversationMeta], now: float) -> list[Group]:
    """Pinned, Today, Yesterday, Last 7 days, then by month. Days are local days."""
    today = datetime.datetime.fromtimestamp(now).date()
    groups: dict[str, list[ConversationMeta]] = {}
    for meta in metas:
        title = "Pinned" if meta.pinned else _day_title(meta.updated, today)
        groups.setdefault(title, []).append(meta)
    return [Group(title, tuple(items)) for title, items in groups.items()]


def _day_title(when: float, today: datetime.date) -> str:
    day = datetime.datetime.fromtimestamp(when).date()
    age = (today - day).days
    if age <= 0:
        return "Today"
    if age == 1:
        return "Yesterday"
    if age <= 7:
        return "Last 7 days"
    return day.strftime("%B %Y")


__all__ = ["Group", "LibraryController", "SearchHit", "group_by_date"]
