"""Pixels to patches: the aspect-keeping resize to a token budget, and the cutting.

Numpy and Pillow only; equal to the reference's Pillow processor byte for byte.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from PIL import Image

from mlx_gemma4.errors import MediaError
from mlx_gemma4.inputs import ImagePatches

BUDGETS = (70, 140, 280, 560, 1120)
DEFAULT_BUDGET = 280
VIDEO_BUDGET = 70
PATCH = 16  # pixels, tower models
UNIT = 48  # pixels: side of one soft token, 3x3 patches; also the 12B's patch

# Pixel value to 0..1, rounded as the reference does: product in float64, then to float32.
_RESCALED = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)


def check_budget(budget: int) -> int:
    """The budget itself.

    Raises:
        MediaError: not one of the five sizes the model was trained with.
    """
    if budget not in BUDGETS:
        sizes = ", ".join(map(str, BUDGETS))
        raise MediaError(f"A picture can take {sizes} tokens, not {budget}; choose one of these.")
    return budget


def resized_size(height: int, width: int, budget: int) -> tuple[int, int]:
    """The (height, width) a picture is resized to: the largest multiples of 48 within the budget.

    Always rescales, small pictures up as well. Both sides are floored on their own, so the shape
    changes slightly. Source: `get_aspect_ratio_preserving_size` of the reference.

    Args:
        height: pixels.
        width: pixels.
        budget: most soft tokens, one of `BUDGETS`.

    Raises:
        MediaError: an empty picture, or one so long and thin that no size fits the budget.
    """
    check_budget(budget)
    if height < 1 or width < 1:
        raise MediaError("The picture is empty (no pixels); choose another one.")
    area = budget * UNIT * UNIT
    factor = math.sqrt(area / (height * width))
    rows, columns = math.floor(factor * height / UNIT), math.floor(factor * width / UNIT)
    if rows == 0 and columns == 0:
        raise MediaError("The picture is too small to resize; choose a larger one.")
    if rows == 0:
        rows, columns = 1, min(width // height, budget)
    elif columns == 0:
        rows, columns = min(height // width, budget), 1
    if rows * columns > budget:
        raise MediaError(
            f"A picture of {width}x{height} pixels does not fit {budget} tokens; crop it first."
        )
    return rows * UNIT, columns * UNIT


def soft_tokens(height: int, width: int, budget: int) -> int:
    """Soft tokens a picture of this size takes at this budget."""
    rows, columns = resized_size(height, width, budget)
    return rows * columns // (UNIT * UNIT)


def resize(rgb: np.ndarray, budget: int) -> np.ndarray:
    """Resize uint8 [h, w, 3] to its budget: bicubic with antialias on 8-bit values."""
    height, width = resized_size(rgb.shape[0], rgb.shape[1], budget)
    if (height, width) == rgb.shape[:2]:
        return rgb
    resized = Image.fromarray(rgb).resize((width, height), resample=Image.Resampling.BICUBIC)
    return np.asarray(resized)


def cut(resized: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut uint8 [h, w, 3] into squares of `side` pixels.

    Returns:
        Patches float32 [P, 3 · side²] in 0..1, each as row, column, channel, in reading order; and
        positions int32 [P, 2] = (column, row).
    """
    rows, columns = resized.shape[0] // side, resized.shape[1] // side
    squares = resized.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
    patches = _RESCALED[squares.reshape(rows * columns, -1)]
    grid = np.meshgrid(np.arange(columns, dtype=np.int32), np.arange(rows, dtype=np.int32))
    return patches, np.stack(grid, axis=-1).reshape(-1, 2)


def patches_of(
    resized: np.ndarray, budget: int, *, unified: bool, size: tuple[int, int] | None = None
) -> ImagePatches:
    """Patches of a picture that already has the size its budget asks for.

    Args:
        resized: uint8 [h, w, 3] from `resize`.
        budget: the budget it was resized for.
        unified: True for the 12B's 48-pixel patches.
        size: (height, width) before the resize; that of `resized` if not given.
    """
    height, width = resized.shape[:2]
    patches, positions = cut(resized, UNIT if unified else PATCH)
    label = f"{height}x{width} {budget} {'unified' if unified else 'tower'}"
    digest = hashlib.blake2b(label.encode(), digest_size=16)
    digest.update(np.ascontiguousarray(resized).data)
    count = height * width // (UNIT * UNIT)
    return ImagePatches(
        patches, positions, count, digest.hexdigest(), size or (height, width), (height, width)
    )


def image_patches(rgb: np.ndarray, budget: int, *, unified: bool) -> ImagePatches:
    """Resize uint8 [h, w, 3] to the budget and cut it into patches.

    Raises:
        MediaError: unknown budget, empty picture, or a shape no size fits.
    """
    return patches_of(resize(rgb, budget), budget, unified=unified, size=rgb.shape[:2])
