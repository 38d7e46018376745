"""Questions about documents: what fits is sent whole, else pages are searched or gone through.

The talk is an ordinary conversation, saved and listed like any other: its first message holds the
document's text, so the engine's session computes a second question alone. Nothing is sent before
its way and its cost were announced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.chat_controller import ChatController
from app.controllers.document_controller import DocumentController
from app.controllers.document_questions import (
    INSTRUCTION,
    NOTES_REQUEST,
    SourcePage,
    Way,
    by_document,
    fitting,
    groups_of,
    page_ranges,
    pages_in,
    pages_text,
    search_words,
)
from app.core.commands import ChatTurn, CountTokens, PromptMessage, PromptText, ReplyOptions
from app.core.conversation import (
    Attachment,
    Document,
    MediaKind,
    Message,
    Part,
    Role,
    Text,
    new_id,
    preset_named,
)
from app.core.errors import Failure
from app.core.events import Channel, JobFailed, JobFinished, TextDelta, TokensCounted
from app.services.document_library import DocumentLibrary, PageHit
from app.services.engine_client import EngineClient
from app.services.library import Library
from app.store.documents import PageState

PLAN_DELAY_MS = 250
# Of the context: what is left is for the questions and answers.
TEXT_SHARE = 0.75
GROUP_SHARE = 0.6
MOST_HITS = 60
NOTES_TOKENS = 512
CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True)
class AskPlan:
    """What sending the question will do.

    pages: the ones that are sent. all_pages: how many the documents have. tokens: to be read now;
    context: that fit. seconds: about how long before the answer begins, 0 where nobody knows yet.
    steps: readings of the model. ways: what else could be done.
    """

    way: Way
    pages: tuple[SourcePage, ...]
    all_pages: int
    tokens: int
    context: int
    seconds: float = 0.0
    steps: int = 1
    ways: tuple[Way, ...] = ()
    known: bool = False

    @property
    def ranges(self) -> str:
        """The pages in words."""
        return page_ranges(page.page for page in self.pages)


class DocumentAsking(QObject):
    """State of the question pane.

    Signals: `planned(AskPlan)`; `changed` other messages; `step(done, total)` of going through the
    pages; `failed(Failure)`; `busy_changed(bool)`.
    """

    planned = Signal(object)
    changed = Signal()
    step = Signal(int, int)
    failed = Signal(object)
    busy_changed = Signal(bool)

    def __init__(
        self,
        documents: DocumentController,
        pages: DocumentLibrary,
        library: Library,
        engine: EngineClient,
        chat: ChatController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._documents, self._pages = documents, pages
        self._library, self._engine = library, engine
        self.chat = chat
        self._scope: tuple[str, ...] = ()
        self._question = ""
        self._wish: Way | None = None
        self._hits: tuple[PageHit, ...] = ()
        self._hits_for: tuple[str, tuple[str, ...]] = ("", ())
        self._search_id = self._count_id = ""
        self._tokens_per_char = 1 / CHARACTERS_PER_TOKEN
        self._counted_for: tuple[int, tuple[str, ...]] = (0, ())
        self._tokens = self._context = 0
        self._speed = 0.0
        self._imports: dict[str, tuple[str, list[SourcePage]]] = {}
        self._ready: list[Document] = []
        self._sending = ""
        self._map: _Map | None = None
        self.plan: AskPlan | None = None
        self._delay = QTimer(self, interval=PLAN_DELAY_MS, singleShot=True)
        self._delay.timeout.connect(self._search)
        self._connect()

    def _connect(self) -> None:
        chat = self.chat
        for signal in (chat.conversation_changed, chat.path_changed):
            signal.connect(self.changed)
        chat.message_changed.connect(lambda _id: self.changed.emit())
        chat.busy_changed.connect(lambda _busy: self.busy_changed.emit(self.busy))
        self._pages.found.connect(self._on_found)
        self._library.imported.connect(self._on_imported)
        self._library.import_failed.connect(self._on_import_failed)
        self._engine.received.connect(self._on_event)

    # --- what is asked about ---------------------------------------------------------------------

    @property
    def scope(self) -> tuple[str, ...]:
        """Ids of the documents asked about, the one on show first."""
        return self._scope

    @property
    def names(self) -> list[tuple[str, str]]:
        """(id, name) of the documents asked about."""
        return [(each, self._documents.document(each).record.name) for each in self._scope]

    @property
    def busy(self) -> bool:
        """A question is being answered."""
        return self.chat.busy or self._map is not None or bool(self._sending)

    def open(self, document_id: str) -> None:
        """Ask about this document: its own talk comes back, if there was one."""
        if self._scope[:1] == (document_id,):
            return
        self.set_scope((document_id,))
        known = self._documents.document(document_id).record.conversation_id
        try:
            if known:
                self.chat.open_conversation(known)
                return
        except KeyError:
            pass  # the chat was deleted for good
        self._new_talk()

    def set_scope(self, document_ids: Sequence[str]) -> None:
        """Ask about these documents together."""
        self._scope = tuple(document_ids)
        self._delay.start()

    def new_talk(self) -> None:
        """Begin again without what was asked before."""
        self._new_talk()
        self._delay.start()

    def _new_talk(self) -> None:
        self.chat.new_conversation()
        name = self.names[0][1] if self._scope else ""
        self.chat.set_system_prompt(INSTRUCTION.format(name=name))
        self.chat.set_preset(preset_named("Precise"))

    def _read_pages(self) -> list[SourcePage]:
        found = []
        for document_id in self._scope:
            document = self._documents.document(document_id)
            found += [
                SourcePage(document_id, document.record.name, page.page, page.shown)
                for page in document.pages
                if page.state is PageState.DONE and page.shown.strip()
            ]
        return found

    def _sent_pages(self) -> set[tuple[str, int]]:
        """(document name, page) of what this talk holds already."""
        sent: set[tuple[str, int]] = set()
        for message in self.chat.messages():
            for part in message.parts:
                if isinstance(part, Document):
                    name = part.attachment.name.removesuffix(".md")
                    sent |= {(name, page) for page in pages_in(part.text)}
        return sent

    # --- what it will cost -----------------------------------------------------------------------

    def think_about(self, question: str, way: Way | None = None) -> None:
        """The question so far; `planned` follows. way: the person's choice."""
        self._question = question
        self._wish = way
        self._delay.start()

    def _search(self) -> None:
        """Which pages speak of this? The answer is needed only where not all of them fit."""
        words = search_words(self._question)
        key = (words, self._scope)
        if not words or key == self._hits_for:
            self._count()
            return
        self._hits_for = key
        self._search_id = new_id()
        self._pages.search(self._search_id, words, self._scope, MOST_HITS, every=False)

    def _on_found(self, token: str, hits: Sequence[PageHit]) -> None:
        if token == self._search_id:
            self._hits = tuple(hits)
            self._count()

    def _count(self) -> None:
        """Ask the engine what all of it would take, once for a text; the answer makes the plan."""
        if not self._scope:
            return
        text = pages_text(self._read_pages())
        key = (len(text), self._scope)
        if key == self._counted_for:
            self._make_plan()
            return
        self._counted_for = key
        self._count_id = new_id()
        message = PromptMessage("plan", Role.USER, (PromptText(text),))
        self._engine.ask(CountTokens(self._count_id, (message,)))

    def _on_counted(self, event: TokensCounted) -> None:
        self._tokens, self._context = event.tokens, event.context
        characters = sum(len(page.text) for page in self._read_pages()) or 1
        self._tokens_per_char = max(event.tokens, 1) / characters
        if not event.exact:
            self._counted_for = (0, ())  # a guess until a model is loaded
        self._make_plan()

    def _make_plan(self) -> None:
        self.plan = self._planned(self._read_pages(), self._tokens)
        self.planned.emit(self.plan)

    def _planned(self, pages: list[SourcePage], tokens: int) -> AskPlan:
        room = round(self._context * TEXT_SHARE) or tokens
        fits = tokens <= room
        way = self._wish or (Way.WHOLE if fits else Way.CHOSEN)
        if way is Way.WHOLE and not fits:
            way = Way.CHOSEN
        ways = (Way.WHOLE, Way.EACH) if fits else (Way.CHOSEN, Way.EACH)
        steps, sent = 1, self._sent_pages()
        if way is Way.CHOSEN:
            pages = fitting(self._hit_pages(pages), room // 2, self._tokens_per_char)
        if way is Way.EACH:
            steps = len(self._groups(pages)) + 1
            new = pages
        else:
            new = [page for page in pages if (page.name, page.page) not in sent]
        cost = round(sum(len(page.text) for page in new) * self._tokens_per_char)
        cost += round(len(self._question) * self._tokens_per_char) + 8
        seconds = cost / self._speed if self._speed else 0.0
        return AskPlan(
            way, tuple(pages), self._all_pages(), cost, self._context, seconds, steps, ways, not new
        )

    def _all_pages(self) -> int:
        return sum(len(self._documents.document(each).pages) for each in self._scope)

    def _hit_pages(self, pages: list[SourcePage]) -> list[SourcePage]:
        """Pages in the order of their worth; the first ones where nothing was found."""
        by_key = {(page.document_id, page.page): page for page in pages}
        hits = [by_key[key] for hit in self._hits if (key := (hit.document_id, hit.page)) in by_key]
        return hits or pages

    def _groups(self, pages: Sequence[SourcePage]) -> list[list[SourcePage]]:
        budget = round((self._context or 8192) * GROUP_SHARE)
        return groups_of(pages, budget, self._tokens_per_char)

    # --- asking ----------------------------------------------------------------------------------

    def ask(self, question: str) -> None:
        """Send the question the way the plan says."""
        plan = self.plan
        if plan is None or self.busy or not question.strip():
            return
        self._sending = question.strip()
        self.busy_changed.emit(True)
        if plan.way is Way.EACH:
            self._map = _Map(self._groups(plan.pages))
            self._next_group()
        else:
            sent = self._sent_pages()
            new = [page for page in plan.pages if (page.name, page.page) not in sent]
            self._send_with(by_document(new))

    def stop(self) -> None:
        """Stop the answer, or going through the pages; notes made so far are dropped."""
        if self._map is not None:
            job, self._map = self._map.job_id, None
            self._engine.cancel(job)
            self._sending = ""
            self.busy_changed.emit(self.busy)
        self.chat.stop()

    def _send_with(self, documents: dict[str, list[SourcePage]]) -> None:
        """Keep the text that is sent as an attachment of the talk, then send."""
        self._ready = []
        if not documents:
            self._send()
        for pages in documents.values():
            token = new_id()
            text = pages_text(pages)
            self._imports[token] = (text, pages)
            self._library.import_bytes(token, text.encode(), f"{pages[0].name}.md")

    def _on_imported(self, token: str, attachment: Attachment) -> None:
        known = self._imports.pop(token, None)
        if known is None:
            return
        text, pages = known
        attachment = replace(
            attachment, kind=MediaKind.DOCUMENT, media_type="text/markdown", pages=len(pages)
        )
        self._ready.append(Document(attachment, text))
        if not self._imports:
            self._send()

    def _on_import_failed(self, token: str, failure: Failure) -> None:
        if self._imports.pop(token, None) is not None:
            self._give_up(failure)

    def _send(self) -> None:
        question, self._sending = self._sending, ""
        parts: list[Part] = [*self._ready, Text(question)]
        self._ready = []
        self.chat.send_parts(parts)
        for document_id in self._scope:
            self._documents.remember_chat(document_id, self.chat.conversation.id)
        self._question = ""
        self._delay.start()

    # --- going through every page ----------------------------------------------------------------

    def _next_group(self) -> None:
        work = self._map
        assert work is not None
        self.step.emit(work.place, len(work.groups))
        if work.place == len(work.groups):
            self._map = None
            self._send_notes(work)
            return
        work.job_id, work.text = new_id(), ""
        pages = work.groups[work.place]
        request = NOTES_REQUEST.format(question=self._sending)
        message = PromptMessage(
            work.job_id, Role.USER, (PromptText(f"{pages_text(pages)}\n\n{request}"),)
        )
        options = ReplyOptions(preset=preset_named("Precise"), max_tokens=NOTES_TOKENS)
        self._engine.submit(ChatTurn(work.job_id, "document-notes", (message,), options))

    def _on_notes(self, event: object) -> None:
        work = self._map
        assert work is not None
        match event:
            case TextDelta(channel=Channel.ANSWER):
                work.text += event.text
            case JobFinished():
                pages = page_ranges(page.page for page in work.groups[work.place])
                if work.text.strip(" .\n").casefold() != "nothing":
                    work.notes.append(f"Notes from pages {pages}:\n{work.text.strip()}")
                work.place += 1
                self._next_group()
            case JobFailed():
                self._map = None
                self._give_up(Failure(event.kind, event.message, event.remedy, event.detail))

    def _send_notes(self, work: _Map) -> None:
        name = self.names[0][1]
        text = "\n\n".join(work.notes) or "No page says anything about the question."
        token = new_id()
        self._ready = []
        self._imports[token] = (text, [page for group in work.groups for page in group])
        self._library.import_bytes(token, text.encode(), f"Notes from {name}.md")

    def _give_up(self, failure: Failure) -> None:
        self._sending = ""
        self._ready = []
        self.failed.emit(failure)
        self.busy_changed.emit(self.busy)

    # --- events ----------------------------------------------------------------------------------

    def _on_event(self, event: object) -> None:
        if isinstance(event, TokensCounted) and event.query_id == self._count_id:
            self._on_counted(event)
            return
        if isinstance(event, JobFinished) and event.usage is not None:
            self._learn(event)
        if self._map is not None and getattr(event, "job_id", "") == self._map.job_id:
            self._on_notes(event)

    def _learn(self, event: JobFinished) -> None:
        """Prompt tokens a second, from any answer that had to read something."""
        usage = event.usage
        read = usage.prompt - usage.cached if usage else 0
        if usage is not None and read > 64 and usage.first_token_s > 0:
            self._speed = read / usage.first_token_s

    def messages(self) -> list[Message]:
        """The talk so far."""
        return [each for each in self.chat.messages() if each.role is not Role.SYSTEM]


class _Map:
    """Going through all pages: where it is and what was noted."""

    def __init__(self, groups: list[list[SourcePage]]) -> None:
        self.groups = groups
        self.place = 0
        self.job_id = ""
        self.text = ""
        self.notes: list[str] = []
