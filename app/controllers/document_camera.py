"""Photographing pages: the camera while it is open, the pages taken so far, and their document.

The pictures wait in memory until the person has all pages; then they become one file in the app's
own folder, which is read like any other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.document_controller import DocumentController
from app.core.conversation import new_id
from app.core.errors import ErrorKind, Failure
from app.documents.outline import find_outline
from app.live.access import Access, Capture
from app.live.buffers import Frame, LatestFrame
from app.live.clock import Clock, SystemClock
from app.services.camera import CameraError, CameraSource, fitted
from app.services.document_camera import photograph, save_photographs
from app.services.permissions import Permissions

log = logging.getLogger(__name__)

MOST_SHOTS = 100
"""Pages of one document; as JPEG files of 1 to 4 MB they wait in memory."""
TICK_MS = 60
LOOK_SIDE = 1000  # pixels of the longer side that the page's edges are looked for at
LOOK_EVERY_S = 0.3


class DocumentCamera(QObject):
    """See the module.

    Signals: `changed` access, pages taken or the camera's state; `tick` perhaps a new picture;
    `outlined` the page's edges are elsewhere; `failed(Failure)`; `finished(document id)`.

    Args:
        documents: takes the document.
        permissions: what the system allows.
        camera: makes the source.
        folder: where photographs are kept.
    """

    changed = Signal()
    tick = Signal()
    outlined = Signal()
    failed = Signal(object)
    finished = Signal(str)
    _looked = Signal(object)
    _saved = Signal(object)

    def __init__(
        self,
        documents: DocumentController,
        permissions: Permissions,
        camera: Callable[[Clock], CameraSource],
        folder: Path,
        parent: QObject | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(parent)
        self._documents, self._permissions, self._make_camera = documents, permissions, camera
        self._folder = folder
        self._clock = clock or SystemClock()
        self._camera: CameraSource | None = None
        self._frames = LatestFrame()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="page camera")
        self._looking: Future[None] | None = None
        self._next_look = 0.0
        self._wanted = False
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._on_tick)
        self._looked.connect(self._on_looked)
        self._saved.connect(self._on_saved)
        self.access = Access.NOT_ASKED
        self.shots: list[bytes] = []
        """The pages taken, each a JPEG file."""
        self.outline: np.ndarray | None = None
        """Corners of the page, float32 [4, 2] as shares of the picture, or None."""
        self.saving = False

    # --- the camera ------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """The camera delivers pictures."""
        return self._camera is not None

    def newest_frame(self) -> Frame | None:
        """The newest picture."""
        return self._frames.peek() if self.on else None

    def open(self) -> None:
        """Switch the camera on; asks for permission where it was never asked."""
        self._wanted = True
        self._timer.start()
        self.access = self._permissions.state(Capture.CAMERA)
        if self.access is Access.NOT_ASKED:
            self._permissions.request(Capture.CAMERA, self._on_answer)
        else:
            self._on_answer(self.access)

    def act(self, action: str) -> None:
        """The button of an access card: "ask", "settings" or "retry"."""
        if action == "settings":
            self._permissions.open_settings(Capture.CAMERA)
        else:
            self.open()

    def close(self) -> None:
        """Switch the camera off; the pages taken stay."""
        self._wanted = False
        self._timer.stop()
        if self._camera is not None:
            self._camera.stop()
            self._camera = None
        self._frames.clear()
        self.outline = None
        self.changed.emit()

    def end(self) -> None:
        """The app closes: camera and thread end, what is being saved is saved."""
        self.close()
        self._worker.shutdown(wait=True, cancel_futures=False)

    def look_again(self) -> None:
        """A camera was plugged in or out."""
        if self._wanted and not self.on:
            self.open()

    def _on_answer(self, access: Access) -> None:
        self.access = access
        if access is Access.GRANTED and self._wanted and not self.on:
            try:
                camera = self._make_camera(self._clock)
                camera.start(self._frames.put)
            except CameraError as problem:
                self.access = problem.access
            else:
                self._camera = camera
        self.changed.emit()

    def _on_tick(self) -> None:
        problem = self._camera.problem() if self._camera is not None else None
        if self._camera is not None and problem is not None:
            self._camera.stop()
            self._camera = None
            self.access, self.outline = problem, None
            self.changed.emit()
        self._look()
        self.tick.emit()

    # --- the page's edges ------------------------------------------------------------------------

    def _look(self) -> None:
        """Look for the page now and then, on a thread: the person sees what will be cut out."""
        busy = self._looking is not None and not self._looking.done()
        frame = self.newest_frame()
        if frame is None or busy or self.saving or self._clock.now() < self._next_look:
            return
        self._next_look = self._clock.now() + LOOK_EVERY_S
        self._looking = self._worker.submit(self._find, frame.rgb)

    def _find(self, rgb: np.ndarray) -> None:
        small = fitted(rgb, LOOK_SIDE)
        quad = find_outline(small)
        height, width = small.shape[:2]
        self._looked.emit(None if quad is None else quad / np.array([width, height]))

    def _on_looked(self, outline: np.ndarray | None) -> None:
        self.outline = outline if self.on else None
        self.outlined.emit()

    # --- pages -----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """There is a picture to take, and room for it."""
        room = len(self.shots) < MOST_SHOTS and not self.saving
        return room and self.newest_frame() is not None

    def take(self) -> bool:
        """Keep the newest picture as the next page; False where there is none."""
        frame = self.newest_frame()
        if frame is None or not self.ready:
            return False
        self.shots.append(photograph(frame.rgb))
        self.changed.emit()
        return True

    def drop_last(self) -> None:
        """Take the last page back."""
        if self.shots and not self.saving:
            self.shots.pop()
            self.changed.emit()

    def finish(self) -> None:
        """Make one document of the pages taken and read it; `finished` follows."""
        if not self.shots or self.saving:
            return
        self.saving = True
        stamp = f"{time.strftime('%Y-%m-%d %H.%M.%S')} {new_id()[:6]}"
        self._worker.submit(self._save, list(self.shots), stamp)
        self.changed.emit()

    def _save(self, shots: list[bytes], name: str) -> None:
        """On the thread."""
        try:
            path = save_photographs(shots, self._folder, name)
        except OSError as problem:
            log.warning("photographs not saved: %s", problem)
            self._saved.emit(problem)
        else:
            self._saved.emit(path)

    def _on_saved(self, result: Path | OSError) -> None:
        self.saving = False
        if isinstance(result, OSError):
            reason = (result.strerror or str(result)).lower()
            self.failed.emit(
                Failure(
                    ErrorKind.DISK_FULL,
                    f"The photographs could not be saved ({reason}).",
                    "Free some space, then try again; they are still here.",
                )
            )
        else:
            self.shots.clear()
            name = f"Photographed {time.strftime('%d %b %Y, %H.%M')}"
            self.finished.emit(self._documents.add_own(result, name))
        self.changed.emit()
