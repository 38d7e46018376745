"""What is remembered of a KV cache: points to go back to, and copies of what was written over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx


class Tail(NamedTuple):
    """Own copies of the rows of all full layers at positions ``start`` … ``stop``."""

    start: int
    stop: int
    layers: tuple[tuple[mx.array, ...], ...]
    """Per layer: one array, or the parts of packed rows."""

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(array_bytes(array) for rows in self.layers for array in rows)

    def part(self, low: int, high: int) -> Tail:
        """The rows at positions ``low`` … ``high``, not copied."""
        cut = slice(low - self.start, high - self.start)
        return Tail(low, high, tuple(tuple(a[:, :, cut] for a in rows) for rows in self.layers))


class WindowState(NamedTuple):
    """A sliding cache's snapshot: an own copy of the rows the next token can see."""

    offset: int
    base: int
    rows: mx.array | None


class Snapshot:
    """State of a whole :class:`~mlx_gemma4.cache.Cache`; belongs to the cache that made it."""

    def __init__(self, offset: int, layers: Sequence[int | WindowState]) -> None:
        self.offset = offset
        self.valid = True
        """Turns false once other tokens overwrote rows the snapshot relies on."""
        self._layers = tuple(layers)
        states = (state for state in self._layers if isinstance(state, WindowState))
        self.nbytes = sum(array_bytes(state.rows) for state in states)
        """Bytes the snapshot holds on its own (window copies)."""

    @property
    def layers(self) -> tuple[int | WindowState, ...]:
        """State of each layer's cache."""
        return self._layers


def array_bytes(array: mx.array | None) -> int:
    """Bytes of an array; 0 for none."""
    return 0 if array is None else array.nbytes
