"""Straightens photos and scans of pages: dewarp, deskew, even light. What is clean stays as it is.

`plan` looks at a page once; `Plan.draw` makes the prepared picture, or a part of it, at any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.documents.outline import find_outline, page_size
from app.documents.shade import GRID, LEAST_NOISE, apply_gain, camera_noise, light_gain
from app.documents.sizing import MOST_PIXELS, part_in_pixels
from app.documents.skew import text_angle
from app.documents.types import WHOLE, Box, Point, Preparation

if TYPE_CHECKING:
    from app.documents.pages import PageSource

LOOK_SIDE = 1400  # pixels of the longer side that a page is looked at with
# Perspective spreads pixels unevenly; the source is drawn with this much to spare.
SPARE = 1.25


@dataclass(frozen=True)
class Plan:
    """How a page is prepared. width, height: of the prepared page, in the unit of its size."""

    width: float
    height: float
    preparation: Preparation = field(default_factory=Preparation)
    gain: np.ndarray | None = field(default=None, compare=False)

    def draw(
        self, source: PageSource, page: int, width: int, height: int, box: Box = WHOLE
    ) -> np.ndarray:
        """The part `box` of the prepared page as if the whole had `width` by `height` pixels."""
        if not self.preparation.changed:
            return source.draw(page, width, height, box)
        left, top, right, bottom = part_in_pixels(box, width, height)
        size = (right - left, bottom - top)
        if self.preparation.matrix:
            pixels = self._warped(source, page, width, height, (left, top), size)
        else:
            pixels = source.draw(page, width, height, box)
        if self.gain is None:
            return pixels
        return apply_gain(pixels, _part_of(self.gain, (left, top, right, bottom), width, height))

    def _warped(
        self,
        source: PageSource,
        page: int,
        width: int,
        height: int,
        corner: tuple[int, int],
        size: tuple[int, int],
    ) -> np.ndarray:
        source_width, source_height = source.size(page)
        # As many pixels per unit as the prepared page gets.
        scale = SPARE * max(width / self.width, height / self.height)
        scale = min(scale, math.sqrt(MOST_PIXELS / (source_width * source_height)))
        drawn = source.draw(
            page, max(1, round(source_width * scale)), max(1, round(source_height * scale))
        )
        matrix = (
            np.diag([drawn.shape[1], drawn.shape[0], 1.0])
            @ np.array(self.preparation.matrix).reshape(3, 3)
            @ np.diag([1.0 / width, 1.0 / height, 1.0])
            @ np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]], [0.0, 0.0, 1.0]])
        )
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(
            drawn, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )


def plan(source: PageSource, page: int) -> Plan:
    """Look at a page and decide what it needs; pages drawn by a program need nothing."""
    width, height = source.size(page)
    untouched = Plan(width, height)
    if not source.is_picture(page):
        return untouched
    scale = LOOK_SIDE / max(width, height)
    rgb = source.draw(page, max(1, round(width * scale)), max(1, round(height * scale)))
    if min(rgb.shape[:2]) < 64:
        return untouched
    corners = find_outline(rgb)
    if corners is not None:
        flat = _flattened(corners, rgb, width, height)
    else:
        flat = _levelled(text_angle(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), width, height)
    return _with_light(flat, rgb, photo=corners is not None)


def _flattened(corners: np.ndarray, rgb: np.ndarray, width: float, height: float) -> Plan:
    """The page cut out along its outline."""
    shape = np.array([rgb.shape[1], rgb.shape[0]], dtype=np.float64)
    wide, high = page_size(corners, rgb.shape[1], rgb.shape[0])
    fractions = (corners / shape).astype(np.float32)
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(unit, fractions)
    a, b, c, d = (_point(corner) for corner in fractions)
    done = Preparation(outline=(a, b, c, d), matrix=_numbers(matrix))
    return Plan(wide * width / shape[0], high * height / shape[1], done)


def _levelled(angle: float, width: float, height: float) -> Plan:
    """The page turned by the angle of its lines, on a sheet that holds all of it."""
    if not angle:
        return Plan(width, height)
    turn = math.radians(angle)
    cos, sin = math.cos(turn), math.sin(turn)
    wide = width * cos + height * abs(sin)
    high = height * cos + width * abs(sin)
    # From the middle of the new sheet to the middle of the old one, in the page's unit.
    rotation = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    to_middle = np.array([[wide, 0.0, -wide / 2], [0.0, high, -high / 2], [0.0, 0.0, 1.0]])
    back = np.array([[1 / width, 0.0, 0.5], [0.0, 1 / height, 0.5], [0.0, 0.0, 1.0]])
    done = Preparation(angle=angle, matrix=_numbers(back @ rotation @ to_middle))
    return Plan(wide, high, done)


def _with_light(flat: Plan, rgb: np.ndarray, *, photo: bool) -> Plan:
    """The plan with uneven light evened, where the page was seen by a camera or scanner."""
    if not photo and camera_noise(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) < LEAST_NOISE:
        return flat
    shown = rgb
    if flat.preparation.matrix:
        shape = np.diag([rgb.shape[1], rgb.shape[0], 1.0])
        side = GRID * 8
        matrix = (
            shape
            @ np.array(flat.preparation.matrix).reshape(3, 3)
            @ np.diag([1.0 / side, 1.0 / side, 1.0])
        )
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        shown = cv2.warpPerspective(
            rgb, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    gain = light_gain(shown)
    if gain is None:
        return flat
    done = flat.preparation
    evened = Preparation(done.outline, done.angle, shadow=True, matrix=done.matrix)
    return Plan(flat.width, flat.height, evened, gain)


def _part_of(
    gain: np.ndarray, part: tuple[int, int, int, int], width: int, height: int
) -> np.ndarray:
    """The light map of a part of the page, float32 [64, 64]."""
    left, top, right, bottom = part
    across = (np.linspace(left, right, GRID, endpoint=False) + (right - left) / GRID / 2) / width
    down = (np.linspace(top, bottom, GRID, endpoint=False) + (bottom - top) / GRID / 2) / height
    x, y = np.meshgrid(across * GRID - 0.5, down * GRID - 0.5)
    return cv2.remap(
        gain,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _point(corner: np.ndarray) -> Point:
    return float(corner[0]), float(corner[1])


def _numbers(matrix: np.ndarray) -> tuple[float, ...]:
    return tuple(float(number) for number in (matrix / matrix[2, 2]).ravel())
