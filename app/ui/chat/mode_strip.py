"""One quiet line above the composer: what holds for the next answers beyond plain talk."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.controllers.chat_controller import ChatController
from app.core.tools import tool_title
from app.ui.chat.schema_reach import SchemaReach
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton


class ModeStrip(QWidget):
    """Two chips that lead to their dialogs; hidden when neither mode is on.

    `reach_chosen(once)`: the JSON form is to hold for the next reply only, or for the chat.
    """

    reach_chosen = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.json = TextButton(theme, "Reply as JSON", "chip", icon_name="braces")
        self.reach = SchemaReach(theme)
        self.reach.activated.connect(lambda _index: self.reach_chosen.emit(self.reach.once))
        self.tools = TextButton(theme, "Tools", "chip", icon_name="wrench")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(4))
        row.addWidget(self.json)
        row.addWidget(self.reach)
        row.addWidget(self.tools)
        row.addStretch()
        self.hide()

    def show_modes(self, chat: ChatController) -> None:
        """Show what is on in this chat; tools only where the model can use them."""
        able = chat.model is None or chat.model.capabilities.tools
        names = [tool_title(name) for name in chat.conversation.meta.tools] if able else []
        formed = bool(chat.json_schema)
        self.json.setVisible(formed)
        self.reach.setVisible(formed)
        self.reach.set_once(chat.schema_once)
        self.tools.setVisible(bool(names))
        self.tools.set_text(f"Tool: {names[0]}" if len(names) == 1 else f"{len(names)} tools")
        self.tools.setToolTip(", ".join(names))
        self.setVisible(formed or bool(names))
