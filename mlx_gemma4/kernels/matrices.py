"""Which matrices the kernels can read, and how they are handed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mlx_gemma4.layers import ExpertLinear, FusedLinear, Linear

FLOATS = (mx.float32, mx.bfloat16, mx.float16)
_DENSE, _MXFP4 = 0, 104
_GROUPS = (32, 64, 128)
_STEP = 8  # columns are taken this many at a time, in the widest packing


@dataclass(frozen=True)
class Matrix:
    """A matrix (or one per expert) as a kernel gets it: three arrays and two constants.

    Dense matrices have no scales, and mxfp4 has no biases; the weight or the scales stand in for
    what is absent, unread.
    """

    weight: mx.array
    scales: mx.array
    biases: mx.array
    packing: int
    group: int

    @property
    def arrays(self) -> tuple[mx.array, mx.array, mx.array]:
        """What to pass as ``w``, ``scales``, ``biases``."""
        return self.weight, self.scales, self.biases

    @property
    def constants(self) -> dict[str, int]:
        """What the body must know to read it."""
        return {"PACKING": self.packing, "GROUP": self.group}


def matrix_of(linear: Any, columns: int) -> Matrix | None:
    """The matrix of a layer whose rows have ``columns`` numbers; ``None`` if no kernel reads it.

    Layers that are more than a matrix (adapters, parts packed differently, biases) are not read.
    """
    if type(linear) not in (Linear, FusedLinear, ExpertLinear) or "bias" in linear:
        return None
    weight, packing = linear.weight, linear.quantization
    if columns % _STEP:
        return None
    if packing is None:
        dense = weight.dtype in FLOATS
        return Matrix(weight, weight, weight, _DENSE, 32) if dense else None
    if columns % packing.group_size:
        return None
    scales = linear["scales"]
    if packing.mode == "mxfp4":
        return Matrix(weight, scales, scales, _MXFP4, packing.group_size)
    if packing.mode != "affine" or packing.bits not in (4, 8) or packing.group_size not in _GROUPS:
        return None
    return Matrix(weight, scales, linear["biases"], packing.bits, packing.group_size)
