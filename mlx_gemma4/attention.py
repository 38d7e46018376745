"""Attention of one decoder layer: projections, head norms, rotary positions, banded softmax.

    q = rope(q_norm(Wq x))   k = rope(k_norm(Wk x))   v = rms(Wv x)      Wv = Wk where K = V
    o = Wo softmax(q kᵀ + mask) v                                        the scale is exactly 1

Layers that share keys and values get them handed in by the layer that computed them, as that
layer's own attention saw them in this pass, whether or not there is a cache.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
from mlx import nn

from mlx_gemma4.cache import KV, FullCache, SlidingCache
from mlx_gemma4.chains import Heads
from mlx_gemma4.config import LayerSpec, TextConfig
from mlx_gemma4.layers import FusedLinear, Linear, RMSNorm
from mlx_gemma4.masks import Band, Mask
from mlx_gemma4.step import Step
from mlx_gemma4.wide_attention import FUSED_DIMS, attend_wide

AttendWide = Callable[[mx.array, mx.array, mx.array, Mask], mx.array]


class Attention(nn.Module):
    """Self-attention of one layer; ``qkv_proj`` holds the query, key and value rows it needs."""

    def __init__(self, text: TextConfig, spec: LayerSpec) -> None:
        super().__init__()
        hidden, dims, eps = text.hidden_size, spec.head_dim, text.rms_norm_eps
        self.spec = spec
        self.eps = eps
        queries = text.num_attention_heads
        groups = 0 if spec.donor is not None else spec.kv_heads
        self.heads = Heads(queries, groups, spec.k_eq_v)
        parts = [("q_proj", queries * dims)]
        if groups:
            parts.append(("k_proj", groups * dims))
            if not spec.k_eq_v:
                parts.append(("v_proj", groups * dims))
            self.k_norm = RMSNorm(dims, eps)
        self.qkv_proj = FusedLinear(hidden, parts)
        self.o_proj = Linear(queries * dims, hidden)
        self.q_norm = RMSNorm(dims, eps)

    def __call__(
        self,
        x: mx.array,
        step: Step,
        cache: FullCache | SlidingCache | None = None,
        shared: KV | None = None,
    ) -> tuple[mx.array, KV]:
        """Attend.

        Args:
            x: normed hidden states [batch, time, hidden].
            step: the pass; the query rows wanted are the last ``step.rows`` of ``x``.
            cache: where this layer's keys and values go; ``None`` outside generation.
            shared: another layer's keys and values, for layers without their own.

        Returns:
            The output [batch, step.rows, hidden] and the keys and values it was computed from.
        """
        q, stored = self._project(x, step)
        kv = shared if stored is None else self._store(stored, step, cache)
        assert kv is not None
        if q.shape[2] > step.rows:
            q = q[:, :, q.shape[2] - step.rows :]
        bands = step.plan.bands(self.spec.is_sliding)
        heads = attend(q, kv, bands, step.fusion.attend_wide)
        batch, _, rows, _ = heads.shape
        return self.o_proj(heads.transpose(0, 2, 1, 3).reshape(batch, rows, -1)), kv

    def keys_values(self, x: mx.array, step: Step, cache: FullCache | SlidingCache | None) -> KV:
        """Only compute and store keys and values, for passes whose output nobody reads."""
        _, stored = self._project(x, step)
        assert stored is not None
        return self._store(stored, step, cache)

    def _project(self, x: mx.array, step: Step) -> tuple[mx.array, mx.array | None]:
        """Queries [B, H, T, d]; keys and values [B, 2 G, T, d] or ``None``."""
        batch, time, _ = x.shape
        packed = self.qkv_proj(x).reshape(batch, time, -1, self.spec.head_dim)
        k_weight = self.k_norm.weight if self.heads.groups else None
        turns = step.turns[self.spec.kind]
        return step.fusion.head_norm_rope(
            packed, self.q_norm.weight, k_weight, turns, self.heads, self.eps
        )

    def _store(self, stored: mx.array, step: Step, cache: FullCache | SlidingCache | None) -> KV:
        keys, values = mx.split(stored, 2, axis=1)
        if cache is None:
            return KV(keys, values, step.turns[self.spec.kind].offset)
        return cache.append(keys, values)


def attend(
    q: mx.array, kv: KV, bands: tuple[Band, ...], wide: AttendWide = attend_wide
) -> mx.array:
    """Softmax attention band by band.

    Args:
        q: [batch, heads, rows, head dim].
        kv: keys and values with their absolute position.
        bands: which query rows see which keys; together they cover all rows in order.
        wide: what attends with heads that MLX has no fused kernel for.

    Returns:
        [batch, heads, rows, head dim].
    """
    outputs = []
    for band in bands:
        low, high = band.key_start - kv.start, band.key_stop - kv.start
        keys, values = kv.keys[:, :, low:high], kv.values[:, :, low:high]
        rows = q[:, :, band.row_start : band.row_stop]
        outputs.append(score_band(rows, keys, values, band.mask, wide))
    return outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=2)


def score_band(
    q: mx.array, keys: mx.array, values: mx.array, mask: Mask, wide: AttendWide = attend_wide
) -> mx.array:
    """The one place where scores are computed: replace it to count score elements."""
    if q.shape[3] > FUSED_DIMS:
        return wide(q, keys, values, mask)
    return mx.fast.scaled_dot_product_attention(q, keys, values, scale=1.0, mask=mask)
