"""Batches for the joint training: one task and one picture grid each, drawn from small pools.

Rendering and speaking cost a quarter of a training step, so every item is used about twice before
it leaves its pool; where items are kept elsewhere, once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training import pictures, samples, tasks
from training.focus import ASKED, KINDS, NAMED, READ
from training.samples import Clip, Picture, Sequence, Turn

MEL_LENGTHS = (256, 448, 704)
CLIPS = 16
SEE = ("colour", "shape", "see", "see", "colour_of", *("count",) * 3, *("relation",) * 4)
AGAIN = 0.2
"""Share of the scenes about which a second question follows, as people ask one after the other."""
REUSE = 2


@dataclass
class Item:
    """One conversation as tokens; labels for the throw-away heads of strips, pages and scenes."""

    sequence: Sequence
    columns: np.ndarray | None = None
    letters: tuple[np.ndarray, np.ndarray] | None = None
    lines: np.ndarray | None = None
    cells: np.ndarray | None = None


@dataclass
class Batch:
    """Padded tokens, and media stacked by shape with the places of their soft tokens.

    `focus`, bool [B, KINDS, T, T], says for the token before each of an answer which soft tokens
    the answer's is read from and which word of the question it is about, and for the words which
    soft tokens they name.
    """

    task: str
    ids: Tensor
    labels: Tensor
    pixels: Tensor | None = None
    positions: Tensor | None = None
    rows: int = 0
    picture_slots: Tensor | None = None
    columns: Tensor | None = None
    letters: tuple[Tensor, Tensor] | None = None
    lines: Tensor | None = None
    cells: Tensor | None = None
    mel: Tensor | None = None
    mel_mask: Tensor | None = None
    clip_slots: Tensor | None = None
    words: Tensor | None = None
    focus: Tensor | None = None


def _slots(items: list[tuple[int, int, Picture | Clip]], width: int) -> Tensor:
    """Flat indices into [B·T] of the soft tokens of `items` = (row, start, medium), in order."""
    runs = [row * width + start + np.arange(medium.tokens) for row, start, medium in items]
    return torch.from_numpy(np.concatenate(runs))


def collate(task: str, items: list[Item]) -> Batch:
    """Right-pad to a multiple of 16 tokens; pictures of one batch share one grid."""
    width = -(-max(len(item.sequence.ids) for item in items) // 16) * 16
    ids = np.zeros((len(items), width), dtype=np.int64)
    labels = np.full((len(items), width), -100, dtype=np.int64)
    media: list[tuple[int, int, Picture | Clip]] = []
    for row, item in enumerate(items):
        size = len(item.sequence.ids)
        ids[row, :size] = item.sequence.ids
        labels[row, :size] = item.sequence.labels
        media += [(row, start, medium) for start, medium in item.sequence.media]
    batch = Batch(task, torch.from_numpy(ids), torch.from_numpy(labels))
    batch.focus = _focus(items, width)
    seen = [m for m in media if isinstance(m[2], Picture)]
    heard = [m for m in media if isinstance(m[2], Clip)]
    if seen:
        _add_pictures(batch, seen, width)
        if items[0].columns is not None:
            batch.columns = torch.from_numpy(np.stack([item.columns for item in items]))
        if items[0].letters is not None:
            by_size = zip(*(item.letters for item in items), strict=True)
            over_patches, over_tokens = (torch.from_numpy(np.stack(each)) for each in by_size)
            batch.letters = over_patches, over_tokens
        if items[0].lines is not None:
            batch.lines = torch.from_numpy(np.stack([item.lines for item in items]))
        if items[0].cells is not None:
            batch.cells = torch.from_numpy(np.stack([item.cells for item in items]))
    if heard:
        _add_clips(batch, heard, width)
    return batch


def _focus(items: list[Item], width: int) -> Tensor | None:
    if not any(item.sequence.lookups for item in items):
        return None
    focus = np.zeros((len(items), KINDS, width, width), dtype=bool)
    for looks, item in zip(focus, items, strict=True):
        for lookup in item.sequence.lookups:
            count, soft = lookup.marks.shape
            answer = slice(lookup.answer - 1, lookup.answer - 1 + count)
            source = slice(lookup.source, lookup.source + soft)
            looks[READ, answer, source] = lookup.marks
            if lookup.named is not None:
                text = slice(lookup.text, lookup.text + len(lookup.named))
                looks[ASKED, answer, text] = _first_named(lookup.named)
                if lookup.source < lookup.text:
                    looks[NAMED, text, source] = lookup.named
    return torch.from_numpy(focus)


def _first_named(named: np.ndarray) -> np.ndarray:
    """Bool [text tokens]: those that name what the first naming one does."""
    names = named.any(axis=1)
    return names & (named == named[np.argmax(names)]).all(axis=1)


def _add_pictures(batch: Batch, seen: list, width: int) -> None:
    batch.rows = seen[0][2].rows
    stack = np.stack([medium.patches for _, _, medium in seen])
    batch.pixels = torch.from_numpy(stack)
    grid = pictures.positions(batch.rows, stack.shape[1] // batch.rows)
    batch.positions = torch.from_numpy(grid)[None].expand(len(seen), -1, -1)
    batch.picture_slots = _slots(seen, width)


def _add_clips(batch: Batch, heard: list, width: int) -> None:
    longest = max(medium.mel.shape[0] for _, _, medium in heard)
    frames = min(size for size in MEL_LENGTHS if size >= longest)
    batch.mel = torch.zeros(len(heard), frames, 128)
    batch.mel_mask = torch.zeros(len(heard), frames, dtype=torch.bool)
    for index, (_, _, medium) in enumerate(heard):
        size = medium.mel.shape[0]
        batch.mel[index, :size] = torch.from_numpy(medium.mel)
        batch.mel_mask[index, :size] = True
    batch.clip_slots = _slots(heard, width)
    words = np.concatenate([medium.words for _, _, medium in heard])
    batch.words = torch.from_numpy(words)


def _clips_fit(turns: tuple[Turn, ...]) -> int:
    """Mel bucket of the longest clip in `turns`, 0 without clips, -1 if one is too long."""
    sizes = [p.mel.shape[0] for t in turns for p in t.parts if isinstance(p, Clip)]
    if not sizes:
        return 0
    return min((size for size in MEL_LENGTHS if size >= max(sizes)), default=-1)


class Kitchen:
    """Makes items of each task and keeps them in pools by shape."""

    def __init__(self, source: tasks.Source, batch_patches: int, reuse: int = REUSE) -> None:
        self.source = source
        self.budget = batch_patches
        self.reuse = reuse
        self.pools: dict[tuple, list[Item]] = {}

    def draw(self, task: str) -> Batch:
        """A batch of `task`, in a random one of its grids."""
        grid = self._grid(task)
        make, size = self._recipe(task, grid)
        if task in ("hearing", "voice", "live", "small voice", "small live"):
            return self._draw_bucketed(task, grid, make, size)
        pool = self.pools.setdefault((task, grid), [])
        self._refresh(pool, make, size)
        return collate(task, self._alike(pool, size))

    def _alike(self, pool: list[Item], size: int) -> list[Item]:
        """Random items of similar length, which spares padding."""
        rng = self.source.rng
        drawn = rng.sample(pool, min(len(pool), 3 * size))
        drawn.sort(key=lambda item: len(item.sequence.ids))
        start = rng.randint(0, len(drawn) - size)
        return self._taken(pool, drawn[start : start + size])

    def _taken(self, pool: list[Item], drawn: list[Item]) -> list[Item]:
        if self.reuse == 1:
            left = {id(item) for item in drawn}
            pool[:] = [item for item in pool if id(item) not in left]
        return drawn

    def _refresh(self, pool: list[Item], make: Callable[[], Item], size: int) -> None:
        fresh = size if len(pool) < size else -(-size // self.reuse)
        pool.extend(make() for _ in range(fresh))
        del pool[: max(0, len(pool) - 4 * size)]

    def _draw_bucketed(self, task: str, grid: tuple, make: Callable[[], Item], size: int) -> Batch:
        """Clips differ in length: fill pools by mel bucket until one can give a batch."""
        made = 0
        while True:
            item = make()
            made += 1
            clips = [m for _, m in item.sequence.media if isinstance(m, Clip)]
            bucket = _clips_fit((Turn(tuple(clips), ""),))
            if bucket < 0:
                continue
            pool = self.pools.setdefault((task, grid, bucket), [])
            pool.append(item)
            del pool[: max(0, len(pool) - 4 * size)]
            ready = [k for k, p in self.pools.items() if k[:2] == (task, grid) and len(p) >= size]
            if made * self.reuse >= size and ready:
                weights = [len(self.pools[k]) for k in ready]
                key = self.source.rng.choices(ready, weights)[0]
                drawn = self.source.rng.sample(self.pools[key], size)
                return collate(task, self._taken(self.pools[key], drawn))

    def _grid(self, task: str) -> tuple[int, int]:
        rng = self.source.rng
        if task == "crop":
            return rng.choice([(2, 6), (2, 8), (2, 10), (2, 12)])
        if task == "small video":
            return rng.choice([(2, 3), (3, 4), (3, 5), (4, 7)])
        if task.startswith("small"):
            return rng.choice([(4, 4), (4, 5), (4, 7), (5, 6), (5, 8)])
        if task == "line":
            return rng.choice(tasks.LINE_GRIDS)
        if task in ("see", "relation", "box", "live", "voice"):
            return rng.choice(tasks.FRAME_SIZES)
        if task == "card":
            return rng.choice([(8, 8), (7, 9), (6, 11), (5, 12), (4, 15)])
        if task == "page":
            return rng.choice(tasks.PAGE_GRIDS[rng.choice([140, 280, 280, 280])])
        return (0, 0)

    def _recipe(self, task: str, grid: tuple[int, int]) -> tuple[Callable[[], Item], int]:
        source, rng = self.source, self.source.rng
        whole = max(4, self.budget // 594)
        pixels = (grid[1] * 48, grid[0] * 48)
        several = max(2, whole * 66 // max(1, grid[0] * grid[1]))

        def tokens(turns: tuple[Turn, ...]) -> Item:
            return Item(samples.sequence(turns))

        small = max(8, min(32, self.budget // max(1, grid[0] * grid[1] * 9)))

        def text_line() -> Item:
            turn, labels = (tasks.crop if task == "crop" else tasks.line)(source, grid)
            return Item(samples.sequence((turn,)), labels)

        def several_lines(count: int) -> Item:
            turn, letters, lines = tasks.page(source, grid, count)
            return Item(samples.sequence((turn,)), letters=letters, lines=lines)

        def scene(kinds: tuple[str, ...], size: tuple[int, int], small: bool) -> Item:
            shrunk = grid if small else None
            if kinds is SEE and rng.random() < AGAIN:
                turns, cells = tasks.seeing_twice(source, size, kinds, shrunk)
                return Item(samples.sequence(turns), cells=cells)
            turn, cells = tasks.seeing(source, size, kinds, grid=shrunk)
            return Item(samples.sequence((turn,)), cells=cells)

        recipes: dict[str, tuple[Callable[[], Item], int]] = {
            "line": (text_line, whole),
            "crop": (text_line, small),
            "small": (lambda: scene(SEE, pixels, True), small),
            "see": (lambda: scene(SEE, grid, False), whole),
            "relation": (lambda: scene(("relation",), grid, False), whole),
            "box": (lambda: scene(("box",), grid, False), whole),
            "card": (
                lambda: several_lines(rng.randint(1, min(5, grid[0]))),
                whole,
            ),
            "page": (
                lambda: several_lines(rng.randint(2, 8)),
                several,
            ),
            "hearing": (
                lambda: tokens(
                    (
                        tasks.hearing(
                            source, rng.choice(["command", "digits", "digits", "question"])
                        ),
                    )
                ),
                CLIPS,
            ),
            "live": (lambda: tokens((tasks.live(source, grid),)), CLIPS),
            "small live": (lambda: tokens((tasks.live(source, pixels, grid),)), CLIPS),
            "small voice": (lambda: tokens((tasks.voice_only(source, pixels, grid),)), CLIPS),
            "voice": (lambda: tokens((tasks.voice_only(source, grid),)), CLIPS),
            "chat": (lambda: tokens(tasks.chat(source)), 32),
            "echo": (lambda: tokens(tasks.echo(source)), 64),
            "sums": (lambda: tokens(tasks.calculation(source)), 64),
            "video": (lambda: tokens((tasks.video(source),)), max(2, whole // 6)),
            "small video": (lambda: tokens((tasks.video(source, grid),)), whole),
        }
        return recipes[task]


class Stream(IterableDataset):
    """Endless batches of a mixture of tasks; `shares` may change while it runs."""

    def __init__(
        self, shares: dict[str, float], seed: int, batch_patches: int, reuse: int = REUSE
    ) -> None:
        self.shares, self.seed, self.budget, self.reuse = shares, seed, batch_patches, reuse

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(self.seed * 1000 + (worker.id if worker else 0))
        kitchen = Kitchen(tasks.Source(rng), self.budget, self.reuse)
        names, weights = zip(*self.shares.items(), strict=True)
        while True:
            yield kitchen.draw(rng.choices(names, weights)[0])
