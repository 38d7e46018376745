"""Voice notes and video messages for a chat: recorded here, attached as files.

Sound becomes WAV files of at most 30 s; with the camera on, its pictures become a silent film that
is attached beside them (the model takes films as pictures and sound as sound). The chat keeps its
own copies; the files written here are gone with the app.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PySide6.QtCore import QObject, QTimer, Signal

from app.live.access import Access, Capture
from app.live.buffers import RATE
from app.live.clock import Clock, SystemClock
from app.live.voice_note import VoiceNote
from app.services.camera import CameraError, CameraSource
from app.services.film import FilmWriter
from app.services.microphone import MicrophoneError, MicrophoneSource
from app.services.permissions import Permissions

log = logging.getLogger(__name__)

_TICK_MS = 100


class RecorderController(QObject):
    """State of the recorder.

    Signals: `running_changed(bool)`; `progress()` ten times a second while it runs;
    `recorded(list)` (path, name) of the finished files; `failed(str)` one sentence.

    Args:
        permissions: what the system allows.
        microphone, camera: make the sources.
    """

    running_changed = Signal(bool)
    progress = Signal()
    recorded = Signal(list)
    failed = Signal(str)

    def __init__(
        self,
        permissions: Permissions,
        microphone: Callable[[Clock], MicrophoneSource],
        camera: Callable[[Clock], CameraSource],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.note = VoiceNote()
        self._permissions = permissions
        self._make_microphone, self._make_camera = microphone, camera
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self._microphone: MicrophoneSource | None = None
        self._camera: CameraSource | None = None
        self._film: FilmWriter | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._timer = QTimer(self, interval=_TICK_MS)
        self._timer.timeout.connect(self._tick)

    @property
    def running(self) -> bool:
        """Something is being recorded."""
        return self._microphone is not None

    @property
    def filming(self) -> bool:
        """The camera is on."""
        return self._camera is not None

    def start(self) -> None:
        """Begin a voice note; the system's question comes first where it was never asked."""
        if self.running:
            return
        self._when_allowed(Capture.MICROPHONE, self._open_microphone)

    def film(self) -> None:
        """Add the camera to the running note."""
        if self.running and not self.filming:
            self._when_allowed(Capture.CAMERA, self._open_camera)

    def finish(self) -> None:
        """Stop and hand over what was recorded."""
        if not self.running:
            return
        film = self._film
        self._close()
        with self._lock:
            parts = self.note.finish()
        try:
            files = _write(parts, self._new_folder()) if parts else []
            if film is not None and (path := film.finish()):
                files.insert(0, (str(path), "Video message.mp4"))
        except OSError as problem:
            self.failed.emit(f"The recording could not be saved ({problem.strerror}).")
            return
        if files:
            self.recorded.emit(files)

    def cancel(self) -> None:
        """Stop and forget it."""
        film = self._film
        self._close()
        if film is not None:
            film.discard()

    def close(self) -> None:
        """The app ends: nothing recorded stays behind."""
        self.cancel()
        if self._folder is not None:
            self._folder.cleanup()

    def _new_folder(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="facet-notes-", ignore_cleanup_errors=True
            )
        return Path(tempfile.mkdtemp(dir=self._folder.name))

    def _when_allowed(self, capture: Capture, then: Callable[[], None]) -> None:
        state = self._permissions.state(capture)
        if state is Access.NOT_ASKED:
            self._permissions.request(capture, lambda given: self._on_answer(capture, given, then))
        else:
            self._on_answer(capture, state, then)

    def _on_answer(self, capture: Capture, given: Access, then: Callable[[], None]) -> None:
        if given is Access.GRANTED:
            then()
        else:
            self.failed.emit(f"Facet may not use the {capture}. Allow it in System Settings.")

    def _open_microphone(self) -> None:
        self.note = VoiceNote()
        microphone = self._make_microphone(self._clock)
        try:
            microphone.start(self._on_sound)
        except MicrophoneError as problem:
            self.failed.emit(str(problem))
            return
        self._microphone = microphone
        self._timer.start()
        self.running_changed.emit(True)

    def _open_camera(self) -> None:
        try:
            camera = self._make_camera(self._clock)
            self._film = FilmWriter(self._new_folder() / "message.mp4")
            camera.start(self._film.add)
        except CameraError as problem:
            self._film = None
            self.failed.emit(str(problem))
            return
        self._camera = camera
        self.running_changed.emit(True)

    def _on_sound(self, pcm: np.ndarray, _t: float) -> None:
        with self._lock:
            self.note.feed(pcm)

    def _tick(self) -> None:
        if self._microphone is not None and self._microphone.problem():
            self.failed.emit("The microphone is gone; what was recorded so far is attached.")
            self.finish()
            return
        self.progress.emit()

    def _close(self) -> None:
        microphone, self._microphone = self._microphone, None
        camera, self._camera = self._camera, None
        self._film = None
        self._timer.stop()
        for source in (microphone, camera):
            if source is not None:
                source.stop()
        self.running_changed.emit(False)


def _write(parts: list[np.ndarray], folder: Path) -> list[tuple[str, str]]:
    """Each part as a 16 bit WAV: (path, name to show)."""
    stamp = time.strftime("%H.%M")
    files = []
    for number, part in enumerate(parts, start=1):
        name = f"Voice note {stamp}" + (f", part {number}" if len(parts) > 1 else "") + ".wav"
        path = folder / f"{number}.wav"
        soundfile.write(path, part, RATE, subtype="PCM_16")
        files.append((str(path), name))
    return files
