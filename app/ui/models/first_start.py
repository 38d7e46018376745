"""The first page: this Mac in three facts, the demo to try, one model to get."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QBoxLayout,
    QHBoxLayout,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from app.controllers.model_controller import ModelController
from app.core.events import Capabilities
from app.ui.models.row import PROGRESS_STEPS
from app.ui.models.words import download_words, size_words, takes_words, time_words, verdict
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Card, IconLabel, Label
from app.ui.widgets.scrolled import scrolled

PAGE_WIDTH = 640
# A usual home line, to say how long a download takes before one has begun.
ASSUMED_BYTES_PER_SECOND = 6_000_000


class FirstStart(QWidget):
    """`demo_wanted`: load the demo and open a chat; `models_wanted`: show the whole list."""

    demo_wanted = Signal()
    models_wanted = Signal()

    def __init__(self, theme: Theme, models: ModelController) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._models = models
        self._build()
        models.rows_changed.connect(self.refresh)
        self.refresh()

    def _build(self) -> None:
        theme = self._theme
        inner = QWidget()
        inner.setMaximumWidth(theme.px(PAGE_WIDTH))
        column = QVBoxLayout(inner)
        column.setContentsMargins(24, 24, 24, 24)
        column.setSpacing(theme.px(12))
        column.addStretch(1)
        column.addWidget(Label("Welcome to Facet", "title"))
        words = "Talk to Gemma 4, show it things, drop files on it. Everything stays on this Mac."
        column.addWidget(Label(words, "secondary", wrap=True))
        column.addSpacing(theme.px(4))
        column.addWidget(self._build_facts())
        column.addWidget(self._build_demo())
        column.addWidget(self._build_recommended())
        column.addWidget(self._build_own())
        column.addStretch(2)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Welcome"))

    def _build_facts(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(self._theme.px(24))
        self._chip, self._disk, self._installed = Label(), Label(), Label()
        for icon_name, label in (
            ("cpu", self._chip),
            ("hard-drive", self._disk),
            ("layers", self._installed),
        ):
            label.setProperty("role", "secondary")
            label.setWordWrap(True)
            pair = QHBoxLayout()
            pair.setSpacing(self._theme.px(8))
            pair.addWidget(IconLabel(self._theme, icon_name))
            pair.addWidget(label, 1)
            row.addLayout(pair, 1)
        return holder

    def _card(
        self, icon_name: str, title: Label, words: Label, buttons: list[TextButton]
    ) -> tuple[Card, QVBoxLayout]:
        card = Card("card")
        row = QHBoxLayout(card)
        row.setContentsMargins(*[self._theme.px(16)] * 4)
        row.setSpacing(self._theme.px(16))
        mark = IconLabel(self._theme, icon_name, "accent", 20)
        row.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(self._theme.px(4))
        title.setWordWrap(True)
        column.addWidget(title)
        column.addWidget(words)
        row.addLayout(column, 1)
        for button in buttons:
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        return card, column

    def _build_demo(self) -> Card:
        self.demo_button = TextButton(self._theme, "Try it now", "primary")
        self.demo_button.clicked.connect(self.demo_wanted)
        words = Label(
            "A tiny model that is here already. It names coloured shapes in a picture, reads "
            "printed lines and writes down short spoken commands.",
            "secondary",
            wrap=True,
        )
        self._demo, _ = self._card("play", Label("Try the demo"), words, [self.demo_button])
        return self._demo

    def _build_recommended(self) -> Card:
        self.get_button = TextButton(self._theme, "Download")
        self.get_button.clicked.connect(self._on_get)
        self._name = Label()
        self._facts = Label("", "secondary", wrap=True)
        card, column = self._card("download", self._name, self._facts, [self.get_button])
        self._verdict = Label("", "ok")
        column.addWidget(self._verdict)
        self._bar = QProgressBar()
        self._bar.setRange(0, PROGRESS_STEPS)
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Download")
        self._bar.hide()
        column.addWidget(self._bar)
        return card

    def _build_own(self) -> QWidget:
        self.own_button = TextButton(
            self._theme, "Use models I already have", "chip", icon_name="folder"
        )
        self.own_button.setToolTip("Looks into the folders of Hugging Face and LM Studio")
        self.own_button.clicked.connect(self._on_own)
        holder = QWidget()
        row = QBoxLayout(QBoxLayout.Direction.LeftToRight, holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.own_button)
        row.addStretch()
        return holder

    def focus_main(self) -> None:
        """Put the keyboard on what most people want next."""
        button = self.demo_button if self._models.demo_path() else self.get_button
        button.setFocus(Qt.FocusReason.OtherFocusReason)

    def refresh(self) -> None:
        """Show the facts, the verdict and the download as they are now."""
        facts = self._models.facts()
        self._chip.setText(f"{facts.chip}, {facts.memory / 2**30:.0f} GB memory")
        self._disk.setText(f"{size_words(facts.free_disk)} free on the disk")
        rows = self._models.rows()
        count = sum(1 for r in rows if r.installed and r.info and r.info.source != "demo")
        words = {0: "No model installed yet", 1: "1 model installed"}
        self._installed.setText(words.get(count, f"{count} models installed"))
        self._demo.setVisible(bool(self._models.demo_path()))
        self._show_recommended()

    def _show_recommended(self) -> None:
        model = self._models.recommended()
        row = next((r for r in self._models.rows() if r.known == model), None)
        wait = time_words(model.size / ASSUMED_BYTES_PER_SECOND)
        takes = takes_words(Capabilities(image=True, video=True, audio=model.hears))
        self._name.setText(f"For this Mac: {model.label}")
        self._facts.setText(f"{size_words(model.size)}, about {wait} to download; {takes}.")
        words = verdict(row.plan if row else None)
        self._verdict.setText(words[:1].upper() + words[1:])
        self._verdict.setVisible(bool(words))
        status = row.download if row else None
        self._bar.setVisible(status is not None)
        installed = row is not None and row.installed
        self.get_button.set_text("Use" if installed else "Pause" if status else "Download")
        if status is not None:
            self._bar.setValue(round(PROGRESS_STEPS * status.done / max(1, status.total)))
            self._facts.setText(download_words(status))

    def _on_get(self) -> None:
        model = self._models.recommended()
        row = next((r for r in self._models.rows() if r.known == model), None)
        if row is not None and row.info is not None and row.installed:
            self._models.load(row.info.path)
        elif row is not None and row.download is not None:
            self._models.pause(model.repo)
        else:
            self._models.download(model.repo)

    def _on_own(self) -> None:
        self._models.refresh()
        self.models_wanted.emit()
