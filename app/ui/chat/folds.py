"""Things that fold out: the model's thought, a tool call, an answer as it was written."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.core.conversation import Message, Thought, ToolCall, ToolResult
from app.core.tools import tool_title
from app.ui.chat.rich_text import RichText
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton

MAX_SHOWN_RESULT = 4_000


def seconds_in_words(seconds: float) -> str:
    """A duration as one says it: "3 s", "1 min 20 s"."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


class Fold(QWidget):
    """A quiet button; what it hides is built when it is first opened."""

    height_changed = Signal()

    def __init__(self, theme: Theme, title: str, text: str) -> None:
        super().__init__()
        self._theme = theme
        self._text = text
        self._body: RichText | None = None
        self._width = 0
        self.button = TextButton(theme, title, "chip", icon_name="chevron-right")
        self.button.setCheckable(True)
        self.button.toggled.connect(self._on_toggled)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(theme.px(4))
        self._column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)

    @property
    def is_open(self) -> bool:
        """True while the body shows."""
        return self.button.isChecked()

    def set_content(self, title: str, text: str) -> None:
        """New words; an open body follows."""
        self.button.set_text(title)
        self._text = text
        if self._body is not None:
            self._body.set_markdown(text)

    def set_width(self, width: int) -> None:
        """Width of the body."""
        self._width = width
        if self._body is not None:
            self._body.set_width(width)

    def _on_toggled(self, is_open: bool) -> None:
        self.button.set_icon("chevron-down" if is_open else "chevron-right")
        if is_open and self._body is None:
            self._body = RichText(self._theme, self)
            self._body.setAccessibleName(self.button.text())
            self._body.set_width(self._width)
            self._body.set_markdown(self._text)
            self._column.addWidget(self._body)
        if self._body is not None:
            self._body.setVisible(is_open)
        self._column.invalidate()
        self.updateGeometry()
        self.height_changed.emit()


def fold_texts(message: Message, *, live: bool) -> list[tuple[str, str]]:
    """(title, body) of each fold of an answer: its thoughts and tool calls, in order.

    live: the answer is still on its way.
    """
    results = {part.id: part for part in message.parts if isinstance(part, ToolResult)}
    last = message.parts[-1] if message.parts else None
    found: list[tuple[str, str]] = []
    for part in message.parts:
        if isinstance(part, Thought):
            found.append((thought_title(part, finished=not live or part is not last), part.text))
        elif isinstance(part, ToolCall):
            found.append(tool_text(part, results.get(part.id), live=live))
    return found


def thought_title(thought: Thought, *, finished: bool) -> str:
    """What the fold of a thought says."""
    if not finished:
        return "Thinking …"
    return f"Thought for {seconds_in_words(thought.seconds)}"


_OUTCOMES = {"done": "Used", "failed": "Could not use", "declined": "Declined"}


def tool_text(call: ToolCall, result: ToolResult | None, *, live: bool) -> tuple[str, str]:
    """Title and body of a tool call with what became of it."""
    title = tool_title(call.name)
    asked = f"Asked for:\n\n{_fenced(call.arguments)}"
    if result is None:
        return (f"Wants to use: {title}" if live else f"Not used: {title}"), asked
    words = _OUTCOMES.get(result.outcome, _OUTCOMES["done"])
    answered = _fenced(result.content[:MAX_SHOWN_RESULT])
    return f"{words}: {title}", f"{asked}\n\nAnswered:\n\n{answered}"


def _fenced(text: str) -> str:
    fence = "`" * max(3, _longest_fence(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def _longest_fence(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
