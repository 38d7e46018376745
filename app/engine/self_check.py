"""Does this machine compute right? A product of matrices against exact numbers."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np

_SIZE = 64


def self_check() -> Iterator[tuple[str, bool, str]]:
    """(what, whether it is right, one phrase). On the MLX thread."""
    # Integers small enough that float32 sums them exactly, in any order.
    left = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 17).astype(np.float32)
    right = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 13).astype(np.float32)
    computed = np.array(mx.array(left) @ mx.array(right))
    exact = bool((computed == left @ right).all())
    yield "Arithmetic", exact, "exact" if exact else "wrong products"
