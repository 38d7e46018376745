"""The chat page: header, transcript or empty state, composer; wired to the chat's controllers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QGuiApplication, QKeyEvent, QResizeEvent, Qt
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from app.controllers.answers import PromptReading
from app.controllers.chat_controller import ChatController, ContextUse
from app.controllers.chat_tools import Decision
from app.controllers.library_controller import LibraryController
from app.controllers.model_controller import ModelController, ModelState
from app.controllers.picture_controller import PictureController
from app.controllers.settings_controller import SettingsController
from app.core.conversation import Attachment, Audio, Image, ImageDetail, Message, MessageState, Role
from app.core.errors import ErrorKind, Failure
from app.core.paths import samples_dir
from app.ui.chat.chat_menus import ChatMenus
from app.ui.chat.composer import Composer
from app.ui.chat.empty_chat import EmptyChat, Suggestion, suggestions
from app.ui.chat.header import ChatHeader
from app.ui.chat.markdown import PAGE_SCHEME, is_safe_link
from app.ui.chat.mode_strip import ModeStrip
from app.ui.chat.row_context import RowContext
from app.ui.chat.transcript_model import TranscriptModel
from app.ui.chat.transcript_view import TranscriptView
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.notices import ErrorCard, NoticeBar
from app.ui.widgets.stream_announcer import StreamAnnouncer

if TYPE_CHECKING:
    from app.ui.chat.message_row import MessageRow

MODEL_PROBLEMS = frozenset(
    {
        ErrorKind.NO_MODEL,
        ErrorKind.MODEL_MISSING,
        ErrorKind.MODEL_BROKEN,
        ErrorKind.UNSUPPORTED_MEDIA,
    }
)


SIDE_MARGIN = 16
DECISIONS = {
    "tool_once": Decision.ONCE,
    "tool_chat": Decision.CHAT,
    "tool_decline": Decision.DECLINE,
}


class ChatPage(QWidget):
    """One page of the main window.

    `models_wanted`: the person should choose a model. `talk`: the composer's microphone button.
    `attach`: the paper clip. `record`: a voice note. `transcribe_wanted(path, name)`: a long
    recording should be written down. `notice` is the window's: there is one.
    """

    models_wanted = Signal()
    talk = Signal()
    attach = Signal()
    record = Signal()
    transcribe_wanted = Signal(str, str)

    def __init__(
        self,
        theme: Theme,
        chat: ChatController,
        models: ModelController,
        library: LibraryController,
        settings: SettingsController,
        pictures: PictureController,
        notice: NoticeBar,
    ) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self.notice = notice
        self._chat = chat
        self._models = models
        self._settings = settings
        self._editing_id = ""
        self._before_edit = ""
        self._written: dict[str, str] = {}
        self._composer_key = chat.composer_key
        self._start_error: ErrorCard | None = None
        self._context = RowContext(
            theme,
            pictures,
            chat.copies,
            self._version_of,
            self._picture_before,
            lambda: settings.settings.show_details,
            chat.tools.asked,
        )
        self.model = TranscriptModel(self)
        self._build()
        self.menus = ChatMenus(theme, self.header, chat, models, library, settings, self)
        self.menus.models_wanted.connect(self.models_wanted)
        self.menus.exported.connect(
            lambda path: self.notice.show_notice(f"Saved as {Path(path).name}.")
        )
        self._announcer = StreamAnnouncer(self)
        self._connect()
        self.composer.edit.send_key = settings.settings.send_key
        self._on_conversation()
        self._on_model()

    # --- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        self.header = ChatHeader(self._theme)
        self.transcript = TranscriptView(self._theme, self.model, self._make_row)
        self.empty = EmptyChat(self._theme)
        self.composer = Composer(self._theme)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.transcript)
        self.modes = ModeStrip(self._theme)
        self._foot = QVBoxLayout()
        self._foot.addWidget(self.composer)
        self.add_strip(self.modes)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.header)
        column.addWidget(self._stack, 1)
        column.addLayout(self._foot)

    def _connect(self) -> None:
        chat, composer = self._chat, self.composer
        chat.conversation_changed.connect(self._on_conversation)
        chat.path_changed.connect(self._show_messages)
        chat.message_changed.connect(self._on_message)
        chat.busy_changed.connect(composer.set_busy)
        chat.reading.connect(self._on_reading)
        chat.context_changed.connect(self._on_context)
        chat.notice.connect(self.notice.show_notice)
        chat.finished.connect(self._on_finished)
        chat.asking.connect(self._on_asking)
        chat.drafts.changed.connect(self._on_drafts)
        self._models.state_changed.connect(self._on_model)
        self._settings.changed.connect(self._on_setting)
        self._theme.changed.connect(self._fit_composer)
        self._theme.changed.connect(self._on_drafts)
        self.empty.chosen.connect(self._on_suggestion)
        composer.send.connect(self._on_send)
        composer.stop.connect(chat.stop)
        composer.attach.connect(self.attach)
        composer.talk.connect(self.talk)
        composer.record.connect(self.record)
        composer.transcribe_wanted.connect(self._on_transcribe)
        composer.files.connect(self.add_files)
        composer.image.connect(lambda png: chat.drafts.add_bytes(png, "Pasted picture.png"))
        composer.long_text.connect(
            lambda text: chat.drafts.add_bytes(text.encode("utf-8", "replace"), "Pasted text.txt")
        )
        composer.draft_removed.connect(chat.drafts.remove)
        composer.detail_chosen.connect(chat.drafts.set_detail)
        composer.edit_cancelled.connect(self._cancel_edit)
        self.header.renamed.connect(self.menus.rename)
        chat.meta_changed.connect(self._on_meta)
        self.modes.json.clicked.connect(self.menus.edit_json)
        self.modes.reach_chosen.connect(
            lambda once: chat.set_json_schema(chat.json_schema, once=once)
        )
        self.modes.tools.clicked.connect(self.menus.edit_tools)

    def add_strip(self, strip: QWidget) -> None:
        """A widget above the composer, as wide as it."""
        self._foot.insertWidget(0, strip)
        self._fit_composer()

    def _on_transcribe(self, draft_id: str) -> None:
        for draft in self._chat.drafts.items():
            if draft.id == draft_id and draft.attachment is not None:
                path = self._chat.attachment_path(Audio(draft.attachment))
                self.transcribe_wanted.emit(path, draft.name)

    def _make_row(self, message: Message, parent: QWidget) -> MessageRow:
        # Markdown and players load with the first message, not before the window is drawn.
        from app.ui.chat.answer_row import make_row

        row = make_row(self._context, message, parent)
        row.action.connect(self._on_action)
        row.link_clicked.connect(self._ask_to_open)
        return row

    # --- what others ask -------------------------------------------------------------------------

    def add_files(self, paths: list[str]) -> list[str]:
        """Attach files to the next message; the ids of their drafts."""
        self._chat.drafts.default_detail = ImageDetail(self._settings.settings.image_detail)
        drafts = [self._chat.drafts.add_file(path) for path in paths]
        for path in paths:
            self._settings.remember_file(path)
        self.composer.edit.setFocus()
        return drafts

    def focus_composer(self) -> None:
        """Be ready to write."""
        self.composer.edit.setFocus()

    def show_message(self, message_id: str) -> None:
        """Bring a message into view (a search hit)."""
        row = self.model.row_of(message_id)
        if row is not None:
            self.transcript.focus_row(row)

    # --- the chat changes ------------------------------------------------------------------------

    def _on_conversation(self) -> None:
        self._cancel_edit()
        self._swap_words()
        self._on_meta()
        self.model.set_messages([])
        self._show_messages()
        self.transcript.scroll_to_end()

    def _swap_words(self) -> None:
        """Half-written words stay with their chat."""
        key = self._chat.composer_key
        if key != self._composer_key:
            self._written[self._composer_key] = self.composer.text
            self._composer_key = key
            self.composer.set_text(self._written.pop(key, ""))

    def _on_meta(self) -> None:
        self._show_modes()
        self.header.title.set_title(self._chat.conversation.meta.title)

    def _show_modes(self) -> None:
        self.modes.show_modes(self._chat)

    def _show_messages(self) -> None:
        self._composer_key = self._chat.composer_key  # a new chat's first message was sent
        messages = [m for m in self._chat.messages() if m.role is not Role.SYSTEM]
        self.header.title.set_title(self._chat.conversation.meta.title)
        self.model.set_messages(messages)
        self._stack.setCurrentWidget(self.transcript if messages else self.empty)

    def _on_message(self, message_id: str) -> None:
        message = self._chat.conversation[message_id]
        self.model.update(message)
        if message.role is Role.MODEL and message.state is MessageState.STREAMING:
            self._announcer.update(message_id, message.text)

    def _on_finished(self, message_id: str) -> None:
        if message_id in self._chat.conversation:
            self._announcer.finish(message_id, self._chat.conversation[message_id].text)

    def _on_asking(self, conversation_id: str, message_id: str) -> None:
        """A tool is wanted: say so, also where another chat is open."""
        from app.ui.chat.tool_card import request_words

        call = self._chat.tools.asked(message_id)
        if call is not None and message_id in self._chat.conversation:
            announce(self, request_words(call))
        elif call is not None:
            self.notice.show_notice(
                "Another chat waits: its answer asks to use a tool.",
                "Show",
                lambda: self._chat.open_conversation(conversation_id),
            )

    def _on_reading(self, reading: PromptReading) -> None:
        from app.ui.chat.answer_row import AnswerRow

        row = self.transcript.row_widget(self.model.rowCount() - 1)
        if isinstance(row, AnswerRow) and reading.total:
            row.set_reading(f"Reading … {reading.done / reading.total:.0%}".replace("%", " %"))

    def _on_context(self, use: ContextUse) -> None:
        details = self._settings.settings.show_details
        self.header.meter.set_use(use.tokens, use.context, show_details=details)

    def _on_drafts(self) -> None:
        drafts = self._chat.drafts
        details = self._settings.settings.show_details
        self.composer.set_drafts(drafts.items(), show_details=details)
        self.composer.set_can_send(drafts.all_settled, drafts.obstacle)

    def _on_model(self) -> None:
        loaded = self._models.loaded
        self._show_modes()
        self.empty.set_suggestions(
            suggestions(
                loaded.capabilities if loaded else None,
                samples_dir(),
                demo=loaded is not None and loaded.source == "demo",
            )
        )
        if self._models.state is ModelState.READY:
            self._chat.count_context()

    def _on_setting(self, name: str) -> None:
        if name == "send_key":
            self.composer.edit.send_key = self._settings.settings.send_key
        elif name == "show_details":
            self._on_drafts()
            self.transcript.rebuild()
            self._chat.count_context()

    # --- what the person does --------------------------------------------------------------------

    def _on_send(self, text: str) -> None:
        if self._editing_id:
            message_id, self._editing_id = self._editing_id, ""
            self._end_edit()
            self._chat.edit(message_id, text)
        else:
            self._chat.send(text)
        self.transcript.scroll_to_end()

    def _on_suggestion(self, suggestion: Suggestion) -> None:
        if suggestion.sample:
            self._chat.drafts.add_file(suggestion.sample)
        self.composer.set_text(suggestion.prompt)
        self.focus_composer()

    def _on_action(self, action: str, message_id: str) -> None:
        match action:
            case "copy":
                QGuiApplication.clipboard().setText(self._chat.conversation[message_id].text)
                self.notice.show_notice("Copied.")
            case "regenerate":
                self._chat.regenerate(message_id)
            case "edit":
                self._start_edit(message_id)
            case "branch":
                self._chat.branch(message_id)
                self.notice.show_notice("A copy of the chat up to here is open now.")
            case "previous":
                self._chat.select_version(message_id, -1)
            case "next":
                self._chat.select_version(message_id, 1)
            case "info":
                self.menus.show_info(self._chat.conversation[message_id])
            case "mend":
                self._mend(message_id)
            case "copied":
                self.notice.show_notice("Copied.")
            case _ if action in DECISIONS:
                self._chat.decide(message_id, DECISIONS[action])

    def _mend(self, message_id: str) -> None:
        failure = self._chat.conversation[message_id].failure
        if failure is not None and failure.kind in MODEL_PROBLEMS:
            self.models_wanted.emit()
        elif failure is not None and failure.kind is ErrorKind.CONTEXT_FULL:
            self._chat.new_conversation()
        else:
            self._chat.retry(message_id)

    def _start_edit(self, message_id: str) -> None:
        if not self._editing_id:
            self._before_edit = self.composer.text
        self._editing_id = message_id
        self.composer.set_text(self._chat.conversation[message_id].text)
        self.composer.set_editing(True)
        self.focus_composer()

    def _cancel_edit(self) -> None:
        if self._editing_id:
            self._editing_id = ""
            self._end_edit()

    def _end_edit(self) -> None:
        """What was half written before an earlier message was changed comes back."""
        self.composer.set_text(self._before_edit)
        self.composer.set_editing(False)

    def _ask_to_open(self, target: str) -> None:
        """A link opens after its whole target was shown."""
        if is_safe_link(target) and not target.startswith(PAGE_SCHEME):
            url = QUrl(target)
            self.notice.show_notice(target, "Open", lambda: QDesktopServices.openUrl(url))

    # --- for the rows ----------------------------------------------------------------------------

    def _version_of(self, message_id: str) -> tuple[int, int]:
        if message_id not in self._chat.conversation:
            return 1, 1
        return self._chat.conversation.version_of(message_id)

    def _picture_before(self, message_id: str) -> Attachment | None:
        conversation = self._chat.conversation
        if message_id not in conversation:
            return None
        for message in reversed(conversation.path_to(message_id)):
            for part in reversed(message.parts):
                if isinstance(part, Image):
                    return part.attachment
        return None

    # --- Qt --------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape stops the answer, or gives up changing a message."""
        if event.key() == Qt.Key.Key_Escape:
            if self._chat.busy:
                self._chat.stop()
            else:
                self._cancel_edit()
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The composer is as wide as the column of messages."""
        super().resizeEvent(event)
        self._fit_composer()

    def _fit_composer(self) -> None:
        # Margins, not fixed widths: those would keep the window from becoming narrower.
        side = max(SIDE_MARGIN, (self.width() - self.transcript.wanted_width()) // 2)
        self._foot.setContentsMargins(side, 0, side, SIDE_MARGIN)
        self.composer.set_most_height(self.height() // 3)

    def show_failure(self, failure: Failure) -> None:
        """Something outside a message went wrong: say it in one line."""
        self.notice.show_notice(f"{failure.message} {failure.remedy}".strip())
