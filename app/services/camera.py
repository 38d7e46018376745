"""Cameras behind one small protocol: a device, a video file or a folder of pictures.

Frames are uint8 RGB [height, width, 3] at the source's full rate, delivered on the source's own
thread; the sink keeps the newest only. OpenCV is imported when the first camera starts.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PySide6.QtMultimedia import QMediaDevices

from app.live.access import Access
from app.live.clock import Clock

log = logging.getLogger(__name__)

FrameSink = Callable[[np.ndarray, float], object]
LONGEST_SIDE = 1280
"""Pixels of the longer side of a frame where nothing else is asked for: enough to look at."""
_LOST_AFTER_FAILURES = 30
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SCREEN = "screen"
"""Chosen in place of a camera's id: look at the screen."""


class CameraError(Exception):
    """The camera cannot be used: `access` says why, the message is for the user."""

    def __init__(self, access: Access, message: str) -> None:
        super().__init__(message)
        self.access = access


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """A camera: Qt's id and name, and the index by which OpenCV opens it."""

    id: str
    name: str
    index: int


class CameraSource(Protocol):
    """Something that delivers pictures."""

    def start(self, sink: FrameSink) -> None:
        """Begin to deliver.

        Raises:
            CameraError: it cannot.
        """
        ...

    def stop(self) -> None:
        """Deliver nothing more once this returns."""
        ...

    def problem(self) -> Access | None:
        """LOST after the source stopped delivering."""
        ...


def camera_devices() -> list[CameraDevice]:
    """Cameras with their OpenCV index (Qt's list has its own order)."""
    found = [
        (bytes(device.id().data()).decode(errors="replace"), device.description())
        for device in QMediaDevices.videoInputs()
    ]
    order = opencv_order([identity for identity, _ in found])
    return [CameraDevice(i, name, order[i]) for i, name in found if i in order]


def opencv_order(ids: list[str], platform: str = sys.platform) -> dict[str, int]:
    """OpenCV's index of each device id.

    macOS: OpenCV sorts AVFoundation's devices by unique id, which is Qt's id there. Linux: the id
    is the device file, its number the index.
    """
    if platform == "darwin":
        return {identity: index for index, identity in enumerate(sorted(ids))}
    order = {}
    for identity in ids:
        digits = "".join(c for c in identity.rpartition("video")[2] if c.isdigit())
        if digits:
            order[identity] = int(digits)
    return order


class _ThreadedCamera:
    """A thread that reads pictures from an iterator made in `_pictures`."""

    def __init__(self, clock: Clock, longest: int) -> None:
        self._clock, self._longest = clock, longest
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: Access | None = None

    def start(self, sink: FrameSink) -> None:
        """Open the source and begin to deliver."""
        self._problem = None
        self._stop.clear()
        pictures = self._pictures()
        self._thread = threading.Thread(target=self._run, args=(pictures, sink), name="camera")
        self._thread.daemon = True
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the source."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=3)
            self._thread = None

    def problem(self) -> Access | None:
        """What went wrong since the start."""
        return self._problem

    def _pictures(self) -> Iterator[np.ndarray]:
        raise AttributeError("a camera defines where its pictures come from")

    def _run(self, pictures: Iterator[np.ndarray], sink: FrameSink) -> None:
        try:
            for rgb in pictures:
                if self._stop.is_set():
                    break
                sink(rgb, self._clock.now())
        except Exception:  # whatever it is, the person must see that the camera is gone
            log.exception("the camera stopped")
        finally:
            pictures.close()  # type: ignore[attr-defined]
        if not self._stop.is_set():
            self._problem = Access.LOST


class DeviceCamera(_ThreadedCamera):
    """A camera opened by OpenCV (AVFoundation on macOS, V4L2 on Linux)."""

    def __init__(self, clock: Clock, index: int, longest: int = LONGEST_SIDE) -> None:
        super().__init__(clock, longest)
        self._index = index

    def _pictures(self) -> Iterator[np.ndarray]:
        capture = _open_capture(self._index)
        first = capture.read()
        if not first[0]:
            capture.release()
            raise CameraError(
                Access.BUSY,
                "The camera gives no picture: another app may hold it. Close it there, "
                "then try again.",
            )
        return self._read(capture, first[1])

    def _read(self, capture: Any, bgr: np.ndarray | None) -> Iterator[np.ndarray]:
        failures = 0
        try:
            while not self._stop.is_set() and failures < _LOST_AFTER_FAILURES:
                if bgr is not None:
                    yield _rgb(bgr, self._longest)
                good, bgr = capture.read()
                failures = 0 if good else failures + 1
                if not good:
                    bgr = None
                    self._stop.wait(0.03)
        finally:
            capture.release()


class VideoFileCamera(_ThreadedCamera):
    """A film as camera, in its own time; it starts again, or the last picture stays.

    Raises:
        CameraError: it cannot be read.
    """

    def __init__(
        self, clock: Clock, path: Path, *, loop: bool = True, longest: int = LONGEST_SIDE
    ) -> None:
        super().__init__(clock, longest)
        self._path, self._loop = path, loop

    def _pictures(self) -> Iterator[np.ndarray]:
        capture = _open_capture(str(self._path))
        fps = capture.get(_cv2().CAP_PROP_FPS) or 25.0
        return self._read(capture, min(max(fps, 1.0), 120.0))

    def _read(self, capture: Any, fps: float) -> Iterator[np.ndarray]:
        cv2 = _cv2()
        last = None
        try:
            while not self._stop.is_set():
                good, bgr = capture.read()
                if not good and self._loop and last is not None:
                    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                    good, bgr = capture.read()
                if good:
                    last = _rgb(bgr, self._longest)
                elif last is None:
                    return
                yield last
                self._stop.wait(1.0 / fps)
        finally:
            capture.release()


class PictureFolderCamera(_ThreadedCamera):
    """Pictures of a folder (or one picture), each for `seconds`, at 10 frames a second.

    Raises:
        CameraError: there is none that can be read.
    """

    def __init__(
        self, clock: Clock, path: Path, seconds: float = 2.0, longest: int = LONGEST_SIDE
    ) -> None:
        super().__init__(clock, longest)
        self._path, self._seconds = path, seconds

    def _pictures(self) -> Iterator[np.ndarray]:
        files = [self._path] if self._path.is_file() else sorted(self._path.iterdir())
        pictures = [p for p in files if p.suffix.lower() in PICTURES]
        loaded = [rgb for p in pictures if (rgb := _load_picture(p, self._longest)) is not None]
        if not loaded:
            raise CameraError(
                Access.NO_DEVICE, f"“{self._path.name}” holds no picture that can be shown."
            )
        return self._show(loaded)

    def _show(self, pictures: list[np.ndarray]) -> Iterator[np.ndarray]:
        turn = 0
        while True:
            for _ in range(max(1, round(self._seconds * 10))):
                yield pictures[turn % len(pictures)]
                if self._stop.wait(0.1):
                    return
            turn += 1


class FallbackCamera:
    """The first of several sources that opens; the error of the first one if none does."""

    def __init__(self, *sources: CameraSource) -> None:
        self._sources = sources
        self._open: CameraSource | None = None

    def start(self, sink: FrameSink) -> None:
        """Begin to deliver. Raises CameraError."""
        errors: list[CameraError] = []
        for source in self._sources:
            try:
                source.start(sink)
            except CameraError as problem:
                log.info("%s: %s", type(source).__name__, problem)
                errors.append(problem)
            else:
                self._open = source
                return
        raise errors[0]

    def stop(self) -> None:
        """Close it."""
        if self._open is not None:
            self._open.stop()
            self._open = None

    def problem(self) -> Access | None:
        """What went wrong since the start."""
        return self._open.problem() if self._open else None


def open_source(clock: Clock, what: str) -> CameraSource:
    """A camera: id or name of a device ("" for the first), its number, "screen", a file or folder.

    Raises:
        CameraError: there is no such thing.
    """
    if what.isdigit():
        return DeviceCamera(clock, int(what))
    if what == SCREEN:
        from app.services.qt_camera import ScreenCamera

        return ScreenCamera(clock)
    devices = [d for d in camera_devices() if what in ("", d.id, d.name)]
    if devices:
        from app.services.qt_camera import QtCamera

        device = devices[0]
        return FallbackCamera(DeviceCamera(clock, device.index), QtCamera(clock, device.id))
    return open_file(clock, what)


def open_file(clock: Clock, what: str, longest: int = LONGEST_SIDE) -> CameraSource:
    """A film, a picture or a folder of pictures as a camera.

    Raises:
        CameraError: there is no such thing.
    """
    if not what:
        raise CameraError(Access.NO_DEVICE, "No camera was found. Connect one and try again.")
    path = Path(what)
    if not path.exists():
        raise CameraError(Access.NO_DEVICE, f"“{what}” does not exist.")
    if path.is_dir() or path.suffix.lower() in PICTURES:
        return PictureFolderCamera(clock, path, longest=longest)
    return VideoFileCamera(clock, path, longest=longest)


def _open_capture(what: int | str) -> Any:
    capture = _cv2().VideoCapture(what)
    if not capture.isOpened():
        capture.release()
        if isinstance(what, int):
            message = "This camera cannot be opened. Connect it again or choose another."
            raise CameraError(Access.NO_DEVICE, message)
        name = Path(what).name
        raise CameraError(Access.NO_DEVICE, f"“{name}” cannot be read as a video.")
    return capture


def _load_picture(path: Path, longest: int) -> np.ndarray | None:
    cv2 = _cv2()
    bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    return None if bgr is None else _rgb(bgr, longest)


def _rgb(bgr: np.ndarray, longest: int) -> np.ndarray:
    return np.ascontiguousarray(fitted(bgr, longest)[:, :, ::-1])


def fitted(picture: np.ndarray, longest: int = LONGEST_SIDE) -> np.ndarray:
    """A copy of a picture with at most `longest` pixels on the longer side."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return np.array(picture)
    size = (round(width * scale), round(height * scale))
    return _cv2().resize(picture, size, interpolation=_cv2().INTER_AREA)


def _cv2() -> Any:
    import cv2

    return cv2
