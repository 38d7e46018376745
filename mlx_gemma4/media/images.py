"""Opens pictures of any kind as RGB uint8 [height, width, 3], upright, within bounded memory.

Runs in the engine process or a worker, never in the user interface: the files are foreign.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mlx_gemma4.errors import MediaError
from mlx_gemma4.media.files import check_file, path_of

log = logging.getLogger(__name__)

# Room for the 108-megapixel photos of today's phones; 360 MB as RGB.
MAX_PIXELS = 120_000_000
ImageSource = str | Path | bytes | Image.Image | np.ndarray

# What Pillow raises on damaged files, depending on format: all of them mean the same to a user.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)


def load_image(source: ImageSource) -> np.ndarray:
    """Open a picture.

    EXIF rotation is applied, 16-bit and float pictures are scaled to 8 bit, CMYK and palettes are
    converted, transparency is laid on white (so that black text on a transparent ground stays
    readable; the reference drops alpha and shows what lies beneath), and of an animation the first
    frame is taken.

    Args:
        source: path, the bytes of a file, a Pillow image, or an array: uint8, uint16 or bool, or
            float in 0..1; [h, w], [h, w, 1], [h, w, 3] or [h, w, 4].

    Returns:
        RGB uint8 [height, width, 3], writable by nobody else.

    Raises:
        MediaError: missing, empty, damaged, too large or no picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, "The picture")
    if isinstance(source, bytes):
        if not source:
            raise MediaError("The picture is empty (0 bytes); choose another one.")
        return _from_stream(io.BytesIO(source), "The picture")
    path = path_of(source, "picture")
    name = check_file(path, "picture")
    with path.open("rb") as file:
        return _from_stream(file, name)


def _from_stream(stream: IO[bytes], name: str) -> np.ndarray:
    _register_heif()
    try:
        with Image.open(stream) as image:
            return _decode(image, name)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UnidentifiedImageError as error:
        log.info("no decoder for picture: %s", error)
        raise MediaError(
            f"{name} is not a picture this program can read; save it as JPEG or PNG."
        ) from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _register_heif() -> None:
    """Teach Pillow iPhone photos; cheap when done before."""
    from pillow_heif import register_heif_opener

    register_heif_opener()


def _too_large(name: str) -> MediaError:
    return MediaError(
        f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller first."
    )


def _damaged(name: str, error: Exception) -> MediaError:
    log.info("damaged picture: %s: %s", type(error).__name__, error)
    return MediaError(
        f"{name} is damaged or cut short and cannot be opened; copy or download it again."
    )


def _decode(image: Image.Image, name: str) -> np.ndarray:
    width, height = image.size
    if width < 1 or height < 1:
        raise MediaError(f"{name} is empty (no pixels); choose another one.")
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        return np.array(_to_rgb(image, name))
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image), name)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: np.ndarray, name: str) -> np.ndarray:
    """16-bit, 32-bit and float values as uint8 (Pillow's own conversion would clip at 255)."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise MediaError(
                f"{name} contains values that are not numbers; export it again as PNG."
            )
        top = 1.0 if values.size == 0 or values.max() <= 1.0 else 255.0
        return np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        # 65535 · 255 / 65535: the exact scale, not the high byte, so full white stays white.
        return ((np.clip(values, 0, 65535).astype(np.uint32) * 255 + 32767) // 65535).astype(
            np.uint8
        )
    raise MediaError(f"{name} holds {values.dtype} values; use 8-bit RGB.")


def _from_array(array: np.ndarray) -> np.ndarray:
    name = "The picture"
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise MediaError(
            f"A picture must be an array of height x width x 3 colours, not of shape {array.shape}."
        )
    if array.shape[0] < 1 or array.shape[1] < 1:
        raise MediaError(f"{name} is empty (no pixels); choose another one.")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _too_large(name)
    pixels = _eight_bit(array, name)
    if pixels.shape[2] == 4:
        return np.array(_to_rgb(Image.fromarray(np.ascontiguousarray(pixels)), name))
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
