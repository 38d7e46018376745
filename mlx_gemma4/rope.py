"""Rotary positions of the decoder: plain on sliding layers, proportional on full layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import mlx.core as mx
import numpy as np

from mlx_gemma4.config import RopeSpec


def periods(spec: RopeSpec, head_dim: int) -> np.ndarray:
    """Reciprocal frequencies, float32 [head_dim / 2]; infinite where a pair does not rotate.

    ``period_i = factor * theta ** (2 i / head_dim)``. The exponent is rounded to float32 before
    the power, as in the reference: at position 262,143 a more exact value would shift the angles.
    """
    exponents = np.arange(0, 2 * spec.rotated_pairs, 2, dtype=np.float32) / np.float32(head_dim)
    rotated = spec.factor * np.power(spec.theta, exponents.astype(np.float64))
    result = np.full(head_dim // 2, np.inf, dtype=np.float32)
    result[: spec.rotated_pairs] = rotated
    return result


@dataclass(frozen=True)
class Turns:
    """The angles of one pass, made once for all layers of a kind.

    Attributes:
        offset: absolute position of the first row, an array [1] where it is not known yet.
        periods: see :func:`periods`.
        table: float32 [2, rows, head_dim / 2], cosines then sines.
    """

    offset: int | mx.array
    periods: mx.array
    table: mx.array

    @property
    def rows(self) -> int:
        """Positions."""
        return self.table.shape[1]

    @cached_property
    def angles(self) -> tuple[mx.array, mx.array]:
        """Cosines and sines, each [rows, 1, head_dim / 2], to be broadcast over both halves."""
        cos, sin = mx.split(self.table, 2)
        return cos.swapaxes(0, 1), sin.swapaxes(0, 1)

    def last(self, rows: int) -> Turns:
        """Only the last ``rows`` positions."""
        skipped = self.rows - rows
        if not skipped:
            return self
        return Turns(self.offset + skipped, self.periods, self.table[:, skipped:])


class Rope:
    """Rotates pairs ``(i, i + head_dim / 2)`` by ``position / period_i``, angles in float32."""

    def __init__(self, spec: RopeSpec, head_dim: int) -> None:
        self.head_dim = head_dim
        reciprocals = periods(spec, head_dim)
        self.periods = mx.array(reciprocals)
        self._frequencies = mx.array(np.float32(1) / reciprocals)
        self._is_sine = mx.array([[[False]], [[True]]])

    def turns(self, offset: int, rows: int) -> Turns:
        """The angles of positions ``[offset, offset + rows)``."""
        positions = mx.array(np.arange(offset, offset + rows, dtype=np.float32)[:, None])
        return Turns(offset, self.periods, _table(positions, self._frequencies, self._is_sine))

    def turns_at(self, position: mx.array) -> Turns:
        """The angles of one position that is not known yet, float32 [1, 1]."""
        table = _table(position, self._frequencies, self._is_sine)
        return Turns(position.reshape(1).astype(mx.int32), self.periods, table)

    def __call__(self, x: mx.array, offset: int | mx.array) -> mx.array:
        """Rotate ``x`` [batch, heads, time, head_dim] whose first row is at ``offset``."""
        return rotate(x, self.periods, offset)


def rotate(x: mx.array, periods: mx.array, offset: int | mx.array) -> mx.array:
    """MLX's own rotation of ``x`` [batch, heads, time, head_dim] from position ``offset`` on."""
    return mx.fast.rope(
        x,
        x.shape[-1],
        traditional=False,
        base=None,
        scale=1.0,
        offset=offset,
        freqs=periods,
    )


@mx.compile
def _table(positions: mx.array, frequencies: mx.array, is_sine: mx.array) -> mx.array:
    angles = positions * frequencies
    return mx.where(is_sine, mx.sin(angles), mx.cos(angles))
