"""The recordings page: open a recording of any length; read, correct and export its words."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from app.controllers.transcribe_controller import Recording, TranscribeController
from app.live.transcript import Line
from app.ui.drop import kind_of, paths_of
from app.ui.live.talk_view import SaidEdit
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.combo import ComboBox
from app.ui.widgets.labels import Label
from app.ui.widgets.notices import NoticeBar
from app.ui.widgets.scrolled import scrolled

INTRO = (
    "Open or drop a recording or a film of any length. It is cut at pauses and written down with "
    "times, on this Mac. You can correct the words and save them as text or subtitles."
)
LANGUAGES = (
    "English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch", "Polish",
    "Turkish", "Ukrainian", "Arabic", "Hindi", "Chinese", "Japanese", "Korean",
)  # fmt: skip
_ROW = 30
_SOUND = "Recordings and films (*.wav *.mp3 *.m4a *.flac *.ogg *.opus *.aac *.aiff *.mp4 *.mov)"
_FORMATS = "Text (*.txt);;Subtitles SRT (*.srt);;Subtitles VTT (*.vtt)"
_STATES = {"waiting": "Waiting …", "running": "Writing down …", "stopped": "Stopped", "done": ""}


def clock_words(seconds: float) -> str:
    """Minutes and seconds, hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class LineView(QWidget):
    """One line: when, and the words, which can be corrected. `edited(text)`."""

    edited = Signal(str)

    def __init__(self, theme: Theme, line: Line) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self.words = SaidEdit(theme)
        self.words.setAccessibleName(f"Words at {clock_words(line.start)}")
        self.words.setPlainText(line.text)
        self.words.setAcceptDrops(False)
        self.words.finished.connect(self.edited)
        when = Label(clock_words(line.start), "caption")
        when.setFixedWidth(theme.px(56))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, theme.px(4))
        row.addWidget(when, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.words, 1)


class RecordingPage(QWidget):
    """See the module docstring. `to_chat(text, name)`: the words should go into a chat."""

    to_chat = Signal(str, str)

    def __init__(self, theme: Theme, controller: TranscribeController) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._controller = theme, controller
        self._shown = ""
        self._views: list[LineView] = []
        self._held = 0
        self.setAcceptDrops(True)
        self.notice = NoticeBar(theme, self)
        self._build()
        controller.changed.connect(self._on_changed)
        self._show_recording()

    def _build(self) -> None:
        theme = self._theme
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.px(16)] * 4)
        column.setSpacing(theme.px(12))
        column.addWidget(Label("Recordings", "title"))
        column.addWidget(Label(INTRO, "secondary", wrap=True))
        column.addLayout(self._build_choice())
        self.list = QListWidget()
        self.list.setAccessibleName("Recordings")
        self.list.currentItemChanged.connect(lambda item, _before: self._choose(item))
        column.addWidget(self.list)
        row = QHBoxLayout()
        self.state, self.progress = Label("", "secondary", wrap=True), QProgressBar()
        self.progress.setRange(0, 100)
        self.progress.setTextVisible(False)
        self.progress.setMaximumWidth(theme.px(180))
        row.addWidget(self.state, 1)
        row.addWidget(self.progress)
        column.addLayout(row)
        inside = QWidget()
        inside.setProperty("kind", "clear")
        self._lines = QVBoxLayout(inside)
        self._lines.setContentsMargins(0, 0, theme.px(8), 0)
        self._lines.addStretch()
        column.addWidget(scrolled(inside, "Transcript"), 1)
        column.addLayout(self._build_buttons())

    def _build_choice(self) -> QHBoxLayout:
        self.open_button = TextButton(self._theme, "Open …", "primary", icon_name="upload")
        self.open_button.clicked.connect(self._open)
        self.language = ComboBox(self._theme, "Language")
        self.language.addItem("As it is spoken", "")
        for name in LANGUAGES:
            self.language.addItem(f"Translate into {name}", name)
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.language)
        row.addStretch()
        return row

    def _build_buttons(self) -> QHBoxLayout:
        theme = self._theme
        self.export_button = TextButton(theme, "Save …", icon_name="download")
        self.chat_button = TextButton(theme, "Ask about this", icon_name="message-circle")
        self.stop_button = TextButton(theme, "Stop", icon_name="square")
        self.remove_button = TextButton(theme, "Remove", icon_name="trash-2")
        self.export_button.clicked.connect(self._export)
        self.chat_button.clicked.connect(self._ask)
        self.stop_button.clicked.connect(lambda: self._controller.stop(self._shown))
        self.remove_button.clicked.connect(lambda: self._controller.remove(self._shown))
        row = QHBoxLayout()
        for button in (
            self.export_button, self.chat_button, self.stop_button, self.remove_button
        ):  # fmt: skip
            row.addWidget(button)
        row.addStretch()
        return row

    # -- what the user does -------------------------------------------------------------------

    def add(self, path: str, name: str = "") -> None:
        """Write a recording down and show it."""
        added = self._controller.add(path, name, self.language.currentData())
        self._select(added)

    def _open(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Open recordings", "", _SOUND)
        for path in paths:
            self.add(path)

    def _export(self) -> None:
        recording = self._controller.recordings[self._shown]
        stem = recording.name.rsplit(".", 1)[0]
        path, _ = QFileDialog.getSaveFileName(self, "Save the words", f"{stem}.txt", _FORMATS)
        if path:
            problem = self._controller.export(self._shown, path)
            self.notice.show_notice(problem or "Saved.")

    def _ask(self) -> None:
        recording = self._controller.recordings[self._shown]
        self.to_chat.emit(recording.text, f"{recording.name}.txt")

    # -- drops --------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Recordings and films are written down here; everything else is the window's."""
        paths = paths_of(event.mimeData())
        if not paths or any(kind_of(path) not in ("audio", "video") for path in paths):
            event.ignore()
            return
        event.acceptProposedAction()
        self._hold(len(paths))

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """Nothing is dropped."""
        super().dragLeaveEvent(event)
        self._hold(0)

    def dropEvent(self, event: QDropEvent) -> None:
        """Write them down, one after the other; the last one is shown."""
        event.acceptProposedAction()
        self._hold(0)
        for path in paths_of(event.mimeData()):
            self.add(path)

    def _hold(self, count: int) -> None:
        self._held = count
        self._show_recording()

    # -- what it shows ------------------------------------------------------------------------

    def _select(self, recording_id: str) -> None:
        for row in range(self.list.count()):
            if self.list.item(row).data(Qt.ItemDataRole.UserRole) == recording_id:
                self.list.setCurrentRow(row)

    def _choose(self, item: QListWidgetItem | None) -> None:
        self._shown = item.data(Qt.ItemDataRole.UserRole) if item else ""
        for view in self._views:
            view.deleteLater()
        self._views.clear()
        self._show_recording()

    def _on_changed(self, recording_id: str) -> None:
        recording = self._controller.recordings.get(recording_id)
        ids = [self.list.item(i).data(Qt.ItemDataRole.UserRole) for i in range(self.list.count())]
        if recording is None and recording_id in ids:
            self.list.takeItem(ids.index(recording_id))
        elif recording is not None and recording_id not in ids:
            item = QListWidgetItem(recording.name)
            item.setData(Qt.ItemDataRole.UserRole, recording_id)
            item.setSizeHint(QSize(0, self._theme.px(_ROW)))
            self.list.addItem(item)
        self._show_recording()

    def _show_recording(self) -> None:
        recording = self._controller.recordings.get(self._shown)
        count = len(self._controller.recordings)
        self.list.setVisible(count > 0)
        self.list.setFixedHeight(min(4, count) * self._theme.px(_ROW) + self._theme.px(4))
        lines = recording.lines if recording else []
        for number in range(len(self._views), len(lines)):
            self._add_line(number, lines[number])
        words = _state_words(recording) if recording else ""
        self.state.setText(_drop_words(self._held) if self._held else words)
        running = recording is not None and recording.state in ("waiting", "running")
        self.progress.setVisible(running)
        self.progress.setValue(round(100 * recording.share) if recording else 0)
        self.stop_button.setVisible(running)
        self.remove_button.setVisible(recording is not None and not running)
        for button in (self.export_button, self.chat_button):
            button.setVisible(bool(lines))

    def _add_line(self, number: int, line: Line) -> None:
        view, shown = LineView(self._theme, line), self._shown
        view.edited.connect(lambda text: self._controller.edit(shown, number, text))
        self._views.append(view)
        self._lines.insertWidget(self._lines.count() - 1, view)


def _drop_words(count: int) -> str:
    return f"Let go to write {'it' if count == 1 else f'these {count} recordings'} down."


def _state_words(recording: Recording) -> str:
    if recording.state == "failed":
        return recording.problem
    words = [_STATES[recording.state], clock_words(recording.seconds) if recording.seconds else ""]
    if recording.state == "done" and not recording.lines:
        words.append("Nobody speaks in it.")
    if recording.language:
        words.append(f"in {recording.language}")
    return " · ".join(word for word in words if word)
