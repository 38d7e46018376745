"""The menus of a chat's header: which model, and what can be done with the chat."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from app.controllers.chat_controller import ChatController
from app.controllers.library_controller import LibraryController
from app.controllers.model_controller import ModelController, ModelState, verdict_words
from app.controllers.settings_controller import SettingsController
from app.core.conversation import PRESETS, Message
from app.core.errors import AppError
from app.core.events import Pong
from app.ui.chat.header import ChatHeader
from app.ui.theme import Theme

EXPORT_FILTER = "Markdown (*.md);;Facet chat, JSON (*.facet.json);;Web page (*.html)"
EXPORT_ENDINGS = (".facet.json", ".json", ".md", ".html")
_STATE_WORDS = {
    ModelState.NONE: "No model",
    ModelState.LOADING: "Loading …",
    ModelState.FAILED: "No model",
}


class ChatMenus(QObject):
    """Fills the header's two menus when they open and keeps its words up to date."""

    models_wanted = Signal()
    exported = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        theme: Theme,
        header: ChatHeader,
        chat: ChatController,
        models: ModelController,
        library: LibraryController,
        settings: SettingsController,
        page: QWidget,
    ) -> None:
        super().__init__(page)
        self._theme = theme
        self._header = header
        self._chat = chat
        self._models = models
        self._library = library
        self._settings = settings
        self._page = page
        self._memory = ""
        header.model_menu.aboutToShow.connect(self._fill_models)
        header.more_menu.aboutToShow.connect(self._fill_more)
        models.state_changed.connect(self.show_model)
        models.progress.connect(self._on_progress)
        models.memory_changed.connect(self._on_memory)
        self.show_model()

    def show_model(self) -> None:
        """Name the loaded model on the chip."""
        info = self._models.loaded
        if info is None:
            words = _STATE_WORDS.get(self._models.state, "No model")
            self._header.set_model(words, hint="Choose a model")
            return
        words = info.label
        if info.quantisation and info.quantisation not in info.label:
            words = f"{info.label} · {info.quantisation}"
        hint = "\n".join(filter(None, (info.path, self._memory, "Choose another model")))
        self._header.set_model(words, hint=hint)

    def rename(self, title: str) -> None:
        """Give the open chat another title."""
        conversation = self._chat.conversation
        if conversation.messages:
            self._library.rename(conversation.id, title)
        self._header.title.set_title(conversation.meta.title)

    def export(self) -> None:
        """Ask where to, and write the open chat."""
        conversation = self._chat.conversation
        name = "".join(c if c.isalnum() or c in " -_" else "_" for c in conversation.meta.title)
        path, chosen = QFileDialog.getSaveFileName(
            self._page, "Export chat", f"{name}.md", EXPORT_FILTER
        )
        if path:
            path = with_ending(path, chosen)
            try:
                self._library.export(conversation.id, path)
            except AppError as problem:
                self.failed.emit(problem.failure)
            else:
                self.exported.emit(path)

    def edit_settings(self) -> None:
        """Open what holds for this chat."""
        details = self._settings.settings.show_details
        from app.ui.chat.chat_settings import ChatSettings

        ChatSettings(self._theme, self._chat, self._page, show_details=details).open()

    def edit_json(self) -> None:
        """Open where the form of this chat's answers is pasted."""
        from app.ui.chat.json_reply import JsonReply

        JsonReply(self._theme, self._chat, self._page).open()

    def edit_tools(self) -> None:
        """Open what the model may ask to use in this chat."""
        from app.ui.chat.tool_choice import ToolChoice

        ToolChoice(self._theme, self._chat, self._page).open()

    def show_info(self, message: Message) -> None:
        """What an answer cost, in lines of a menu."""
        menu = QMenu(self._page)
        for words in info_lines(message, show_details=self._settings.settings.show_details):
            menu.addAction(words).setEnabled(False)
        menu.popup(QCursor.pos())

    def _on_progress(self, fraction: float, _stage: str) -> None:
        self._header.set_model(f"Loading {fraction:.0%}".replace("%", " %"), hint="Please wait")

    def _on_memory(self, pong: Pong) -> None:
        """The gauge: what the engine holds now, and at its peak."""
        held = max(pong.active_memory + pong.cache_memory, pong.process_memory)
        words = f"Uses {held / 1e9:.1f} GB of memory, {pong.peak_memory / 1e9:.1f} GB at most"
        if words != self._memory:
            self._memory = words
            if self._models.loaded is not None:
                self.show_model()

    def _fill_models(self) -> None:
        menu = self._header.model_menu
        menu.clear()
        for row in self._models.rows():
            if row.info is None or not row.installed:
                continue
            verdict = verdict_words(row.plan)
            action = menu.addAction(f"{row.label}   {verdict}".rstrip())
            action.setCheckable(True)
            action.setChecked(row.loaded)
            path = row.info.path
            action.triggered.connect(lambda _checked, path=path: self._models.load(path))
        menu.addSeparator()
        if self._memory:
            menu.addAction(self._memory).setEnabled(False)
        if self._models.loaded is not None:
            menu.addAction("Free its memory", self._models.unload)
        menu.addAction("Models …", self.models_wanted.emit)

    def _fill_more(self) -> None:
        menu = self._header.more_menu
        menu.clear()
        meta = self._chat.conversation.meta
        think = menu.addAction("Think before answering", self._toggle_think)
        think.setCheckable(True)
        think.setChecked(meta.think)
        style = menu.addMenu("Style")
        for preset in PRESETS:
            action = style.addAction(preset.name)
            action.setCheckable(True)
            action.setChecked(preset.name == meta.preset.name)
            action.triggered.connect(lambda _checked, p=preset: self._chat.set_preset(p))
        menu.addAction("Instructions and more …", self.edit_settings)
        menu.addAction("Reply as JSON …", self.edit_json)
        menu.addAction("Tools …", self.edit_tools)
        menu.addSeparator()
        has_messages = bool(self._chat.conversation.messages)
        for words, call in (("Export …", self.export), ("Delete", self._delete)):
            menu.addAction(words, call).setEnabled(has_messages)

    def _toggle_think(self) -> None:
        self._chat.set_think(not self._chat.conversation.meta.think)

    def _delete(self) -> None:
        self._library.delete(self._chat.conversation.id)
        self._chat.new_conversation()


def with_ending(path: str, chosen_filter: str) -> str:
    """A file name that says its form: the ending of the chosen filter where it has none."""
    if path.lower().endswith(EXPORT_ENDINGS):
        return path
    ending = next((each for each in EXPORT_ENDINGS if f"*{each})" in chosen_filter), ".md")
    return path + ending


def info_lines(message: Message, *, show_details: bool) -> list[str]:
    """Who answered and how fast; tokens and memory when details are wanted."""
    from app.ui.chat.folds import seconds_in_words

    lines = [f"Answered by {message.model}"] if message.model else []
    usage = message.usage
    if usage is None:
        return lines or ["Nothing is known about this answer."]
    lines.append(f"First word after {usage.first_token_s:.1f} s")
    lines.append(f"Complete after {seconds_in_words(usage.total_s)}")
    if usage.prompt:
        lines.append(f"{usage.cached / usage.prompt:.0%} of the chat was remembered")
    if show_details:
        lines.append(f"{usage.prompt:,} tokens read, {usage.cached:,} of them cached")
        lines.append(f"{usage.generated:,} tokens written at {usage.tokens_per_s:.1f}/s")
        lines.append(f"Peak memory {usage.peak_bytes / 1e9:.1f} GB")
    return lines
