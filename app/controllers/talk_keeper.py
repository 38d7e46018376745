"""A live talk becomes a chat while it goes on: saved, listed and searchable from its first turn."""

from __future__ import annotations

from dataclasses import replace

from app.controllers.library_controller import LibraryController
from app.core.conversation import Conversation, Message
from app.services.library import Library


class TalkKeeper:
    """Saves what is new or changed of a talk.

    Args:
        conversations: the list it appears in.
        library: where messages are saved.
    """

    def __init__(self, conversations: LibraryController, library: Library) -> None:
        self._conversations, self._library = conversations, library
        self._saved: dict[str, Message] = {}
        self._id = self._title = ""

    def keep(self, chat: Conversation) -> None:
        """Take the talk as it is now; one that the user deleted meanwhile stays deleted."""
        if chat.id != self._id:
            self._id, self._saved = chat.id, {}
            self._conversations.update(chat.meta)
        elif not self._update_entry(chat):
            return
        self._title = chat.meta.title
        for message in chat.walk():
            if self._saved.get(message.id) != message:
                self._saved[message.id] = message
                self._library.save_message(chat.id, message)

    def _update_entry(self, chat: Conversation) -> bool:
        """Newer time and title, unless the user gave it another one; False: it is not listed."""
        try:
            known = self._conversations.meta(chat.id)
        except KeyError:
            return False
        title = chat.meta.title if known.title == self._title else known.title
        self._conversations.update(replace(known, title=title, updated=chat.meta.updated))
        return True
