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

from mlx_gemma4.cache import KV, RowStore
from mlx_gemma4.chains import Heads
from mlx_gemma4.config import LayerSpec, TextConfig
from mlx_gemma4.kv_packed import PackedRows, attend_packed
from mlx_gemma4.layers import FusedLinear, Linear, RMSNorm, output_rows
from mlx_gemma4.masks import Band, Reach, Sight
from mlx_gemma4.rope import Turns
from mlx_gemma4.step import Step
from mlx_gemma4.wide_attention import FUSED_DIMS, attend_wide

AttendWide = Callable[[mx.array, mx.array, mx.array, Sight], mx.array]


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
        self._stored_heads = Heads(0, groups, spec.k_eq_v)
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
        cache: RowStore | None = None,
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
        q, stored = self._queries_and_stored(x, step)
        kv = shared if stored is None else self._store(stored, step, cache)
        assert kv is not None
        bands = step.plan.bands(self.spec.is_sliding)
        heads = attend(q, kv, bands, step.fusion.attend_wide)
        batch, _, rows, _ = heads.shape
        return self.o_proj(heads.transpose(0, 2, 1, 3).reshape(batch, rows, -1)), kv

    def keys_values(self, x: mx.array, step: Step, cache: RowStore | None) -> KV:
        """Only compute and store keys and values, for passes whose output nobody reads."""
        return self._store(self._stored(x, step), step, cache)

    def _queries_and_stored(self, x: mx.array, step: Step) -> tuple[mx.array, mx.array | None]:
        """Queries [B, H, rows, d]; keys and values [B, 2 G, T, d] or ``None``."""
        turns, rows = step.turns[self.spec.kind], step.rows
        if x.shape[1] == rows:
            weight = self.k_norm.weight if self.heads.groups else None
            return self._normed(self.qkv_proj(x), weight, turns, self.heads, step)
        width = self.heads.queries * self.spec.head_dim
        raw = output_rows(self.qkv_proj, x[:, x.shape[1] - rows :], 0, width)
        q, _ = self._normed(raw, None, turns.last(rows), self.heads, step)
        return q, self._stored(x, step)

    def _stored(self, x: mx.array, step: Step) -> mx.array:
        """Keys and values [B, 2 G, T, d] without the queries' work."""
        heads = self._stored_heads
        start = self.heads.queries * self.spec.head_dim
        stop = start + heads.packed * self.spec.head_dim
        raw, turns = output_rows(self.qkv_proj, x, start, stop), step.turns[self.spec.kind]
        _, stored = self._normed(raw, self.k_norm.weight, turns, heads, step)
        assert stored is not None
        return stored

    def _normed(
        self, raw: mx.array, k_weight: mx.array | None, turns: Turns, heads: Heads, step: Step
    ) -> tuple[mx.array, mx.array | None]:
        packed = raw.reshape(*raw.shape[:2], -1, self.spec.head_dim)
        q_weight = self.q_norm.weight
        return step.fusion.head_norm_rope(packed, q_weight, k_weight, turns, heads, self.eps)

    def _store(self, stored: mx.array, step: Step, cache: RowStore | None) -> KV:
        if cache is not None:
            return cache.append(stored)
        keys, values = mx.split(stored, 2, axis=1)
        start = step.turns[self.spec.kind].offset
        assert isinstance(start, int)
        return KV(keys, values, start)


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
    keys, values = kv.keys, kv.values
    for band in bands:
        low, high = band.key_start - kv.start, band.key_stop - kv.start
        rows = q[:, :, band.row_start : band.row_stop]
        if isinstance(keys, mx.array) and isinstance(values, mx.array):
            cut = keys[:, :, low:high], values[:, :, low:high]
            outputs.append(score_band(rows, *cut, band.mask, wide))
        else:
            assert isinstance(keys, PackedRows)
            assert isinstance(values, PackedRows)
            assert not isinstance(band.mask, Reach)
            packed = keys.between(low, high), values.between(low, high)
            outputs.append(attend_packed(rows, *packed, band.mask))
    return outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=2)


def score_band(
    q: mx.array, keys: mx.array, values: mx.array, mask: Sight, wide: AttendWide = attend_wide
) -> mx.array:
    """The one place where scores are computed: replace it to count score elements."""
    if q.shape[3] > FUSED_DIMS:
        return wide(q, keys, values, mask)
    if isinstance(mask, Reach):
        mask = mask.bias
    return mx.fast.scaled_dot_product_attention(q, keys, values, scale=1.0, mask=mask)
