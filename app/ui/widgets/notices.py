"""Quiet words: a notice that goes away by itself, an error card that stays where it happened."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.core.errors import ErrorKind, Failure
from app.ui.theme import Theme
from app.ui.widgets.announce import announce
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Card, IconLabel, Label

NOTICE_SECONDS = 8
WIDTH = 480
FOOT = 96
GAP = 12
# The object name of a widget that notices never cover.
KEPT_CLEAR = "kept-clear"
# What the one button under an error says; kinds not named here offer to try again.
REMEDY_BUTTONS = {
    ErrorKind.NO_MODEL: "Choose a model",
    ErrorKind.MODEL_MISSING: "Choose a model",
    ErrorKind.MODEL_BROKEN: "Choose a model",
    ErrorKind.OUT_OF_MEMORY: "Try again",
    ErrorKind.CONTEXT_FULL: "New chat",
    ErrorKind.UNSUPPORTED_MEDIA: "Choose a model",
}


class NoticeBar(Card):
    """One line at the foot of the window with at most one button ("Undo")."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__("notice", parent)
        self._theme = theme
        self._action: Callable[[], object] | None = None
        self._timer = QTimer(self, singleShot=True, interval=NOTICE_SECONDS * 1000)
        self._timer.timeout.connect(self.hide)
        self._label = Label(wrap=True)
        self._button = TextButton(theme, "Undo", "chip")
        self._close = IconButton(theme, "x", "Close this notice", size=14)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(12), theme.px(4), theme.px(4), theme.px(4))
        row.addWidget(self._label, 1)
        row.addWidget(self._button)
        row.addWidget(self._close)
        self._button.clicked.connect(self._act)
        self._close.clicked.connect(self.hide)
        theme.changed.connect(self.place)
        self.hide()

    def show_notice(
        self, text: str, button: str = "", action: Callable[[], object] | None = None
    ) -> None:
        """Show `text` for eight seconds; `button` runs `action` and closes the notice."""
        self._action = action
        self._label.setText(text)
        self._button.set_text(button)
        self._button.setVisible(bool(button))
        self.place()
        self.show()
        self.raise_()
        self._timer.start()
        announce(self, text)

    @property
    def text(self) -> str:
        """What it says."""
        return self._label.text()

    def place(self) -> None:
        """Sit centred at the foot of the parent, above what one writes in."""
        parent = self.parentWidget()
        width = min(self._theme.px(WIDTH), parent.width() - 48)
        for widget in (self._label, self._button):
            widget.ensurePolished()
        # Not adjustSize: it takes the height of the words at the width they would like.
        self.setFixedSize(width, max(self.heightForWidth(width), self.minimumSizeHint().height()))
        foot = parent.height() - FOOT
        for widget in parent.findChildren(QWidget, KEPT_CLEAR):
            if widget.isVisible():
                top = parent.mapFromGlobal(widget.mapToGlobal(QPoint(0, 0))).y()
                foot = min(foot, top - GAP)
        self.move((parent.width() - width) // 2, max(0, foot - self.height()))

    def _act(self) -> None:
        self.hide()
        if self._action is not None:
            self._action()


class ErrorCard(Card):
    """What happened, why, and one button that mends it; details go to the clipboard on demand."""

    mend = Signal(object)

    def __init__(self, theme: Theme, failure: Failure, button: str | None = None) -> None:
        super().__init__("error")
        self._failure = failure
        words = button if button is not None else REMEDY_BUTTONS.get(failure.kind, "Try again")
        self.setAccessibleName(f"{failure.message} {failure.remedy}".strip())
        row = QHBoxLayout(self)
        row.setContentsMargins(*[theme.px(12)] * 4)
        row.setSpacing(theme.px(12))
        mark = IconLabel(theme, "triangle-alert", "danger", 20)
        row.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(self._build_words(), 1)
        row.addLayout(self._build_buttons(theme, words))

    def _build_words(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.addWidget(Label(self._failure.message, wrap=True))
        if self._failure.remedy:
            column.addWidget(Label(self._failure.remedy, "secondary", wrap=True))
        return column

    def _build_buttons(self, theme: Theme, words: str) -> QHBoxLayout:
        row = QHBoxLayout()
        if self._failure.detail:
            copy = IconButton(theme, "copy", "Copy details")
            copy.clicked.connect(self._copy)
            row.addWidget(copy, 0, Qt.AlignmentFlag.AlignTop)
        if words:
            button = TextButton(theme, words)
            button.clicked.connect(lambda: self.mend.emit(self._failure))
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{self._failure.message}\n{self._failure.detail}")
