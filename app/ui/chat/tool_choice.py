"""Which tools the model may ask for in this chat. Off unless switched on; each use is asked for."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from app.controllers.chat_controller import ChatController
from app.core.events import ModelInfo
from app.core.tools import TOOLS, BuiltInTool, tool_title
from app.ui.theme import Theme
from app.ui.widgets.buttons import Switch, TextButton
from app.ui.widgets.labels import Label

WORDS = "You are asked each time before the model uses one. None of them changes or sends anything."


def unable_words(model: ModelInfo | None) -> str:
    """Why no tool can be switched on, empty where they can be."""
    if model is None or model.capabilities.tools:
        return ""
    return f"{model.label} was not trained to use tools. Gemma 4 E2B and larger ones are."


class ToolChoice(QDialog):
    """Takes effect with the next message."""

    def __init__(self, theme: Theme, chat: ChatController, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Tools in this chat")
        self._theme = theme
        self._chat = chat
        meta = chat.conversation.meta
        self.unable = unable_words(chat.model)
        self.switches: dict[str, Switch] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(20)] * 4)
        column.setSpacing(theme.px(12))
        column.addWidget(Label(WORDS, "secondary", wrap=True))
        if self.unable:
            column.addWidget(Label(self.unable, "warn", wrap=True))
        for tool in TOOLS:
            column.addLayout(self._row(tool, on=tool.name in meta.tools))
        if meta.allowed_tools:
            names = ", ".join(tool_title(name) for name in meta.allowed_tools)
            words = f"Used without asking: {names}. Switch it off to be asked again."
            column.addWidget(Label(words, "caption", wrap=True))
        done = TextButton(theme, "Done", "primary")
        done.setDefault(True)
        done.clicked.connect(self.accept)
        column.addStretch()
        column.addWidget(done, 0, Qt.AlignmentFlag.AlignRight)
        self.setFixedWidth(theme.px(420))

    def _row(self, tool: BuiltInTool, *, on: bool) -> QHBoxLayout:
        switch = Switch(self._theme, tool.title)
        switch.setChecked(on)
        switch.setEnabled(not self.unable)
        switch.setToolTip(self.unable)
        switch.setAccessibleDescription(self.unable or tool.purpose)
        self.switches[tool.name] = switch
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(Label(tool.title))
        words.addWidget(Label(tool.purpose, "secondary", wrap=True))
        row = QHBoxLayout()
        row.setSpacing(self._theme.px(12))
        row.addLayout(words, 1)
        row.addWidget(switch, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def showEvent(self, event: QShowEvent) -> None:
        """Take the height the wrapped words need, which is known only with their fonts."""
        super().showEvent(event)
        layout = self.layout()
        if layout is not None:
            layout.invalidate()
            self.setMinimumHeight(layout.totalHeightForWidth(self.width()))

    def accept(self) -> None:
        """Keep what was chosen."""
        if not self.unable:
            chosen = [name for name, switch in self.switches.items() if switch.isChecked()]
            self._chat.set_tools(chosen)
        super().accept()
