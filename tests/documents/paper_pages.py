"""Pages drawn for the tests: clean ones, and photos of them with everything that goes wrong."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

DEJAVU = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
SERIF = "/usr/share/fonts/truetype/dejavu/DejaVuSerif.ttf"
WORDS = (
    *("river", "stone", "morning", "letter", "garden", "window", "paper", "silver", "distant"),
    *("quiet", "market", "number", "travel", "winter", "orange", "simple", "carry", "between"),
    *("follow", "answer", "people", "country", "always", "another", "little"),
)


@functools.cache
def font(size: int, path: str = DEJAVU) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def text_page(
    seed: int,
    size: tuple[int, int] = (1240, 1754),
    *,
    letters: int = 26,
    columns: int = 1,
    heading: bool = True,
    path: str = DEJAVU,
) -> tuple[np.ndarray, list[str]]:
    """A page of words, and its lines in reading order. RGB uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    margin, gap = width // 11, width // 22
    lines: list[str] = []
    top = margin
    if heading:
        lines.append("Notes on the " + sentence(rng, 3))
        draw.text((margin, top), lines[0], "black", font(letters * 2, path))
        top += letters * 4
    wide = (width - 2 * margin - gap * (columns - 1)) // columns
    for column in range(columns):
        left, y = margin + column * (wide + gap), top
        while y < height - margin - letters * 2:
            line = sentence(rng, 3)
            while draw.textlength(line + " " + WORDS[0], font(letters, path)) < wide:
                line += " " + str(rng.choice(WORDS))
            while draw.textlength(line, font(letters, path)) > wide:
                line = line.rsplit(" ", 1)[0]
            draw.text((left, y), line, "black", font(letters, path))
            lines.append(line)
            y += round(letters * 1.55)
    return np.asarray(image), lines


def photograph(
    page: np.ndarray,
    seed: int,
    size: tuple[int, int] = (1600, 1200),
    *,
    perspective: float = 0.07,
    shadow: float = 0.5,
    blur: float = 0.8,
    noise: float = 3.0,
    desk: int = 90,
) -> tuple[np.ndarray, np.ndarray]:
    """A photo of the page on a desk: RGB uint8 [h, w, 3], and its corners float32 [4, 2].

    size: (height, width). perspective: how far corners may be off, share of the photo. shadow:
    light left in the darkest place.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    page_height, page_width = page.shape[:2]
    fit = 0.82 * min(width / page_width, height / page_height)
    wide, high = page_width * fit / 2, page_height * fit / 2
    corners = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]])
    angle = np.radians(rng.uniform(-6, 6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = corners @ turn.T + [width / 2, height / 2]
    corners += rng.uniform(-perspective, perspective, (4, 2)) * min(width, height) / 2
    corners = corners.astype(np.float32)
    # The page is made as small as it will be first, so that letters do not alias.
    scaled = cv2.resize(page, None, fx=fit * 1.3, fy=fit * 1.3, interpolation=cv2.INTER_AREA)
    flat = np.array(
        [[0, 0], [scaled.shape[1], 0], [scaled.shape[1], scaled.shape[0]], [0, scaled.shape[0]]],
        dtype=np.float32,
    )
    matrix = cv2.getPerspectiveTransform(flat, corners)
    grain = cv2.resize(
        rng.normal(0, 9, (height // 8, width // 60)).astype(np.float32), (width, height)
    )
    ground = np.dstack([desk + 20 + grain, desk + grain, desk - 15 + grain]).clip(0, 255)
    lying = cv2.warpPerspective(scaled, matrix, (width, height), flags=cv2.INTER_LINEAR)
    where = cv2.warpPerspective(np.full(scaled.shape[:2], 255, np.uint8), matrix, (width, height))
    photo = np.where(where[:, :, None] > 127, lying.astype(np.float32) * 0.92, ground)
    photo *= _light(rng, height, width, shadow)[:, :, None]
    if blur:
        photo = cv2.GaussianBlur(photo, (0, 0), blur)
    photo += rng.normal(0, noise, photo.shape)
    return photo.clip(0, 255).astype(np.uint8), corners


def _light(rng: np.random.Generator, height: int, width: int, darkest: float) -> np.ndarray:
    """A soft shadow from one side."""
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    along = (x - 0.5) * np.cos(direction) + (y - 0.5) * np.sin(direction)
    return darkest + (1 - darkest) / (1 + np.exp(-9 * along))
