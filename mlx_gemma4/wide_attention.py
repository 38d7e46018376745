"""Attention with heads of 512, for which MLX has no fused kernel: the full layers."""

from __future__ import annotations

import mlx.core as mx

from mlx_gemma4.masks import Reach, Sight

FUSED_DIMS = 256
"""The widest head of MLX's fused kernels."""
_FOLD_ROWS = 64


def plain_attend_wide(q: mx.array, keys: mx.array, values: mx.array, mask: Sight) -> mx.array:
    """As :func:`attend_wide`, by MLX's own fallback."""
    if isinstance(mask, Reach):
        mask = mask.bias
    return mx.fast.scaled_dot_product_attention(q, keys, values, scale=1.0, mask=mask)


def attend_wide(q: mx.array, keys: mx.array, values: mx.array, mask: Sight) -> mx.array:
    """``softmax(q kᵀ + mask) v``; the scale is exactly 1, so none is multiplied.

    For few rows the query heads of one key head become rows of one product, which then reads keys
    and values once instead of once per query head.

    Args:
        q: [batch, heads, rows, dims].
        keys: [batch, groups, time, dims], possibly a view into a larger buffer.
        values: like ``keys``.
        mask: ``None`` (all visible), ``"causal"`` (aligned to the last key), a boolean array
            [rows, time] or, for one row, a reach.

    Returns:
        [batch, heads, rows, dims].
    """
    batch, heads, rows, dims = q.shape
    if rows > _FOLD_ROWS:
        return plain_attend_wide(q, keys, values, mask)
    groups, total = keys.shape[1], keys.shape[2]
    repeats = heads // groups
    folded = q.reshape(batch, groups, repeats * rows, dims)
    if isinstance(mask, Reach):
        scores = mx.addmm(mask.bias, folded, keys.swapaxes(2, 3))
        return (mx.softmax(scores, axis=-1, precise=True) @ values).reshape(q.shape)
    scores = folded @ keys.swapaxes(2, 3)
    if isinstance(mask, str):
        mask = mx.arange(total - rows, total)[:, None] >= mx.arange(total)
    if mask is not None:
        least = mx.array(mx.finfo(scores.dtype).min, scores.dtype)
        scores = mx.where(mx.tile(mask, (repeats, 1)), scores, least)
    return (mx.softmax(scores, axis=-1, precise=True) @ values).reshape(q.shape)
