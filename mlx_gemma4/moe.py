"""The mixture-of-experts branch of the 26B: a router and many small gated MLPs.

    s = proj(rms(a) * scale) * D^-1/2        a: the residual stream itself, not a normed copy
    w = softmax over the k largest s, times per_expert_scale
    y = sum over those k of w_k * down_k(gelu(gate_k z) * up_k z)

Softmax over the k largest logits equals softmax over all, cut to k and renormalised; it is done in
float32.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from mlx_gemma4.config import TextConfig
from mlx_gemma4.layers import ExpertLinear, Linear, geglu

_SORT_FROM = 64  # expert assignments from which sorting pays (MLX's grouped gather)


class Router(nn.Module):
    """Chooses ``top_k_experts`` experts per token and their weights."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.proj = Linear(text.hidden_size, text.num_experts)
        self.scale = mx.ones((text.hidden_size,))
        self.per_expert_scale = mx.ones((text.num_experts,))
        self.top_k = text.top_k_experts
        self.eps = text.rms_norm_eps
        self.factor = text.hidden_size**-0.5

    def __call__(self, a: mx.array) -> tuple[mx.array, mx.array]:
        """``a``: residual [tokens, hidden] -> experts and weights, both [tokens, top_k]."""
        logits = self.proj(mx.fast.rms_norm(a, self.scale, self.eps))
        return choose(logits, self.per_expert_scale, self.factor, self.top_k)


def choose(
    logits: mx.array, per_expert_scale: mx.array, factor: float, top_k: int
) -> tuple[mx.array, mx.array]:
    """The router chain: top k, softmax over them, per-expert scale.

    Returns:
        Expert indices (uint32) and weights (float32), both [tokens, top_k].
    """
    logits = logits.astype(mx.float32)
    experts = mx.argpartition(-logits, kth=top_k - 1, axis=-1)[..., :top_k]
    weights = mx.softmax(mx.take_along_axis(logits, experts, axis=-1) * factor, axis=-1)
    return experts, weights * per_expert_scale[experts]


class Experts(nn.Module):
    """Gated MLPs stored as one tensor per projection; gate and up rows lie together."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        count, wide = text.num_experts, text.moe_intermediate_size
        self.gate_up_proj = ExpertLinear(count, text.hidden_size, 2 * wide)
        self.down_proj = ExpertLinear(count, wide, text.hidden_size)

    def __call__(self, z: mx.array, experts: mx.array, weights: mx.array) -> mx.array:
        """Run each token through its experts and add up.

        Args:
            z: [tokens, hidden].
            experts: indices [tokens, k].
            weights: float32 [tokens, k].

        Returns:
            [tokens, hidden].
        """
        if experts.size >= _SORT_FROM:
            outputs = self._sorted(z, experts)
        else:
            outputs = self._mlp(z[:, None, None, :], experts)[..., 0, :]
        return (weights.astype(z.dtype)[:, None, :] @ outputs)[:, 0]

    def _sorted(self, z: mx.array, experts: mx.array) -> mx.array:
        """Visit assignments grouped by expert, so that each expert's weights are read once."""
        tokens, k = experts.shape
        flat = experts.flatten()
        order = mx.argsort(flat)
        rows = z[order // k][:, None, :]
        outputs = self._mlp(rows, flat[order], ordered=True)[:, 0]
        # Un-sorting is one gather through the inverse permutation, cheaper than a second sort.
        inverse = mx.zeros_like(order)
        inverse[order] = mx.arange(order.size, dtype=order.dtype)
        return outputs[inverse].reshape(tokens, k, -1)

    def _mlp(self, x: mx.array, experts: mx.array, ordered: bool = False) -> mx.array:
        gate, up = mx.split(self.gate_up_proj(x, experts, ordered), 2, axis=-1)
        return self.down_proj(geglu(gate, up), experts, ordered)
