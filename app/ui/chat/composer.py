"""Where one writes: a text that grows, files above it, and the buttons of a turn."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QBuffer, QIODevice, QMimeData, Qt, Signal
from PySide6.QtGui import QFocusEvent, QImage, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QPlainTextEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.controllers.drafts import Draft
from app.ui.chat.draft_chip import CHIP_WIDTH, DraftChip
from app.ui.theme import LINE_HEIGHT, Theme
from app.ui.widgets.buttons import IconButton
from app.ui.widgets.keyboard import has_keyboard
from app.ui.widgets.labels import Card, Label
from app.ui.widgets.notices import KEPT_CLEAR

MAX_LINES = 8
HINT = "Ask, drop or paste anything …"
SHORT_HINT = "Ask …"
MAX_TRAY_HEIGHT = 180
LONGEST_PASTE = 50_000
"""Characters; a longer text becomes a file: laid out as words it would hold the window up."""
ENTER_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class ComposerEdit(QPlainTextEdit):
    """The text. `submitted` on the send key; files and pictures that are pasted go to signals."""

    submitted = Signal()
    files_pasted = Signal(list)
    image_pasted = Signal(bytes)
    text_pasted = Signal(str)
    focus_changed = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.send_key = "enter"
        self.setAccessibleName("Message")
        self.setPlaceholderText(HINT)
        self.setTabChangesFocus(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(theme.px(4))
        self.textChanged.connect(self.fit)
        theme.changed.connect(self.fit)
        self.fit()

    def fit(self) -> None:
        """Grow with the text up to eight lines, then scroll."""
        line = round(self._theme.px(13) * LINE_HEIGHT)
        lines = max(1, min(MAX_LINES, round(self.document().size().height())))
        needs_bar = self.document().size().height() > MAX_LINES
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.setVerticalScrollBarPolicy(
            policy if needs_bar else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        self.setFixedHeight(lines * line + self._theme.px(8))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The hint must fit into one line."""
        super().resizeEvent(event)
        room = self.viewport().width() - self._theme.px(8)
        fits = self.fontMetrics().horizontalAdvance(HINT) < room
        self.setPlaceholderText(HINT if fits else SHORT_HINT)
        self.fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Send on Enter (or Command-Enter, by the setting); Shift-Enter starts a new line."""
        if event.key() in ENTER_KEYS and self._sends(event):
            self.submitted.emit()
            return
        super().keyPressEvent(event)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        """Files and pictures are welcome, too."""
        return source.hasUrls() or source.hasImage() or super().canInsertFromMimeData(source)

    def insertFromMimeData(self, source: QMimeData) -> None:
        """Files, pictures and very long texts become attachments, everything else plain text."""
        files = [url.toLocalFile() for url in source.urls() if url.isLocalFile()]
        if files:
            self.files_pasted.emit(files)
        elif source.hasImage():
            self.image_pasted.emit(png_bytes(QImage(source.imageData())))
        elif source.hasText() and len(source.text()) > LONGEST_PASTE:
            self.text_pasted.emit(source.text())
        elif source.hasText():
            self.insertPlainText(source.text())

    def focusInEvent(self, event: QFocusEvent) -> None:
        """The frame shows the focus."""
        super().focusInEvent(event)
        self.focus_changed.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """And that it left."""
        super().focusOutEvent(event)
        self.focus_changed.emit(False)

    def _sends(self, event: QKeyEvent) -> bool:
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if self.send_key == "command":
            return bool(modifiers & Qt.KeyboardModifier.ControlModifier)
        return modifiers == Qt.KeyboardModifier.NoModifier


def png_bytes(image: QImage) -> bytes:
    """A picture from the clipboard as a PNG file."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    # The stubs ask for bytes, with which PySide6 6.11 crashes.
    image.save(buffer, "PNG")  # pyright: ignore[reportCallIssue, reportArgumentType]
    return bytes(buffer.data().data())


class Composer(Card):
    """The card at the foot of a chat.

    Signals: `send(text)`, `stop`, `attach`, `record`, `talk` (microphone button), `files(paths)`,
    `image(png)`, `long_text(text)` too long to be laid out here, `draft_removed(id)`,
    `detail_chosen(id, detail)`, `edit_cancelled`,
    `blocked(reason)` when the person wants to send and a file stands in the way;
    `transcribe_wanted(id)` a long recording should be written down.
    """

    send = Signal(str)
    stop = Signal()
    attach = Signal()
    talk = Signal()
    files = Signal(list)
    image = Signal(bytes)
    long_text = Signal(str)
    draft_removed = Signal(str)
    detail_chosen = Signal(str, object)
    edit_cancelled = Signal()
    blocked = Signal(str)
    record = Signal()
    transcribe_wanted = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__("composer")
        self.setObjectName(KEPT_CLEAR)
        self._theme = theme
        self._busy = False
        self._can_send = True
        self._obstacle = ""
        self._has_files = False
        self._chips: list[DraftChip] = []
        self._room = (theme.px(540), theme.px(MAX_TRAY_HEIGHT))
        self.edit = ComposerEdit(theme)
        self._editing = self._build_editing()
        self._tray = self._build_tray()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(12), theme.px(8), theme.px(8), theme.px(8))
        column.setSpacing(theme.px(4))
        column.addWidget(self._editing)
        column.addWidget(self._tray)
        column.addLayout(self._build_line())
        self._connect()
        self._update_send()

    def _build_editing(self) -> QWidget:
        bar = QWidget()
        row = QHBoxLayout(bar)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(Label("Changing an earlier message. The old one is kept.", "caption"), 1)
        cancel = IconButton(self._theme, "x", "Stop changing it", size=14)
        cancel.clicked.connect(self.edit_cancelled)
        row.addWidget(cancel)
        bar.hide()
        return bar

    def _build_tray(self) -> QScrollArea:
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(self._theme.px(8))
        area = QScrollArea()
        area.setWidget(inner)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setAccessibleName("Attached files")
        area.hide()
        return area

    def _build_line(self) -> QHBoxLayout:
        theme = self._theme
        self.attach_button = IconButton(theme, "paperclip", "Attach files", shortcut="Ctrl+O")
        self.record_button = IconButton(theme, "circle-dot", "Record a voice note")
        self.record_button.hide()
        self.talk_button = IconButton(theme, "mic", "Talk instead of writing")
        self.send_button = IconButton(theme, "arrow-up", "Send", token="on_accent", kind="send")
        row = QHBoxLayout()
        row.setSpacing(theme.px(4))
        row.addWidget(self.edit, 1)
        for button in (
            self.attach_button,
            self.record_button,
            self.talk_button,
            self.send_button,
        ):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        return row

    def _connect(self) -> None:
        self.edit.submitted.connect(self._submit)
        self.edit.textChanged.connect(self._update_send)
        self.edit.files_pasted.connect(self.files)
        self.edit.image_pasted.connect(self.image)
        self.edit.text_pasted.connect(self.long_text)
        self.edit.focus_changed.connect(self._on_focus)
        self.attach_button.clicked.connect(self.attach)
        self.record_button.clicked.connect(self.record)
        self.talk_button.clicked.connect(self.talk)
        self.send_button.clicked.connect(self._on_send_button)

    def set_recordable(self, on: bool) -> None:
        """Offer voice notes."""
        self.record_button.setVisible(on)

    @property
    def text(self) -> str:
        """What is written."""
        return self.edit.toPlainText()

    def set_text(self, text: str) -> None:
        """Write `text` and put the cursor behind it."""
        self.edit.setPlainText(text)
        self.edit.moveCursor(self.edit.textCursor().MoveOperation.End)

    def set_editing(self, editing: bool) -> None:
        """Say that an earlier message is being changed."""
        self._editing.setVisible(editing)

    def set_busy(self, busy: bool) -> None:
        """While an answer comes, the send button stops it."""
        self._busy = busy
        self._update_send()

    def set_can_send(self, can_send: bool, obstacle: str = "") -> None:
        """False while files are still being looked at; obstacle: why one stands in the way."""
        self._can_send = can_send and not obstacle
        self._obstacle = obstacle
        self._update_send()

    def set_drafts(self, drafts: Sequence[Draft], *, show_details: bool) -> None:
        """Show the files that go with the message."""
        if any(map(has_keyboard, self._chips)):
            self.edit.setFocus()
        for chip in self._chips:
            self._grid.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self._chips = [DraftChip(self._theme, draft, show_details=show_details) for draft in drafts]
        for chip in self._chips:
            chip.removed.connect(self.draft_removed)
            chip.detail_chosen.connect(self.detail_chosen)
            chip.transcribe_wanted.connect(self.transcribe_wanted)
        self._has_files = any(draft.part() is not None for draft in drafts)
        self._tray.setVisible(bool(drafts))
        self._lay_out()
        self._update_send()

    def set_most_height(self, height: int) -> None:
        """The files scroll where they would take more than this many pixels."""
        self._fit(self._room[0], min(height, self._theme.px(MAX_TRAY_HEIGHT)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Files beside each other as far as there is room."""
        super().resizeEvent(event)
        bar = self._tray.verticalScrollBar().sizeHint().width()
        width = self.layout().contentsRect().width() - bar
        if width > 0:  # a layout that was never used has no place yet
            self._fit(width, self._room[1])

    def _fit(self, width: int, height: int) -> None:
        if (width, height) != self._room:
            self._room = (width, height)
            self._lay_out()

    def _lay_out(self) -> None:
        """Files beside each other; one that is refused has a line of its own for its words."""
        width, height = self._room
        columns = max(1, width // (self._theme.px(CHIP_WIDTH) + self._grid.spacing()))
        row = column = 0
        for chip in self._chips:
            chip.fit(width)
            if column and (chip.refused or column == columns):
                row, column = row + 1, 0
            span = columns if chip.refused else 1
            self._grid.addWidget(chip, row, column, 1, span, Qt.AlignmentFlag.AlignLeft)
            chip.show()  # at once: a layout counts what is not shown yet as nothing
            column += span
        for each in range(self._grid.columnCount()):
            self._grid.setColumnStretch(each, int(each == columns - 1))
        self._tray.setFixedHeight(min(self._grid.sizeHint().height(), height))

    def _on_focus(self, focused: bool) -> None:
        self.setProperty("focused", "true" if focused else "false")
        self.style().unpolish(self)
        self.style().polish(self)

    def _on_send_button(self) -> None:
        if self._busy:
            self.stop.emit()
        else:
            self._submit()
        self.edit.setFocus()

    def _submit(self) -> None:
        if not self._busy and self._ready():
            text = self.text
            self.edit.clear()
            self.send.emit(text)
        elif self._obstacle and not self._busy:
            self.blocked.emit(self._obstacle)

    def _ready(self) -> bool:
        return self._can_send and (bool(self.text.strip()) or self._has_files)

    def _update_send(self) -> None:
        if self._busy:
            self.send_button.set_icon("square", "on_accent")
            self.send_button.set_name("Stop the answer (Esc)")
        else:
            self.send_button.set_icon("arrow-up", "on_accent")
            self.send_button.set_name("Send")
        self.send_button.setEnabled(self._busy or self._ready())
