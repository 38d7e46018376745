"""Trying microphone, camera and speaker out: the level as it comes, three seconds and their echo.

Nothing is kept: what was recorded is forgotten when the page closes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.live.access import Access, Capture
from app.live.buffers import RATE, Frame, LatestFrame
from app.live.clock import Clock, SystemClock
from app.live.echo import EchoReference
from app.live.spoken_text import Piece
from app.live.vad import level_db
from app.services.camera import CameraError, CameraSource
from app.services.microphone import MicrophoneError, MicrophoneSource
from app.services.permissions import Permissions
from app.services.playback import Speaker

RECORD_SECONDS = 3.0
TONE_SECONDS = 0.8
TONE_HERTZ = 440.0
TICK_MS = 50
SILENCE_DB = -100.0
# Below this nothing was heard: a muted microphone gives exact or nearly exact silence.
HEARD_DB = -60.0
# A little rest after the last sample, so that the device can finish playing it.
_TAIL_SECONDS = 0.3


class Trial(StrEnum):
    """What is going on."""

    IDLE = "idle"
    RECORDING = "recording"
    PLAYING = "playing"


class DeviceTest(QObject):
    """`changed`: anything shown changed; `tick`: a new level and, with the camera on, a picture.

    Args:
        permissions: what the system allows.
        microphone, speaker, camera: make the devices of the settings.
    """

    changed = Signal()
    tick = Signal()

    def __init__(
        self,
        permissions: Permissions,
        microphone: Callable[[Clock], MicrophoneSource],
        speaker: Callable[[Clock, EchoReference], Speaker],
        camera: Callable[[Clock], CameraSource],
        parent: QObject | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(parent)
        self._permissions = permissions
        self._make_microphone, self._make_speaker = microphone, speaker
        self._make_camera = camera
        self._clock = clock or SystemClock()
        self._microphone: MicrophoneSource | None = None
        self._camera: CameraSource | None = None
        self._speaker: Speaker | None = None
        self._frames = LatestFrame()
        self._pieces: list[np.ndarray] = []
        self._ends_at = 0.0
        self.trial = Trial.IDLE
        self.level_db = SILENCE_DB
        self.access = {Capture.MICROPHONE: Access.NOT_ASKED, Capture.CAMERA: Access.NOT_ASKED}
        self.speaker_problem = ""
        self.verdict = ""
        """What the last recording says about the microphone, in one sentence."""
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._on_tick)

    # --- what the person does --------------------------------------------------------------------

    def start(self) -> None:
        """Show the level, if the microphone is allowed already; nothing is asked."""
        for capture in self.access:
            self.access[capture] = self._permissions.state(capture)
        self._timer.start()
        if self.access[Capture.MICROPHONE] is Access.GRANTED:
            self._open_microphone()
        self.changed.emit()

    def stop(self) -> None:
        """Release everything and forget what was recorded."""
        self._timer.stop()
        self.close_camera()
        self._end_trial()
        if self._microphone is not None:
            self._microphone.stop()
            self._microphone = None
        self._pieces.clear()
        self.level_db = SILENCE_DB
        self.verdict = self.speaker_problem = ""

    def act(self, capture: Capture, action: str) -> None:
        """The button of an access card: "ask", "settings" or "retry"."""
        if action == "settings":
            self._permissions.open_settings(capture)
        elif action == "ask":
            self._permissions.request(capture, lambda access: self._on_answer(capture, access))
        else:
            self._open(capture)

    def record(self) -> None:
        """Record three seconds and play them back."""
        if self._microphone is not None and self.trial is Trial.IDLE:
            self._pieces.clear()
            self.verdict = ""
            self._begin(Trial.RECORDING, RECORD_SECONDS)

    def play_tone(self) -> None:
        """A short tone from the speaker."""
        if self.trial is Trial.IDLE:
            times = np.arange(int(TONE_SECONDS * RATE)) / RATE
            # Faded in and out over 20 ms: a hard edge would click.
            fade = np.clip(np.minimum(times, TONE_SECONDS - times) / 0.02, 0, 1)
            self._play((0.2 * np.sin(2 * np.pi * TONE_HERTZ * times) * fade).astype(np.float32))

    def open_camera(self) -> None:
        """Show the camera's picture; asks for permission where it was never asked."""
        self.access[Capture.CAMERA] = self._permissions.state(Capture.CAMERA)
        if self.access[Capture.CAMERA] is Access.NOT_ASKED:
            self.act(Capture.CAMERA, "ask")
        else:
            self._open(Capture.CAMERA)

    def close_camera(self) -> None:
        """Switch the camera off."""
        if self._camera is not None:
            self._camera.stop()
            self._camera = None
            self._frames.clear()
            self.changed.emit()

    # --- what is shown ---------------------------------------------------------------------------

    @property
    def listening(self) -> bool:
        """The microphone is open."""
        return self._microphone is not None

    @property
    def looking(self) -> bool:
        """The camera is on."""
        return self._camera is not None

    @property
    def seconds_left(self) -> float:
        """Of the present recording or playing."""
        return max(0.0, self._ends_at - self._clock.now())

    def newest_frame(self) -> Frame | None:
        """The camera's newest picture."""
        return self._frames.peek() if self._camera is not None else None

    # --- inside ----------------------------------------------------------------------------------

    def _on_answer(self, capture: Capture, access: Access) -> None:
        self.access[capture] = access
        if access is Access.GRANTED:
            self._open(capture)
        self.changed.emit()

    def _open(self, capture: Capture) -> None:
        self.access[capture] = self._permissions.state(capture)
        if self.access[capture] is Access.GRANTED:
            self._open_camera() if capture is Capture.CAMERA else self._open_microphone()
        self.changed.emit()

    def _open_microphone(self) -> None:
        if self._microphone is not None:
            self._microphone.stop()
            self._microphone = None
        try:
            microphone = self._make_microphone(self._clock)
            microphone.start(self._on_sound)
        except MicrophoneError as problem:
            self.access[Capture.MICROPHONE] = problem.access
            return
        self._microphone = microphone

    def _open_camera(self) -> None:
        try:
            camera = self._make_camera(self._clock)
            camera.start(self._frames.put)
        except CameraError as problem:
            self.access[Capture.CAMERA] = problem.access
            return
        self._camera = camera

    def _on_sound(self, pcm: np.ndarray, _t: float) -> None:
        """On the device's thread: keep only what the timer reads."""
        self.level_db = level_db(pcm)
        if self.trial is Trial.RECORDING:
            self._pieces.append(pcm)

    def _on_tick(self) -> None:
        self._look_for_loss()
        if self.trial is not Trial.IDLE and not self.seconds_left:
            if self.trial is Trial.RECORDING:
                self._recorded()
            else:
                self._end_trial()
        self.tick.emit()

    def _look_for_loss(self) -> None:
        for capture, device in (
            (Capture.MICROPHONE, self._microphone),
            (Capture.CAMERA, self._camera),
        ):
            problem = device.problem() if device is not None else None
            if device is not None and problem is not None:
                device.stop()
                self.access[capture] = problem
                if capture is Capture.CAMERA:
                    self._camera = None
                else:
                    self._microphone = None
                    self._end_trial()
                self.changed.emit()

    def _recorded(self) -> None:
        pcm = np.concatenate([np.zeros(0, np.float32), *self._pieces])
        loudest = max((level_db(piece) for piece in self._pieces), default=SILENCE_DB)
        heard = loudest > HEARD_DB
        self.verdict = (
            "The microphone hears you."
            if heard
            else "Nothing was heard. Is the microphone muted, or another one chosen?"
        )
        self.trial = Trial.IDLE
        self._play(pcm)

    def _play(self, pcm: np.ndarray) -> None:
        self.speaker_problem = ""
        try:
            self._speaker = self._make_speaker(self._clock, EchoReference())
            self._speaker.start()
        except MicrophoneError as problem:
            self._speaker = None
            self.speaker_problem = str(problem)
            self.changed.emit()
            return
        self._speaker.mixer.play(Piece("", 0, ""), pcm, RATE)
        self._begin(Trial.PLAYING, len(pcm) / RATE + _TAIL_SECONDS)

    def _begin(self, trial: Trial, seconds: float) -> None:
        self._ends_at = self._clock.now() + seconds
        self.trial = trial
        self.changed.emit()

    def _end_trial(self) -> None:
        self.trial = Trial.IDLE
        if self._speaker is not None:
            self._speaker.stop()
            self._speaker = None
        self.changed.emit()
