"""Lessons in looking: heads of the decoder's attention are told where an answer is read from.

Reading a line is a walk: know where the last letter stood, look at the next. With the next-token
loss alone a trial stayed on its plateau for a thousand steps. We drew the letters and spoke the
words, so we know which soft tokens tell each token of an answer, and say so to one head in each of
three layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

HERE_LAYERS = (2,)
NEXT_LAYERS = (3, 5)


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
        """Mean -log of the first head's weight on `focus`, bool [B, T, T].

        Layers of NEXT_LAYERS shall look where the next token is read from, those of HERE_LAYERS
        where the present one was.
        """
        here = focus.roll(1, dims=1)
        terms = [_missed(self.weights[layer], focus) for layer in NEXT_LAYERS]
        terms += [_missed(self.weights[layer], here) for layer in HERE_LAYERS]
        return sum(terms[1:], terms[0]) / len(terms)


def _missed(weights: Tensor, focus: Tensor) -> Tensor:
    taught = focus.any(dim=-1)
    hit = (weights[:, 0].float() * focus).sum(dim=-1)[taught]
    return -(hit + 1e-4).log().mean()


@contextmanager
def watched(layers: nn.ModuleList) -> Iterator[Looks]:
    """Keep the attention weights of the taught `layers` of the decoder while this is open."""
    looks = Looks()
    hooks = [
        layers[index].self_attn.register_forward_hook(looks.keep(index))
        for index in (*HERE_LAYERS, *NEXT_LAYERS)
    ]
    try:
        yield looks
    finally:
        for hook in hooks:
            hook.remove()
