"""Attention of one decoder layer: projections, head norms, rotary positions, banded softmax.

    q = rope(q_norm(Wq x))   k = rope(k_norm(Wk x))   v = rms(Wv x)      Wv = Wk where K = V
    o = Wo softmax(q kᵀ + mask) v                                        the scale is exactly 1

Layers that share keys and values get them handed in by the layer that computed them, as that
layer's own attention saw them in this pass, whether or not there is a cache.
"""

from __future__ import annotations

import mlx.core as mx
from mlx import nn

from mlx_gemma4.cache import KV, FullCache, SlidingCache
from mlx_gemma4.config import LayerSpec, TextConfig
from mlx_gemma4.layers import FusedLinear, Linear, RMSNorm, rms_norm
from mlx_gemma4.masks import Band, Mask, StepPlan
from mlx_gemma4.rope import Rope

_FUSED_DIMS = 256  # MLX has no fused attention for larger heads
_FOLD_ROWS = 64


class Attention(nn.Module):
    """Self-attention of one layer; ``qkv_proj`` holds the query, key and value rows it needs."""

    def __init__(self, text: TextConfig, spec: LayerSpec, rope: Rope) -> None:
        super().__init__()
        hidden, dims, eps = text.hidden_size, spec.head_dim, text.rms_norm_eps
        self.spec = spec
        self.heads = text.num_attention_heads
        self.eps = eps
        self.rope = rope
        parts = [("q_proj", self.heads * dims)]
        if spec.donor is None:
            parts.append(("k_proj", spec.kv_heads * dims))
            if not spec.k_eq_v:
                parts.append(("v_proj", spec.kv_heads * dims))
            self.k_norm = RMSNorm(dims, eps)
        self.qkv_proj = FusedLinear(hidden, parts)
        self.o_proj = Linear(self.heads * dims, hidden)
        self.q_norm = RMSNorm(dims, eps)

    def __call__(
        self,
        x: mx.array,
        queries: StepPlan,
        cache: FullCache | SlidingCache | None = None,
        shared: KV | None = None,
    ) -> tuple[mx.array, KV]:
        """Attend.

        Args:
            x: normed hidden states [batch, time, hidden].
            queries: the plan of the rows wanted, which are the last ``queries.rows`` of ``x``.
            cache: where this layer's keys and values go; ``None`` outside generation.
            shared: another layer's keys and values, for layers without their own.

        Returns:
            The output [batch, queries.rows, hidden] and the keys and values it was computed from.
        """
        q, k, v = self._project(x, queries.rows)
        # The queries' offset was fixed before any cache moved on, and is the donor's offset too.
        q = self.rope(self._heads_first(self.q_norm, q), queries.offset)
        kv = shared if shared is not None else self._store(k, v, queries, cache)
        heads = attend(q, kv, queries.bands(self.spec.is_sliding))
        batch, _, rows, _ = heads.shape
        return self.o_proj(heads.transpose(0, 2, 1, 3).reshape(batch, rows, -1)), kv

    def keys_values(
        self, x: mx.array, queries: StepPlan, cache: FullCache | SlidingCache | None
    ) -> KV:
        """Only compute and store keys and values, for passes whose output nobody reads."""
        _, k, v = self._project(x, queries.rows)
        return self._store(k, v, queries, cache)

    def _project(self, x: mx.array, rows: int) -> tuple[mx.array, mx.array, mx.array]:
        """Query [B, rows, H, d] of the last rows; key and value [B, T, G, d] (empty if shared)."""
        batch, time, _ = x.shape
        dims, heads = self.spec.head_dim, self.heads
        packed = self.qkv_proj(x).reshape(batch, time, -1, dims)
        q = packed[:, time - rows :, :heads]
        k = packed[:, :, heads : heads + self.spec.kv_heads]
        v = k if self.spec.k_eq_v else packed[:, :, heads + self.spec.kv_heads :]
        return q, k, v

    def _store(
        self, k: mx.array, v: mx.array, queries: StepPlan, cache: FullCache | SlidingCache | None
    ) -> KV:
        offset = queries.offset + queries.rows - k.shape[1]
        keys = self.rope(self._heads_first(self.k_norm, k), offset)
        values = rms_norm(v, self.eps).transpose(0, 2, 1, 3)
        return KV(keys, values, offset) if cache is None else cache.append(keys, values)

    @staticmethod
    def _heads_first(norm: RMSNorm, x: mx.array) -> mx.array:
        return norm(x).transpose(0, 2, 1, 3)


def attend(q: mx.array, kv: KV, bands: tuple[Band, ...]) -> mx.array:
    """Softmax attention band by band.

    Args:
        q: [batch, heads, rows, head dim].
        kv: keys and values with their absolute position.
        bands: which query rows see which keys; together they cover all rows in order.

    Returns:
        [batch, heads, rows, head dim].
    """
    outputs = []
    for band in bands:
        low, high = band.key_start - kv.start, band.key_stop - kv.start
        keys, values = kv.keys[:, :, low:high], kv.values[:, :, low:high]
        rows = q[:, :, band.row_start : band.row_stop]
        outputs.append(score_band(rows, keys, values, band.mask))
    return outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=2)


def score_band(q: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    """The one place where scores are computed: replace it to count score elements."""
    if q.shape[3] > _FUSED_DIMS and q.shape[2] <= _FOLD_ROWS and q.shape[1] > keys.shape[1]:
        return _folded(q, keys, values, mask)
    return mx.fast.scaled_dot_product_attention(q, keys, values, scale=1.0, mask=mask)


def _folded(q: mx.array, keys: mx.array, values: mx.array, mask: Mask) -> mx.array:
    """Attention of few rows where no fused kernel exists: query heads of one key head as rows.

    The products then read keys and values once instead of once per query head.
    """
    batch, heads, rows, dims = q.shape
    groups, total = keys.shape[1], keys.shape[2]
    repeats = heads // groups
    if isinstance(mask, str):  # causal, aligned to the last key
        mask = mx.arange(total - rows, total)[:, None] >= mx.arange(total)
    if mask is not None:
        mask = mx.tile(mask, (repeats, 1))
    folded = q.reshape(batch, groups, repeats * rows, dims)
    heads_out = mx.fast.scaled_dot_product_attention(folded, keys, values, scale=1.0, mask=mask)
    return heads_out.reshape(q.shape)
