"""The model's row: thought, tool calls, text across the measure, marks, what went wrong."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QWidget

from app.core.conversation import Message, MessageState, Role, ToolCall, ToolResult
from app.core.json_table import JsonTable, looks_like_json, parse_table
from app.ui.chat.boxes import find_marks, is_only_marks
from app.ui.chat.folds import Fold, fold_texts, seconds_in_words
from app.ui.chat.json_view import JsonBar
from app.ui.chat.message_row import MessageRow, UserRow
from app.ui.chat.picture import MarksPanel
from app.ui.chat.rich_text import RichText
from app.ui.chat.row_context import RowContext
from app.ui.chat.tool_card import ToolCard
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
        self._folds: list[Fold] = []
        self._question: ToolCard | None = None
        self._json: JsonBar | None = None
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
        self._show_folds(message)
        self._show_question(message)
        self._show_text(message)
        self._show_status(message)
        self._show_failure(message)

    def lay_out(self, width: int) -> None:
        """Prose keeps to the measure by itself; code and tables may use the column."""
        if width == self._width:
            return
        self._width = width
        self._text.set_width(width)
        for part in (*self._folds, self._question, self._json):
            if part is not None:
                part.set_width(width)

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

    def _show_folds(self, message: Message) -> None:
        texts = fold_texts(message, live=message.state in LIVE_STATES)
        for number, (title, text) in enumerate(texts):
            if number < len(self._folds):
                self._folds[number].set_content(title, text)
            else:
                self._folds.append(self._add_fold(number, title, text))

    def _show_question(self, message: Message) -> None:
        """The card that asks whether a tool may be used."""
        call = self.context.asked(message.id)
        if self._question is not None and self._question.call != call:
            if self._question.isAncestorOf(QApplication.focusWidget() or self):
                self.setFocus()
            self._question.hide()
            self._question.deleteLater()
            self._question = None
        if call is not None and self._question is None:
            self._question = ToolCard(self.context.theme, call)
            self._question.decided.connect(lambda word: self.action.emit(word, message.id))
            self.column.insertWidget(self.column.indexOf(self._status), self._question)
            self._question.set_width(self._width or self.context.theme.measure())
            self._question.show()

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
        if self._marks is None or not is_only_marks(message.text):
            self._text.set_markdown(self._shown_text(message, done=done))
            self._text.setVisible(bool(message.text))

    def _shown_text(self, message: Message, *, done: bool) -> str:
        """JSON as a table where it is one; as code while it is being written."""
        if done and self._marks is None:
            table = parse_table(message.text)
            if table is not None:
                return self._json_bar(table).markdown
        return f"```json\n{message.text}" if looks_like_json(message.text) else message.text

    def _json_bar(self, table: JsonTable) -> JsonBar:
        if self._json is None:
            self._json = JsonBar(self.context.theme, table)
            self._json.changed.connect(self._on_json_view)
            self._json.copied.connect(lambda: self.action.emit("copied", self.message.id))
            self.column.insertWidget(self.column.indexOf(self._text), self._json)
            self._json.set_width(self._width or self.context.theme.measure())
            self._json.show()
        return self._json

    def _on_json_view(self) -> None:
        if self._json is not None:
            self._text.set_markdown(self._json.markdown)
            self.height_changed.emit()

    def _show_status(self, message: Message) -> None:
        words = ""
        if message.state is MessageState.STOPPED:
            words = "Stopped."
        elif message.state in LIVE_STATES and self._question is None:
            words = _waiting_words(message)
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


def _waiting_words(message: Message) -> str:
    """What goes on while nothing is written."""
    last = message.parts[-1] if message.parts else None
    if isinstance(last, ToolCall):
        return "Using the tool …"
    if last is not None and not isinstance(last, ToolResult):
        return ""
    return "Waiting …" if message.state is MessageState.QUEUED else "Reading …"
