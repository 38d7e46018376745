"""The running transcript and the log of what was sent, beside the card."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.controllers.live_talk import Talk, TalkTurn
from app.live.reports import FrameSent
from app.ui.live.preview import to_image
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Label

_FRAME_TOKENS = 70
_LOG_ROWS = 200


class SaidEdit(QPlainTextEdit):
    """Words that can be corrected in place; as high as they are long. `finished(text)`."""

    finished = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setAccessibleName("What you said")
        self.setProperty("kind", "field")
        self.setTabChangesFocus(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(theme.px(4))
        self.textChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter is done."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.clearFocus()
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """What is written now holds."""
        super().focusOutEvent(event)
        self.finished.emit(self.toPlainText())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width, another height."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = max(1, round(self.document().size().height()))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + self._theme.px(18))


class TurnView(QWidget):
    """One exchange: the user's words (editable, faint until written down), the answer."""

    edited = Signal(int, str)

    def __init__(self, theme: Theme, turn: TalkTurn) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._number = turn.number
        self._said = SaidEdit(theme)
        self._said.finished.connect(lambda text: self.edited.emit(self._number, text))
        self._reply = Label(wrap=True)
        self._reply.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._note = Label(role="caption", wrap=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, theme.px(8))
        column.setSpacing(theme.px(4))
        for widget in (self._said, self._reply, self._note):
            column.addWidget(widget)
        self.show_turn(turn)

    def show_turn(self, turn: TalkTurn) -> None:
        """Show a newer state."""
        if not self._said.hasFocus() and self._said.toPlainText() != turn.said:
            self._said.setPlainText(turn.said)
        waiting = "Hearing you …" if turn.state == "open" else f"You spoke {turn.seconds:.1f} s"
        self._said.setPlaceholderText(waiting)
        self._reply.setText(turn.kept_reply)
        self._reply.setVisible(bool(turn.reply))
        note = "Interrupted here" if turn.state == "interrupted" else ""
        if turn.frames:
            note = f"{note} · " if note else ""
            note += f"{turn.frames} picture{'s' if turn.frames > 1 else ''} seen"
        self._note.setText(note)
        self._note.setVisible(bool(note))


class TalkView(QWidget):
    """Two pages: what was said, what was sent."""

    edited = Signal(int, str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._views: dict[int, TurnView] = {}
        self._frames: dict[float, Label] = {}
        self._pages = QStackedWidget()
        self._said, said = self._build_list("What was said")
        self._sent, sent = self._build_list("What was sent")
        choice = QHBoxLayout()
        for index, (name, page) in enumerate((("What was said", said), ("What was sent", sent))):
            choice.addWidget(self._build_choice(name, index))
            self._pages.addWidget(page)
        choice.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(choice)
        column.addWidget(self._pages, 1)
        self.setAccessibleName("Transcript")

    def clear_talk(self) -> None:
        """Start afresh."""
        self._views.clear()
        self._frames.clear()
        for column in (self._said, self._sent):
            while column.count() > 1:
                item = column.takeAt(0)
                if item is not None and (widget := item.widget()):
                    widget.deleteLater()

    def show_talk(self, talk: Talk) -> None:
        """Bring the transcript up to date."""
        known = {turn.number for turn in talk.turns}
        for number in [n for n in self._views if n not in known]:
            self._views.pop(number).deleteLater()
        for turn in talk.turns:
            if turn.number in self._views:
                self._views[turn.number].show_turn(turn)
            else:
                view = TurnView(self._theme, turn)
                view.edited.connect(self.edited)
                self._views[turn.number] = view
                self._said.insertWidget(self._said.count() - 1, view)

    def add_frame(self, frame: FrameSent, since_start: float) -> None:
        """A picture went to the model."""
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, self._theme.px(4))
        picture = QLabel()
        pixmap = QPixmap.fromImage(to_image(frame.thumbnail))
        size = QSize(self._theme.px(64), self._theme.px(36))
        picture.setPixmap(pixmap.scaled(size, Qt.AspectRatioMode.KeepAspectRatio))
        words = f"{since_start:.0f} s · {frame.width}×{frame.height} · {_FRAME_TOKENS} tokens"
        line.addWidget(picture)
        label = Label(words, "caption", wrap=True)
        line.addWidget(label, 1)
        self._frames = {**dict(list(self._frames.items())[-_LOG_ROWS:]), frame.taken: label}
        self._sent.insertWidget(self._sent.count() - 1, row)
        self._forget_old_rows()

    def frame_skipped(self, taken: float) -> None:
        """The model did not need a picture: it costs nothing."""
        if label := self._frames.pop(taken, None):
            label.setText(label.text().rpartition(" · ")[0] + " · not needed, nothing new in it")

    def add_sent(self, words: str) -> None:
        """A line of the log: sound sent, stages of a turn."""
        self._sent.insertWidget(self._sent.count() - 1, Label(words, "caption", wrap=True))
        self._forget_old_rows()

    def _forget_old_rows(self) -> None:
        while self._sent.count() > _LOG_ROWS:
            item = self._sent.takeAt(0)
            if item is not None and (widget := item.widget()):
                widget.deleteLater()

    def _build_choice(self, name: str, index: int) -> TextButton:
        button = TextButton(self._theme, name, "row")
        button.setCheckable(True)
        button.setAutoExclusive(True)
        button.setChecked(index == 0)
        button.clicked.connect(lambda: self._pages.setCurrentIndex(index))
        return button

    def _build_list(self, name: str) -> tuple[QVBoxLayout, QScrollArea]:
        inside = QWidget()
        inside.setProperty("kind", "clear")
        column = QVBoxLayout(inside)
        column.setContentsMargins(*[self._theme.px(8)] * 4)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        area.setAccessibleName(name)
        return column, area
