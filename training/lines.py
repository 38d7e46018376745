"""Rendered text: single lines on strips and several lines on cards and pages."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training import fonts
from training.tokenizer import spell

Colour = tuple[int, int, int]
Span = tuple[str, float, float]
Box = tuple[float, float, float, float]


def strip_size(rng: random.Random, rows: int, columns: int, budget: int = 70) -> tuple[int, int]:
    """Width and height (px) of a picture that the resize rule turns into rows × columns tokens.

    Inverts the rule: with r = ideal rows before flooring, ideal columns are budget / r.
    """
    low = max(rows, budget / (columns + 1)) + 1e-3
    high = min(rows + 1, budget / columns) - 1e-3
    if low >= high:
        raise ValueError(f"no picture becomes {rows}x{columns} tokens at budget {budget}")
    ideal_rows = rng.uniform(low, high)
    height = rng.randint(40, 110) if rows <= 3 else rng.randint(56, 84) * rows
    return round(height * budget / ideal_rows**2), height


def _inks(rng: random.Random) -> tuple[Colour, Colour]:
    """Paper and ink with enough contrast, mostly dark on light."""
    style = rng.random()
    paper, ink = rng.randint(190, 255), rng.randint(0, 90)
    if style < 0.15:
        paper, ink = rng.randint(0, 60), rng.randint(180, 255)

    def tint(level: int, spread: int) -> Colour:
        values = [level + rng.randint(-spread, spread) for _ in range(3)]
        return tuple(min(255, max(0, v)) for v in values)  # type: ignore[return-value]

    spread = rng.choice([0, 0, 12, 30])
    return tint(paper, spread), tint(ink, spread)


def _spoil(rng: random.Random, image: Image.Image, strength: float) -> Image.Image:
    """Light noise, blur and uneven light, as a camera adds."""
    if rng.random() < 0.25 * strength:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))
    if rng.random() < 0.5 * strength:
        generator = np.random.default_rng(rng.getrandbits(32))
        pixels = np.asarray(image, dtype=np.float32)
        grain = generator.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
        pixels = pixels + grain * rng.uniform(2, 14)
        if rng.random() < 0.4:
            ramp = np.linspace(rng.uniform(0.75, 1), rng.uniform(0.75, 1), pixels.shape[1])
            pixels = pixels * ramp[None, :, None]
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image


def _fit(name: str, text: str, width: float, height: float) -> int:
    """Largest font size (px) at which the longest of the lines fits into width × height."""
    probe = fonts.load(name, 40)
    ascent, descent = probe.getmetrics()
    size = min(width / max(1.0, probe.getlength(text)), height / (ascent + descent)) * 40
    return max(8, int(size))


def strip(
    rng: random.Random, text: str, size: tuple[int, int], names: list[str], strength: float = 1.0
) -> tuple[Image.Image, list[Span]]:
    """One line of text on a strip of `size` = (width, height), somewhere on it, lightly spoilt.

    Also gives where each character lies: (character, left, right) in fractions of the width.
    """
    width, height = size
    name = rng.choice(names)
    paper, ink = _inks(rng)
    em = int(_fit(name, text, width * 0.97, height * 1.0) * rng.uniform(0.72, 1.0))
    font = fonts.load(name, max(8, em))
    box = font.getbbox(text)
    wide, high = box[2] - box[0], box[3] - box[1]
    x = rng.uniform(0, max(0, width - wide)) - box[0]
    if rng.random() < 0.4:
        x = min(x, rng.uniform(2, 0.5 * em)) - box[0]
    y = rng.uniform(0.05, 0.95) * max(0, height - high) - box[1]
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).text((x, y), text, font=font, fill=ink)
    if rng.random() < 0.25 * strength:
        most = min(2.0, 60 * height / width * 0.25)
        image = image.rotate(
            rng.uniform(-most, most), resample=Image.Resampling.BICUBIC, fillcolor=paper
        )
    edges = [(x + font.getlength(text[:n])) / width for n in range(len(text) + 1)]
    spans = list(zip(text, edges, edges[1:], strict=False))
    return _spoil(rng, image, strength), spans


def column_labels(spans: list[Span], columns: int) -> np.ndarray:
    """int64 [columns]: the token of the character over each column, 0 between characters.

    The outer fifths of a character count as between, so that equal neighbours stay apart.
    """
    labels = np.zeros(columns, dtype=np.int64)
    for character, left, right in spans:
        inset = 0.2 * (right - left)
        first = round((left + inset) * columns)
        last = max(first + 1, round((right - inset) * columns))
        labels[max(0, first) : min(columns, last)] = spell(character)[0]
    return labels


def letter_labels(text: str, boxes: list[Box], rows: int, columns: int) -> np.ndarray:
    """int64 [rows, columns]: the token of the character over each cell of a page, 0 where none is.

    A line lies in the row of its middle and in those whose middle it covers; the outer fifths of a
    character count as between, as in `column_labels`.
    """
    labels = np.zeros((rows, columns), dtype=np.int64)
    middles = (np.arange(rows) + 0.5) / rows
    for character, box in zip(text, boxes, strict=True):
        if character == "\n":
            continue
        left, top, right, bottom = box
        over = (middles > top) & (middles < bottom)
        over[min(rows - 1, int((top + bottom) / 2 * rows))] = True
        labels[over] += column_labels([(character, left, right)], columns) * (labels[over] == 0)
    return labels


def line_numbers(text: str, boxes: list[Box], rows: int, columns: int) -> np.ndarray:
    """int64 [rows·columns]: the line, from 1, of the first character over a token, 0 for none."""
    number, numbers = 1, np.zeros(rows * columns, dtype=np.int64)
    for character, mark in zip(text, marks(boxes, rows, columns), strict=True):
        numbers[mark & (numbers == 0)] = number
        number += character == "\n"
    return numbers


def marks(boxes: list[Box], rows: int, columns: int) -> np.ndarray:
    """Mark, as bool [characters, rows·columns], the soft tokens over which each character lies.

    Boxes are (left, top, right, bottom) in fractions of the picture.
    """
    found = np.zeros((len(boxes), rows, columns), dtype=bool)
    for index, box in enumerate(boxes):
        left, top, right, bottom = box
        inset = 0.2 * (right - left)
        first = min(columns - 1, int((left + inset) * columns))
        last = int((right - inset) * columns)
        up = min(rows - 1, int(top * rows))
        found[index, up : int(bottom * rows - 1e-6) + 1, first : max(first, last) + 1] = True
    return found.reshape(len(boxes), -1)


def page(
    rng: random.Random,
    lines: list[str],
    size: tuple[int, int],
    names: list[str],
    strength: float = 1.0,
    most: float = 1 / 8,
) -> tuple[Image.Image, list[Box]]:
    """Several lines of one font on a card or page of `size`, left-aligned at a random margin.

    The font's size is at most the part `most` of the height. Also gives the box of each character
    in reading order; the end of a line lies behind its last.
    """
    width, height = size
    name = rng.choice(names)
    paper, ink = _inks(rng)
    longest = max(lines, key=fonts.load(name, 40).getlength)
    em = _fit(name, longest, width * 0.95, height * 0.97 / len(lines))
    em = max(8, int(min(em, most * height) * rng.uniform(0.75, 1.0)))
    font = fonts.load(name, em)
    ascent, descent = font.getmetrics()
    pitch = min((ascent + descent) * rng.uniform(1.0, 1.4), 0.98 * height / len(lines))
    x = rng.uniform(0.01, 0.05) * width
    x += rng.random() * max(0.0, width * 0.97 - x - font.getlength(longest)) * rng.choice([0, 0, 1])
    y = rng.uniform(0, max(0.0, height - pitch * len(lines)))
    image = Image.new("RGB", size, paper)
    draw = ImageDraw.Draw(image)
    boxes: list[Box] = []
    for index, text in enumerate(lines):
        top = y + index * pitch
        draw.text((x, top), text, font=font, fill=ink)
        edges = [(x + font.getlength(text[:n])) / width for n in range(len(text) + 1)]
        band = ((top + 0.25 * ascent) / height, (top + ascent) / height)
        boxes += [(left, band[0], right, band[1]) for left, right in pairwise(edges)]
        boxes.append((edges[-1], band[0], edges[-1] + 0.3 * em / width, band[1]))
    if rng.random() < 0.3 * strength:
        image = image.rotate(rng.uniform(-1, 1), resample=Image.Resampling.BICUBIC, fillcolor=paper)
    return _spoil(rng, image, strength), boxes[:-1]
