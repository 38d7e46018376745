"""The chats as a list under headings, or what a search found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, Qt, Signal

from app.controllers.library_controller import Group, SearchHit

ENTRY_ROLE = Qt.ItemDataRole.UserRole + 1
_NO_PARENT = QModelIndex()


@dataclass(frozen=True)
class Entry:
    """One line: a heading (no id), a chat, or a hit with its snippet and message."""

    title: str
    conversation_id: str = ""
    pinned: bool = False
    snippet: str = ""
    message_id: str = ""

    @property
    def is_heading(self) -> bool:
        """Headings cannot be chosen."""
        return not self.conversation_id


def entries_of_groups(groups: Sequence[Group]) -> list[Entry]:
    """Headings and their chats."""
    entries: list[Entry] = []
    for group in groups:
        entries.append(Entry(group.title))
        entries += [Entry(meta.title, meta.id, meta.pinned) for meta in group.items]
    return entries


def entries_of_hits(hits: Sequence[SearchHit]) -> list[Entry]:
    """What was found, or one line that says nothing was."""
    if not hits:
        return [Entry("Nothing found")]
    return [
        Entry(hit.title, hit.conversation_id, False, hit.snippet, hit.message_id) for hit in hits
    ]


class SidebarModel(QAbstractListModel):
    """`renamed(conversation_id, title)` when a title was edited in place."""

    renamed = Signal(str, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._entries: list[Entry] = []

    def set_entries(self, entries: list[Entry]) -> None:
        """Show these; nothing happens when they are the same."""
        if entries != self._entries:
            self.beginResetModel()
            self._entries = entries
            self.endResetModel()

    def rowCount(self, parent: QModelIndex = _NO_PARENT) -> int:
        """Number of lines."""
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """The title, or the whole entry."""
        if not index.isValid():
            return None
        entry = self._entries[index.row()]
        if role in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole}:
            return entry.title
        if role == Qt.ItemDataRole.AccessibleTextRole:
            pinned = ", pinned" if entry.pinned else ""
            return f"{entry.title}{pinned}. {entry.snippet}".rstrip(". ")
        if role == Qt.ItemDataRole.ToolTipRole:
            return entry.title
        return entry if role == ENTRY_ROLE else None

    def setData(
        self, index: QModelIndex, value: object, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """A title was edited."""
        if role != Qt.ItemDataRole.EditRole or not str(value).strip():
            return False
        self.renamed.emit(self._entries[index.row()].conversation_id, str(value))
        return True

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Chats can be chosen and renamed, headings only be read."""
        if not index.isValid() or self._entries[index.row()].is_heading:
            return Qt.ItemFlag.ItemIsEnabled
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEditable

    def entry(self, row: int) -> Entry:
        """The line in `row`."""
        return self._entries[row]

    def row_of(self, conversation_id: str) -> int | None:
        """Where a chat stands."""
        rows = (i for i, e in enumerate(self._entries) if e.conversation_id == conversation_id)
        return next(rows, None)
