"""Pictures as documents: each page of a TIFF, the first frame of anything else; always upright."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from app.documents.pages import check_page
from app.documents.sizing import part_in_pixels
from app.documents.types import (
    WHOLE,
    Box,
    DocumentError,
    DocumentInfo,
    DocumentKind,
    DocumentProblem,
    PageLayer,
    TextLine,
)

log = logging.getLogger(__name__)

# Room for the 108-megapixel photos of today's phones; 360 MB as RGB.
MOST_SOURCE_PIXELS = 120_000_000
MOST_FRAMES = 2000
# What Pillow raises on damaged files, depending on format: all of them mean the same to a person.
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    Image.DecompressionBombError,
)
_TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112


class RasterSource:
    """An open picture file; see `PageSource`. Keeps the page decoded last, nothing else."""

    def __init__(self, path: Path, file_format: str) -> None:
        self._name = path.name
        if file_format == "heic":
            from pillow_heif import register_heif_opener

            register_heif_opener()
        # Sizes are checked here, page by page, with a sentence of our own.
        Image.MAX_IMAGE_PIXELS = None
        self._image = self._open(path)
        pages, notices = self._count(file_format)
        self._decoded: tuple[int, np.ndarray] | None = None
        self.info = DocumentInfo(str(path), DocumentKind.PAGES, file_format, pages, "", notices)

    def size(self, page: int) -> tuple[float, float]:
        """See `PageSource`."""
        if self._decoded is not None and self._decoded[0] == page:
            height, width = self._decoded[1].shape[:2]
            return width, height
        return self._checked_size(page)

    def draw(self, page: int, width: int, height: int, box: Box = WHOLE) -> np.ndarray:
        """See `PageSource`."""
        pixels = self._pixels(page)
        full_height, full_width = pixels.shape[:2]
        left, top, right, bottom = part_in_pixels(box, full_width, full_height)
        part = pixels[top:bottom, left:right]
        wide = max(1, round((right - left) * width / full_width))
        high = max(1, round((bottom - top) * height / full_height))
        if wide >= part.shape[1] and high >= part.shape[0]:
            return np.ascontiguousarray(part)
        return cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA)

    def lines(self, page: int) -> tuple[TextLine, ...]:
        """A picture has no text layer."""
        check_page(self.info, page, self._name)
        return ()

    def layer(self, page: int) -> PageLayer:
        """A picture has no text layer."""
        check_page(self.info, page, self._name)
        return PageLayer()

    def is_picture(self, page: int) -> bool:
        """Always; whether it is a clean drawing is found out from its pixels."""
        check_page(self.info, page, self._name)
        return True

    def close(self) -> None:
        """See `PageSource`."""
        self._decoded = None
        self._image.close()

    def _open(self, path: Path) -> Image.Image:
        try:
            return Image.open(path)
        except UnidentifiedImageError as problem:
            message = f"“{self._name}” is no picture that can be read; save it as JPEG or PNG."
            raise DocumentError(DocumentProblem.UNSUPPORTED, message, str(problem)) from problem
        except DAMAGE as problem:
            raise self._damaged(problem) from problem

    def _count(self, file_format: str) -> tuple[int, tuple[str, ...]]:
        """Pages, found by walking the file's own chain, and what to say about it."""
        if file_format != "tiff":
            frames = getattr(self._image, "n_frames", 1) if file_format == "gif" else 1
            return 1, ("Only the first frame of the animation is read.",) if frames > 1 else ()
        frames = 1
        try:
            for frames in range(1, MOST_FRAMES + 1):
                self._image.seek(frames)
        except EOFError:
            return frames, ()
        except DAMAGE as problem:
            log.info("chain of pages: %s", problem)
            return frames, ("The file is damaged after this page; what comes later is lost.",)
        return MOST_FRAMES, (f"Only the first {MOST_FRAMES:,} pages are read.",)

    def _checked_size(self, page: int) -> tuple[int, int]:
        check_page(self.info, page, self._name)
        try:
            if getattr(self._image, "is_animated", False) or self.info.format == "tiff":
                self._image.seek(page)
            turned = self._image.getexif().get(_ORIENTATION, 1) in _TURNED
        except DAMAGE as problem:
            raise self._damaged(problem) from problem
        width, height = self._image.size
        if width < 1 or height < 1:
            message = f"“{self._name}” has no pixels; copy or download it again."
            raise DocumentError(DocumentProblem.EMPTY, message)
        if width * height > MOST_SOURCE_PIXELS:
            limit = MOST_SOURCE_PIXELS // 1_000_000
            message = f"“{self._name}” has more than {limit} million pixels; make it smaller first."
            raise DocumentError(DocumentProblem.TOO_LARGE, message)
        return (height, width) if turned else (width, height)

    def _pixels(self, page: int) -> np.ndarray:
        if self._decoded is None or self._decoded[0] != page:
            self._decoded = None  # before the next is made: two would be twice the memory
            self._checked_size(page)
            try:
                self._image.load()
                upright = ImageOps.exif_transpose(self._image)
                self._decoded = (page, np.asarray(_to_rgb(upright)))
            except DAMAGE as problem:
                raise self._damaged(problem) from problem
        return self._decoded[1]

    def _damaged(self, problem: Exception) -> DocumentError:
        message = f"“{self._name}” is damaged or cut short; copy or download it again."
        detail = f"{type(problem).__name__}: {problem}"
        return DocumentError(DocumentProblem.BROKEN, message, detail)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparency is laid on white, so that black text stays readable."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: np.ndarray) -> np.ndarray:
    """16-bit and float values as uint8 (Pillow's own conversion would clip at 255)."""
    with contextlib.suppress(FloatingPointError):
        values = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    top = 65535.0 if values.max(initial=0) > 255 else (255.0 if values.max(initial=0) > 1 else 1.0)
    return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
