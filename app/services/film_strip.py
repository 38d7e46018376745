"""A film as a strip of small JPEG pictures, ten a second: what the window shows of a foreign film.

`strip` runs in a worker process and is the only one that opens the film; the window reads the
strip, which it made itself.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

FPS = 10
SIDE = 480
# A longer film is shown up to here; its sound goes on.
MAX_SECONDS = 600
MAX_BYTES = 256 << 20
QUALITY = 80
_LENGTH = struct.Struct("<I")


def strip(request: tuple[str, str]) -> int:
    """Write the pictures of a film, each behind its length in bytes; returns how many.

    Args:
        request: (source, target), both paths.

    Raises:
        ValueError: it has no picture that can be decoded.
    """
    import cv2

    source, target = request
    partial = Path(f"{target}.part")
    film = cv2.VideoCapture(source)
    try:
        with partial.open("wb") as out:
            count = _write(film, out)
        if not count:
            raise ValueError("it has no pictures")
        partial.replace(target)
    finally:
        film.release()
        partial.unlink(missing_ok=True)
    return count


def _write(film, out) -> int:  # noqa: ANN001 - cv2 types exist only in the worker
    import cv2

    rate = film.get(cv2.CAP_PROP_FPS)
    rate = rate if 1 <= rate <= 240 else 25.0
    count, number = 0, 0
    while count < FPS * MAX_SECONDS and out.tell() < MAX_BYTES and film.grab():
        wanted = int(number / rate * FPS) + 1
        number += 1
        if wanted <= count:
            continue
        good, picture = film.retrieve()
        if not good:
            break
        data = _small_jpeg(picture)
        # A film slower than ten pictures a second repeats them.
        while count < wanted:
            out.write(_LENGTH.pack(len(data)) + data)
            count += 1
    return count


def _small_jpeg(picture) -> bytes:  # noqa: ANN001 - an array; numpy exists only in the worker
    import cv2
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    out = io.BytesIO()
    Image.fromarray(small[:, :, ::-1]).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


class FilmStrip:
    """The pictures of a strip by time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._places: list[tuple[int, int]] = []
        size, at = path.stat().st_size, 0
        while at + _LENGTH.size <= size:
            self._file.seek(at)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            self._places.append((at + _LENGTH.size, length))
            at += _LENGTH.size + length

    @property
    def seconds(self) -> float:
        """How long the strip is."""
        return len(self._places) / FPS

    def jpeg(self, seconds: float) -> bytes:
        """The picture at that time; the last one behind the end."""
        number = max(0, min(int(seconds * FPS), len(self._places) - 1))
        place, length = self._places[number]
        self._file.seek(place)
        return self._file.read(length)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
