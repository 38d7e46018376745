"""How far a pasted JSON schema reaches: the next reply, or the whole chat."""

from __future__ import annotations

from app.ui.theme import Theme
from app.ui.widgets.combo import ComboBox


class SchemaReach(ComboBox):
    """Two choices, plainly worded."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, "Holds for")
        self.addItem("This reply only", True)
        self.addItem("This chat", False)

    @property
    def once(self) -> bool:
        """Only the next reply has the form."""
        return bool(self.currentData())

    def set_once(self, once: bool) -> None:
        """Show how far it reaches now."""
        self.setCurrentIndex(self.findData(once))
