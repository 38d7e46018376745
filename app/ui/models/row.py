"""One model in the list: name, size, what it takes in, the verdict, one button."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QBoxLayout,
    QHBoxLayout,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from app.controllers.model_controller import ModelRow
from app.core.events import Fit
from app.services.downloads import DownloadState
from app.ui.models.words import TAKES, download_words, size_words, takes_of, takes_words, verdict
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Card, ElidedLabel, IconLabel, Label

PROGRESS_STEPS = 1000
NARROW = 420
# Downloads that move only when the person says so.
STILL = (DownloadState.PAUSED, DownloadState.FAILED)
_VERDICT_ROLES = {Fit.FITS: "ok", Fit.TIGHT: "warn", Fit.WONT: "danger"}


class CapabilityGlyphs(QWidget):
    """Aa, picture, film, ear: what a model takes in."""

    def __init__(self, theme: Theme, row: ModelRow) -> None:
        super().__init__()
        takes = takes_of(row)
        self.setAccessibleName(takes_words(takes))
        self.setToolTip(takes_words(takes).capitalize())
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(theme.px(6))
        for icon_name, name, test in TAKES:
            if test(takes):
                glyph = IconLabel(theme, icon_name, "secondary", 16)
                glyph.setToolTip(name.capitalize())
                line.addWidget(glyph)


class ModelRowWidget(Card):
    """`action(name, row)`: use, unload, download, pause, discard, delete."""

    action = Signal(str, object)

    def __init__(self, theme: Theme, row: ModelRow, *, show_details: bool) -> None:
        super().__init__("card")
        self._theme = theme
        self.row = row
        self._progress: QProgressBar | None = None
        self._progress_words: Label | None = None
        self.setAccessibleName(f"{row.label}, {takes_words(takes_of(row))}")
        self._head = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(theme.px(16), theme.px(10), theme.px(12), theme.px(10))
        self._column.setSpacing(theme.px(6))
        self._column.addLayout(self._build_head())
        self._details = self._build_details(show_details=show_details)
        self._details.setVisible(show_details)
        self._column.addWidget(self._details)
        if row.download is not None:
            self._build_progress()

    def update_download(self, row: ModelRow) -> None:
        """Move the bar; the row itself stays."""
        self.row = row
        if row.download is None or self._progress is None or self._progress_words is None:
            return
        total = max(1, row.download.total)
        self._progress.setValue(round(PROGRESS_STEPS * row.download.done / total))
        words = download_words(row.download)
        self._progress_words.setText(words)
        self._progress.setAccessibleDescription(words)

    def take_focus(self) -> None:
        """Give the keyboard to the row's first button."""
        buttons = self.findChildren(QAbstractButton)
        first = next((b for b in buttons if b.isVisibleTo(self)), None)
        if first is not None:
            first.setFocus(Qt.FocusReason.OtherFocusReason)

    def _build_head(self) -> QBoxLayout:
        theme, row = self._theme, self.row
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(ElidedLabel(row.label))
        words.addWidget(self._facts())
        right = QHBoxLayout()
        right.setSpacing(theme.px(12))
        right.addWidget(CapabilityGlyphs(theme, row))
        right.addStretch()
        for button in self._buttons():
            right.addWidget(button)
        self._head.setSpacing(theme.px(8))
        self._head.addLayout(words, 1)
        self._head.addLayout(right)
        return self._head

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Glyphs and button go below the name where there is no room beside it."""
        super().resizeEvent(event)
        down = self.width() < self._theme.px(NARROW)
        direction = QBoxLayout.Direction
        self._head.setDirection(direction.TopToBottom if down else direction.LeftToRight)

    def _facts(self) -> QWidget:
        holder = QWidget()
        line = QHBoxLayout(holder)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(self._theme.px(8))
        size = self.row.info.size if self.row.info else 0
        size = size or (self.row.known.size if self.row.known else 0)
        if size:
            line.addWidget(Label(size_words(size), "secondary"), 0, Qt.AlignmentFlag.AlignTop)
        elif self.row.plan is not None:
            about = Label(f"about {size_words(self.row.plan.weights)}", "secondary")
            line.addWidget(about, 0, Qt.AlignmentFlag.AlignTop)
        problem = self.row.info.problem if self.row.info else ""
        words = problem or verdict(self.row.plan)
        if words:
            role = "danger" if problem else "secondary"
            if self.row.plan is not None and not problem:
                role = _VERDICT_ROLES[self.row.plan.fit]
            line.addWidget(Label(words, role, wrap=True), 1)
        else:
            line.addStretch()
        return holder

    def _buttons(self) -> list[QWidget]:
        theme, row = self._theme, self.row
        if row.download is not None:
            paused = row.download.state in STILL
            main = ("Go on", "download") if paused else ("Pause", "pause")
            buttons: list[QWidget] = [self._text_button(*main)]
            if paused:
                buttons.append(self._icon_button("x", "Forget this download", "discard"))
            return buttons
        if row.loaded:
            return [Label("In use", "ok"), self._more_button()]
        if row.installed:
            return [self._text_button("Use", "use"), self._more_button()]
        button = TextButton(theme, "Download")
        button.setAccessibleName(f"Download {row.label}")
        button.clicked.connect(lambda: self.action.emit("download", self.row))
        return [button]

    def _text_button(self, words: str, action: str) -> TextButton:
        button = TextButton(self._theme, words)
        button.setAccessibleName(f"{words}: {self.row.label}")
        button.clicked.connect(lambda: self.action.emit(action, self.row))
        return button

    def _icon_button(self, icon_name: str, words: str, action: str) -> IconButton:
        button = IconButton(self._theme, icon_name, words)
        button.clicked.connect(lambda: self.action.emit(action, self.row))
        return button

    def _more_button(self) -> IconButton:
        button = IconButton(self._theme, "chevron-down", f"Details of {self.row.label}")
        button.setCheckable(True)
        button.toggled.connect(self._details_shown)
        return button

    def _details_shown(self, shown: bool) -> None:
        self._details.setVisible(shown)

    def _build_details(self, *, show_details: bool) -> QWidget:
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(self._theme.px(4))
        for words in self._detail_lines(show_details=show_details):
            label = Label(words, "caption", wrap=True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            column.addWidget(label)
        info = self.row.info
        line = QHBoxLayout()
        if self.row.loaded:
            line.addWidget(self._text_button("Free its memory", "unload"))
        if info is not None and info.source != "demo":
            delete = TextButton(self._theme, "Delete …", "danger")
            delete.setAccessibleName(f"Delete {self.row.label}")
            delete.clicked.connect(lambda: self.action.emit("delete", self.row))
            line.addWidget(delete)
        line.addStretch()
        column.addLayout(line)
        return holder

    def _detail_lines(self, *, show_details: bool) -> list[str]:
        lines = []
        info, plan = self.row.info, self.row.plan
        if info is not None:
            lines.append(info.path)
        elif self.row.known is not None:
            lines.append(self.row.known.repo)
        if show_details and info is not None and info.context_tokens:
            lines.append(f"{info.architecture} · context {info.context_tokens:,} tokens")
        if plan is not None:
            lines.append(
                f"Needs {size_words(plan.total)} of {size_words(plan.available)}: "
                f"weights {size_words(plan.weights)}, chat {size_words(plan.kv_cache)}, "
                f"peak while reading {size_words(plan.prefill_peak)}"
            )
        if plan is not None and plan.on_disk:
            lines.append(f"{size_words(plan.on_disk)} of it stays on disk and is read as needed.")
        return lines

    def _build_progress(self) -> None:
        self._progress = QProgressBar()
        self._progress.setRange(0, PROGRESS_STEPS)
        self._progress.setTextVisible(False)
        self._progress.setAccessibleName(f"Download of {self.row.label}")
        self._progress_words = Label("", "caption")
        self._column.addWidget(self._progress)
        self._column.addWidget(self._progress_words)
        self.update_download(self.row)
