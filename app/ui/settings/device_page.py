"""Try microphone, camera and speaker out, without a model and without a talk."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.controllers.device_test import HEARD_DB, DeviceTest, Trial
from app.live.access import Access, Capture, access_card
from app.ui.live.level_meter import LevelMeter
from app.ui.live.preview import AccessPanel, CameraPreview
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Card, Label
from app.ui.widgets.scrolled import scrolled

PAGE_WIDTH = 640
PREVIEW_HEIGHT = 270


class DevicePage(QWidget):
    """Devices are open only while the page is on show. `back`: to the settings."""

    back = Signal()

    def __init__(self, theme: Theme, test: DeviceTest) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme, self._test = theme, test
        self._build()
        test.changed.connect(self._show_state)
        test.tick.connect(self._on_tick)

    # --- building --------------------------------------------------------------------------------

    def _build(self) -> None:
        inner = QWidget()
        inner.setMaximumWidth(self._theme.px(PAGE_WIDTH))
        column = QVBoxLayout(inner)
        column.setContentsMargins(24, 20, 24, 32)
        column.setSpacing(self._theme.px(8))
        back = TextButton(self._theme, "Settings", "chip", icon_name="chevron-left")
        back.setAccessibleName("Back to the settings")
        back.clicked.connect(self.back)
        column.addWidget(back, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(Label("Microphone, speaker and camera", "title", wrap=True))
        words = "Nothing of this is kept, and no model listens or looks."
        column.addWidget(Label(words, "secondary", wrap=True))
        for title, card in (
            ("Microphone", self._build_microphone()),
            ("Speaker", self._build_speaker()),
            ("Camera", self._build_camera()),
        ):
            column.addSpacing(self._theme.px(8))
            column.addWidget(Label(title, "section"))
            column.addWidget(card)
        column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Microphone, speaker and camera"))

    def _card(self) -> tuple[Card, QVBoxLayout]:
        card = Card("card")
        column = QVBoxLayout(card)
        column.setContentsMargins(*[self._theme.px(16)] * 4)
        column.setSpacing(self._theme.px(12))
        return card, column

    def _build_microphone(self) -> Card:
        card, column = self._card()
        self.meter = LevelMeter(self._theme)
        self.microphone_panel = AccessPanel(self._theme)
        self.microphone_panel.acted.connect(lambda act: self._test.act(Capture.MICROPHONE, act))
        self.record_button = TextButton(self._theme, "Record 3 seconds and play them back")
        self.record_button.clicked.connect(self._test.record)
        self.microphone_words = Label("", "secondary", wrap=True)
        column.addWidget(self.microphone_panel)
        column.addWidget(self.meter)
        column.addLayout(self._row(self.record_button, self.microphone_words))
        return card

    def _build_speaker(self) -> Card:
        card, column = self._card()
        self.tone_button = TextButton(self._theme, "Play a tone")
        self.tone_button.clicked.connect(self._test.play_tone)
        self.speaker_words = Label("", "danger", wrap=True)
        column.addLayout(self._row(self.tone_button, self.speaker_words))
        return card

    def _build_camera(self) -> Card:
        card, column = self._card()
        self.preview = CameraPreview(self._theme, self._test.newest_frame)
        self.preview.setFixedHeight(self._theme.px(PREVIEW_HEIGHT))
        self.preview.panel.acted.connect(lambda act: self._test.act(Capture.CAMERA, act))
        self.camera_button = TextButton(self._theme, "Switch the camera on")
        self.camera_button.clicked.connect(self._on_camera)
        column.addWidget(self.preview)
        column.addWidget(self.camera_button, 0, Qt.AlignmentFlag.AlignLeft)
        return card

    def _row(self, button: TextButton, words: Label) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(self._theme.px(12))
        row.addWidget(button)
        row.addWidget(words, 1)
        return row

    # --- what happens ----------------------------------------------------------------------------

    def _on_camera(self) -> None:
        if self._test.looking:
            self._test.close_camera()
        else:
            self._test.open_camera()

    def _on_tick(self) -> None:
        if self._test.listening:
            level = self._test.level_db
            self.meter.add(level, HEARD_DB, speech=level > HEARD_DB)
        self.preview.refresh()
        if self._test.trial is not Trial.IDLE:
            self._show_trial()

    def _show_state(self) -> None:
        test = self._test
        card = access_card(Capture.MICROPHONE, test.access[Capture.MICROPHONE])
        self.microphone_panel.show_card(card)
        self.meter.setVisible(card is None)
        idle = test.trial is Trial.IDLE
        self.record_button.setVisible(card is None)
        self.record_button.setEnabled(idle and test.listening)
        self.tone_button.setEnabled(idle)
        self.speaker_words.setText(test.speaker_problem)
        camera = test.access[Capture.CAMERA]
        asked = camera is not Access.NOT_ASKED
        self.preview.panel.show_card(access_card(Capture.CAMERA, camera) if asked else None)
        self.preview.set_on(test.looking)
        self.camera_button.set_text(f"Switch the camera {'off' if test.looking else 'on'}")
        self._show_trial()

    def _show_trial(self) -> None:
        left = f"{self._test.seconds_left:.0f} s"
        words = {
            Trial.RECORDING: f"Say something … {left}",
            Trial.PLAYING: "Playing …",
            Trial.IDLE: self._test.verdict,
        }
        self.microphone_words.setText(words[self._test.trial])

    def showEvent(self, event: QShowEvent) -> None:
        """Listen while the page is on show."""
        super().showEvent(event)
        self._test.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Release the devices."""
        super().hideEvent(event)
        self._test.stop()
        self.meter.clear()
