"""Buttons and figures under a message; room is kept for them, they are built when first seen."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.ui.theme import MIN_HIT_AREA, Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.labels import Label


@dataclass(frozen=True)
class BarContent:
    """buttons: (icon, name, action). version: (which, of how many). figures: a few words."""

    buttons: tuple[tuple[str, str, str], ...] = ()
    version: tuple[int, int] = (1, 1)
    figures: str = ""


class RowBar(QWidget):
    """`pressed(action)` when a button is used. Showing or hiding it never moves anything."""

    pressed = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._content = BarContent()
        self._built: QWidget | None = None
        self._revealed = False
        self.setFixedHeight(theme.px(MIN_HIT_AREA))
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)

    def set_content(self, content: BarContent) -> None:
        """Offer other buttons; drawn now when the bar is on show, else when it next is."""
        if content == self._content:
            return
        self._content = content
        if self._built is not None:
            self._built.hide()
            self._built.deleteLater()
            self._built = None
        self.reveal(self._revealed)

    def reveal(self, shown: bool) -> None:
        """Show or hide the buttons."""
        self._revealed = shown
        if shown and self._built is None:
            self._built = self._build()
            self._row.addWidget(self._built)
        if self._built is not None:
            self._built.setVisible(shown)

    def _build(self) -> QWidget:
        inner = QWidget(self)
        row = QHBoxLayout(inner)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for icon_name, name, action in self._content.buttons:
            row.addWidget(self._button(icon_name, name, action))
        which, count = self._content.version
        if count > 1:
            label = Label(f"{which}/{count}", "caption")
            label.setAccessibleName(f"Version {which} of {count}")
            row.addWidget(self._button("chevron-left", "Previous version", "previous"))
            row.addWidget(label)
            row.addWidget(self._button("chevron-right", "Next version", "next"))
        row.addStretch()
        if self._content.figures:
            row.addWidget(Label(self._content.figures, "caption"))
            row.addWidget(self._button("info", "About this answer", "info"))
        return inner

    def _button(self, icon_name: str, name: str, action: str) -> IconButton:
        button = IconButton(self._theme, icon_name, name, size=14, token="faint")
        button.clicked.connect(lambda: self.pressed.emit(action))
        return button
