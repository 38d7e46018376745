"""The camera that photographs pages: as many pixels as the device gives, a few pictures a second.

Live mode's cameras hand on small pictures at full rate; small print needs it the other way round.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PySide6.QtCore import QSize
from PySide6.QtMultimedia import QCamera, QCameraDevice, QVideoFrame

from app.live.clock import Clock
from app.services.camera import (
    SCREEN,
    CameraSource,
    DeviceCamera,
    FallbackCamera,
    FrameSink,
    camera_devices,
    open_file,
)
from app.services.qt_camera import QtCamera, rgb_of

LONGEST_SIDE = 4096
MOST_PIXELS = 16_000_000
LEAST_RATE = 5.0
"""Pictures a second, below which aiming is no fun."""
LEAST_GAP_S = 0.1
"""Between two pictures: turning one of 12 megapixels into RGB takes the window's thread 20 ms."""
JPEG_QUALITY = 95


class CameraFormat(Protocol):
    """What is looked at of a `QCameraFormat`."""

    def resolution(self) -> QSize:
        """Pixels."""
        ...

    def maxFrameRate(self) -> float:
        """Pictures a second."""
        ...


_Format = TypeVar("_Format", bound=CameraFormat)


def sharpest_format(formats: Sequence[_Format]) -> _Format | None:
    """The format with the most pixels that is still fast enough to aim with; None for none."""

    def pixels(each: _Format) -> int:
        return each.resolution().width() * each.resolution().height()

    usable = [
        each
        for each in formats
        if pixels(each) <= MOST_PIXELS and each.maxFrameRate() >= LEAST_RATE
    ]
    return max(usable, key=lambda each: (pixels(each), each.maxFrameRate()), default=None)


class SharpCamera(QtCamera):
    """A camera opened by Qt in its largest format.

    OpenCV cannot choose a format on macOS: its sizes scale the picture, and larger ones end the
    process (opencv/opencv issue 22912).
    """

    def __init__(self, clock: Clock, device: str = "") -> None:
        super().__init__(clock, device)
        self._last = float("-inf")

    def _set_format(self, camera: QCamera, device: QCameraDevice) -> None:
        best = sharpest_format(device.videoFormats())
        if best is not None:
            camera.setCameraFormat(best)

    def _deliver(self, frame: QVideoFrame, sink: FrameSink) -> None:
        self._watch.stop()
        now = self._clock.now()
        if self._session is None or now - self._last < LEAST_GAP_S:
            return
        self._last = now
        rgb = rgb_of(frame, LONGEST_SIDE)
        if rgb is not None:
            sink(rgb, now)


def open_page_camera(clock: Clock, what: str) -> CameraSource:
    """A camera for pages: id or name of a device ("" or the screen: the first), a file or folder.

    Raises:
        CameraError: there is no such thing.
    """
    wanted = "" if what == SCREEN else what
    for device in camera_devices():
        if wanted in ("", device.id, device.name):
            return FallbackCamera(SharpCamera(clock, device.id), DeviceCamera(clock, device.index))
    return open_file(clock, wanted, LONGEST_SIDE)


def photograph(rgb: np.ndarray) -> bytes:
    """A picture, uint8 RGB [height, width, 3], as a JPEG file."""
    import cv2

    good, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not good:
        raise ValueError("the camera's picture cannot be stored")
    return data.tobytes()


def save_photographs(photographs: Sequence[bytes], folder: Path, name: str) -> Path:
    """One page as the JPEG file it is, several as the pages of one TIFF file; where it is.

    Written beside its place first: a file that is there is whole. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    path = folder / f"{name}.{'jpg' if len(photographs) == 1 else 'tiff'}"
    try:
        if len(photographs) == 1:
            part.write_bytes(photographs[0])
        else:
            _write_pages(photographs, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _write_pages(photographs: Sequence[bytes], path: Path) -> None:
    from PIL import Image

    pages = (Image.open(io.BytesIO(each)) for each in photographs)
    next(pages).save(
        path,
        "TIFF",
        save_all=True,
        append_images=pages,
        compression="jpeg",
        quality=JPEG_QUALITY,
    )
