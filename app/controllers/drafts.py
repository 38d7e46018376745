"""Files waiting in the composer: copied in, looked at by the engine, then ready or refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from PySide6.QtCore import QObject, Signal

from app.core.commands import Describe
from app.core.conversation import (
    Attachment,
    Audio,
    Document,
    Image,
    ImageDetail,
    MediaKind,
    MediaPart,
    Video,
    new_id,
)
from app.core.errors import Failure
from app.core.events import Capabilities, Described, ModelInfo
from app.services.engine_client import EngineClient
from app.services.library import Library


class DraftState(StrEnum):
    """How far a dropped file is."""

    COPYING = "copying"
    PREPARING = "preparing"
    LOOKING = "looking"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Draft:
    """One file in the composer. thumbnail: RGBA rows, empty where there is none.

    unfit: why the loaded model cannot take it and what would work; empty where it can. chat: whose
    composer it waits in.
    """

    id: str
    name: str
    chat: str = ""
    state: DraftState = DraftState.COPYING
    attachment: Attachment | None = None
    detail: ImageDetail = ImageDetail.AUTO
    text: str = ""
    thumbnail: bytes = b""
    thumbnail_width: int = 0
    thumbnail_height: int = 0
    problem: str = ""
    remedy: str = ""
    unfit: str = ""

    @property
    def refused(self) -> str:
        """Why it cannot be sent and what would work; empty for one that can or is looked at."""
        if self.state is DraftState.REFUSED:
            return f"{self.problem} {self.remedy}".strip()
        return self.unfit

    def part(self) -> MediaPart | None:
        """What goes into the message."""
        if self.attachment is None or self.state is not DraftState.READY or self.unfit:
            return None
        match self.attachment.kind:
            case MediaKind.IMAGE:
                return Image(self.attachment, self.detail)
            case MediaKind.AUDIO:
                return Audio(self.attachment)
            case MediaKind.VIDEO:
                return Video(self.attachment)
            case _:
                return Document(self.attachment, self.text)


_NO_TEXT = (
    "“{name}” has no text of its own. Open it under Documents to have its pages read, or attach "
    "single pages as pictures."
)


def refusal(kind: MediaKind, takes: Capabilities, model: str) -> str:
    """Why the loaded model cannot take this kind of file, and what would work; empty if it can."""
    name = model or "This model"
    if not takes.chat and kind in (MediaKind.AUDIO, MediaKind.IMAGE, MediaKind.VIDEO):
        return f"{name} only continues text. Choose an instruction-tuned model (“it”) under Models."
    if kind is MediaKind.AUDIO and not takes.audio:
        return f"{name} cannot hear. E2B, E4B and 12B can: choose one of them under Models."
    if kind is MediaKind.IMAGE and not takes.image:
        return f"{name} cannot see pictures. Choose a Gemma 4 model with vision under Models."
    if kind is MediaKind.VIDEO and not takes.video:
        return f"{name} cannot watch videos. Choose a Gemma 4 model with vision under Models."
    return ""


class Drafts(QObject):
    """The composer's files, in the order they were dropped; each chat has its own."""

    changed = Signal()

    def __init__(
        self, library: Library, engine: EngineClient, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._library = library
        self._engine = engine
        self._drafts: dict[str, Draft] = {}
        self._chat = ""
        self.default_detail = ImageDetail.AUTO
        self._takes: Capabilities | None = None
        self._model = ""
        library.preparing.connect(self._on_preparing)
        library.imported.connect(self._on_imported)
        library.import_failed.connect(self._on_import_failed)
        engine.received.connect(self._on_event)

    def items(self) -> list[Draft]:
        """The open chat's drafts in order."""
        return [draft for draft in self._drafts.values() if draft.chat == self._chat]

    def show_chat(self, chat: str) -> None:
        """Another chat is open; empty for one that has no message yet."""
        if chat != self._chat:
            self._chat = chat
            self.changed.emit()

    @property
    def all_settled(self) -> bool:
        """No file is still being copied or looked at."""
        busy = (DraftState.COPYING, DraftState.PREPARING, DraftState.LOOKING)
        return not any(draft.state in busy for draft in self.items())

    @property
    def obstacle(self) -> str:
        """Why the message cannot go as it is: the first refused file's reason; empty if it can."""
        refused = next((draft.refused for draft in self.items() if draft.refused), "")
        return f"{refused} Remove the file to send the rest." if refused else ""

    def add_file(self, path: str, name: str = "") -> str:
        """Take a file in; returns the draft's id at once, `changed` tells its fate."""
        return self._add(name or path.replace("\\", "/").rsplit("/", 1)[-1], path, b"")

    def add_bytes(self, data: bytes, name: str) -> str:
        """Take pasted data in (a picture from the clipboard, a recording from the microphone)."""
        return self._add(name, "", data)

    def set_detail(self, draft_id: str, detail: ImageDetail) -> None:
        """Choose how finely a picture is looked at."""
        self._store(replace(self._drafts[draft_id], detail=detail))

    def set_model(self, model: ModelInfo | None) -> None:
        """Another model is loaded (or none): say of each file whether it can take it."""
        self._takes = model.capabilities if model else None
        self._model = model.label if model else ""
        for draft in list(self._drafts.values()):
            self._drafts[draft.id] = self._judged(draft)
        self.changed.emit()

    def _judged(self, draft: Draft) -> Draft:
        if draft.attachment is None or draft.state is not DraftState.READY:
            return replace(draft, unfit="")
        kind = draft.attachment.kind
        if kind is MediaKind.DOCUMENT and not draft.text.strip():
            return replace(draft, unfit=_NO_TEXT.format(name=draft.name))
        if self._takes is None:
            return replace(draft, unfit="")
        return replace(draft, unfit=refusal(kind, self._takes, self._model))

    def remove(self, draft_id: str) -> None:
        """Take a file out of the composer."""
        if self._drafts.pop(draft_id, None) is not None:
            self.changed.emit()

    def take(self) -> list[MediaPart]:
        """The ready files as message parts; the composer is empty afterwards."""
        taken = self.items()
        for draft in taken:
            del self._drafts[draft.id]
        self.changed.emit()
        return [part for draft in taken if (part := draft.part()) is not None]

    def _add(self, name: str, path: str, data: bytes) -> str:
        draft = Draft(new_id(), name, self._chat, detail=self.default_detail)
        self._store(draft)
        if path:
            self._library.import_file(draft.id, path, name)
        else:
            self._library.import_bytes(draft.id, data, name)
        return draft.id

    def _store(self, draft: Draft) -> None:
        self._drafts[draft.id] = draft
        self.changed.emit()

    def _look(self, draft: Draft) -> None:
        assert draft.attachment is not None
        path = self._library.attachment_path(draft.attachment)
        self._engine.ask(Describe(draft.id, str(path), draft.name))

    def _on_preparing(self, draft_id: str) -> None:
        if draft_id in self._drafts:
            self._store(replace(self._drafts[draft_id], state=DraftState.PREPARING))

    def _on_imported(self, draft_id: str, attachment: Attachment) -> None:
        if draft_id in self._drafts:
            draft = replace(self._drafts[draft_id], attachment=attachment, state=DraftState.LOOKING)
            self._store(draft)
            self._look(draft)

    def _on_import_failed(self, draft_id: str, failure: Failure) -> None:
        if draft_id in self._drafts:
            self._store(
                replace(
                    self._drafts[draft_id],
                    state=DraftState.REFUSED,
                    problem=failure.message,
                    remedy=failure.remedy,
                )
            )

    def _on_event(self, event: object) -> None:
        if isinstance(event, Described) and event.query_id in self._drafts:
            self._store(self._judged(_described(self._drafts[event.query_id], event)))


def _described(draft: Draft, facts: Described) -> Draft:
    if facts.problem or draft.attachment is None:
        return replace(draft, state=DraftState.REFUSED, problem=facts.problem, remedy=facts.remedy)
    attachment = replace(
        draft.attachment,
        kind=facts.kind,
        media_type=facts.media_type or draft.attachment.media_type,
        width=facts.width,
        height=facts.height,
        seconds=facts.seconds,
        pages=facts.pages,
    )
    return replace(
        draft,
        state=DraftState.READY,
        attachment=attachment,
        text=facts.text,
        thumbnail=facts.thumbnail,
        thumbnail_width=facts.thumbnail_width,
        thumbnail_height=facts.thumbnail_height,
    )
