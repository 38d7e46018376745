"""From a PIL picture to patches, by exactly the rule of the published image processor."""

from __future__ import annotations

import numpy as np
from PIL import Image
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

SIDE = 48
BUDGETS = (70, 140, 280, 560, 1120)


def resized(size: tuple[int, int], budget: int) -> tuple[int, int]:
    """Height and width of a picture of `size` = (width, height) that fills `budget` soft tokens."""
    return get_aspect_ratio_preserving_size(
        height=size[1],
        width=size[0],
        patch_size=16,
        max_patches=budget * 9,
        pooling_kernel_size=3,
    )


def resize(image: Image.Image, budget: int) -> Image.Image:
    """Scale to fill `budget` soft tokens: both sides multiples of 48 px, bicubic, on 8 bits."""
    height, width = resized(image.size, budget)
    return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)


def patches(image: Image.Image) -> np.ndarray:
    """uint8 [P, 768]: rows of 16×16×3 patches, row by row; the sides must be multiples of 48."""
    pixels = np.asarray(image, dtype=np.uint8)
    rows, columns = pixels.shape[0] // 16, pixels.shape[1] // 16
    grid = pixels.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * columns, 768))


def positions(rows: int, columns: int) -> np.ndarray:
    """int64 [rows·columns, 2]: (x, y) of each patch of a grid of patches."""
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.stack([x, y], axis=-1).reshape(-1, 2)
