"""A document in a chat is one piece of text; its pages can be read one by one instead."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject, Signal

from app.controllers.drafts import Draft, Drafts, DraftState
from app.core.conversation import MediaKind
from app.ui.widgets.notices import NoticeBar

BUTTON = "Read the pages"
WAITING = (DraftState.COPYING, DraftState.PREPARING, DraftState.LOOKING)


class ReadingOffer(QObject):
    """Says what becomes of attached documents once that is known. `wanted(paths)`: read these."""

    wanted = Signal(list)

    def __init__(self, drafts: Drafts, notice: NoticeBar, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._drafts = drafts
        self._notice = notice
        self._paths: dict[str, str] = {}
        self._unsaid: set[str] = set()
        drafts.changed.connect(self._on_drafts)

    def watch(self, documents: Mapping[str, str]) -> None:
        """These drafts came from these files."""
        self._paths.update(documents)
        self._unsaid.update(documents)
        self._on_drafts()

    def say_blocked(self, reason: str) -> None:
        """The message cannot go; where a document without text is why, offer to read it."""
        paths = [self._paths[draft.id] for draft in self._known() if _is_unread(draft)]
        self._say(reason, paths)

    def _on_drafts(self) -> None:
        drafts = [draft for draft in self._known() if draft.id in self._unsaid]
        if not drafts or any(draft.state in WAITING for draft in drafts):
            return
        self._unsaid.difference_update(draft.id for draft in drafts)
        documents = [draft for draft in drafts if draft.state is DraftState.READY]
        unread = [draft for draft in documents if _is_unread(draft)]
        if unread:
            self._say(unread[0].refused, [self._paths[draft.id] for draft in unread])
        elif documents:
            words = "Its text goes into the chat." if len(documents) == 1 else "Added to the chat."
            self._say(words, [self._paths[draft.id] for draft in documents])

    def _known(self) -> list[Draft]:
        return [draft for draft in self._drafts.items() if draft.id in self._paths]

    def _say(self, words: str, paths: list[str]) -> None:
        if paths:
            self._notice.show_notice(words, BUTTON, lambda: self.wanted.emit(paths))
        else:
            self._notice.show_notice(words)


def _is_unread(draft: Draft) -> bool:
    """A document without text of its own."""
    kind = draft.attachment.kind if draft.attachment else MediaKind.UNKNOWN
    ready = kind is MediaKind.DOCUMENT and draft.state is DraftState.READY
    return ready and not draft.text.strip()
