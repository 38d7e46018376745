"""Encoded items: the towers run once for each, the decoder learns from them many times.

The towers, forward and backward, cost two thirds of a step on lines and half of one on sounds.
While they stand still, their soft tokens can be kept: on one core a step of the decoder takes
1.1 s for 32 kept lines (1.0 s for 32 kept clips), a joint step on 16 lines 1.9 s (1.1 s).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from training.batches import Batch
from training.focus import KINDS

KEPT = 4000


@dataclass
class Encoded:
    """One conversation: ids and labels [T], soft tokens [n, D] with their places [n], focus."""

    ids: Tensor
    labels: Tensor
    places: Tensor
    soft: Tensor
    focus: Tensor | None


def unpack(batch: Batch, found: list[tuple[Tensor, Tensor]]) -> list[Encoded]:
    """The items of `batch`, whose soft tokens are `found` = (flat slots, features)."""
    count, width = batch.ids.shape
    slots = torch.cat([slots for slots, _ in found]) if found else torch.zeros(0, dtype=torch.long)
    soft = torch.cat([soft for _, soft in found]) if found else torch.zeros(0, 0)
    items = []
    for row in range(count):
        mine = slots // width == row
        size = int((batch.ids[row] != 0).sum())
        focus = batch.focus[row, :, :size, :size].clone() if batch.focus is not None else None
        items.append(
            Encoded(
                batch.ids[row, :size].clone(),
                batch.labels[row, :size].clone(),
                slots[mine] % width,
                soft[mine].to(torch.bfloat16),
                focus,
            )
        )
    return items


def pack(task: str, items: list[Encoded]) -> tuple[Batch, list[tuple[Tensor, Tensor]]]:
    """Right-padded tokens of `items`, and their soft tokens with flat slots."""
    width = -(-max(item.ids.numel() for item in items) // 16) * 16
    ids = torch.zeros(len(items), width, dtype=torch.long)
    labels = torch.full((len(items), width), -100)
    batch = Batch(task, ids, labels)
    if any(item.focus is not None for item in items):
        batch.focus = torch.zeros(len(items), KINDS, width, width, dtype=torch.bool)
    slots, soft = [], []
    for row, item in enumerate(items):
        size = item.ids.numel()
        ids[row, :size], labels[row, :size] = item.ids, item.labels
        if item.places.numel():
            slots.append(row * width + item.places)
            soft.append(item.soft)
        if item.focus is not None and batch.focus is not None:
            batch.focus[row, :, :size, :size] = item.focus
    return batch, [(torch.cat(slots), torch.cat(soft))] if slots else []


class Pantry:
    """Kept items by task; the oldest of more than KEPT go."""

    def __init__(self, rng: random.Random, tokens: int) -> None:
        self.rng, self.tokens = rng, tokens
        self.shelves: dict[str, list[Encoded]] = {}

    def add(self, batch: Batch, found: list[tuple[Tensor, Tensor]]) -> None:
        """Keep the items of `batch`."""
        shelf = self.shelves.setdefault(batch.task, [])
        shelf += unpack(batch, found)
        del shelf[: max(0, len(shelf) - KEPT)]

    def draw(self, task: str) -> tuple[Batch, list[tuple[Tensor, Tensor]]] | None:
        """About `tokens` tokens of `task`, items of like length; None while too few are kept."""
        shelf = self.shelves.get(task, [])
        if len(shelf) < 48:
            return None
        drawn = sorted(self.rng.sample(shelf, min(len(shelf), 192)), key=lambda i: i.ids.numel())
        start = self.rng.randrange(len(drawn))
        count = max(4, self.tokens // drawn[start].ids.numel())
        return pack(task, drawn[max(0, start - count // 2) : start + count // 2 + 1])
