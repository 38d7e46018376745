"""The model's row: thought, tool calls, text across the measure, marks, what went wrong."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from app.core.conversation import Message, MessageState, Role, ToolCall, ToolResult
from app.ui.chat.boxes import find_marks, is_only_marks
from app.ui.chat.folds import Fold, seconds_in_words, thought_title, tool_text
from app.ui.chat.message_row import MessageRow, UserRow
from app.ui.chat.picture import MarksPanel
from app.ui.chat.rich_text import RichText
from app.ui.chat.row_context import RowContext
from app.ui.widgets.labels import Label
from app.ui.widgets.notices import ErrorCard

# Tokens a second that read as these words; below the last one nothing is said.
SPEED_WORDS = ((25.0, "fast"), (8.0, "steady"))
LIVE_STATES = (MessageState.QUEUED, MessageState.STREAMING)


def make_row(context: RowContext, message: Message, parent: QWidget) -> MessageRow:
    """The row for a message's speaker."""
    kind = UserRow if message.role is Role.USER else AnswerRow
    return kind(context, message, parent)


class AnswerRow(MessageRow):
    """An answer, complete or on its way."""

    def __init__(self, context: RowContext, message: Message, parent: QWidget) -> None:
        super().__init__(context, message, parent)
        self._thought: Fold | None = None
        self._tools: list[Fold] = []
        self._marks: MarksPanel | None = None
        self._error: ErrorCard | None = None
        self._width = 0
        self._status = Label("", "secondary")
        self._text = RichText(context.theme, self)
        self._text.setAccessibleName("Answer")
        self._text.link_clicked.connect(self.link_clicked)
        self._text.height_changed.connect(self.height_changed)
        self.column.addWidget(self._text)
        self.column.addWidget(self._status)
        self.column.addWidget(self.bar)
        self.set_message(message)

    @property
    def text_view(self) -> RichText:
        """The answer's text."""
        return self._text

    def show_message(self, message: Message) -> None:
        """Bring every part up to date; nothing that stays the same is touched."""
        self._show_thought(message)
        self._show_tools(message)
        self._show_text(message)
        self._show_status(message)
        self._show_failure(message)

    def lay_out(self, width: int) -> None:
        """Prose keeps to the measure by itself; code and tables may use the column."""
        if width == self._width:
            return
        self._width = width
        self._text.set_width(width)
        for fold in (self._thought, *self._tools):
            if fold is not None:
                fold.set_width(width)

    def bar_buttons(self) -> list[tuple[str, str, str]]:
        """What can be done with an answer."""
        if self.message.state in LIVE_STATES:
            return []
        return [
            ("refresh-cw", "Answer again", "regenerate"),
            ("copy", "Copy", "copy"),
            ("git-branch", "Branch a new chat from here", "branch"),
        ]

    def bar_figures(self) -> str:
        """Seconds and a word for the speed; rates and tokens when details are wanted."""
        usage = self.message.usage
        if usage is None:
            return ""
        if self.context.show_details():
            cached = f" · {usage.cached} cached" if usage.cached else ""
            return (
                f"{usage.prompt} in{cached} · {usage.generated} out · "
                f"first word {usage.first_token_s:.2f} s · {usage.tokens_per_s:.0f} tokens/s"
            )
        word = next((w for least, w in SPEED_WORDS if usage.tokens_per_s >= least), "")
        seconds = (
            f"{usage.total_s:.1f} s" if usage.total_s < 10 else seconds_in_words(usage.total_s)
        )
        return f"{seconds} · {word}" if word else seconds

    def _show_thought(self, message: Message) -> None:
        thought = message.thought
        if thought is None:
            return
        finished = bool(message.text) or message.state not in LIVE_STATES
        title = thought_title(thought, finished=finished)
        if self._thought is None:
            self._thought = self._add_fold(0, title, thought.text)
        else:
            self._thought.set_content(title, thought.text)

    def _show_tools(self, message: Message) -> None:
        parts = [part for part in message.parts if isinstance(part, ToolCall | ToolResult)]
        for part in parts[len(self._tools) :]:
            place = (self._thought is not None) + len(self._tools)
            self._tools.append(self._add_fold(place, *tool_text(part)))

    def _add_fold(self, place: int, title: str, text: str) -> Fold:
        fold = Fold(self.context.theme, title, text)
        fold.set_width(self._width)
        fold.height_changed.connect(self.height_changed)
        self.column.insertWidget(place, fold)
        # A layout counts what is shown; Qt would show it only after the height was taken.
        fold.show()
        return fold

    def _show_text(self, message: Message) -> None:
        done = message.state not in LIVE_STATES
        marks = find_marks(message.text) if done else ()
        picture = self.context.picture_before(message.id) if marks else None
        if picture is not None and self._marks is None:
            width = self._width or self.context.theme.measure()
            self._marks = MarksPanel(self.context, picture, marks, width)
            self.column.insertWidget(self.column.indexOf(self._text), self._marks)
            self._marks.show()
            if is_only_marks(message.text):
                place = self.column.indexOf(self._text)
                self._add_fold(place, "The answer as written", message.text)
                self._text.hide()
        if self._text.isVisibleTo(self) or not message.text:
            self._text.set_markdown(message.text)
            self._text.setVisible(bool(message.text))
        elif self._marks is None:
            self._text.setVisible(True)
            self._text.set_markdown(message.text)

    def _show_status(self, message: Message) -> None:
        words = ""
        if message.state is MessageState.STOPPED:
            words = "Stopped."
        elif message.state in LIVE_STATES and not message.text and message.thought is None:
            words = "Waiting …" if message.state is MessageState.QUEUED else "Reading …"
        self._status.setText(words)
        self._status.setVisible(bool(words))

    def set_reading(self, words: str) -> None:
        """How far the prompt is read, while there is no text yet."""
        if self._status.isVisibleTo(self):
            self._status.setText(words)

    def _show_failure(self, message: Message) -> None:
        if message.failure is None or self._error is not None:
            return
        self._error = ErrorCard(self.context.theme, message.failure)
        self._error.mend.connect(lambda _failure: self.action.emit("mend", message.id))
        self.column.insertWidget(self.column.indexOf(self.bar), self._error)
        self._error.show()
