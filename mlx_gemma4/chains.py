"""What lies between the matrix products of a decoder layer, each a pure function of arrays.

Every chain exists twice with one signature: plainly, operation by operation (``plain_…``), and
with as few kernels as MLX alone allows. A kernel written for one of them takes the same arguments.
:class:`mlx_gemma4.fusion.Fusion` says which ones a model runs.

Compiled functions are traced per shape: a shapeless trace of the longer chains would be cut in
two. One compiled chain is one kernel only if it has one output, so several outputs of one shape are
made as one array with an axis more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.layers import geglu, gelu_tanh, rms_norm
from mlx_gemma4.rope import Turns, rotate

Normed = tuple[mx.array, ...]
_QUERY, _KEY, _VALUE = 0, 1, 2


def plain_residual_norm(
    residual: mx.array,
    x: mx.array,
    weight: mx.array,
    eps: float,
    scale: mx.array | None,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """As :func:`residual_norm`, operation by operation."""
    out = residual + mx.fast.rms_norm(x, weight, eps)
    out = out if scale is None else out * scale
    return out, tuple(mx.fast.rms_norm(out, other, eps) for other in following)


def residual_norm(
    residual: mx.array,
    x: mx.array,
    weight: mx.array,
    eps: float,
    scale: mx.array | None,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """The tail of a branch and the norms that read it next.

        out = (residual + rms(x) * weight) * scale        normed_i = rms(out) * following_i

    Args:
        residual: [..., hidden].
        x: the branch's output [..., hidden].
        weight: of the branch's post-norm [hidden].
        eps: of all norms.
        scale: the layer scalar [1], or ``None`` for none.
        following: weights [hidden] of the norms that read ``out``.

    Returns:
        ``out`` and one array like it per weight.
    """
    normed = mx.fast.rms_norm(x, weight, eps)
    out = residual + normed if scale is None else _add_scale(residual, normed, scale)
    return out, norms(out, following, eps)


def norms(x: mx.array, weights: Sequence[mx.array], eps: float) -> Normed:
    """``rms(x) * w`` for each of ``weights``; the statistics of ``x`` are taken once."""
    if len(weights) < 2:
        return tuple(mx.fast.rms_norm(x, weight, eps) for weight in weights)
    which = mx.array(np.arange(len(weights)).reshape(-1, *[1] * x.ndim))
    stacked = _weighted(rms_norm(x, eps), which, *weights)
    return tuple(part.reshape(x.shape) for part in mx.split(stacked, len(weights)))


@mx.compile
def _add_scale(residual: mx.array, x: mx.array, scale: mx.array) -> mx.array:
    return (residual + x) * scale


@mx.compile
def _weighted(x: mx.array, which: mx.array, *weights: mx.array) -> mx.array:
    chosen = weights[0]
    for index, weight in enumerate(weights[1:], 1):
        chosen = mx.where(which == index, weight, chosen)
    return x * chosen


def plain_experts_tail(
    residual: mx.array,
    dense: mx.array,
    routed: mx.array,
    weights: tuple[mx.array, mx.array, mx.array],
    eps: float,
    scale: mx.array,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """As :func:`experts_tail`, operation by operation."""
    branch = _both(dense, routed, weights, eps)
    return plain_residual_norm(residual, branch, weights[2], eps, scale, following)


def experts_tail(
    residual: mx.array,
    dense: mx.array,
    routed: mx.array,
    weights: tuple[mx.array, mx.array, mx.array],
    eps: float,
    scale: mx.array,
    following: Sequence[mx.array],
) -> tuple[mx.array, Normed]:
    """The tail of a layer with experts.

        out = (residual + rms(rms(dense) * w0 + rms(routed) * w1) * w2) * scale

    Args:
        residual: [..., hidden].
        dense: output of the dense MLP, like ``residual``.
        routed: output of the experts, like ``residual``.
        weights: of the two branches' norms and of the norm of their sum, each [hidden].
        eps: of all norms.
        scale: the layer scalar [1].
        following: see :func:`residual_norm`, also for what is returned.
    """
    branch = _both(dense, routed, weights, eps)
    return residual_norm(residual, branch, weights[2], eps, scale, following)


def _both(
    dense: mx.array, routed: mx.array, weights: tuple[mx.array, mx.array, mx.array], eps: float
) -> mx.array:
    one = mx.fast.rms_norm(dense, weights[0], eps)
    return one + mx.fast.rms_norm(routed, weights[1], eps)


@dataclass(frozen=True)
class Heads:
    """How the heads lie in the packed output of a layer's query, key and value matrix.

    Attributes:
        queries: query heads, which come first; 0 where only keys and values are wanted.
        groups: key heads, and as many value heads after them; 0 for layers without their own.
        values_are_keys: there are no value heads: values are the normed, unturned keys.
    """

    queries: int
    groups: int
    values_are_keys: bool
    parts: mx.array = field(init=False)
    """What each head is, int32 [heads, 1, 1, 1]."""
    stored: mx.array = field(init=False)
    """Key or value, int32 [2, 1, 1, 1, 1]."""

    @property
    def packed(self) -> int:
        """Heads in the packed output."""
        return self.parts.shape[0]

    def __post_init__(self) -> None:
        counts = [self.queries, self.groups, 0 if self.values_are_keys else self.groups]
        parts = np.repeat(np.array([_QUERY, _KEY, _VALUE], np.int32), counts)
        object.__setattr__(self, "parts", mx.array(parts.reshape(-1, 1, 1, 1)))
        stored = np.array([_KEY, _VALUE], np.int32).reshape(2, 1, 1, 1, 1)
        object.__setattr__(self, "stored", mx.array(stored))


def plain_head_norm_rope(
    packed: mx.array,
    q_weight: mx.array,
    k_weight: mx.array | None,
    turns: Turns,
    heads: Heads,
    eps: float,
) -> tuple[mx.array, mx.array | None]:
    """As :func:`head_norm_rope`, operation by operation."""
    stop = heads.queries + heads.groups
    q = mx.fast.rms_norm(packed[:, :, : heads.queries], q_weight, eps)
    q = rotate(q.transpose(0, 2, 1, 3), turns.periods, turns.offset)
    if k_weight is None:
        return q, None
    raw = packed[:, :, heads.queries : stop]
    k = mx.fast.rms_norm(raw, k_weight, eps).transpose(0, 2, 1, 3)
    v = rms_norm(raw if heads.values_are_keys else packed[:, :, stop:], eps)
    keys = rotate(k, turns.periods, turns.offset)
    return q, mx.concatenate([keys, v.transpose(0, 2, 1, 3)], axis=1)


def head_norm_rope(
    packed: mx.array,
    q_weight: mx.array,
    k_weight: mx.array | None,
    turns: Turns,
    heads: Heads,
    eps: float,
) -> tuple[mx.array, mx.array | None]:
    """Head norms and rotary positions of queries, keys and values together.

        q = turn(rms(q) * q_weight)      k = turn(rms(k) * k_weight)      v = rms(v)

    ``rms`` rounds to the type of ``packed`` before the weight, as MLX's norm kernel does.

    Args:
        packed: [batch, time, heads, head dim] in the order of ``heads``.
        q_weight: [head dim].
        k_weight: [head dim], or ``None`` where ``packed`` holds queries alone.
        turns: angles of these rows.
        heads: what is where.
        eps: of the norms.

    Returns:
        Queries [batch, queries, time, head dim]; keys and values as one array
        [batch, 2 groups, time, head dim], keys first, or ``None``.
    """
    if k_weight is None:
        q = mx.fast.rms_norm(packed, q_weight, eps)
        return _joined(_turned(*_halves(_heads_first(q)), *turns.angles)), None
    normed = _heads_first(rms_norm(packed, eps))
    weights = (*_swapped(q_weight), *_swapped(k_weight))
    if not heads.values_are_keys:
        both = _joined(_weighted_turned(*_halves(normed), *weights, *turns.angles, heads.parts))
        return both[:, : heads.queries], both[:, heads.queries :]
    q = _weighted_turned(
        *_halves(normed[:, : heads.queries]),
        *weights,
        *turns.angles,
        heads.parts[: heads.queries],
    )
    batch, _, time, dims = normed.shape
    raw = mx.expand_dims(normed[:, heads.queries :], 1)
    kv = _weighted_turned(*_halves(raw), *weights, *turns.angles, heads.stored)
    return _joined(q), kv.reshape(batch, 2 * heads.groups, time, dims)


def _heads_first(x: mx.array) -> mx.array:
    return x.transpose(0, 2, 1, 3)


def _halves(x: mx.array) -> tuple[mx.array, mx.array]:
    """``x`` [..., dims] as [..., 2, dims / 2], and the same with the halves swapped; views."""
    pairs = mx.unflatten(x, -1, (2, -1))
    return pairs, pairs[..., ::-1, :]


def _swapped(weight: mx.array) -> tuple[mx.array, mx.array]:
    return _halves(weight)


def _joined(pairs: mx.array) -> mx.array:
    return mx.flatten(pairs, -2, -1)


def _rotated(x: mx.array, other: mx.array, cos: mx.array, sin: mx.array) -> mx.array:
    """First halves ``a cos - b sin``, second halves ``b cos + a sin``, in float32."""
    sign = mx.array([[-1.0], [1.0]])
    return x.astype(mx.float32) * cos + other.astype(mx.float32) * (sign * sin)


@mx.compile
def _turned(x: mx.array, other: mx.array, cos: mx.array, sin: mx.array) -> mx.array:
    return _rotated(x, other, cos, sin).astype(x.dtype)


@mx.compile
def _weighted_turned(
    x: mx.array,
    other: mx.array,
    q_weight: mx.array,
    q_other: mx.array,
    k_weight: mx.array,
    k_other: mx.array,
    cos: mx.array,
    sin: mx.array,
    part: mx.array,
) -> mx.array:
    is_query, is_value = part == _QUERY, part == _VALUE
    weight = mx.where(is_query, q_weight, k_weight)
    weight_other = mx.where(is_query, q_other, k_other)
    turned = _rotated(x * weight, other * weight_other, cos, sin).astype(x.dtype)
    return mx.where(is_value, x, turned)


def plain_gate_up(x: mx.array, linear: nn.Module) -> mx.array:
    """As :func:`gate_up`, operation by operation."""
    return plain_geglu(*mx.split(linear(x), 2, axis=-1))


def gate_up(x: mx.array, linear: nn.Module) -> mx.array:
    """``gelu(gate x) * (up x)``: the first half of a gated MLP.

    Args:
        x: [..., hidden].
        linear: gate rows, then as many up rows.

    Returns:
        [..., rows of either].
    """
    return geglu(*mx.split(linear(x), 2, axis=-1))


def plain_per_layer_gate(x: mx.array, gate: nn.Module, per_layer: mx.array) -> mx.array:
    """As :func:`per_layer_gate`, operation by operation."""
    return plain_geglu(gate(x), per_layer)


def per_layer_gate(x: mx.array, gate: nn.Module, per_layer: mx.array) -> mx.array:
    """``gelu(gate x) * per_layer``: how a layer lets its per-layer input in.

    Args:
        x: [..., hidden].
        gate: the layer's gate matrix.
        per_layer: the layer's slice of the per-layer inputs [..., dims].

    Returns:
        [..., dims].
    """
    return geglu(gate(x), per_layer)


def plain_geglu(gate: mx.array, up: mx.array) -> mx.array:
    """As :func:`mlx_gemma4.layers.geglu`, operation by operation."""
    return gelu_tanh(gate).astype(gate.dtype) * up
