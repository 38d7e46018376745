"""Why a document cannot be opened or read, in one sentence, and the one thing that mends it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout

from app.core.errors import ErrorKind, Failure
from app.core.events import EngineState
from app.ui.documents.words import failure_button
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Card, IconLabel, Label


class ProblemCard(Card):
    """`mend(kind)` the button; `password(text)` typed by the person."""

    mend = Signal(object)
    password = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__("error")
        self._kind = ErrorKind.INTERNAL
        self.mark = IconLabel(theme, "triangle-alert", "danger", 20)
        self.words = Label("", wrap=True)
        self.remedy = Label("", "secondary", wrap=True)
        self.field = QLineEdit()
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText("Password")
        self.field.setAccessibleName("Password of the document")
        self.field.setMaximumWidth(theme.px(220))
        self.field.returnPressed.connect(self._act)
        self.button = TextButton(theme, "Try again")
        self.button.clicked.connect(self._act)
        column = QVBoxLayout()
        column.setSpacing(theme.px(2))
        column.addWidget(self.words)
        column.addWidget(self.remedy)
        row = QHBoxLayout(self)
        row.setContentsMargins(*[theme.px(12)] * 4)
        row.setSpacing(theme.px(12))
        row.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(column, 1)
        row.addWidget(self.field)
        row.addWidget(self.button)
        self.hide()

    def show_failure(self, failure: Failure | None, engine: EngineState) -> None:
        """Show it, or nothing."""
        self.setVisible(failure is not None)
        if failure is None:
            return
        if failure.message != self.words.text():
            announce(self, failure.message)
        self._kind = failure.kind
        self.words.setText(failure.message)
        self.remedy.setText(failure.remedy)
        self.remedy.setVisible(bool(failure.remedy))
        asks = failure.kind is ErrorKind.PASSWORD
        self.mark.set_icon("info" if asks else "triangle-alert", "accent" if asks else "danger")
        self.field.setVisible(asks)
        self.setProperty("kind", "card" if asks else "error")
        self.style().unpolish(self)
        self.style().polish(self)
        if asks:
            self.field.setFocus()
        self.button.set_text(failure_button(failure.kind, engine))
        self.setAccessibleName(f"{failure.message} {failure.remedy}".strip())

    def _act(self) -> None:
        if self._kind is not ErrorKind.PASSWORD:
            self.mend.emit(self._kind)
        elif self.field.text():
            self.password.emit(self.field.text())
            self.field.clear()
