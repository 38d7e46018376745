"""How far lines of writing are turned from the level, from the ink alone."""

from __future__ import annotations

import cv2
import numpy as np

MOST_DEGREES = 15.0
LEAST_DEGREES = 0.3  # less is not worth drawing the page anew
LEAST_GAIN = 1.15  # how much sharper the lines must get
LEAST_LETTERS = 30
MOST_POINTS = 40_000
_SIDE = 1000  # pixels of the longer side that angles are measured at


def ink(grey: np.ndarray) -> np.ndarray:
    """Dark writing as 255, paper as 0; uneven light does not matter. uint8 [h, w]."""
    size = max(15, (min(grey.shape) // 30) | 1)
    paper = cv2.blur(grey, (size, size))
    # Darker than the neighbourhood by a tenth of its light, and by more than noise.
    return ((grey.astype(np.int16) + np.maximum(paper // 8, 12)) < paper).astype(np.uint8) * 255


def letters(mask: np.ndarray) -> np.ndarray:
    """Boxes int32 [n, 4] (left, top, width, height) of ink that may be letters."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = stats[1:count, :4]
    wide, high = boxes[:, 2], boxes[:, 3]
    limit = max(mask.shape) // 12
    fits = (high >= 4) & (high <= limit) & (wide <= 4 * limit) & (wide >= 1) & (wide <= 12 * high)
    return boxes[fits]


def text_angle(grey: np.ndarray) -> float:
    """Degrees the text rises to the right (counter-clockwise), 0 where it is level or unclear.

    The profile of ink across lines is sharpest when it is taken along them (Postl 1986).
    """
    scale = min(1.0, _SIDE / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    boxes = letters(ink(small))
    if len(boxes) < LEAST_LETTERS:
        return 0.0
    points = _feet(boxes)
    coarse = np.arange(-MOST_DEGREES, MOST_DEGREES + 0.1, 0.5)
    best = _sharpest(points, coarse)
    best = _sharpest(points, np.arange(best - 0.5, best + 0.51, 0.05))
    if abs(best) < LEAST_DEGREES or abs(best) >= MOST_DEGREES:
        return 0.0
    if _sharpness(points, best) < LEAST_GAIN * _sharpness(points, 0.0):
        return 0.0
    return float(best)


def _feet(boxes: np.ndarray) -> np.ndarray:
    """The middle of each letter's lower edge: they stand on the lines. float64 [n, 2]."""
    if len(boxes) > MOST_POINTS:
        boxes = boxes[:: len(boxes) // MOST_POINTS + 1]
    return np.stack([boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3]], axis=1).astype(
        np.float64
    )


def _sharpest(points: np.ndarray, angles: np.ndarray) -> float:
    scores = [_sharpness(points, angle) for angle in angles]
    return float(angles[int(np.argmax(scores))])


def _sharpness(points: np.ndarray, degrees: float) -> float:
    """Sum of squares of how many letters stand on each line of pixels at this angle."""
    angle = np.radians(degrees)
    level = points[:, 1] * np.cos(angle) + points[:, 0] * np.sin(angle)
    counts = np.bincount(np.floor(level - level.min()).astype(np.int64)).astype(np.float64)
    # Neighbouring lines count together, so that rounding does not decide.
    return float(((counts[:-1] + counts[1:]) ** 2).sum()) if len(counts) > 1 else 0.0
