"""The tasks of the demo, each a function that makes one conversation; both sides of the split."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from training import fonts, lines, phrases, pictures, shapes, speech, talk, words
from training.espeak import espeak
from training.samples import Clip, Picture, Turn, clip, heard_marks, picture
from training.tokenizer import token_spans, token_words

READ = ("Read the text.", "Read the text.", "What does it say?", "Read this.", "Read the page.")
HEAR = (
    "Transcribe the recording.",
    "Transcribe the recording.",
    "Transcribe the speech.",
    "What is said?",
)
LINE_GRIDS = ((2, 24), (2, 27), (2, 30), (2, 33), (3, 18), (3, 20), (3, 22))
PAGE_GRIDS = {
    140: ((10, 13), (9, 15)),
    280: ((14, 18), (14, 19), (15, 18), (16, 17), (18, 15), (13, 20)),
}
FRAME_SIZES = ((512, 288), (448, 336), (400, 400), (480, 320))


@dataclass
class Source:
    """Where random material comes from: a generator and one side of the split."""

    rng: random.Random
    held_out: bool = False
    ease: float = 1.0

    @property
    def fonts(self) -> list[str]:
        """Fonts of this side of the split."""
        return fonts.available(fonts.HELD_OUT if self.held_out else fonts.TRAIN)

    def utterance(self, kind: str) -> str:
        """Something to say of this side of the split."""
        return speech.utterance(self.rng, kind, self.held_out)

    def spoken(self, text: str) -> Clip:
        """`text` said by some voice of this side of the split, spoilt a little."""
        said = espeak().say(phrases.spoken(text), *speech.voice(self.rng, self.held_out))
        spoilt, voice = speech.spoil(self.rng, said.pcm, self.ease)
        return clip(spoilt, said.words, voice[0])


def _either_order(rng: random.Random, item: Picture | Clip, text: str) -> tuple:
    return (item, text) if rng.random() < 0.8 else (text, item)


def line(source: Source, grid: tuple[int, int], most: int = 24) -> tuple[Turn, np.ndarray]:
    """One line on a strip that becomes `grid` tokens; also its column labels."""
    rng = source.rng
    text = words.line(rng, min(most, int(grid[1] * 0.85)), source.held_out)
    size = _size(rng, grid, 70)
    image, spans = lines.strip(rng, text, size, source.fonts, source.ease)
    seen = picture(image, 70)
    labels = lines.column_labels(spans, grid[1] * 6)
    return _reading(rng, seen, text, _strip_boxes(spans)), labels


def _size(rng: random.Random, grid: tuple[int, int], budget: int) -> tuple[int, int]:
    """A picture's (width, height) that the resize rule makes `grid`, whole pixels and all."""
    rows, columns = grid
    while True:
        size = lines.strip_size(rng, rows, columns, budget)
        height, width = pictures.resized(size, budget)
        if (height, width) == (rows * 48, columns * 48):
            return size


def _strip_boxes(spans: list[lines.Span]) -> list[lines.Box]:
    return [(left, 0.0, right, 1.0) for _, left, right in spans]


def _reading(rng: random.Random, seen: Picture, text: str, boxes: list[lines.Box]) -> Turn:
    rows = seen.rows // 3
    marks = lines.marks(boxes, rows, seen.tokens // rows)
    return Turn(_either_order(rng, seen, rng.choice(READ)), text, spelled=True, marks=marks)


def crop(source: Source, grid: tuple[int, int], most: int = 14) -> tuple[Turn, np.ndarray]:
    """A short line scaled straight to a small grid: the same letters at a third of the cost."""
    rng = source.rng
    rows, columns = grid
    text = words.line(rng, min(most, int(columns * 0.8)), source.held_out)
    height = rng.randint(48, 100)
    size = (round(height * columns / rows * rng.uniform(0.85, 1.15)), height)
    image, spans = lines.strip(rng, text, size, source.fonts, source.ease)
    scaled = image.resize((columns * 48, rows * 48), Image.Resampling.BICUBIC)
    seen = Picture(pictures.patches(scaled), rows * 3)
    return _reading(rng, seen, text, _strip_boxes(spans)), lines.column_labels(spans, columns * 6)


def seeing(
    source: Source,
    size: tuple[int, int],
    kinds: tuple[str, ...],
    budget: int = 70,
    grid: tuple[int, int] | None = None,
) -> tuple[Turn, np.ndarray]:
    """A question about shapes, on a small `grid` to spare training, with its cell labels."""
    rng = source.rng
    while True:
        kind = rng.choice(kinds)
        count = 1
        if kind in ("count", "see", "box"):
            count = rng.choice([1, 1, 2, 2, 3] if kind != "count" else [1, 2, 3, 4, 5])
        elif kind in ("relation", "colour_of"):
            count = 2
        scene = shapes.scene(rng, size, count, source.held_out)
        asked = shapes.question(rng, scene, kind)
        if asked:
            seen = _scaled(scene.image, grid) if grid else picture(scene.image, budget)
            parts = _either_order(rng, seen, asked.question)
            return _asked_of(scene, seen, asked, parts), _cells(scene, seen)


def seeing_twice(
    source: Source, size: tuple[int, int], kinds: tuple[str, ...], grid: tuple[int, int] | None
) -> tuple[tuple[Turn, Turn], np.ndarray]:
    """A question about shapes, then another about the same picture; with its cell labels."""
    rng = source.rng
    scene = shapes.scene(rng, size, rng.choice([1, 2, 2]), source.held_out)
    seen = _scaled(scene.image, grid) if grid else picture(scene.image, 70)
    asked: list[shapes.Asked] = []
    while len(asked) < 2:
        found = shapes.question(rng, scene, rng.choice(kinds))
        asked += [found] if found else []
    first, second = asked
    opening = _asked_of(scene, seen, first, _either_order(rng, seen, first.question))
    again = _asked_of(scene, seen, second, (second.question,), marked=-1)
    return (opening, again), _cells(scene, seen)


def _asked_of(
    scene: shapes.Scene, seen: Picture, asked: shapes.Asked, parts: tuple, marked: int = 0
) -> Turn:
    marks, named = _scene_marks(asked, seen), _named_marks(asked, scene.things, seen)
    return Turn(parts, asked.answer, marks=marks, marked=marked, named=named)


def _cells(scene: shapes.Scene, seen: Picture) -> np.ndarray:
    rows = seen.rows // 3
    return shapes.cell_labels(scene.things, rows, seen.tokens // rows)


def _scene_marks(asked: shapes.Asked, seen: Picture) -> np.ndarray | None:
    """Bool [answer tokens, soft tokens]: where each token of the answer is read from."""
    if asked.looks is None:
        return None
    rows = seen.rows // 3
    if asked.answer.startswith("[{"):
        return _box_marks(asked.answer, asked.looks[0][0], rows, seen.tokens // rows)
    by_word = shapes.marks(asked.looks, rows, seen.tokens // rows)
    return by_word[token_words(asked.answer)]


def _box_marks(answer: str, thing: shapes.Thing, rows: int, columns: int) -> np.ndarray:
    """Bool [answer tokens, soft tokens]: each number is read from its side, the rest anywhere."""
    sides = shapes.box_sides(thing, rows, columns).reshape(4, -1)
    anywhere = shapes.marks(((thing,),), rows, columns)[0]
    numbers = [found.span() for found in re.finditer(r"\b\d+", answer)]

    def read_from(start: int, end: int) -> np.ndarray:
        for side, (first, last) in zip(sides, numbers, strict=True):
            if first <= start and end <= last:
                return side
        return anywhere

    return np.stack([read_from(*span) for span in token_spans(answer)])


def _named_marks(
    asked: shapes.Asked, things: tuple[shapes.Thing, ...], seen: Picture
) -> np.ndarray | None:
    """Bool [question tokens, soft tokens]: what each token of the question names, if any does."""
    words = [word.strip("?.") for word in asked.question.split()]
    if not {thing.shape for thing in things}.intersection(words):
        return None
    looks = tuple(tuple(t for t in things if word in t.name.split()) for word in words)
    rows = seen.rows // 3
    by_word = shapes.marks(looks, rows, seen.tokens // rows)
    return by_word[token_words(asked.question)]


def _scaled(image: Image.Image, grid: tuple[int, int]) -> Picture:
    rows, columns = grid
    scaled = image.resize((columns * 48, rows * 48), Image.Resampling.BICUBIC)
    return Picture(pictures.patches(scaled), rows * 3)


def hearing(source: Source, kind: str) -> Turn:
    """A recording to transcribe."""
    text = source.utterance(kind)
    ask, heard = source.rng.choice(HEAR), source.spoken(text)
    parts = _either_order(source.rng, heard, ask)
    return Turn(parts, text, marks=heard_marks(heard, text))


def _shown(
    source: Source, size: tuple[int, int], grid: tuple[int, int] | None, kind: str
) -> tuple[Picture, shapes.Asked]:
    """A camera frame about which a spoken question of `kind` can be asked, and what is asked."""
    rng = source.rng
    count = rng.randint(1, 5) if kind == "count" else rng.choice([1, 1, 2]) if kind == "see" else 1
    scene = shapes.scene(rng, size, count, source.held_out)
    asked = shapes.question(rng, scene, kind)
    assert asked is not None
    return (_scaled(scene.image, grid) if grid else picture(scene.image, 70)), asked


LIVE_KINDS = ("colour", "colour", "shape", "shape", "count", "count", "see", "see")


def live(source: Source, size: tuple[int, int], grid: tuple[int, int] | None = None) -> Turn:
    """A spoken question about the newest frame, frames and clip in time order."""
    rng = source.rng
    kind = rng.choice(LIVE_KINDS)
    frame, asked = _shown(source, size, grid, kind)
    heard = source.spoken(rng.choice(phrases.QUESTIONS[kind]))
    draw = rng.random()
    parts: tuple[Picture | Clip, ...] = (frame, heard) if draw < 0.5 else (heard, frame)
    if draw >= 0.85:
        earlier, _ = _shown(source, size, grid, rng.choice(["see", "colour"]))
        parts = (earlier, frame, heard) if draw < 0.95 else (earlier, heard, frame)
    marked = next(index for index, part in enumerate(parts) if part is frame)
    return Turn(parts, asked.answer, marks=_scene_marks(asked, frame), marked=marked)


def voice_only(source: Source, size: tuple[int, int], grid: tuple[int, int] | None = None) -> Turn:
    """Something said without a question about the picture: greeted, or told what was heard."""
    rng = source.rng
    kind = rng.choice(["command", "greeting", "digits"])
    text = source.utterance(kind)
    replies = {
        "hello": talk.HELLO,
        "good morning": talk.HELLO,
        "who are you": talk.WHO,
        "what can you do": talk.WHAT,
    }
    heard = source.spoken(text)
    parts = (heard,) if rng.random() < 0.6 else (_shown(source, size, grid, "see")[0], heard)
    return Turn(parts, replies.get(text, f"You said: {text}"))


def page(
    source: Source, grid: tuple[int, int], count: int
) -> tuple[Turn, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """`count` lines on a card or page that becomes `grid` tokens at the smallest budget for them.

    Also the letters over each row of patches and over each row of soft tokens, and the number of
    the line over each soft token.
    """
    rng = source.rng
    rows, columns = grid
    budget = next(b for b in pictures.BUDGETS if b >= rows * columns)
    most = max(6, min(24, int(1.3 * columns)))
    texts = [words.line(rng, most, source.held_out) for _ in range(count)]
    size = _size(rng, grid, budget)
    largest = rng.choice([1 / 8, 1 / 8, 1 / 5, 1 / 3])  # large letters show the way to small ones
    image, boxes = lines.page(rng, texts, size, source.fonts, source.ease, largest)
    text = "\n".join(texts)
    over_patches = lines.letter_labels(text, boxes, rows * 3, columns * 6)
    over_tokens = lines.letter_labels(text, boxes, rows, columns * 6)
    numbers = lines.line_numbers(text, boxes, rows, columns)
    return _reading(rng, picture(image, budget), text, boxes), (over_patches, over_tokens), numbers


def chat(source: Source) -> tuple[Turn, ...]:
    """One or two typed exchanges."""
    count = source.rng.choice([1, 1, 1, 1, 2])
    pairs = [talk.exchange(source.rng, source.held_out) for _ in range(count)]
    return tuple(_typed(asked, answer) for asked, answer in pairs)


def _typed(asked: str, answer: str) -> Turn:
    """A typed exchange; an echo says for each of its tokens which one it repeats."""
    if not talk.is_echo(asked, answer):
        return Turn((asked,), answer)
    begun = asked.rindex(answer)
    marks = np.array(
        [
            [low - begun < end and start < high - begun for low, high in token_spans(asked)]
            for start, end in token_spans(answer)
        ]
    )
    return Turn((asked,), answer, marks=marks, marked=None)


def calculation(source: Source) -> tuple[Turn, ...]:
    """One typed sum or difference: a drill, since chat alone asks too few."""
    asked, answer = talk.calculation(source.rng)
    return (Turn((asked,), answer),)


def echo(source: Source) -> tuple[Turn, ...]:
    """A few words to repeat: a drill."""
    return (_typed(*talk.echo(source.rng, source.held_out)),)


COLOUR_NAMES = ("red", "green", "blue", "yellow", "orange", "purple", "white")


def _field(
    colour: tuple[int, int, int], rng: random.Random, grid: tuple[int, int] | None
) -> Picture:
    tint = tuple(min(255, max(0, v + rng.randint(-10, 10))) for v in colour)
    image = Image.new("RGB", (320, 180), tint)
    return replace(_scaled(image, grid), video=True) if grid else picture(image, 70, video=True)


def video(source: Source, grid: tuple[int, int] | None = None) -> Turn:
    """Flashes on black: which colour came first or last, or how many flashes there were.

    On a small `grid` to spare training: a plain field looks much the same on any.
    """
    rng = source.rng
    black = _field((18, 18, 18), rng, grid)
    colours = rng.sample(COLOUR_NAMES, rng.randint(1, 4))
    frames: list[Picture] = []
    begun: list[int] = []
    for colour in colours:
        frames += [black] * rng.choice([1, 1, 2])
        begun.append(len(frames))
        frames += [_field(shapes.COLOURS[colour], rng, grid)] * rng.choice([1, 1, 2])
    if rng.random() < 0.5:
        frames.append(black)
    parts: list[str | Picture] = []
    for moment, frame in enumerate(frames):
        stamp = f"{moment // 60:02d}:{moment % 60:02d}"
        parts += [f"{' ' if parts else ''}{stamp} ", frame]
    kind = rng.choice(["first", "last", "count"])
    if kind == "count":
        answer = shapes.NUMBERS[len(colours)].capitalize() + "."
        return Turn((*parts, "How many flashes were there?"), answer)
    lit, colour = (begun[0], colours[0]) if kind == "first" else (begun[-1], colours[-1])
    answer = colour.capitalize() + "."
    marks = np.ones((len(token_words(answer)), frames[lit].tokens), dtype=bool)
    return Turn((*parts, f"Which colour came {kind}?"), answer, marks=marks, marked=lit)


__all__ = [
    "Source",
    "calculation",
    "chat",
    "echo",
    "hearing",
    "line",
    "live",
    "page",
    "pictures",
    "seeing",
    "seeing_twice",
    "video",
    "voice_only",
]
