"""The shown messages as a list model: one row a message, changed row by row."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, Qt

from app.core.conversation import (
    MediaPart,
    Message,
    MessageState,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)

MESSAGE_ROLE = Qt.ItemDataRole.UserRole + 1
_NO_PARENT = QModelIndex()
_KIND_WORDS = {"image": "Picture", "audio": "Recording", "video": "Video", "document": "Document"}


def spoken_text(message: Message) -> str:
    """The message as a screen reader says it: who, what, and how it ended."""
    speaker = "You" if message.role is Role.USER else "Answer"
    pieces = [_spoken_part(part) for part in message.parts]
    if message.failure is not None:
        pieces.append(f"{message.failure.message} {message.failure.remedy}".strip())
    elif message.state is MessageState.STOPPED:
        pieces.append("Stopped.")
    return f"{speaker}: " + " ".join(piece for piece in pieces if piece)


def _spoken_part(part: object) -> str:
    match part:
        case Text():
            return part.text
        case Thought():
            return f"Thought for {part.seconds:.0f} seconds."
        case ToolCall() | ToolResult():
            return f"Tool {part.name}."
        case _ if isinstance(part, MediaPart):
            kind = _KIND_WORDS.get(part.attachment.kind.value, "File")
            return f"{kind} {part.attachment.name}."
        case _:
            return ""


class TranscriptModel(QAbstractListModel):
    """Messages of the active path. `set_messages` keeps the rows both lists begin with."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._messages: list[Message] = []
        self._rows: dict[str, int] = {}

    def rowCount(self, parent: QModelIndex = _NO_PARENT) -> int:
        """Number of messages."""
        return 0 if parent.isValid() else len(self._messages)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """The message itself, its text, or how it is read aloud."""
        if not index.isValid():
            return None
        message = self._messages[index.row()]
        if role == MESSAGE_ROLE:
            return message
        if role == Qt.ItemDataRole.DisplayRole:
            return message.text
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return spoken_text(message)
        return None

    def message(self, row: int) -> Message:
        """The message in `row`."""
        return self._messages[row]

    def row_of(self, message_id: str) -> int | None:
        """Where a message stands; None when it is not shown."""
        return self._rows.get(message_id)

    def set_messages(self, messages: Sequence[Message]) -> None:
        """Show other messages; rows that stay the same are not touched."""
        keep = 0
        for old, new in zip(self._messages, messages, strict=False):
            if old.id != new.id:
                break
            keep += 1
        self._remove_from(keep)
        for row in range(keep):
            self._replace(row, messages[row])
        self._append(messages[keep:])

    def update(self, message: Message) -> None:
        """A message has a newer state."""
        row = self._rows.get(message.id)
        if row is not None:
            self._replace(row, message)

    def _remove_from(self, row: int) -> None:
        if row < len(self._messages):
            self.beginRemoveRows(_NO_PARENT, row, len(self._messages) - 1)
            for message in self._messages[row:]:
                del self._rows[message.id]
            del self._messages[row:]
            self.endRemoveRows()

    def _append(self, messages: Sequence[Message]) -> None:
        if messages:
            first = len(self._messages)
            self.beginInsertRows(_NO_PARENT, first, first + len(messages) - 1)
            for offset, message in enumerate(messages):
                self._rows[message.id] = first + offset
            self._messages.extend(messages)
            self.endInsertRows()

    def _replace(self, row: int, message: Message) -> None:
        if self._messages[row] is not message:
            self._messages[row] = message
            index = self.index(row)
            self.dataChanged.emit(index, index)
