"""Cameras and the screen through Qt Multimedia, on the UI thread.

The fallback for cameras that OpenCV cannot open, and the only way to look at the screen.
"""

from __future__ import annotations

import logging

import numpy as np
from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtMultimedia import (
    QCamera,
    QCameraDevice,
    QMediaCaptureSession,
    QMediaDevices,
    QScreenCapture,
    QVideoFrame,
    QVideoSink,
)

from app.live.access import Access
from app.live.clock import Clock
from app.services.camera import LONGEST_SIDE, CameraError, FrameSink, fitted

log = logging.getLogger(__name__)

_FIRST_PICTURE_MS = 4000


def rgb_of(frame: QVideoFrame, longest: int = LONGEST_SIDE) -> np.ndarray | None:
    """A frame as uint8 [height, width, 3]; None where it cannot be read."""
    image = frame.toImage()
    if image.isNull():
        return None
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    width, height = image.width(), image.height()
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(height, image.bytesPerLine())
    return fitted(rows[:, : 3 * width].reshape(height, width, 3), longest)


class _QtSource(QObject):
    """Frames of a capture session as a `CameraSource`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._session: QMediaCaptureSession | None = None
        self._sink: QVideoSink | None = None
        self._problem: Access | None = None
        self._watch = QTimer(self, singleShot=True, interval=_FIRST_PICTURE_MS)
        self._watch.timeout.connect(self._no_picture)

    def start(self, sink: FrameSink) -> None:
        """Begin to deliver. Raises CameraError."""
        self._problem = None
        self._session, self._sink = QMediaCaptureSession(self), QVideoSink(self)
        self._session.setVideoSink(self._sink)
        self._sink.videoFrameChanged.connect(lambda frame: self._deliver(frame, sink))
        self._open(self._session)
        self._watch.start()

    def stop(self) -> None:
        """Close the device."""
        self._watch.stop()
        self._close()
        if self._sink is not None:
            self._sink.disconnect(self)
            self._sink.deleteLater()
        if self._session is not None:
            self._session.deleteLater()
        self._session = self._sink = None

    def problem(self) -> Access | None:
        """What went wrong since the start."""
        return self._problem

    def _open(self, session: QMediaCaptureSession) -> None:
        raise AttributeError("a source defines what it opens")

    def _close(self) -> None:
        raise AttributeError("a source defines what it closes")

    def _deliver(self, frame: QVideoFrame, sink: FrameSink) -> None:
        self._watch.stop()
        if self._session is not None and (rgb := rgb_of(frame)) is not None:
            sink(rgb, self._clock.now())

    def _no_picture(self) -> None:
        self._problem = self._problem or Access.BUSY

    def _failed(self, access: Access, words: str) -> None:
        log.warning("video source: %s", words)
        self._problem = access


class QtCamera(_QtSource):
    """A camera opened by Qt.

    Args:
        clock: stamps the frames.
        device: Qt's id, "" for the first camera.
    """

    def __init__(self, clock: Clock, device: str = "") -> None:
        super().__init__(clock)
        self._device = device
        self._camera: QCamera | None = None

    def _open(self, session: QMediaCaptureSession) -> None:
        found = [
            device
            for device in QMediaDevices.videoInputs()
            if self._device in ("", bytes(device.id().data()).decode(errors="replace"))
        ]
        if not found:
            raise CameraError(Access.NO_DEVICE, "No camera was found. Connect one and try again.")
        self._camera = QCamera(found[0], self)
        self._camera.errorOccurred.connect(lambda _kind, words: self._failed(Access.LOST, words))
        self._set_format(self._camera, found[0])
        session.setCamera(self._camera)
        self._camera.start()

    def _set_format(self, camera: QCamera, device: QCameraDevice) -> None:
        """The format that the system prefers; whoever needs another one chooses here."""

    def _close(self) -> None:
        if self._camera is not None:
            self._camera.stop()
            self._camera.deleteLater()
            self._camera = None


class ScreenCamera(_QtSource):
    """The main screen as camera."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._capture: QScreenCapture | None = None

    def _open(self, session: QMediaCaptureSession) -> None:
        screen = QGuiApplication.primaryScreen()
        if screen is None:
            raise CameraError(Access.NO_DEVICE, "There is no screen to look at.")
        self._capture = QScreenCapture(self)
        self._capture.setScreen(screen)
        self._capture.errorOccurred.connect(self._on_error)
        session.setScreenCapture(self._capture)
        self._capture.setActive(True)

    def _on_error(self, kind: QScreenCapture.Error, words: str) -> None:
        denied = kind is QScreenCapture.Error.CapturingNotSupported
        self._failed(Access.DENIED if denied else Access.LOST, words)

    def _close(self) -> None:
        if self._capture is not None:
            self._capture.setActive(False)
            self._capture.deleteLater()
            self._capture = None
