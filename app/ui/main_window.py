"""The main window: side bar, pages, menu bar; drops, notices and the window's place.

Pages plug in through `add_page`. The window knows controllers only; it imports no model code, and
nothing it builds before the first paint opens a device or a foreign file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QByteArray, QEvent, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QStackedWidget,
    QWidget,
)

from app.controllers.app_state import AppState
from app.core.errors import AppError, ErrorKind, Failure
from app.core.events import EngineStopped, MemoryPressure
from app.ui.chat.chat_page import ChatPage
from app.ui.drop import are_documents, drop_words, kind_of, paths_of, reading_words
from app.ui.drop_guide import DropGuide
from app.ui.icons import app_icon
from app.ui.menus import MenuCalls, Menus
from app.ui.reading_offer import ReadingOffer
from app.ui.sidebar import Sidebar
from app.ui.theme import Theme
from app.ui.widgets.drop_overlay import DropOverlay
from app.ui.widgets.keyboard import FocusKeeper
from app.ui.widgets.notices import NoticeBar

if TYPE_CHECKING:
    from app.ui.doctor.page import DoctorPage
    from app.ui.models.first_start import FirstStart
    from app.ui.models.page import ModelsPage
    from app.ui.settings.page import SettingsPage

MIN_SIZE = (880, 600)
START_SIZE = (1180, 780)
# An answer that took longer than this is worth a notice when the window is in the background.
LONG_JOB_SECONDS = 10.0


@dataclass
class _Page:
    """A page; its widget is made when it is first opened."""

    title: str
    make: Callable[[], QWidget]
    widget: QWidget | None = None
    mark: str = ""


class MainWindow(QMainWindow):
    """The window.

    `page_opened(key)`: another page is shown. `documents_wanted(paths)`: files are to be read page
    by page.
    """

    delete_data_wanted = Signal()
    documents_wanted = Signal(list)
    page_opened = Signal(str)

    def __init__(self, state: AppState, theme: Theme | None = None) -> None:
        super().__init__()
        self.state = state
        values = state.settings.settings
        reduced = True if values.reduce_motion else None
        self.theme = theme or Theme(values.theme, values.text_size / 100, reduced)
        self.theme.apply()
        self._pages: dict[str, _Page] = {}
        self._current = ""
        self._build()
        self._build_menus()
        self._connect()
        self._restore_place()
        if values.first_start_done or state.conversations.conversations():
            self.show_page("chat")
        else:
            self.show_page("first")
        for words in state.notices:
            self.notice.show_notice(words)

    # --- building --------------------------------------------------------------------------------

    def _build(self) -> None:
        state, theme = self.state, self.theme
        self.setWindowTitle("Facet")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(*MIN_SIZE)
        self.setAcceptDrops(True)
        self.sidebar = Sidebar(theme, state.conversations)
        self.stack = QStackedWidget()
        FocusKeeper(self.stack)
        center = QWidget()
        self.notice = NoticeBar(theme, center)
        self.chat_page = ChatPage(
            theme,
            state.chat,
            state.models,
            state.conversations,
            state.settings,
            state.pictures,
            self.notice,
        )
        self.reading = ReadingOffer(state.chat.drafts, self.notice, self)
        row = QHBoxLayout(center)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.sidebar)
        row.addWidget(self.stack, 1)
        self.setCentralWidget(center)
        self.overlay = DropOverlay(theme, self)
        self.drops = DropGuide(self.overlay)

    def _build_menus(self) -> None:
        page = self.chat_page
        calls = MenuCalls(
            new_chat=self.new_chat,
            open_files=self.choose_files,
            open_path=lambda path: self.open_files([path]),
            import_chat=self.import_chat,
            export_chat=page.menus.export,
            search=self.sidebar.focus_search,
            find_chat=self.sidebar.focus_search,
            settings=lambda: self.show_page("settings"),
            about=self._show_about,
            doctor=lambda: self.show_page("doctor"),
            licences=self._show_licences,
            show_page=self.show_page,
            stop=self.state.chat.stop,
            text_size=self._change_text_size,
            toggle_sidebar=lambda: self.sidebar.setVisible(self.sidebar.isHidden()),
            delete_chat=self._delete_open_chat,
            undo_delete=self._undo_delete,
        )
        self.menus = Menus(self, calls, self.state.settings)
        self._pages["chat"] = _Page("Chat", lambda: self.chat_page)
        self.menus.add_page("chat", "Chat")
        self._pages["first"] = _Page("Welcome", self._make_first_start)
        self._pages["doctor"] = _Page("Doctor", self._make_doctor)
        self._add("models", "Models", "download", self._make_models)
        self._add("settings", "Settings", "settings", self._make_settings)

    # Pages and boxes are imported when they are opened: the first paint does not wait for them.

    def _show_about(self) -> None:
        from app.ui.about import AboutBox

        AboutBox(self.theme, self).open()

    def _show_licences(self) -> None:
        from app.ui.about import LicencesBox

        LicencesBox(self.theme, self).open()

    def _make_first_start(self) -> FirstStart:
        from app.ui.models.first_start import FirstStart

        page = FirstStart(self.theme, self.state.models)
        page.demo_wanted.connect(self._start_demo)
        page.models_wanted.connect(lambda: self.show_page("models"))
        return page

    def _make_models(self) -> ModelsPage:
        from app.ui.models.page import ModelsPage

        return ModelsPage(self.theme, self.state.models, self.state.settings)

    def _make_doctor(self) -> DoctorPage:
        from app.ui.doctor.page import DoctorPage

        return DoctorPage(self.theme, self.state.doctor)

    def _make_settings(self) -> SettingsPage:
        from app.ui.settings.page import SettingsPage

        page = SettingsPage(self.theme, self.state.settings)
        page.devices_wanted.connect(lambda: self.show_page("devices"))
        page.delete_data_wanted.connect(self.delete_data_wanted)
        page.doctor_wanted.connect(lambda: self.show_page("doctor"))
        return page

    def _connect(self) -> None:
        state, page = self.state, self.chat_page
        self.sidebar.new_chat.connect(self.new_chat)
        self.sidebar.opened.connect(self.open_chat)
        self.sidebar.page_wanted.connect(self.show_page)
        self.sidebar.export_wanted.connect(self._export)
        page.models_wanted.connect(lambda: self.show_page("models"))
        page.attach.connect(self.choose_files)
        page.composer.blocked.connect(self.reading.say_blocked)
        self.reading.wanted.connect(self.documents_wanted)
        page.talk.connect(lambda: self.show_page("live"))
        page.menus.failed.connect(self.show_failure)
        state.conversations.undo_changed.connect(self._on_deleted)
        state.conversations.failed.connect(self.show_failure)
        state.chat.conversation_changed.connect(self._mark_chat)
        state.chat.path_changed.connect(self._mark_chat)
        state.chat.meta_changed.connect(self._set_title)
        state.chat.finished.connect(self._on_finished)
        state.models.engine_stopped.connect(self._on_engine_stopped)
        state.models.memory_pressure.connect(self._on_memory_pressure)
        state.models.state_changed.connect(self._on_model_state)
        state.models.failed.connect(self._on_model_failed)
        state.models.download_failed.connect(self._on_model_failed)
        state.models.outdated.connect(self._offer_loading_again)
        state.settings.changed.connect(self._on_setting)

    # --- pages -----------------------------------------------------------------------------------

    def add_page(
        self, key: str, title: str, icon_name: str, widget: QWidget, before: str = ""
    ) -> None:
        """Plug a page in: a button in the side bar and an entry in the View menu."""
        self._add(key, title, icon_name, lambda: widget, before)

    def add_inner_page(
        self, key: str, title: str, make: Callable[[], QWidget], parent: str
    ) -> None:
        """Plug a page in that `parent` leads to; it is made when it is first opened."""
        self._pages[key] = _Page(title, make, mark=parent)

    def _add(
        self, key: str, title: str, icon_name: str, make: Callable[[], QWidget], before: str = ""
    ) -> None:
        self._pages[key] = _Page(title, make)
        self.sidebar.add_page(key, title, icon_name, before)
        self.menus.add_page(key, title, before)
        self.menus.number_pages(("chat", *self.sidebar.page_keys))

    def _made(self, key: str) -> QWidget:
        """The widget of a page, made now if it was not yet."""
        page = self._pages[key]
        if page.widget is not None:
            return page.widget
        widget = page.widget = page.make()
        if widget.focusPolicy() == Qt.FocusPolicy.NoFocus:
            # The page itself takes the keyboard when it opens; Tab goes on to its first control.
            widget.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.stack.addWidget(widget)
        return widget

    @property
    def current_page(self) -> str:
        """Key of the page on show."""
        return self._current

    def page(self, key: str) -> QWidget:
        """The widget of a page. Raises KeyError."""
        return self._made(key)

    def show_page(self, key: str) -> None:
        """Go to a page. Raises KeyError for one that was never added."""
        widget = self._made(key)
        self._current = key
        self.stack.setCurrentWidget(widget)
        self.sidebar.mark_page(self._pages[key].mark or key)
        if key == "chat":
            self._mark_chat()
            self.chat_page.focus_composer()
        elif key == "first":
            cast("FirstStart", widget).focus_main()
        else:
            widget.setFocus(Qt.FocusReason.OtherFocusReason)
        self._set_title()
        self.page_opened.emit(key)

    # --- chats -----------------------------------------------------------------------------------

    def new_chat(self) -> None:
        """Open an empty chat."""
        self.state.chat.new_conversation()
        self.show_page("chat")

    def open_chat(self, conversation_id: str, message_id: str = "") -> None:
        """Open a chat of the list, at a message where one is named."""
        if self.state.chat.conversation.id != conversation_id:
            self.state.chat.open_conversation(conversation_id)
        self.show_page("chat")
        if message_id:
            self.chat_page.show_message(message_id)

    def open_files(self, paths: list[str]) -> None:
        """Attach files (from the Finder, the Dock, a drop or another start of the app)."""
        chats = [path for path in paths if path.endswith(".facet.json")]
        for path in chats:
            self._import(path)
        files = [path for path in paths if path not in chats]
        if self._reads(files):
            self.documents_wanted.emit(files)
        elif files:
            self.show_page("chat")
            drafts = zip(self.chat_page.add_files(files), files, strict=True)
            if "documents" in self._pages:
                documents = {each: path for each, path in drafts if kind_of(path) == "document"}
                self.reading.watch(documents)
        self.activateWindow()

    def _reads(self, paths: list[str]) -> bool:
        """These files are read page by page, not attached to a chat."""
        wanted = self._current == "documents" or any(Path(path).is_dir() for path in paths)
        return bool(paths) and wanted and "documents" in self._pages

    def choose_files(self) -> None:
        """Ask which files to attach."""
        paths, _ = QFileDialog.getOpenFileNames(self, "Attach files")
        self.open_files(paths)

    def import_chat(self) -> None:
        """Ask for an exported chat and open it."""
        path, _ = QFileDialog.getOpenFileName(self, "Import chat", "", "Chats (*.json)")
        if path:
            self._import(path)

    def _import(self, path: str) -> None:
        try:
            self.open_chat(self.state.conversations.import_chat(path))
        except AppError as problem:
            self.show_failure(problem.failure)

    def _export(self, conversation_id: str) -> None:
        self.open_chat(conversation_id)
        self.chat_page.menus.export()

    def _delete_open_chat(self) -> None:
        self.state.conversations.delete(self.state.chat.conversation.id)

    def _undo_delete(self) -> None:
        restored = self.state.conversations.undo_delete()
        if restored:
            self.open_chat(restored)

    def _on_deleted(self, title: str) -> None:
        if not title:
            return
        self.notice.show_notice(f"“{title}” is deleted.", "Undo", self._undo_delete)
        ids = {meta.id for meta in self.state.conversations.conversations()}
        conversation = self.state.chat.conversation
        if conversation.messages and conversation.id not in ids:
            self.state.chat.new_conversation()

    def _mark_chat(self) -> None:
        if self._current == "chat":
            self.sidebar.mark_chat(self.state.chat.conversation.id)
            self._set_title()

    def _set_title(self) -> None:
        title = self._pages[self._current].title
        if self._current == "chat":
            title = self.state.chat.conversation.meta.title
        self.setWindowTitle(f"{title} – Facet")

    def _start_demo(self) -> None:
        self.state.models.load(self.state.models.demo_path())
        self.state.settings.set("first_start_done", True)
        self.new_chat()

    # --- what happens by itself ------------------------------------------------------------------

    def show_failure(self, failure: Failure) -> None:
        """One line for what belongs to no message or page."""
        self.notice.show_notice(f"{failure.message} {failure.remedy}".strip())

    def _on_model_failed(self, failure: Failure) -> None:
        """The models page says it itself."""
        if self._current != "models":
            self.show_failure(failure)

    def _on_engine_stopped(self, event: EngineStopped) -> None:
        then = "It starts again by itself." if event.will_restart else "It could not be restarted."
        words = f"{event.reason} {then}"
        if event.will_restart:
            self.notice.show_notice(words)
        elif event.kind is ErrorKind.OUT_OF_MEMORY:
            self.notice.show_notice(words, "Smaller model", lambda: self.show_page("models"))
        else:
            self.notice.show_notice(words, "Start it", self.state.models.restart_engine)

    def _on_memory_pressure(self, event: MemoryPressure) -> None:
        if event.level == "critical":
            words = "This Mac is out of memory; the answer was stopped and what it said is kept."
            self.notice.show_notice(words, "Smaller model", lambda: self.show_page("models"))
        else:
            self.notice.show_notice("This Mac is short of memory: other apps may be closed.")

    def _offer_loading_again(self) -> None:
        words = "This holds once the model is loaded again."
        self.notice.show_notice(words, "Load it again", self.state.models.load_again)

    def _on_model_state(self) -> None:
        loaded = self.state.models.loaded
        if loaded is not None and loaded.source != "demo":
            self.state.settings.set("first_start_done", True)
            if self._current == "first":
                self.show_page("chat")

    def _on_finished(self, message_id: str) -> None:
        """A quiet notice when a long answer is ready and the window is not in front."""
        chat = self.state.chat
        if message_id not in chat.conversation or not self.state.settings.settings.notify_when_done:
            return
        usage = chat.conversation[message_id].usage
        if usage and usage.total_s >= LONG_JOB_SECONDS:
            self.job_done("Your answer is ready.")

    def job_done(self, words: str) -> None:
        """Any long job ended: alert in the Dock and one line, if nobody looks at the window."""
        if not self.isActiveWindow():
            QApplication.alert(self)
            self.notice.show_notice(words)

    def _on_setting(self, name: str) -> None:
        values = self.state.settings.settings
        if name == "theme":
            self.theme.set_mode(values.theme)
        elif name == "text_size":
            self.theme.set_scale(values.text_size / 100)
        elif name == "reduce_motion":
            self.theme.set_reduced_motion(True if values.reduce_motion else None)

    def _change_text_size(self, step: int) -> None:
        size = self.state.settings.settings.text_size + step if step else 100
        self.state.settings.set("text_size", min(200, max(80, size)))

    # --- drops -----------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Dim the window and say what the drop will do."""
        data = event.mimeData()
        paths = paths_of(data)
        if not paths and not data.hasImage() and not data.hasText():
            return
        loaded = self.state.models.loaded
        words, icon_name = drop_words(
            paths,
            loaded.label if loaded else "",
            loaded.capabilities if loaded else None,
            self._hearing_model(),
        )
        reads = self._reads(paths)
        if reads:
            words, icon_name = reading_words(paths)
        self.drops.enter(words, icon_name, paths if reads or are_documents(paths) else ())
        event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        """Anywhere is fine."""
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Nothing is dropped."""
        super().dragLeaveEvent(event)
        self.drops.leave()

    def dropEvent(self, event: QDropEvent) -> None:
        """Files become attachments, text goes into the composer."""
        self.drops.leave()
        event.acceptProposedAction()
        paths = paths_of(event.mimeData())
        if paths:
            self.open_files(paths)
            return
        self.show_page("chat")
        self.chat_page.composer.edit.insertFromMimeData(event.mimeData())

    def _hearing_model(self) -> str:
        rows = self.state.models.rows()
        hearing = (
            row for row in rows if row.installed and row.info and row.info.capabilities.audio
        )
        return next((row.label for row in hearing), "")

    # --- the window itself -----------------------------------------------------------------------

    def _restore_place(self) -> None:
        place = QByteArray.fromBase64(self.state.settings.settings.window_geometry.encode())
        if place.isEmpty() or not self.restoreGeometry(place):
            self.resize(*START_SIZE)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the notice in its place."""
        super().resizeEvent(event)
        self.sidebar.fit(self.width())
        self.notice.place()
        self.overlay.setGeometry(self.rect())

    def changeEvent(self, event: QEvent) -> None:
        """Coming back to the front puts the keyboard where one writes."""
        super().changeEvent(event)
        activated = event.type() == QEvent.Type.ActivationChange and self.isActiveWindow()
        if activated and self._current == "chat" and QApplication.focusWidget() is None:
            QTimer.singleShot(0, self.chat_page.focus_composer)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember where the window was."""
        place = bytes(self.saveGeometry().toBase64().data()).decode()
        self.state.settings.set("window_geometry", place)
        super().closeEvent(event)
        if event.isAccepted():
            QApplication.quit()
