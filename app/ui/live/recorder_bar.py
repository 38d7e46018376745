"""The strip above the composer while a voice note or video message is recorded."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.controllers.recorder_controller import RecorderController
from app.live.voice_note import PART_S
from app.ui.live.level_meter import ClipRing, LevelMeter
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, TextButton
from app.ui.widgets.labels import Card, Label


class RecorderBar(Card):
    """Level, a ring that counts 30 seconds down, camera, finish and cancel; hidden when idle."""

    def __init__(
        self, theme: Theme, recorder: RecorderController, parent: QWidget | None = None
    ) -> None:
        super().__init__("composer")
        self.setParent(parent)
        self._recorder = recorder
        self.setAccessibleName("Recording a voice note")
        self.label = Label("Recording", "section")
        self.meter, self.ring = LevelMeter(theme), ClipRing(theme)
        self.rest = Label("", "caption")
        self.camera_button = IconButton(theme, "camera", "Add the camera")
        self.cancel_button = TextButton(theme, "Cancel", icon_name="x")
        self.done_button = TextButton(theme, "Attach", "primary", icon_name="check")
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(12), theme.px(6), theme.px(8), theme.px(6))
        row.setSpacing(theme.px(8))
        row.addWidget(self.label)
        row.addWidget(self.meter, 1)
        for widget in (
            self.ring, self.rest, self.camera_button, self.cancel_button, self.done_button
        ):  # fmt: skip
            row.addWidget(widget)
        self.camera_button.clicked.connect(recorder.film)
        self.cancel_button.clicked.connect(recorder.cancel)
        self.done_button.clicked.connect(recorder.finish)
        recorder.running_changed.connect(self._on_running)
        recorder.progress.connect(self.show_progress)
        self.hide()

    def _on_running(self, running: bool) -> None:
        self.setVisible(running)
        self.label.setText("Filming" if self._recorder.filming else "Recording")
        self.camera_button.setEnabled(not self._recorder.filming)
        if not running:
            self.meter.clear()
            self.ring.set_seconds(0)

    def show_progress(self) -> None:
        """The newest level and times."""
        note = self._recorder.note
        if (level := note.level) is not None:
            self.meter.add(level.level_db, level.threshold_db, speech=level.speech)
        self.ring.set_seconds(max(0.1, note.seconds))
        left = f"{max(0.0, PART_S - note.seconds):.0f} s left"
        self.rest.setText(f"{left}, part {len(note.parts) + 1}" if note.parts else left)
