"""One quiet line above the composer: what holds for this chat beyond plain talk."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.core.conversation import ConversationMeta
from app.core.events import ModelInfo
from app.core.tools import tool_title
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton


class ModeStrip(QWidget):
    """Two chips that lead to their dialogs; hidden when neither mode is on."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.json = TextButton(theme, "Replies as JSON", "chip", icon_name="braces")
        self.tools = TextButton(theme, "Tools", "chip", icon_name="wrench")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(4))
        row.addWidget(self.json)
        row.addWidget(self.tools)
        row.addStretch()
        self.hide()

    def show_modes(self, meta: ConversationMeta, model: ModelInfo | None) -> None:
        """Show what is on in this chat; tools only where the model can use them."""
        able = model is None or model.capabilities.tools
        names = [tool_title(name) for name in meta.tools] if able else []
        self.json.setVisible(bool(meta.json_schema))
        self.tools.setVisible(bool(names))
        self.tools.set_text(f"Tool: {names[0]}" if len(names) == 1 else f"{len(names)} tools")
        self.tools.setToolTip(", ".join(names))
        self.setVisible(bool(meta.json_schema) or bool(names))
