"""The conversations on disk: the only module with SQL statements about them.

SQLite in WAL mode with synchronous=FULL: what `save_*` returned from survives a power cut. One
`ConversationStore` is one connection and belongs to one thread at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.core.conversation import (
    Conversation,
    ConversationMeta,
    Message,
    MessageState,
    Role,
)
from app.core.errors import ErrorKind
from app.store import migrations, records
from app.store.sqlite import connected, transaction
from app.store.words import has_word_breaks

_META_COLUMNS = (
    "id, title, pinned, system_prompt, preset, think, tools, json_schema, model, created, updated,"
    " allowed_tools"
)
_INTERRUPTED = {
    "kind": ErrorKind.ENGINE_STOPPED.value,
    "message": "This answer was interrupted when Facet closed.",
    "remedy": "Try again.",
    "detail": "",
}


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A place where the words were found. message_id is empty for a hit in the title."""

    conversation_id: str
    message_id: str
    title: str
    snippet: str
    updated: float


class ConversationStore:
    """Reads and writes conversations in one SQLite file."""

    def __init__(self, path: Path | str, steps: Sequence[migrations.Step] | None = None) -> None:
        self._db = connected(Path(path), steps if steps is not None else migrations.STEPS)

    def close(self) -> None:
        """Close the file; the journal is folded in."""
        self._db.close()

    # --- reading ---------------------------------------------------------------------------------

    def list(self) -> list[ConversationMeta]:
        """All conversations that are not deleted, the newest first."""
        rows = self._db.execute(
            f"SELECT {_META_COLUMNS} FROM conversations WHERE deleted IS NULL ORDER BY updated DESC"
        )
        return [_meta(row) for row in rows]

    def load(self, conversation_id: str) -> Conversation:
        """A conversation with all its messages. Raises KeyError."""
        row = self._db.execute(
            f"SELECT {_META_COLUMNS} FROM conversations WHERE id = ?",
            (conversation_id,),
        ).fetchone()
        if row is None:
            raise KeyError(conversation_id)
        rows = self._db.execute(
            "SELECT id, parent_id, role, parts, state, created, model, usage, failure,"
            " json_schema"
            " FROM messages WHERE conversation_id = ? ORDER BY seq",
            (conversation_id,),
        )
        chosen = self._db.execute(
            "SELECT parent_id, child_id FROM choices WHERE conversation_id = ?", (conversation_id,)
        )
        choices: dict[str | None, str] = {parent or None: child for parent, child in chosen}
        return Conversation.from_messages(_meta(row), [_message(row) for row in rows], choices)

    def search(self, query: str, limit: int = 50) -> list[SearchHit]:
        """Where all the words occur: titles first, then messages, the newest first."""
        words = query.split()
        if not words:
            return []
        hits = self._search_titles(words, limit)
        hits += self._search_messages(words, limit)
        return hits[:limit]

    def search_in(self, conversation_id: str, query: str, limit: int = 50) -> list[SearchHit]:
        """Where all the words occur in one conversation, the newest message first."""
        words = query.split()
        return self._search_messages(words, limit, conversation_id) if words else []

    def _search_titles(self, words: Sequence[str], limit: int) -> list[SearchHit]:
        clause = " AND ".join("title LIKE ? ESCAPE '\\'" for _ in words)
        rows = self._db.execute(
            f"SELECT id, title, updated FROM conversations WHERE deleted IS NULL AND {clause}"
            " ORDER BY updated DESC LIMIT ?",
            (*map(_like, words), limit),
        )
        return [SearchHit(each, "", title, title, updated) for each, title, updated in rows]

    def _search_messages(
        self, words: Sequence[str], limit: int, conversation_id: str = ""
    ) -> list[SearchHit]:
        within = (conversation_id, conversation_id)
        start = (
            "SELECT c.id, m.id, c.title, {snippet}, c.updated FROM {tables}"
            " JOIN conversations c ON c.id = m.conversation_id WHERE c.deleted IS NULL"
            " AND (? = '' OR c.id = ?) AND {match}"
            " ORDER BY c.updated DESC, m.seq DESC LIMIT ?"
        )
        if all(has_word_breaks(word) for word in words):
            sql = start.format(
                snippet="snippet(messages_search, 0, '', '', ' … ', 16)",
                tables="messages_search s JOIN messages m ON m.seq = s.rowid",
                match="messages_search MATCH ?",
            )
            quoted = " ".join('"' + word.replace('"', '""') + '"*' for word in words)
            rows = self._db.execute(sql, (*within, quoted, limit))
        else:
            # The index knows whole words only; scripts without spaces are searched by substring.
            clause = " AND ".join("m.text LIKE ? ESCAPE '\\'" for _ in words)
            snippet = "substr(m.text, max(1, instr(m.text, ?) - 20), 80)"
            sql = start.format(snippet=snippet, tables="messages m", match=clause)
            rows = self._db.execute(sql, (words[0], *within, *map(_like, words), limit))
        return [SearchHit(*row) for row in rows]

    # --- writing ---------------------------------------------------------------------------------

    def save_meta(self, meta: ConversationMeta) -> None:
        """Insert or update everything about a conversation but its messages."""
        values = (
            meta.id,
            meta.title,
            int(meta.pinned),
            meta.system_prompt,
            records.dumps(asdict(meta.preset)),
            int(meta.think),
            records.dumps(meta.tools),
            meta.json_schema,
            meta.model,
            meta.created,
            meta.updated,
            records.dumps(meta.allowed_tools),
        )
        updates = ", ".join(f"{name} = excluded.{name}" for name in _META_COLUMNS.split(", ")[1:])
        self._db.execute(
            f"INSERT INTO conversations ({_META_COLUMNS})"
            f" VALUES ({', '.join('?' * len(values))}) ON CONFLICT(id) DO UPDATE SET {updates}",
            values,
        )

    def save_message(self, conversation_id: str, message: Message) -> None:
        """Insert a message or replace it with a newer state."""
        with transaction(self._db):
            self._write_message(conversation_id, message)

    def save_conversation(self, conversation: Conversation) -> None:
        """Write a whole conversation (import, branch) in one transaction."""
        with transaction(self._db):
            self.save_meta(conversation.meta)
            for message in conversation.messages.values():
                self._write_message(conversation.id, message)
            for parent, child in conversation.chosen.items():
                self._write_choice(conversation.id, parent, child)

    def save_choice(self, conversation_id: str, parent_id: str | None, child_id: str) -> None:
        """Remember which version is shown."""
        self._write_choice(conversation_id, parent_id, child_id)

    def _write_choice(self, conversation_id: str, parent_id: str | None, child_id: str) -> None:
        self._db.execute(
            "INSERT INTO choices VALUES (?, ?, ?)"
            " ON CONFLICT(conversation_id, parent_id) DO UPDATE SET child_id = excluded.child_id",
            (conversation_id, parent_id or "", child_id),
        )

    def _write_message(self, conversation_id: str, message: Message) -> None:
        data = records.message_to_json(message)
        self._db.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, parts, state, created,"
            " model, usage, failure, text, json_schema)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT(id) DO UPDATE SET parts = excluded.parts, state = excluded.state,"
            " model = excluded.model, usage = excluded.usage, failure = excluded.failure,"
            " text = excluded.text",
            (
                message.id,
                conversation_id,
                message.parent_id,
                message.role.value,
                records.dumps(data["parts"]),
                message.state.value,
                message.created,
                message.model,
                records.dumps(data["usage"]) if message.usage else None,
                records.dumps(data["failure"]) if message.failure else None,
                searchable_text(message),
                message.json_schema,
            ),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO attachment_uses VALUES (?, ?)",
            [(message.id, attachment.sha256) for attachment in message.attachments],
        )

    def mark_interrupted(self) -> int:
        """Answers under way when the app ended become failed ones; returns how many."""
        cursor = self._db.execute(
            "UPDATE messages SET state = ?, failure = ? WHERE state IN (?, ?)",
            (
                MessageState.FAILED.value,
                records.dumps(_INTERRUPTED),
                MessageState.STREAMING.value,
                MessageState.QUEUED.value,
            ),
        )
        return cursor.rowcount

    # --- deleting --------------------------------------------------------------------------------

    def delete(self, conversation_id: str) -> None:
        """Hide a conversation; `restore` brings it back until `purge`."""
        self._set_deleted(conversation_id, time.time())

    def restore(self, conversation_id: str) -> None:
        """Undo `delete`."""
        self._set_deleted(conversation_id, None)

    def _set_deleted(self, conversation_id: str, when: float | None) -> None:
        self._db.execute(
            "UPDATE conversations SET deleted = ? WHERE id = ?", (when, conversation_id)
        )

    def purge(self, older_than: float) -> int:
        """Really remove what was deleted before `older_than` (seconds since the epoch)."""
        with transaction(self._db):
            # Triggers that keep the search index run on explicit deletes, so messages go first.
            self._db.execute(
                "DELETE FROM messages WHERE conversation_id IN"
                " (SELECT id FROM conversations WHERE deleted < ?)",
                (older_than,),
            )
            cursor = self._db.execute("DELETE FROM conversations WHERE deleted < ?", (older_than,))
        return cursor.rowcount

    def used_attachments(self) -> set[str]:
        """The hashes of all files some message needs, also of deleted conversations."""
        return {row[0] for row in self._db.execute("SELECT sha256 FROM attachment_uses")}

    def check(self) -> list[str]:
        """Problems SQLite finds in the file; empty when it is sound."""
        rows = [row[0] for row in self._db.execute("PRAGMA integrity_check")]
        return [] if rows == ["ok"] else rows


def searchable_text(message: Message) -> str:
    """What the search looks through: words and the names of files."""
    return "\n".join([message.text, *(attachment.name for attachment in message.attachments)])


def _meta(row: tuple[Any, ...]) -> ConversationMeta:
    return ConversationMeta(
        id=row[0],
        title=row[1],
        pinned=bool(row[2]),
        system_prompt=row[3],
        preset=records.preset_from_json(json.loads(row[4])),
        think=bool(row[5]),
        tools=tuple(json.loads(row[6])),
        json_schema=row[7],
        model=row[8],
        created=row[9],
        updated=row[10],
        allowed_tools=tuple(json.loads(row[11])),
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(
        id=row[0],
        parent_id=row[1],
        role=Role(row[2]),
        parts=tuple(records.part_from_json(part) for part in json.loads(row[3])),
        state=MessageState(row[4]),
        created=row[5],
        model=row[6],
        usage=records.usage_from_json(json.loads(row[7])) if row[7] else None,
        failure=records.failure_from_json(json.loads(row[8])) if row[8] else None,
        json_schema=row[9],
    )


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
