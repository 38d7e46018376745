"""Pixels of kept pictures, films and pages for the window, which opens no foreign file itself.

Asks the engine to describe a file with a thumbnail of the wanted size and keeps the newest ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from app.core.commands import Describe
from app.core.conversation import Attachment, new_id
from app.core.events import Described
from app.services.engine_client import EngineClient

# Longest sides in pixels that are asked for; others are rounded up to one of these.
SIDES = (240, 640, 1600)
CACHE_BYTES = 96 << 20


class PictureController(QObject):
    """Thumbnails by content. `ready(sha256)` when one has come, `failed(sha256, reason)` if not."""

    ready = Signal(str)
    failed = Signal(str, str)

    def __init__(
        self,
        engine: EngineClient,
        path_of: Callable[[Attachment], Path],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._engine = engine
        self._path_of = path_of
        self._images: OrderedDict[tuple[str, int], QImage] = OrderedDict()
        self._asked: dict[str, tuple[str, int]] = {}
        engine.received.connect(self._on_event)

    def image(self, attachment: Attachment, side: int) -> QImage | None:
        """The picture with its longest side at least `side` px where it has them.

        None while it is on its way; `ready` follows. A smaller one at hand is given meanwhile.
        """
        wanted = next((step for step in SIDES if step >= side), SIDES[-1])
        key = (attachment.sha256, wanted)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        if key not in self._asked.values():
            query_id = new_id()
            self._asked[query_id] = key
            path = str(self._path_of(attachment))
            self._engine.ask(Describe(query_id, path, attachment.name, wanted))
        smaller = [self._images[k] for k in self._images if k[0] == attachment.sha256]
        return smaller[-1] if smaller else None

    def keep(self, sha256: str, image: QImage) -> None:
        """Put a thumbnail in that came another way (with a draft)."""
        self._images[sha256, SIDES[0]] = image
        self._trim()

    def _on_event(self, event: object) -> None:
        if not isinstance(event, Described) or event.query_id not in self._asked:
            return
        sha256, side = self._asked.pop(event.query_id)
        image = image_of(event.thumbnail, event.thumbnail_width, event.thumbnail_height)
        if image is None:
            self.failed.emit(sha256, event.problem)
            return
        self._images[sha256, side] = image
        self._trim()
        self.ready.emit(sha256)

    def _trim(self) -> None:
        total = sum(image.sizeInBytes() for image in self._images.values())
        while total > CACHE_BYTES and len(self._images) > 1:
            _, dropped = self._images.popitem(last=False)
            total -= dropped.sizeInBytes()


def image_of(rgba: bytes, width: int, height: int) -> QImage | None:
    """RGBA rows, top down, as an image; None where they do not fit the size."""
    if not rgba or len(rgba) != width * height * 4:
        return None
    return QImage(rgba, width, height, width * 4, QImage.Format.Format_RGBA8888).copy()
