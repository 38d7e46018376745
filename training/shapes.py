"""Coloured shapes on varied backgrounds, and questions about them with their answers."""

from __future__ import annotations

import json
import math
import random
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COLOURS = {
    "red": (215, 30, 35),
    "green": (30, 150, 55),
    "blue": (35, 70, 210),
    "yellow": (245, 215, 30),
    "orange": (245, 130, 20),
    "purple": (130, 40, 165),
    "black": (15, 15, 18),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
BACKGROUNDS = ("plain", "dark", "tint", "gradient", "stripes", "checks", "grain", "blobs")
NUMBERS = ("no", "one", "two", "three", "four", "five")
Colour = tuple[int, int, int]


def held_out(colour: str, shape: str, background: str) -> bool:
    """True for the fifth of all colour × shape × background combinations never trained on."""
    return zlib.crc32(f"{colour} {shape} {background}".encode()) % 5 == 0


@dataclass(frozen=True)
class Thing:
    """One shape: its names and its box in picture fractions (y0, x0, y1, x1)."""

    colour: str
    shape: str
    box: tuple[float, float, float, float]

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f"{self.colour} {self.shape}"

    @property
    def x(self) -> float:
        """Centre from the left, 0 to 1."""
        return (self.box[1] + self.box[3]) / 2

    @property
    def y(self) -> float:
        """Centre from the top, 0 to 1."""
        return (self.box[0] + self.box[2]) / 2


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it, in reading order from left to right."""

    image: Image.Image
    things: tuple[Thing, ...]
    background: str


def _base_colour(rng: random.Random, kind: str) -> Colour:
    if kind == "dark":
        return tuple(rng.randint(35, 75) for _ in range(3))  # type: ignore[return-value]
    if kind == "tint":
        return tuple(rng.randint(150, 225) for _ in range(3))  # type: ignore[return-value]
    level = rng.randint(120, 225)
    return (level,) * 3


def background(rng: random.Random, kind: str, size: tuple[int, int]) -> Image.Image:
    """One of BACKGROUNDS, muted so that every colour of COLOURS stands out."""
    width, height = size
    base = np.array(_base_colour(rng, kind), dtype=np.float32)
    field = np.zeros((height, width), dtype=np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    generator = np.random.default_rng(rng.getrandbits(32))
    if kind == "gradient":
        angle = rng.uniform(0, 2 * math.pi)
        field = (x / width * math.cos(angle) + y / height * math.sin(angle)) * 60
    elif kind == "stripes":
        period = rng.uniform(0.08, 0.25) * height
        angle = rng.uniform(0, math.pi)
        field = np.sign(np.sin((x * math.cos(angle) + y * math.sin(angle)) * 6.28 / period)) * 12
    elif kind == "checks":
        period = rng.uniform(0.06, 0.2) * height
        field = (np.floor(x / period) + np.floor(y / period)) % 2 * 26 - 13
    elif kind == "grain":
        field = generator.standard_normal((height, width), dtype=np.float32) * 12
    elif kind == "blobs":
        small = generator.standard_normal((6, 8), dtype=np.float32) * 22
        coarse = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
        field = np.asarray(coarse)
    pixels = np.clip(base + field[..., None], 25, 232)
    return Image.fromarray(pixels.astype(np.uint8))


def outline(shape: str, radius: float, turn: float) -> list[tuple[float, float]]:
    """Corners around the origin."""
    if shape == "cross":
        a, b = radius, radius * 0.36
        corners = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)]
        corners += [(-x, -y) for x, y in corners]
        spin = turn
    else:
        count = {"square": 4, "triangle": 3, "star": 10}[shape]
        corners = []
        for k in range(count):
            r = radius * (0.45 if shape == "star" and k % 2 else 1.0)
            angle = 2 * math.pi * k / count - math.pi / 2
            corners.append((r * math.cos(angle), r * math.sin(angle)))
        spin = turn + (math.pi / 4 if shape == "square" else 0)
    c, s = math.cos(spin), math.sin(spin)
    return [(x * c - y * s, x * s + y * c) for x, y in corners]


def _shade(rng: random.Random, colour: str) -> Colour:
    spread = 8 if colour in ("black", "white") else 18
    return tuple(  # type: ignore[return-value]
        min(255, max(0, v + rng.randint(-spread, spread))) for v in COLOURS[colour]
    )


def _draw(
    rng: random.Random,
    draw: ImageDraw.ImageDraw,
    thing: tuple[str, str],
    cx: float,
    cy: float,
    r: float,
) -> tuple[float, float, float, float]:
    """Draw one shape; its tight box in pixels (x0, y0, x1, y1)."""
    colour, shape = thing
    fill = _shade(rng, colour)
    if shape == "circle":
        box = (cx - r * 0.9, cy - r * 0.9, cx + r * 0.9, cy + r * 0.9)
        draw.ellipse(box, fill=fill)
        return box
    corners = [(cx + x, cy + y) for x, y in outline(shape, r, rng.uniform(-0.22, 0.22))]
    draw.polygon(corners, fill=fill)
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _places(
    rng: random.Random, count: int, width: int, height: int
) -> list[tuple[float, float, float]]:
    """Centres and radii that do not touch, clearly apart along x or y."""
    short = min(width, height)
    top = {1: 0.42, 2: 0.26, 3: 0.2, 4: 0.17, 5: 0.15}[count]
    for _ in range(400):
        found: list[tuple[float, float, float]] = []
        for _ in range(count):
            r = short * rng.uniform(0.55 * top if count > 1 else 0.14, top)
            x, y = rng.uniform(1.1 * r, width - 1.1 * r), rng.uniform(1.1 * r, height - 1.1 * r)
            if all(math.hypot(x - a, y - b) > 1.15 * (r + c) for a, b, c in found):
                found.append((x, y, r))
        xs = sorted(x for x, _, _ in found)
        if len(found) == count and all(b - a > 0.06 * width for a, b in pairwise(xs)):
            return sorted(found)
    return _places(rng, count - 1, width, height)


def scene(
    rng: random.Random, size: tuple[int, int], count: int, held: bool = False, distinct: bool = True
) -> Scene:
    """A picture of `count` shapes; all of its combinations lie on one side of the split."""
    kind = rng.choice(BACKGROUNDS)
    pool = [(c, s) for c in COLOURS for s in SHAPES if held_out(c, s, kind) == held]
    if kind == "dark":
        pool = [p for p in pool if p[0] != "black"]
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        pick = rng.choice(pool)
        if distinct and any(pick[1] == other[1] for other in chosen):
            if rng.random() < 0.9:
                continue
            if pick in chosen:
                continue
        chosen.append(pick)
    width, height = size
    image = background(rng, kind, size)
    draw = ImageDraw.Draw(image)
    things = []
    for pick, (x, y, r) in zip(chosen, _places(rng, count, width, height), strict=False):
        x0, y0, x1, y1 = _draw(rng, draw, pick, x, y, r)
        things.append(Thing(*pick, (y0 / height, x0 / width, y1 / height, x1 / width)))
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    if rng.random() < 0.3:
        generator = np.random.default_rng(rng.getrandbits(32))
        grain = generator.standard_normal((height, width, 1), dtype=np.float32)
        pixels = np.asarray(image, dtype=np.float32) + grain * rng.uniform(2, 9)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return Scene(image, tuple(things), kind)


def describe(things: tuple[Thing, ...]) -> str:
    """'A red circle and a blue square.' from left to right; an orange one gets 'an'."""
    names = [_article(thing.name) for thing in things]
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:] + "."


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


RELATIONS = ("left of", "right of", "above", "below")
CELL_LABELS = 2 + 4 + len(RELATIONS) + 3 + 4


def _over(thing: Thing, rows: int, columns: int) -> np.ndarray:
    """Bool [rows, columns]: the soft tokens that `thing` lies over."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None, :] + 0.5) / columns
    y0, x0, y1, x1 = thing.box
    down = (y - thing.y) / max(0.55 * (y1 - y0), 0.6 / rows)
    across = (x - thing.x) / max(0.55 * (x1 - x0), 0.6 / columns)
    return down**2 + across**2 < 1


def _sides(thing: Thing, things: tuple[Thing, ...]) -> list[float]:
    """For each of RELATIONS: 1 where it holds to some other of `things`, 0 to none, -1 unclear."""
    found = []
    for relation in RELATIONS:
        to_others = [holds(relation, thing, other) for other in things if other is not thing]
        found.append(1.0 if True in to_others else -1.0 if None in to_others else 0.0)
    return found


def cell_labels(things: tuple[Thing, ...], rows: int, columns: int) -> np.ndarray:
    """float32 [rows·columns, CELL_LABELS]: what lies over each soft token.

    Its colour and shape (from 1, 0 for none), its box (y0, x0, y1, x1), which of RELATIONS it is
    in to another thing, how many things there are, its place from the left, and whether
    its middle lies here; zeros where nothing lies. Last, for each side of a box that lies here, 1
    more than the side's place.
    """
    labels = np.zeros((rows, columns, CELL_LABELS), dtype=np.float32)
    for place, thing in enumerate(things, 1):
        colour, shape = tuple(COLOURS).index(thing.colour), SHAPES.index(thing.shape)
        told = (1 + colour, 1 + shape, *thing.box, *_sides(thing, things), len(things), place)
        labels[_over(thing, rows, columns), : len(told)] = told
        labels[int(thing.y * rows), int(thing.x * columns), : len(told) + 1] = (*told, 1)
        for side, cells in enumerate(box_sides(thing, rows, columns)):
            labels[cells, len(told) + 1 + side] = 1 + thing.box[side]
    return labels.reshape(-1, CELL_LABELS)


def box_sides(thing: Thing, rows: int, columns: int) -> np.ndarray:
    """Bool [4, rows, columns]: the soft tokens over the middle half of each side of its box."""
    found = np.zeros((4, rows, columns), dtype=bool)
    for axis, count in enumerate((rows, columns)):
        first, last = thing.box[axis], thing.box[axis + 2]
        across_first, across_last = thing.box[1 - axis], thing.box[3 - axis]
        others = (rows, columns)[1 - axis]
        inset = (across_last - across_first) / 4
        half = slice(int((across_first + inset) * others), int((across_last - inset) * others) + 1)
        for side, place in ((axis, first), (axis + 2, last - 1e-6)):
            line = min(count - 1, int(place * count))
            found[(side, line, half) if axis == 0 else (side, half, line)] = True
    return found


def marks(looks: tuple[tuple[Thing, ...], ...], rows: int, columns: int) -> np.ndarray:
    """Bool [len(looks), rows·columns]: the soft tokens over the things that each look is at."""
    found = np.zeros((len(looks), rows, columns), dtype=bool)
    for mark, things in zip(found, looks, strict=True):
        for thing in things:
            mark |= _over(thing, rows, columns)
    return found.reshape(len(looks), -1)


def holds(relation: str, a: Thing, b: Thing) -> bool | None:
    """Whether `a` is in `relation` to `b`; None when it is too close to call."""
    gap = {
        "left of": b.x - a.x,
        "right of": a.x - b.x,
        "above": b.y - a.y,
        "below": a.y - b.y,
    }[relation]
    return None if abs(gap) < 0.1 else gap > 0


class Asked(NamedTuple):
    """A question, its answer, and the things that each word of the answer is read from.

    No things are told where the answer is read from what the question does not name: the head that
    learns to find what is named would learn to avoid it.
    """

    question: str
    answer: str
    looks: tuple[tuple[Thing, ...], ...] | None


def about(question_: str, answer: str, *things: Thing) -> Asked:
    """A question whose whole answer is read from `things`."""
    return Asked(question_, answer, (things,) * len(answer.split()))


def describe_looks(things: tuple[Thing, ...]) -> tuple[tuple[Thing, ...], ...]:
    """The thing that each word of `describe` is about; "and" belongs to the one it announces."""
    found: list[tuple[Thing, ...]] = []
    for index, thing in enumerate(things):
        announced = index == len(things) - 1 > 0
        found += [(thing,)] * (4 if announced else 3)
    return tuple(found)


def relation_question(rng: random.Random, things: tuple[Thing, ...]) -> Asked | None:
    """'Is the circle left of the square?' or 'What is left of the square?' about two shapes."""
    if len(things) != 2 or things[0].shape == things[1].shape:
        return None
    a, b = rng.sample(things, 2)
    relation = rng.choice(RELATIONS)
    truth = holds(relation, a, b)
    if truth is None:
        return None
    if rng.random() < 0.2:
        found, other = (a, b) if truth else (b, a)
        return Asked(f"What is {relation} the {other.shape}?", describe((found,)), None)
    return about(f"Is the {a.shape} {relation} the {b.shape}?", "Yes." if truth else "No.", a)


def box_json(thing: Thing) -> str:
    """The published box form: [y0, x0, y1, x1] in thousandths of the picture."""
    box = [min(1000, max(0, round(1000 * v))) for v in thing.box]
    return json.dumps([{"box_2d": box, "label": thing.name}], separators=(",", ":"))


def question(rng: random.Random, scene_: Scene, kind: str) -> Asked | None:
    """A typed question of `kind` and its answer, or None where it does not apply."""
    things = scene_.things
    one = things[0] if len(things) == 1 else None
    if kind == "count":
        ask = rng.choice(["How many shapes are there?", "How many shapes?", "Count the shapes."])
        return about(ask, NUMBERS[len(things)].capitalize() + ".", *things)
    if kind == "see":
        asks = ["What do you see?", "What is this?", "Describe the picture.", "What is shown?"]
        return Asked(rng.choice(asks), describe(things), describe_looks(things))
    if kind == "colour" and one:
        asks = ["What colour is the shape?", "What colour is it?", "Which colour is this?"]
        return about(rng.choice(asks), one.colour.capitalize() + ".", one)
    if kind == "shape" and one:
        asks = ["What shape is this?", "Which shape is it?", "What shape do you see?"]
        return about(rng.choice(asks), f"A {one.shape}.", one)
    if kind == "colour_of" and len({t.shape for t in things}) == len(things) > 1:
        thing = rng.choice(things)
        return about(f"What colour is the {thing.shape}?", thing.colour.capitalize() + ".", thing)
    if kind == "relation":
        return relation_question(rng, things)
    if kind == "box" and len({t.name for t in things}) == len(things):
        thing = rng.choice(things)
        asks = [f"Where is the {thing.name}?", f"Detect the {thing.name}."]
        return about(rng.choice(asks), box_json(thing), thing)
    return None
