"""The mixture-of-experts branch of the 26B: a router and many small gated MLPs.

    s = proj(rms(a) * scale) * D^-1/2        a: the residual stream itself, not a normed copy
    w = softmax over the k largest s, times per_expert_scale
    y = sum over those k of w_k * down_k(gelu(gate_k z) * up_k z)

Softmax over the k largest logits equals softmax over all, cut to k and renormalised; it is done in
float32. As in :mod:`mlx_gemma4.chains`, each step exists plainly and with few kernels.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from mlx_gemma4.chains import plain_geglu
from mlx_gemma4.config import TextConfig
from mlx_gemma4.layers import ExpertLinear, Linear, gelu_tanh

_SORT_FROM = 64  # expert assignments from which sorting pays (MLX's grouped gather)


class Router(nn.Module):
    """What chooses ``top_k`` experts per token and their weights."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.proj = Linear(text.hidden_size, text.num_experts)
        self.scale = mx.ones((text.hidden_size,))
        self.per_expert_scale = mx.ones((text.num_experts,))
        self.top_k = text.top_k_experts
        self.factor = text.hidden_size**-0.5


class Experts(nn.Module):
    """Gated MLPs stored as one tensor per projection; gate and up rows lie together."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        count, wide = text.num_experts, text.moe_intermediate_size
        self.gate_up_proj = ExpertLinear(count, text.hidden_size, 2 * wide)
        self.down_proj = ExpertLinear(count, wide, text.hidden_size)


def plain_route(
    x: mx.array, proj: nn.Module, per_expert_scale: mx.array, factor: float, top_k: int
) -> tuple[mx.array, mx.array]:
    """As :func:`route`, operation by operation."""
    logits = proj(x).astype(mx.float32)
    experts = mx.argpartition(-logits, kth=top_k - 1, axis=-1)[..., :top_k]
    weights = mx.softmax(mx.take_along_axis(logits, experts, axis=-1) * factor, axis=-1)
    return experts, weights * per_expert_scale[experts]


def route(
    x: mx.array, proj: nn.Module, per_expert_scale: mx.array, factor: float, top_k: int
) -> tuple[mx.array, mx.array]:
    """Choose experts.

    Args:
        x: the residual, normed with the router's weight [tokens, hidden].
        proj: the router's matrix.
        per_expert_scale: [experts].
        factor: of the logits, ``hidden ** -0.5``.
        top_k: experts per token. Which of several equal logits are chosen is not defined.

    Returns:
        Expert indices (uint32) and weights (float32), both [tokens, top_k].
    """
    return choose(proj(x), per_expert_scale, factor, top_k)


def choose(
    logits: mx.array, per_expert_scale: mx.array, factor: float, top_k: int
) -> tuple[mx.array, mx.array]:
    """The router chain on logits [tokens, experts]; returns what :func:`route` does."""
    experts = mx.argpartition(logits, kth=-top_k, axis=-1)[..., -top_k:]
    largest = _scaled(mx.take_along_axis(logits, experts, axis=-1), factor)
    return experts, _product(mx.softmax(largest, axis=-1), per_expert_scale[experts])


@mx.compile
def _scaled(logits: mx.array, factor: float) -> mx.array:
    return logits.astype(mx.float32) * factor


@mx.compile
def _product(weights: mx.array, scales: mx.array) -> mx.array:
    return weights * scales.astype(mx.float32)


def plain_run_experts(
    z: mx.array, experts: mx.array, weights: mx.array, gate_up: nn.Module, down: nn.Module
) -> mx.array:
    """As :func:`run_experts`, operation by operation and one token and choice at a time."""
    gate, up = mx.split(gate_up(z[:, None, None, :], experts), 2, axis=-1)
    outputs = down(plain_geglu(gate, up), experts)[..., 0, :]
    return mx.sum(weights[..., None] * outputs, axis=1).astype(z.dtype)


def run_experts(
    z: mx.array, experts: mx.array, weights: mx.array, gate_up: nn.Module, down: nn.Module
) -> mx.array:
    """Run each token through its experts and add up.

    The weights multiply what enters ``down`` rather than what leaves it: the product is linear,
    and so they cost nothing beside the activation.

    Args:
        z: [tokens, hidden].
        experts: indices [tokens, k].
        weights: float32 [tokens, k].
        gate_up: an expert matrix, gate rows and then as many up rows.
        down: an expert matrix.

    Returns:
        [tokens, hidden].
    """
    if experts.size >= _SORT_FROM:
        outputs = _sorted(z, experts, weights, gate_up, down)
    else:
        hidden = gate_up(z[:, None, None, :], experts)
        outputs = down(_activated(hidden, weights[..., None, None]), experts)[..., 0, :]
    return _summed(outputs)


def _sorted(
    z: mx.array, experts: mx.array, weights: mx.array, gate_up: nn.Module, down: nn.Module
) -> mx.array:
    """Visit assignments grouped by expert, so that each expert's weights are read once."""
    tokens, k = experts.shape
    flat = experts.flatten()
    order = mx.argsort(flat)
    rows, chosen = z[order // k][:, None, :], flat[order]
    hidden = gate_up(rows, chosen, True)
    gated = _activated(hidden, weights.flatten()[order][:, None, None])
    outputs = down(gated, chosen, True)[:, 0]
    # Un-sorting is one gather through the inverse permutation, cheaper than a second sort.
    inverse = mx.zeros_like(order)
    inverse[order] = mx.arange(order.size, dtype=order.dtype)
    return outputs[inverse].reshape(tokens, k, -1)


def _activated(hidden: mx.array, weights: mx.array) -> mx.array:
    gate, up = mx.split(hidden, 2, axis=-1)
    return _weighted_geglu(gate, up, weights)


@mx.compile
def _weighted_geglu(gate: mx.array, up: mx.array, weights: mx.array) -> mx.array:
    return (gelu_tanh(gate) * (up.astype(mx.float32) * weights)).astype(gate.dtype)


def _summed(outputs: mx.array) -> mx.array:
    """Add up [tokens, k, hidden] over the choices as a product, which adds in float32."""
    ones = mx.array([[1.0] * outputs.shape[1]], outputs.dtype)
    return (ones @ outputs)[:, 0]
