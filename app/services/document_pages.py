"""Pages as pixels for the window: asked of a worker process, one request after the other.

The window itself never parses a foreign file. Requests for what is on the screen go first; of the
thumbnails those asked for last, so that fast scrolling never waits for pages that are gone again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from app.documents.host import DocumentHost
from app.documents.types import (
    DocumentError,
    DocumentInfo,
    DocumentProblem,
    PagePicture,
    Preparation,
)

CACHE_BYTES = 96 << 20
THUMBNAIL_SIDE = 240
_MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class PageKey:
    """A picture of a page: `longest` side in pixels, prepared (straightened) or as it is."""

    path: str
    page: int
    longest: int
    prepared: bool = False


@dataclass(frozen=True, slots=True)
class PageImage:
    """The pixels of a page and what was done to them."""

    image: QImage
    preparation: Preparation = field(default_factory=Preparation)


class DocumentPages(QObject):
    """Opens documents and draws their pages.

    Signals: `opened(token, DocumentInfo)` and `refused(token, DocumentError)` answer `open`;
    `ready(PageKey)` a picture has come; `missing(PageKey, DocumentError)` it cannot be drawn.
    """

    opened = Signal(str, object)
    refused = Signal(str, object)
    ready = Signal(object)
    missing = Signal(object, object)
    _drawn = Signal(object, object)

    def __init__(
        self,
        make_host: Callable[[], DocumentHost] = DocumentHost,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._make_host = make_host
        self._host: DocumentHost | None = None
        self._images: OrderedDict[PageKey, PageImage] = OrderedDict()
        self._problems: dict[PageKey, DocumentError] = {}
        self._opens: list[tuple[str, str, str]] = []
        self._wanted: OrderedDict[PageKey, None] = OrderedDict()
        self._wake = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._drawn.connect(self._keep)

    # --- asking ----------------------------------------------------------------------------------

    def open(self, token: str, path: str, password: str = "") -> None:
        """Find out what a file is; `opened` or `refused` follows."""
        with self._wake:
            self._opens.append((token, path, password))
        self._work_on()

    def image(self, key: PageKey) -> PageImage | None:
        """The picture, or None while it is on its way (`ready` follows) or missing."""
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        if key not in self._problems:
            with self._wake:
                self._wanted[key] = None
                self._wanted.move_to_end(key)
                while len(self._wanted) > _MOST_WAITING:
                    self._wanted.popitem(last=False)
            self._work_on()
        return None

    def has(self, key: PageKey) -> bool:
        """The picture is here already."""
        return key in self._images

    def problem(self, key: PageKey) -> DocumentError | None:
        """Why a picture is missing."""
        return self._problems.get(key)

    def forget(self, path: str) -> None:
        """Let go of everything about a file (it changed, or another password was given)."""
        for key in [key for key in self._images if key.path == path]:
            del self._images[key]
        for key in [key for key in self._problems if key.path == path]:
            del self._problems[key]

    @property
    def cached_bytes(self) -> int:
        """Bytes of the pictures kept."""
        return sum(each.image.sizeInBytes() for each in self._images.values())

    def close(self) -> None:
        """End the worker and the thread."""
        with self._wake:
            self._closed = True
            host = self._host
            self._wake.notify_all()
        if host is not None:
            host.close()
        if self._thread is not None:
            self._thread.join(timeout=10)

    # --- the thread ------------------------------------------------------------------------------

    def _work_on(self) -> None:
        with self._wake:
            if self._closed:
                return
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="document-pages", daemon=True
                )
                self._thread.start()
            self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._opens or self._wanted):
                    self._wake.wait()
                if self._closed:
                    return
                if self._host is None:
                    self._host = self._make_host()
                host = self._host
                opening = self._opens.pop(0) if self._opens else None
                key = None if opening else self._next()
            if opening is not None:
                self._open(host, *opening)
            elif key is not None:
                self._draw(host, key)

    def _next(self) -> PageKey:
        """Large pictures first (the page on show), then the newest thumbnails."""
        large = [key for key in self._wanted if key.longest > THUMBNAIL_SIDE]
        key = large[-1] if large else next(reversed(self._wanted))
        del self._wanted[key]
        return key

    def _open(self, host: DocumentHost, token: str, path: str, password: str) -> None:
        try:
            info: DocumentInfo = host.open(path, password)
        except DocumentError as problem:
            if not self._closed:
                self.refused.emit(token, problem)
            return
        self.opened.emit(token, info)

    def _draw(self, host: DocumentHost, key: PageKey) -> None:
        try:
            made = host.picture(key.path, key.page, longest=key.longest, prepared=key.prepared)
        except DocumentError as problem:
            if not self._closed:
                self._drawn.emit(key, problem)
            return
        image = qimage(made.picture)
        self._drawn.emit(key, PageImage(image, made.preparation))

    def _keep(self, key: PageKey, result: PageImage | DocumentError) -> None:
        """On the window's thread: into the cache, oldest out first."""
        if isinstance(result, DocumentError):
            if result.kind is not DocumentProblem.TIMEOUT:
                self._problems[key] = result
            self.missing.emit(key, result)
            return
        self._images[key] = result
        total = self.cached_bytes
        while total > CACHE_BYTES and len(self._images) > 1:
            _, dropped = self._images.popitem(last=False)
            total -= dropped.image.sizeInBytes()
        self.ready.emit(key)


def qimage(picture: PagePicture) -> QImage:
    """RGB rows as an image of its own memory, in the form that is drawn fastest."""
    stride = picture.width * 3
    image = QImage(picture.rgb, picture.width, picture.height, stride, QImage.Format.Format_RGB888)
    return image.convertToFormat(QImage.Format.Format_RGB32)
