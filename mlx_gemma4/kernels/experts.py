"""Kernels of the expert layers: the router, one token through its experts, and up to 63 tokens.

Bytes read: one token reads its 8 experts once (26B at 4 bits, groups of 64: 8 × 3 × 2816 × 704 ×
4.5 bits = 26.8 MB a layer) and activations from the cache. A block of tokens reads each expert that
any of them chose once. MLX's gather reads it once per token that chose it, up to 63 tokens.

Occupancy: threadgroups of 4 simdgroups without barriers, 4 rows (registers: 4 sums, 8 activations,
4 words) per simdgroup; the 26B's decode launches 1408 simdgroups for gate and up and 704 for down,
17 or more for each of an M5 Max's 40 cores. Each simdgroup has 4 loads of 128 bytes in flight.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from mlx_gemma4 import moe
from mlx_gemma4.kernels.backends import Backend
from mlx_gemma4.kernels.kernel import SIMD, Kernel
from mlx_gemma4.kernels.matrices import FLOATS, Matrix, matrix_of

MOST_TOKENS = 64
"""Longer blocks take MLX's own grouped gather, which starts to reuse experts at 64 tokens."""
_MOST_EXPERTS = 512
_SIMDS = 4
_PAIRS = 2
_ROWS = 4
_TILE = 4  # vectors that share an unpacked weight; twice that would spill registers
_ROUTER_SIMDS, _ROUTER_ROWS = 16, 8  # 128 logits at once; 1024 threads may be too many registers

_MATRIX = ("w", "scales", "biases")
_PACKED = ("packed",)
GATE_UP = Kernel("experts_gate_up", ("x", "experts", *_MATRIX), ("hidden",), _PACKED)
DOWN = Kernel("experts_down", ("hidden", "experts", "weights", *_MATRIX), ("out",), _PACKED)
PLAN = Kernel("runs_plan", ("experts",), ("order", "runs"))
RUNS_GATE_UP = Kernel("runs_gate_up", ("x", "order", "runs", *_MATRIX), ("hidden",), _PACKED)
RUNS_DOWN = Kernel("runs_down", ("hidden", "order", "runs", "weights", *_MATRIX), ("out",), _PACKED)
ROUTE = Kernel(
    "route", ("x", *_MATRIX, "per_expert_scale", "params"), ("experts", "weights"), _PACKED
)


def route(
    backend: Backend,
    x: mx.array,
    proj: nn.Module,
    per_expert_scale: mx.array,
    factor: float,
    top_k: int,
) -> tuple[mx.array, mx.array]:
    """As :func:`mlx_gemma4.moe.route` in one launch; of equal logits the lower index wins.

    A threadgroup of 512 threads per token reads the whole matrix (26B at 8 bits: 383 KB), which
    one GPU core does in about the time of two or three launches; the chain it replaces has five or
    more. The logits stay float32, where the chain rounds them to the matrix's type.
    """
    tokens, columns = x.shape
    matrix = matrix_of(proj, columns)
    count = per_expert_scale.size
    fits = tokens < MOST_TOKENS and top_k <= SIMD and top_k <= count <= _MOST_EXPERTS
    if matrix is None or not fits or x.dtype not in FLOATS:
        return moe.route(x, proj, per_expert_scale, factor, top_k)
    constants = matrix.constants | {
        "COLUMNS": columns,
        "EXPERTS": count,
        "TOP": top_k,
        "ROWS": _ROUTER_ROWS,
        "SIMDS": _ROUTER_SIMDS,
        "SLOTS": -(-count // SIMD),
    }
    experts, weights = backend.launch(
        ROUTE,
        [x, *matrix.arrays, per_expert_scale, mx.array([factor], mx.float32)],
        constants,
        (tokens, 1),
        _ROUTER_SIMDS * SIMD,
        [((tokens, top_k), mx.uint32), ((tokens, top_k), mx.float32)],
    )
    return experts, weights


def run_experts(
    backend: Backend,
    z: mx.array,
    experts: mx.array,
    weights: mx.array,
    gate_up: nn.Module,
    down: nn.Module,
) -> mx.array:
    """As :func:`mlx_gemma4.moe.run_experts`: two launches for one token, three for 2 to 63.

    Between the two products numbers stay float32, where the reference rounds to the type of ``z``.
    """
    tokens, columns = z.shape
    first = matrix_of(gate_up, columns)
    second = None if first is None else matrix_of(down, first.weight.shape[-2] // 2)
    fits = tokens < MOST_TOKENS and z.dtype in FLOATS
    if first is None or second is None or first.weight.shape[0] > _MOST_EXPERTS or not fits:
        return moe.run_experts(z, experts, weights, gate_up, down)
    if tokens == 1:
        return _one_token(backend, z, experts, weights, (first, second))
    return _block(backend, z, experts, weights, (first, second))


def _one_token(
    backend: Backend,
    z: mx.array,
    experts: mx.array,
    weights: mx.array,
    matrices: tuple[Matrix, Matrix],
) -> mx.array:
    hidden = gated_columns(backend, z, experts, matrices[0], mx.float32)
    wide, columns = z.shape[1], hidden.shape[-1]
    constants = matrices[1].constants | _sizes(columns, wide, experts.size)
    constants |= {"ROWS": _ROWS, "T": z.dtype}
    inputs = [hidden, experts, weights, *matrices[1].arrays]
    blocks = -(-wide // (_ROWS * _SIMDS))
    return backend.launch(
        DOWN, inputs, constants, (blocks, 1), _SIMDS * SIMD, [(z.shape, z.dtype)]
    )[0]


def gated_columns(
    backend: Backend, x: mx.array, experts: mx.array, matrix: Matrix, dtype: mx.Dtype
) -> mx.array:
    """``gelu(gate x) * up x`` of one vector for each matrix ``experts`` [k] names: [k, columns]."""
    wide = matrix.weight.shape[-2] // 2
    constants = matrix.constants | _sizes(x.shape[-1], wide, experts.size)
    constants |= {"PAIRS": _PAIRS, "H": dtype}
    blocks = -(-wide // (_PAIRS * _SIMDS))
    return backend.launch(
        GATE_UP,
        [x, experts, *matrix.arrays],
        constants,
        (blocks, experts.size),
        _SIMDS * SIMD,
        [((experts.size, wide), dtype)],
    )[0]


def _block(
    backend: Backend,
    z: mx.array,
    experts: mx.array,
    weights: mx.array,
    matrices: tuple[Matrix, Matrix],
) -> mx.array:
    first, second = matrices
    total, top = experts.size, experts.shape[1]
    order, runs = _plan(backend, experts.flatten(), first.weight.shape[0], top)
    wide = first.weight.shape[-2] // 2
    common = {"TILE": _TILE}
    hidden = backend.launch(
        RUNS_GATE_UP,
        [z, order, runs, *first.arrays],
        first.constants | _sizes(z.shape[1], wide, top) | common | {"PAIRS": _PAIRS},
        (-(-wide // (_PAIRS * _SIMDS)), runs.size // 3),
        _SIMDS * SIMD,
        [((total, wide), mx.float32)],
    )[0]
    columns = z.shape[1]
    constants = second.constants | _sizes(wide, columns, top) | common
    constants |= {"ROWS": _ROWS, "MOST_TOKENS": MOST_TOKENS, "T": z.dtype}
    return backend.launch(
        RUNS_DOWN,
        [hidden, order, runs, weights.flatten(), *second.arrays],
        constants,
        (-(-columns // (_ROWS * _SIMDS)), 1),
        _SIMDS * SIMD,
        [(z.shape, z.dtype)],
    )[0]


def _plan(backend: Backend, experts: mx.array, count: int, top: int) -> tuple[mx.array, mx.array]:
    total, threads = experts.size, -(-count // SIMD) * SIMD
    constants = {"EXPERTS": count, "MOST": MOST_TOKENS * top, "THREADS": threads}
    order, runs = backend.launch(
        PLAN,
        [experts],
        constants,
        (1, 1),
        threads,
        [((total,), mx.uint32), ((3 * min(total, count),), mx.uint32)],
    )
    return order, runs


def _sizes(columns: int, wide: int, top: int) -> dict[str, int | mx.Dtype]:
    return {"COLUMNS": columns, "WIDE": wide, "TOP": top, "SIMDS": _SIMDS}
