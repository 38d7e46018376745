"""The line above a chat: its title, the model, how full its memory is, and more."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QSizePolicy, QStackedLayout, QWidget

from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.meter import ContextMeter

# The title keeps this much of the line, however long the model's name is.
MIN_TITLE = 60
MAX_TITLE = 420
# Margins and gaps of the line; the chip's own.
FRAME = 44
CHIP_PADDING = 30


class TitleField(QWidget):
    """The title; a click or F2 makes it editable, Enter keeps, Escape gives up."""

    renamed = Signal(str)
    changed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._title = ""
        self._theme = theme
        self.button = TextButton(theme, "", "row")
        self.button.setToolTip("Rename this chat")
        self.edit = QLineEdit()
        self.edit.setAccessibleName("Title of this chat")
        self.edit.setMaxLength(120)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.button)
        self._stack.addWidget(self.edit)
        self.setMaximumWidth(MAX_TITLE)
        self.button.clicked.connect(self.start)
        self.edit.editingFinished.connect(self._finish)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def set_title(self, title: str) -> None:
        """Show `title`, shortened where it is long."""
        self._title = title
        self.button.setAccessibleName(f"Chat {title}. Rename")
        self.changed.emit()

    def natural_width(self) -> int:
        """Pixels the whole title takes."""
        return self.button.fontMetrics().horizontalAdvance(self._title) + self._theme.px(28)

    def fit(self, room: int) -> None:
        """Take at most `room` pixels and shorten the words to that."""
        frame = self._theme.px(24)
        metrics = self.button.fontMetrics()
        elide = Qt.TextElideMode.ElideRight
        words = metrics.elidedText(self._title, elide, room - frame)
        self.button.setText(words.replace("&", "&&"))  # a single one would mark a key
        self.setMaximumWidth(room)

    def start(self) -> None:
        """Let the title be edited."""
        self.edit.setText(self._title)
        self._stack.setCurrentWidget(self.edit)
        self.edit.selectAll()
        self.edit.setFocus()

    def _finish(self) -> None:
        if self._stack.currentWidget() is self.edit:
            self._stack.setCurrentWidget(self.button)
            if self.edit.text().strip() and self.edit.text() != self._title:
                self.renamed.emit(self.edit.text())


class ChatHeader(QWidget):
    """`renamed(title)`, `model_menu` before the chip's menu opens, `context_clicked`."""

    renamed = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._model_words = ""
        self.title = TitleField(theme)
        self.title.renamed.connect(self.renamed)
        self.title.changed.connect(self._fit)
        self.model_chip = TextButton(theme, "No model", "chip")
        self.model_menu = QMenu(self.model_chip)
        self.model_chip.setMenu(self.model_menu)
        self.meter = ContextMeter(theme)
        self.more = IconButton(theme, "ellipsis", "More about this chat")
        self.more_menu = QMenu(self.more)
        self.more.setMenu(self.more_menu)
        self.more.setPopupMode(IconButton.ToolButtonPopupMode.InstantPopup)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(16), theme.px(8), theme.px(12), theme.px(8))
        row.setSpacing(theme.px(4))
        row.addWidget(self.title, 1, Qt.AlignmentFlag.AlignLeft)
        row.addWidget(self.model_chip)
        row.addWidget(self.meter)
        row.addWidget(self.more)

    def set_model(self, words: str, *, hint: str) -> None:
        """Name the model, or say that one loads or none is there."""
        self._model_words = words
        self.model_chip.setAccessibleName(f"Model: {words}")
        self.model_chip.setToolTip(hint)
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the line between the title and the model's name."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """The title takes what it needs, but leaves the model's name half of the line."""
        metrics, px = self.model_chip.fontMetrics(), self._theme.px
        room = self.width() - self.meter.sizeHint().width() - self.more.width() - px(FRAME)
        wanted = metrics.horizontalAdvance(f"{self._model_words} ▾") + px(CHIP_PADDING)
        title = min(self.title.natural_width(), px(MAX_TITLE), max(room // 2, room - wanted))
        title = max(px(MIN_TITLE), title)
        left = room - title - px(CHIP_PADDING) - metrics.horizontalAdvance(" ▾")
        elide = Qt.TextElideMode.ElideRight
        words = metrics.elidedText(self._model_words, elide, max(px(MIN_TITLE) // 2, left))
        self.model_chip.setText(f"{words} ▾")
        self.title.fit(title)
