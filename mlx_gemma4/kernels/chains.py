"""Kernels of the dense chains: norms with residuals, head norms with positions, gated products.

The norms read and write each vector once (26B: 2 × 5.6 KB in, up to 4 × 5.6 KB out); their time is
the launch. One threadgroup per row keeps the row in registers between the reductions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import mlx.core as mx
from mlx import nn

from mlx_gemma4 import chains, layers
from mlx_gemma4.chains import Heads, Normed
from mlx_gemma4.kernels.backends import Backend, Constants
from mlx_gemma4.kernels.experts import gated_columns
from mlx_gemma4.kernels.kernel import SIMD, Kernel
from mlx_gemma4.kernels.matrices import FLOATS, matrix_of
from mlx_gemma4.rope import Turns

_MOST_FOLLOWING = 3
_ROW_SIMDS = 16
_MOST_COLUMNS = 32 * _ROW_SIMDS * SIMD
_SIMDS = 4
_ROWS = 2


def residual_norm(
    backend: Backend,
    residual: mx.array,
    x: mx.array,
    weight: mx.array,
    eps: float,
    scale: mx.array | None,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """As :func:`mlx_gemma4.chains.residual_norm` in one launch.

    Float32 throughout but for the output, which the following norms see rounded.
    """
    if not _row_fits(x, following):
        return chains.residual_norm(residual, x, weight, eps, scale, following)
    inputs = [residual, x, weight, weight if scale is None else scale, _eps(eps)]
    switches = (("FOLLOWING", len(following)), ("SCALED", int(scale is not None)))
    names = ("residual", "x", "weight", "scale", "params")
    return _row_launch(backend, "residual_norm", names, inputs, switches, following)


def experts_tail(
    backend: Backend,
    residual: mx.array,
    dense: mx.array,
    routed: mx.array,
    weights: tuple[mx.array, mx.array, mx.array],
    eps: float,
    scale: mx.array,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """As :func:`mlx_gemma4.chains.experts_tail` in one launch."""
    if not _row_fits(residual, following):
        return chains.experts_tail(residual, dense, routed, weights, eps, scale, following)
    inputs = [residual, dense, routed, *weights, scale, _eps(eps)]
    names = ("residual", "dense", "routed", "w_dense", "w_routed", "w_post", "scale", "params")
    switches = (("FOLLOWING", len(following)),)
    return _row_launch(backend, "experts_tail", names, inputs, switches, following)


def _row_fits(x: mx.array, following: Sequence[mx.array]) -> bool:
    columns = x.shape[-1]
    return x.dtype in FLOATS and columns <= _MOST_COLUMNS and len(following) <= _MOST_FOLLOWING


def _eps(eps: float) -> mx.array:
    return mx.array([eps], mx.float32)


def _row_launch(
    backend: Backend,
    name: str,
    names: tuple[str, ...],
    inputs: list[mx.array],
    switches: tuple[tuple[str, int], ...],
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    shape, dtype = inputs[0].shape, inputs[0].dtype
    columns = shape[-1]
    simds = min(_ROW_SIMDS, -(-columns // (4 * SIMD)))
    threads = simds * SIMD
    kernel = _row_kernel(name, names, switches, len(following))
    constants: Constants = {
        "T": dtype,
        "COLUMNS": columns,
        "SIMDS": simds,
        "THREADS": threads,
        "EACH": -(-columns // threads),
    }
    rows = inputs[0].size // columns
    outputs = [(shape, dtype)] * (1 + len(following))
    out, *normed = backend.launch(
        kernel, [*inputs, *following], constants, (rows, 1), threads, outputs
    )
    return out, tuple(normed)


@cache
def _row_kernel(
    name: str, names: tuple[str, ...], switches: tuple[tuple[str, int], ...], following: int
) -> Kernel:
    weights = (f"weight_{i}" for i in range(following))
    normed = (f"normed_{i}" for i in range(following))
    return Kernel(name, (*names, *weights), ("out", *normed), ("reduce",), switches)


_HEAD_INPUTS = ("packed", "q_weight", "k_weight", "angles", "params")
_HEADS = (
    Kernel("head_norm_rope", _HEAD_INPUTS, ("q",), (), (("KEYS_STORED", 0),)),
    Kernel("head_norm_rope", _HEAD_INPUTS, ("q", "kv"), (), (("KEYS_STORED", 1),)),
)


def head_norm_rope(
    backend: Backend,
    packed: mx.array,
    q_weight: mx.array,
    k_weight: mx.array | None,
    turns: Turns,
    heads: Heads,
    eps: float,
) -> tuple[mx.array, mx.array | None]:
    """As :func:`mlx_gemma4.chains.head_norm_rope` in one launch, a simdgroup per head.

    Float32 throughout, where the reference rounds between norm and rotation.
    """
    batch, time, _, dims = packed.shape
    if packed.dtype not in FLOATS or dims % (2 * SIMD) or not heads.queries:
        return chains.head_norm_rope(packed, q_weight, k_weight, turns, heads, eps)
    groups = 0 if k_weight is None else heads.groups
    outputs = [((batch, heads.queries, time, dims), packed.dtype)]
    if k_weight is not None:
        outputs.append(((batch, 2 * groups, time, dims), packed.dtype))
    constants: Constants = {
        "T": packed.dtype,
        "DIMS": dims,
        "HEADS": heads.queries,
        "KEYS": groups,
        "VALUES_ARE_KEYS": int(heads.values_are_keys),
        "SIMDS": _SIMDS,
    }
    kernel = _HEADS[len(outputs) - 1]
    inputs = [packed, q_weight, q_weight if k_weight is None else k_weight, turns.table, _eps(eps)]
    blocks = -(-(heads.queries + 2 * groups) // _SIMDS)
    q, *kv = backend.launch(
        kernel, inputs, constants, (blocks, batch * time), _SIMDS * SIMD, outputs
    )
    return q, kv[0] if kv else None


def gate_up(backend: Backend, x: mx.array, linear: nn.Module) -> mx.array:
    """As :func:`mlx_gemma4.chains.gate_up`; for one row product and activation are one launch.

    The experts' kernel with a single matrix to choose from.
    """
    columns = x.shape[-1]
    matrix = matrix_of(linear, columns) if x.size == columns and x.dtype in FLOATS else None
    if matrix is None:
        return chains.gate_up(x, linear)
    gated = gated_columns(backend, x, mx.array([0], mx.uint32), matrix, x.dtype)
    return gated.reshape(*x.shape[:-1], -1)


PER_LAYER_GATE = Kernel(
    "per_layer_gate", ("x", "w", "scales", "biases", "per_layer"), ("out",), ("packed",)
)


def per_layer_gate(backend: Backend, x: mx.array, gate: nn.Module, per_layer: mx.array) -> mx.array:
    """``gelu(gate(x)) * per_layer``; for one row in one launch.

    Args:
        backend: where to run.
        x: [..., hidden].
        gate: the layer's matrix.
        per_layer: the layer's slice of the per-layer inputs [..., dims].

    Returns:
        [..., dims].
    """
    columns, wide = x.shape[-1], per_layer.shape[-1]
    matrix = matrix_of(gate, columns) if x.size == columns and x.dtype in FLOATS else None
    if matrix is None:
        return layers.geglu(gate(x), per_layer)
    constants = matrix.constants | {"COLUMNS": columns, "WIDE": wide}
    constants |= {"ROWS": _ROWS, "SIMDS": _SIMDS, "T": x.dtype}
    return backend.launch(
        PER_LAYER_GATE,
        [x, *matrix.arrays, per_layer],
        constants,
        (-(-wide // (_ROWS * _SIMDS)), 1),
        _SIMDS * SIMD,
        [(per_layer.shape, x.dtype)],
    )[0]
