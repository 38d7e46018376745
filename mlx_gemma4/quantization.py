"""Which tensor is quantised how, and the arithmetic of doing it.

The presets keep what low precision is known to hurt: routers, the dense MLP beside experts, the
per-layer inputs, the output head; towers, projectors, norms and scalars are never quantised.
"""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.layers import Quantization
from mlx_gemma4.tensors import QUANTISABLE, TensorSpec

_SAFE = Quantization(64, 8)
_HEAD = Quantization(64, 6)
_Q4_0 = Quantization(32, 4)
_Q4_0_TOLERANCE = 2**-8  # weights were rounded to bfloat16 after quantisation-aware training

PRESETS: dict[str, Quantization | None] = {
    "bf16": None,
    "2bit": Quantization(64, 2),
    "3bit": Quantization(64, 3),
    "4bit": Quantization(64, 4),
    "5bit": Quantization(64, 5),
    "6bit": Quantization(64, 6),
    "8bit": Quantization(64, 8),
    "mxfp4": Quantization(32, 4, "mxfp4"),
    "mxfp8": Quantization(32, 8, "mxfp8"),
    "nvfp4": Quantization(16, 4, "nvfp4"),
    "q4_0": _Q4_0,
}
"""Names for ``convert``; ``q4_0`` keeps the lattice of quantisation-aware trained checkpoints."""


@dataclass(frozen=True)
class Packed:
    """A quantised matrix: packed weight, scales and, in affine mode, biases."""

    weight: mx.array
    scales: mx.array
    biases: mx.array | None
    quantization: Quantization


def choose(
    name: str, spec: TensorSpec, preset: Quantization | None, config: Gemma4Config
) -> Quantization | None:
    """How to quantise one canonical tensor under a preset; ``None`` leaves it as it is.

    Sources: the router and the dense MLP of the 26B at 8 bits (perplexity 274 to 220); a per-layer
    model projection is bare in every published build; per-layer gates and the two tables suffer
    first at 4 bits.
    """
    if preset is None or spec.role not in QUANTISABLE:
        return None
    if not name.startswith(("language_model.", "lm_head.")):
        return None
    if "per_layer_model_projection" in name:
        return None
    wanted = preset
    if preset.bits < _SAFE.bits:
        dense_beside_experts = ".mlp." in name and config.text.enable_moe_block
        if dense_beside_experts or ".router." in name or ".per_layer_" in name:
            wanted = _SAFE
        elif spec.role == "embedding" or name.startswith("lm_head."):
            wanted = _HEAD if preset.bits < _HEAD.bits else preset
    return _fitting(wanted, spec.shape[-1])


def _fitting(wanted: Quantization, columns: int) -> Quantization | None:
    """The same packing with a group that divides the columns, if there is one."""
    if wanted.mode != "affine":
        return wanted if columns % wanted.group_size == 0 else _fitting(_SAFE, columns)
    for group in (wanted.group_size, 32):
        if columns % group == 0:
            return Quantization(group, wanted.bits)
    return None


def quantise(weight: mx.array, how: Quantization) -> Packed:
    """Quantise a matrix [..., rows, columns] with MLX's own rounding."""
    packed, scales, *biases = mx.quantize(
        weight, group_size=how.group_size, bits=how.bits, mode=how.mode
    )
    return Packed(packed, scales, biases[0] if biases else None, how)


def quantise_q4_0(weight: mx.array) -> Packed | None:
    """Pack weights that lie on llama.cpp's Q4_0 lattice without moving them.

    In a group of 32 the element of largest size is ``-8 d`` and all are ``d (q - 8)`` with q in
    0..15, so the affine form has scale ``d`` and bias ``-8 d``. Min/max quantisation would choose
    another lattice and lose what the training paid for.

    Returns:
        ``None`` when the weights do not lie on such a lattice.
    """
    columns = weight.shape[-1]
    if columns % _Q4_0.group_size:
        return None
    groups = weight.astype(mx.float32).reshape(*weight.shape[:-1], -1, _Q4_0.group_size)
    extreme = mx.take_along_axis(groups, mx.argmax(mx.abs(groups), -1, keepdims=True), -1)
    scale = extreme / -8.0
    steps = mx.clip(mx.round(groups / mx.where(scale == 0, 1.0, scale)) + 8, 0, 15)
    error = mx.abs(groups - scale * (steps - 8))
    if mx.any(error > _Q4_0_TOLERANCE * mx.abs(extreme)).item():
        return None
    nibbles = steps.astype(mx.uint32).reshape(*weight.shape[:-1], -1, 8)
    packed = mx.sum(nibbles << mx.arange(0, 32, 4, dtype=mx.uint32), axis=-1).astype(mx.uint32)
    scales = scale[..., 0].astype(weight.dtype)
    return Packed(packed, scales, (scales * -8.0).astype(weight.dtype), _Q4_0)
