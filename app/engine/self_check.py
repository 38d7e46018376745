"""Does this machine compute right? A small product against exact numbers, then every own kernel."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import mlx.core as mx
import numpy as np

_SIZE = 64


def self_check() -> Iterator[tuple[str, bool, str]]:
    """(what, whether it is right, one phrase). On the MLX thread."""
    yield _product()
    if importlib.util.find_spec("mlx_gemma4.kernels") is not None:
        yield from _kernels()


def _product() -> tuple[str, bool, str]:
    """Integers small enough that float32 sums them exactly."""
    left = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 17).astype(np.float32)
    right = (np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE) % 13).astype(np.float32)
    computed = np.array(mx.array(left) @ mx.array(right))
    right_answer = bool((computed == left @ right).all())
    return "Arithmetic", right_answer, "exact" if right_answer else "wrong products"


def _kernels() -> Iterator[tuple[str, bool, str]]:
    from mlx_gemma4.kernels import self_check as check_kernels

    for result in check_kernels():
        yield result.name, result.ok, result.text
