"""Camera pictures as a small film file."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

FPS = 5.0
_SIDE = 640


class FilmWriter:
    """Writes MP4 at five pictures a second, 640 pixels on the longer side. Any thread may add."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writer: Any = None
        self._size = (0, 0)
        self._next = float("-inf")
        self._count = 0

    def add(self, rgb: np.ndarray, t: float) -> None:
        """A picture uint8 [height, width, 3] taken at `t` seconds; too early ones are left out."""
        import cv2

        with self._lock:
            if t < self._next:
                return
            if self._writer is None:
                height, width = rgb.shape[:2]
                scale = min(1.0, _SIDE / max(height, width))
                self._size = (int(width * scale) // 2 * 2, int(height * scale) // 2 * 2)
                code = cv2.VideoWriter.fourcc(*"mp4v")
                self._writer = cv2.VideoWriter(str(self.path), code, FPS, self._size)
                self._next = t
            self._next += 1 / FPS
            small = cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
            self._writer.write(small[:, :, ::-1])
            self._count += 1

    def finish(self) -> Path | None:
        """The file, None where nothing could be written."""
        with self._lock:
            if self._writer is not None:
                self._writer.release()
            good = self._count > 0 and self.path.exists() and self.path.stat().st_size > 0
            return self.path if good else None

    def discard(self) -> None:
        """Forget it."""
        self.finish()
        self.path.unlink(missing_ok=True)
