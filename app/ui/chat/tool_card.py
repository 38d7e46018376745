"""Asks, inside the answer, whether the model may use a tool."""

from __future__ import annotations

import json

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout

from app.core.conversation import ToolCall
from app.core.tools import tool_title
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.fitting_row import FittingRow
from app.ui.widgets.labels import Card, IconLabel, Label

MAX_SHOWN = 600
# Words of a row's `action`.
ALLOW_ONCE, ALLOW_CHAT, DECLINE = "tool_once", "tool_chat", "tool_decline"


def request_words(call: ToolCall) -> str:
    """What is asked for, as a sentence."""
    return f"The model asks to use a tool: {tool_title(call.name)}."


def argument_words(call: ToolCall) -> str:
    """The arguments in plain words: "expression: 2 + 2"."""
    try:
        values = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return call.arguments[:MAX_SHOWN]
    return "\n".join(f"{name}: {value}" for name, value in values.items())[:MAX_SHOWN]


class ToolCard(Card):
    """`decided(word)`: ALLOW_ONCE, ALLOW_CHAT or DECLINE."""

    decided = Signal(str)

    def __init__(self, theme: Theme, call: ToolCall) -> None:
        super().__init__("card")
        self.call = call
        self.setAccessibleName(request_words(call))
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(12)] * 4)
        column.setSpacing(theme.px(8))
        head = QHBoxLayout()
        head.setSpacing(theme.px(8))
        head.addWidget(IconLabel(theme, "wrench"))
        head.addWidget(Label(request_words(call), wrap=True), 1)
        column.addLayout(head)
        words = argument_words(call)
        if words:
            column.addWidget(Label(words, "secondary", wrap=True))
        buttons: list[TextButton] = []
        for words, kind, decision in (
            ("Allow once", "primary", ALLOW_ONCE),
            ("Allow in this chat", "plain", ALLOW_CHAT),
            ("Decline", "plain", DECLINE),
        ):
            button = TextButton(theme, words, kind)
            button.clicked.connect(lambda _checked=False, d=decision: self.decided.emit(d))
            buttons.append(button)
        self._margin = theme.px(12)
        self._buttons = FittingRow(theme, *buttons)
        column.addWidget(self._buttons)

    def set_width(self, width: int) -> None:
        """Lay out for the column's width."""
        self.setFixedWidth(width)
        self._buttons.set_width(width - 2 * self._margin - 2)
