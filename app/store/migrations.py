"""The database's layout, as steps. Step n brings version n to n + 1, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

Step = tuple[str, ...]

_FIRST: Step = (
    """CREATE TABLE conversations (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, pinned INTEGER NOT NULL,
        system_prompt TEXT NOT NULL, preset TEXT NOT NULL, think INTEGER NOT NULL,
        tools TEXT NOT NULL, json_schema TEXT NOT NULL, model TEXT NOT NULL,
        created REAL NOT NULL, updated REAL NOT NULL, deleted REAL
    ) STRICT""",
    """CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        parent_id TEXT, role TEXT NOT NULL, parts TEXT NOT NULL, state TEXT NOT NULL,
        created REAL NOT NULL, model TEXT NOT NULL, usage TEXT, failure TEXT, text TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX messages_of ON messages(conversation_id, seq)",
    """CREATE TABLE choices (
        conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        parent_id TEXT NOT NULL, child_id TEXT NOT NULL, PRIMARY KEY (conversation_id, parent_id)
    ) STRICT""",
    """CREATE TABLE attachment_uses (
        message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE, sha256 TEXT NOT NULL,
        PRIMARY KEY (message_id, sha256)
    ) STRICT""",
    "CREATE INDEX uses_of ON attachment_uses(sha256)",
    """CREATE VIRTUAL TABLE messages_search USING fts5(
        text, content='messages', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
    )""",
    """CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
        INSERT INTO messages_search(rowid, text) VALUES (new.seq, new.text);
    END""",
    """CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
        INSERT INTO messages_search(messages_search, rowid, text)
        VALUES ('delete', old.seq, old.text);
    END""",
    """CREATE TRIGGER messages_rewritten AFTER UPDATE OF text ON messages BEGIN
        INSERT INTO messages_search(messages_search, rowid, text)
        VALUES ('delete', old.seq, old.text);
        INSERT INTO messages_search(rowid, text) VALUES (new.seq, new.text);
    END""",
)

_DOCUMENTS: Step = (
    """CREATE TABLE documents (
        id TEXT PRIMARY KEY, path TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
        format TEXT NOT NULL, title TEXT NOT NULL, pages INTEGER NOT NULL, detail TEXT NOT NULL,
        task TEXT NOT NULL, language TEXT NOT NULL, json_schema TEXT NOT NULL,
        text_layer TEXT NOT NULL, conversation_id TEXT NOT NULL, notices TEXT NOT NULL,
        failure TEXT, created REAL NOT NULL, updated REAL NOT NULL
    ) STRICT""",
    """CREATE TABLE pages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        document_id TEXT NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
        page INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, edited TEXT,
        detail TEXT NOT NULL, source TEXT NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL,
        incomplete INTEGER NOT NULL, as_is INTEGER NOT NULL, tries INTEGER NOT NULL,
        notices TEXT NOT NULL, differences TEXT NOT NULL, lines TEXT NOT NULL,
        problem TEXT NOT NULL, remedy TEXT NOT NULL,
        words TEXT GENERATED ALWAYS AS (coalesce(edited, text)) VIRTUAL,
        UNIQUE (document_id, page)
    ) STRICT""",
    """CREATE VIRTUAL TABLE pages_search USING fts5(
        words, content='pages', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
    )""",
    """CREATE TRIGGER pages_added AFTER INSERT ON pages BEGIN
        INSERT INTO pages_search(rowid, words) VALUES (new.seq, new.words);
    END""",
    """CREATE TRIGGER pages_removed AFTER DELETE ON pages BEGIN
        INSERT INTO pages_search(pages_search, rowid, words)
        VALUES ('delete', old.seq, old.words);
    END""",
    """CREATE TRIGGER pages_rewritten AFTER UPDATE OF text, edited ON pages BEGIN
        INSERT INTO pages_search(pages_search, rowid, words)
        VALUES ('delete', old.seq, old.words);
        INSERT INTO pages_search(rowid, words) VALUES (new.seq, new.words);
    END""",
)

_ALLOWED_TOOLS: Step = (
    "ALTER TABLE conversations ADD COLUMN allowed_tools TEXT NOT NULL DEFAULT '[]'",
)

_MESSAGE_SCHEMA: Step = ("ALTER TABLE messages ADD COLUMN json_schema TEXT NOT NULL DEFAULT ''",)

STEPS: tuple[Step, ...] = (_FIRST, _DOCUMENTS, _ALLOWED_TOOLS, _MESSAGE_SCHEMA)


class NewerDatabaseError(Exception):
    """The file was written by a newer version of the app."""


def version(connection: sqlite3.Connection) -> int:
    """The layout the file has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, steps: Sequence[Step] = STEPS) -> int:
    """Bring the file to the newest layout; returns how many steps ran.

    Each step is one transaction together with its version number: a process killed in the middle
    leaves the file as it was before that step. Raises NewerDatabaseError.
    """
    found = version(connection)
    if found > len(steps):
        raise NewerDatabaseError(f"layout {found}, this version knows {len(steps)}")
    for number in range(found, len(steps)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in steps[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return len(steps) - found
