"""Lessons in looking: heads of the decoder's attention are told where an answer is read from.

Reading a line is a walk: know where the last letter stood, look at the next. With the next-token
loss alone a trial stayed on its plateau for a thousand steps. We drew the letters and spoke the
words, so we know which soft tokens tell each token of an answer, and say so to one head in each of
three layers.

"Is the circle left of the star?" takes two steps: find the circle, then look at it. One head learns
to look from a word of the question at the thing it names, one from the answer at that word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

KINDS = 3
"""Of looks: what an answer's token is read from, what a word names, which word is asked about."""
READ, NAMED, ASKED = range(KINDS)


class Lesson(NamedTuple):
    """A kind of look that one head of some layers learns; `here`: the present token's."""

    kind: int
    head: int
    layers: tuple[int, ...]
    here: bool = False


LESSONS = (
    Lesson(READ, 0, (3, 5)),
    Lesson(READ, 0, (2,), here=True),
    Lesson(NAMED, 1, (1, 2)),
    Lesson(ASKED, 2, (1, 2, 4)),
)
LAYERS = tuple(sorted({layer for lesson in LESSONS for layer in lesson.layers}))


class Looks:
    """The attention weights of the taught layers in the last forward pass."""

    def __init__(self) -> None:
        self.weights: dict[int, Tensor] = {}

    def keep(self, layer: int) -> Any:
        """A forward hook that keeps the weights of `layer`."""

        def hook(_module: nn.Module, _given: Any, out: tuple[Tensor, Tensor]) -> None:
            self.weights[layer] = out[1]

        return hook

    def loss(self, focus: Tensor) -> Tensor:
        """Mean -log of the taught heads' weight on `focus`, bool [B, KINDS, T, T].

        The mean is over the rows and layers of each kind; the kinds that the batch has add up.
        """
        terms = []
        for kind in range(KINDS):
            if focus[:, kind].any():
                missed = [
                    self._missed(lesson, layer, focus[:, kind])
                    for lesson in LESSONS
                    if lesson.kind == kind
                    for layer in lesson.layers
                ]
                terms.append(torch.stack(missed).mean())
        return torch.stack(terms).sum()

    def _missed(self, lesson: Lesson, layer: int, focus: Tensor) -> Tensor:
        goal = focus.roll(1, dims=1) if lesson.here else focus
        taught = goal.any(dim=-1)
        hit = (self.weights[layer][:, lesson.head].float() * goal).sum(dim=-1)[taught]
        return -(hit + 1e-4).log().mean()


@contextmanager
def watched(layers: nn.ModuleList) -> Iterator[Looks]:
    """Keep the attention weights of the taught `layers` of the decoder while this is open."""
    looks = Looks()
    hooks = [layers[index].self_attn.register_forward_hook(looks.keep(index)) for index in LAYERS]
    try:
        yield looks
    finally:
        for hook in hooks:
            hook.remove()
