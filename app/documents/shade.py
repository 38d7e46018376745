"""Uneven light on a photographed page: measured as a small map, and evened by it."""

from __future__ import annotations

import cv2
import numpy as np

GRID = 64  # cells along each side of the light map
UNEVEN = 0.85  # darkest to lightest paper, below which the light is evened
DARKEST = 0.2  # darker than this share of the lightest is no paper in shadow
MOST_STEP = 0.28  # between neighbouring cells: more is the edge of a picture, not of a shadow
MOST_SATURATION = 90
LEAST_NOISE = 0.25  # grey levels; drawings made by a program have none


def light_gain(rgb: np.ndarray) -> np.ndarray | None:
    """What to multiply with, float32 [64, 64], at least 1; None where the light is even enough.

    Coloured areas and pictures on the page are no shadows: then None as well.
    """
    small = cv2.resize(rgb, (GRID * 8, GRID * 8), interpolation=cv2.INTER_AREA)
    paper = _paper(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    light, dark = float(np.percentile(paper, 95)), float(np.percentile(paper, 4))
    if dark >= UNEVEN * light or dark < DARKEST * light or _has_picture(paper, small):
        return None
    return np.clip(light / np.maximum(paper, 1.0), 1.0, 1.0 / DARKEST).astype(np.float32)


def apply_gain(rgb: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The picture with its light evened; `gain` covers the same area."""
    height, width = rgb.shape[:2]
    smooth = cv2.resize(gain, (width, height), interpolation=cv2.INTER_LINEAR)
    return (
        cv2.multiply(rgb.astype(np.float32), cv2.merge([smooth] * 3)).clip(0, 255).astype(np.uint8)
    )


def camera_noise(grey: np.ndarray) -> float:
    """Grain in the calmest quarter of a picture, in grey levels; 0 for drawings."""
    detail = cv2.absdiff(grey, cv2.medianBlur(grey, 3)).astype(np.float32)
    height, width = (side // 16 * 16 for side in grey.shape)
    if not height or not width:
        return 0.0
    blocks = detail[:height, :width].reshape(height // 16, 16, width // 16, 16).mean(axis=(1, 3))
    calm = np.sort(blocks.ravel())[: max(1, blocks.size // 4)]
    return float(calm.mean())


def _paper(grey: np.ndarray) -> np.ndarray:
    """The light of the paper under and between the writing, float32 [64, 64]."""
    closed = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    calm = cv2.medianBlur(closed, 21)
    return cv2.resize(calm, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32)


def _has_picture(paper: np.ndarray, small: np.ndarray) -> bool:
    across = np.abs(np.diff(paper, axis=1)) / np.maximum(paper[:, 1:], paper[:, :-1]).clip(1)
    down = np.abs(np.diff(paper, axis=0)) / np.maximum(paper[1:], paper[:-1]).clip(1)
    if max(float(across.max()), float(down.max())) > MOST_STEP:
        return True
    hsv = cv2.cvtColor(cv2.blur(small, (9, 9)), cv2.COLOR_RGB2HSV)
    return float((hsv[:, :, 1] > MOST_SATURATION).mean()) > 0.05
