"""Rotary positions of the decoder: plain on sliding layers, proportional on full layers."""

from __future__ import annotations

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


class Rope:
    """Rotates pairs ``(i, i + head_dim / 2)`` by ``position / period_i``, angles in float32."""

    def __init__(self, spec: RopeSpec, head_dim: int) -> None:
        self.head_dim = head_dim
        self.periods = mx.array(periods(spec, head_dim))

    def __call__(self, x: mx.array, offset: int | mx.array) -> mx.array:
        """Rotate ``x`` [batch, heads, time, head_dim] whose first row is at ``offset``."""
        return mx.fast.rope(
            x,
            self.head_dim,
            traditional=False,
            base=None,
            scale=1.0,
            offset=offset,
            freqs=self.periods,
        )
