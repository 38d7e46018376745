"""The library on disk for the window: reads at once, writes on one background thread in order.

Owns the store's two connections (one for reading on the window's thread, one for writing on the
writer thread; WAL lets both work at the same time) and the attachment folder.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.core.conversation import (
    Attachment,
    Conversation,
    ConversationMeta,
    MediaKind,
    Message,
)
from app.core.errors import AppError, ErrorKind, Failure
from app.core.paths import AppPaths
from app.services.sound_copies import SoundCopies
from app.store import transfer
from app.store.attachments import AttachmentStore
from app.store.conversations import ConversationStore, SearchHit

log = logging.getLogger(__name__)
KEEP_DELETED_SECONDS = 30 * 24 * 3600


class Library(QObject):
    """Conversations and attachments.

    Signals: `imported(token, Attachment)`, `import_failed(token, Failure)` answer `import_*`,
    `preparing(token)` comes before where the sound is decoded first;
    `search_done(query, hits)`; `failed(Failure)` something could not be saved.
    """

    imported = Signal(str, object)
    preparing = Signal(str)
    import_failed = Signal(str, object)
    search_done = Signal(str, object)
    failed = Signal(object)

    def __init__(self, paths: AppPaths, parent: QObject | None = None) -> None:
        super().__init__(parent)
        paths.create()
        self._attachments = AttachmentStore(paths.attachments)
        self._writer_store = ConversationStore(paths.database)
        self.interrupted = self._writer_store.mark_interrupted()
        self._reader_store = ConversationStore(paths.database)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="library-writer")
        self._importer = ThreadPoolExecutor(1, thread_name_prefix="library-importer")
        self._sounds = SoundCopies()
        self._closed = False

    # --- reading ---------------------------------------------------------------------------------

    def conversations(self) -> list[ConversationMeta]:
        """All conversations, the newest first."""
        self.flush()
        return self._reader_store.list()

    def load(self, conversation_id: str) -> Conversation:
        """A whole conversation. Raises KeyError."""
        self.flush()
        return self._reader_store.load(conversation_id)

    def search(self, query: str) -> None:
        """Search on the writer thread; `search_done` follows."""
        self._submit(lambda: self.search_done.emit(query, self._writer_store.search(query)))

    def search_chat(self, conversation_id: str, query: str) -> Future[list[SearchHit]]:
        """Search one conversation on the writer thread, after what is still to be saved."""
        return self._writer.submit(self._writer_store.search_in, conversation_id, query)

    def attachment_path(self, attachment: Attachment) -> Path:
        """Where the copy lies."""
        return self._attachments.path(attachment)

    # --- writing, in order, in the background ----------------------------------------------------

    def save_meta(self, meta: ConversationMeta) -> None:
        """Save title, pin, presets and the like."""
        self._submit(lambda: self._writer_store.save_meta(meta))

    def save_message(self, conversation_id: str, message: Message) -> None:
        """A new message or a newer state of one."""
        self._submit(lambda: self._writer_store.save_message(conversation_id, message))

    def save_choice(self, conversation_id: str, parent_id: str | None, child_id: str) -> None:
        """Which version is shown."""
        self._submit(lambda: self._writer_store.save_choice(conversation_id, parent_id, child_id))

    def delete(self, conversation_id: str) -> None:
        """Hide a conversation; really removed after 30 days."""
        self._submit(lambda: self._writer_store.delete(conversation_id))

    def restore(self, conversation_id: str) -> None:
        """Undo `delete`."""
        self._submit(lambda: self._writer_store.restore(conversation_id))

    def tidy(self) -> None:
        """Remove what was deleted long ago and files nothing uses."""

        def work() -> None:
            self._writer_store.purge(time.time() - KEEP_DELETED_SECONDS)
            self._attachments.collect(self._writer_store.used_attachments())

        self._submit(work)

    def flush(self) -> None:
        """Wait until everything asked for so far is on disk."""
        self._writer.submit(lambda: None).result()

    def _submit(self, work: Callable[[], Any]) -> Future[None]:
        return self._writer.submit(self._guarded, work)

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except (sqlite3.Error, OSError) as problem:
            log.exception("saving failed")
            self.failed.emit(_save_failure(problem))

    # --- files -----------------------------------------------------------------------------------

    def import_file(self, token: str, path: str, name: str) -> None:
        """Copy a file in; `imported` or `import_failed` follows."""
        self._import(token, lambda: self._attachments.add_file(Path(path), name))

    def import_bytes(self, token: str, data: bytes, name: str) -> None:
        """Keep pasted data; `imported` or `import_failed` follows."""
        self._import(token, lambda: self._attachments.add_bytes(data, name))

    def _import(self, token: str, take: Callable[[], Attachment]) -> None:
        def work() -> None:
            try:
                attachment = take()
                self._prepare_sound(token, attachment)
                self.imported.emit(token, attachment)
            except AppError as problem:
                self.import_failed.emit(token, problem.failure)

        self._importer.submit(work)

    def _prepare_sound(self, token: str, attachment: Attachment) -> None:
        path = self._attachments.path(attachment)
        if self._sounds.wanted(path):
            self.preparing.emit(token)
            self._sounds.make(path)

    def make_playable(self, attachment: Attachment) -> Future[tuple[Path | None, Path | None]]:
        """Decode sound and pictures of an attachment for the player, outside this process."""
        return self._importer.submit(self._playable, attachment)

    def _playable(self, attachment: Attachment) -> tuple[Path | None, Path | None]:
        path = self._attachments.path(attachment)
        is_film = attachment.kind is MediaKind.VIDEO
        pictures = self._sounds.make_film(path) if is_film else None
        return self._sounds.make_playable(path), pictures

    def export(self, conversation_id: str, path: Path) -> None:
        """Write a chat as Markdown, JSON or HTML, by the file's ending. Raises AppError."""
        transfer.export(self.load(conversation_id), path, self._attachments.path)

    def import_chat(self, path: Path, new_id: str) -> ConversationMeta:
        """Read a chat exported as JSON under a new id. Raises AppError."""
        conversation = transfer.read(path, new_id, self._attachments)
        try:
            self._writer.submit(self._writer_store.save_conversation, conversation).result()
        except (sqlite3.Error, OSError) as problem:
            failure = _save_failure(problem)
            raise AppError(
                failure.message, kind=failure.kind, remedy=failure.remedy, detail=failure.detail
            ) from problem
        self._importer.submit(self._copy_sounds, conversation)
        return conversation.meta

    def _copy_sounds(self, conversation: Conversation) -> None:
        """Give an imported chat's recordings the copies a dropped file gets at once."""
        for message in conversation.messages.values():
            for attachment in message.attachments:
                path = self._attachments.path(attachment)
                if path.is_file() and self._sounds.wanted(path):
                    self._sounds.make(path)

    def close(self) -> None:
        """Finish all writes and close the file."""
        if self._closed:
            return
        self._closed = True
        self._sounds.close()
        self._importer.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True)
        self._reader_store.close()
        self._writer_store.close()


def _save_failure(problem: sqlite3.Error | OSError) -> Failure:
    full = "full" in str(problem) or getattr(problem, "errno", 0) == 28
    return Failure(
        ErrorKind.DISK_FULL if full else ErrorKind.INTERNAL,
        "The disk is full, the last change is not saved."
        if full
        else f"The last change could not be saved: {problem}.",
        "Free some space; Facet tries again with the next change." if full else "",
        repr(problem),
    )


__all__ = ["Library", "SearchHit"]
