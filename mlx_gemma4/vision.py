"""The vision tower of E2B, E4B, 26B-A4B and 31B: patches of one picture in, soft tokens out.

A picture is encoded alone and unpadded, so no attention mask exists anywhere in this file. The
attribute tree follows the published tensor names (`encoder.layers.N.self_attn.q_proj.linear…`).
Runs on the thread that owns MLX.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_gemma4.config import VisionConfig

# Head sizes the fused attention kernel takes; 72 (26B, 31B) is padded with zeros to 80.
_FUSED_HEAD_DIMS = (64, 80, 128)
# Scores in one query block (128 MB in float32): where attention is not fused, the 10 080 patches of
# the largest budget would need 6.5 GB at once.
_MAX_SCORES = 1 << 25
# Blocks between two evaluations in `VisionTower.blocks`: bounds the lazy graph's live memory.
_BLOCKS_PER_STEP = 4


class ClippedLinear(nn.Module):
    """A linear layer, its input and output clipped to the four scalars stored beside it.

    `y = clip(W · clip(x, input_min, input_max), output_min, output_max)`. The level `.linear`
    exists in every checkpoint; the scalars only where the config says `use_clipped_linears`.
    """

    def __init__(self, input_dims: int, output_dims: int, *, clipped: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(input_dims, output_dims, bias=False)
        self._clipped = clipped
        if clipped:
            self.input_min = mx.array(-float("inf"))
            self.input_max = mx.array(float("inf"))
            self.output_min = mx.array(-float("inf"))
            self.output_max = mx.array(float("inf"))

    def __call__(self, x: mx.array) -> mx.array:
        """Map x [..., input_dims] to [..., output_dims]."""
        if not self._clipped:
            return self.linear(x)
        # The scalars take the activations' type: a float32 scalar would promote bfloat16.
        x = mx.clip(x, self.input_min.astype(x.dtype), self.input_max.astype(x.dtype))
        y = self.linear(x)
        return mx.clip(y, self.output_min.astype(y.dtype), self.output_max.astype(y.dtype))


class PatchEmbedder(nn.Module):
    """Pixels of a patch to its first hidden state, plus one learned vector per column and row."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size, hidden = config.position_embedding_size, config.hidden_size
        self.input_proj = nn.Linear(3 * config.patch_size**2, hidden, bias=False)
        self.position_embedding_table = mx.zeros((2, size, hidden))

    def __call__(self, patches: mx.array, positions: mx.array) -> mx.array:
        """Embed patches [P, 768] with pixels in 0..1 at positions [P, 2] = (x, y): [P, hidden].

        The tower was trained on pixels in -1..1 and maps them itself: `2 · (pixel - 0.5)`.
        """
        pixels = (2.0 * (patches - 0.5)).astype(self.position_embedding_table.dtype)
        columns, rows = self.position_embedding_table
        return self.input_proj(pixels) + (columns[positions[:, 0]] + rows[positions[:, 1]])


def rope_2d(positions: mx.array, head_dim: int, theta: float) -> tuple[mx.array, mx.array]:
    """Cosine and sine tables of the two-axis rotary embedding, each [P, 1, 2, head_dim / 4].

    The first half of a head turns with x, the second with y; inside a half of c dimensions pair i
    turns by `position · theta^(-2i/c)`, i < c/2.

    Args:
        positions: integer patch positions [P, 2] = (x, y).
        head_dim: width of one head; divisible by 4.
        theta: base of the frequencies (100 in every release).
    """
    half = head_dim // 2
    inv_freq = theta ** (-mx.arange(0, half, 2, dtype=mx.float32) / half)
    angles = positions.astype(mx.float32)[:, None, :, None] * inv_freq
    return mx.cos(angles), mx.sin(angles)


def apply_rope_2d(x: mx.array, rope: tuple[mx.array, mx.array]) -> mx.array:
    """Rotate x [P, heads, head_dim]; the two halves of a head never mix."""
    cos, sin = rope
    pairs = x.reshape(*x.shape[:-1], 2, 2, x.shape[-1] // 4)
    a, b = pairs[..., 0, :], pairs[..., 1, :]
    turned = mx.stack([a * cos - b * sin, b * cos + a * sin], axis=-2)
    return turned.reshape(x.shape).astype(x.dtype)


def _fused_head_dim(head_dim: int) -> int:
    """The head size to compute with: the next fused one for sizes from 64 up, else unchanged."""
    if head_dim < _FUSED_HEAD_DIMS[0]:
        return head_dim
    return next((size for size in _FUSED_HEAD_DIMS if size >= head_dim), head_dim)


def full_attention(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """Softmax attention without a mask and with scale 1, in query blocks of bounded memory.

    Args:
        q: queries [heads, P, head_dim].
        k: keys [heads, P, head_dim].
        v: values [heads, P, head_dim].

    Returns:
        [heads, P, head_dim].
    """
    heads, length, width = q.shape
    pad = _fused_head_dim(width) - width
    if pad:  # zeros add nothing to a dot product and give zero outputs
        q, k, v = (mx.pad(t, [(0, 0), (0, 0), (0, pad)]) for t in (q, k, v))
    q, k, v = q[None], k[None], v[None]
    block = max(1, _MAX_SCORES // (heads * length))
    if block >= length or mx.default_device() == mx.gpu:  # the GPU kernel keeps no scores
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=1.0)[0, :, :, :width]
    parts = []
    for start in range(0, length, block):
        part = q[:, :, start : start + block]
        parts.append(mx.fast.scaled_dot_product_attention(part, k, v, scale=1.0))
        mx.eval(parts[-1])  # the CPU stream would allocate the scores of all blocks ahead
    return mx.concatenate(parts, axis=2)[0, :, :, :width]


class VisionAttention(nn.Module):
    """Bidirectional attention over the patches of one picture."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self._heads, self._head_dim = config.num_attention_heads, config.head_dim
        self._eps = config.rms_norm_eps
        width = self._heads * self._head_dim
        self.q_proj = ClippedLinear(hidden, width, clipped=clipped)
        self.k_proj = ClippedLinear(hidden, width, clipped=clipped)
        self.v_proj = ClippedLinear(hidden, width, clipped=clipped)
        self.o_proj = ClippedLinear(width, hidden, clipped=clipped)
        self.q_norm = nn.RMSNorm(self._head_dim, eps=config.rms_norm_eps)
        self.k_norm = nn.RMSNorm(self._head_dim, eps=config.rms_norm_eps)

    def __call__(self, x: mx.array, rope: tuple[mx.array, mx.array]) -> mx.array:
        """Attend over x [P, hidden]; norms come before the rotation, values get no weight."""
        shape = (x.shape[0], self._heads, self._head_dim)
        q = apply_rope_2d(self.q_norm(self.q_proj(x).reshape(shape)), rope)
        k = apply_rope_2d(self.k_norm(self.k_proj(x).reshape(shape)), rope)
        v = mx.fast.rms_norm(self.v_proj(x).reshape(shape), None, self._eps)
        out = full_attention(*(t.transpose(1, 0, 2) for t in (q, k, v)))
        return self.o_proj(out.transpose(1, 0, 2).reshape(x.shape[0], -1))


class VisionMLP(nn.Module):
    """Gated feed-forward layer with the tanh form of GELU."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, wide = config.hidden_size, config.intermediate_size
        clipped = config.use_clipped_linears
        self.gate_proj = ClippedLinear(hidden, wide, clipped=clipped)
        self.up_proj = ClippedLinear(hidden, wide, clipped=clipped)
        self.down_proj = ClippedLinear(wide, hidden, clipped=clipped)

    def __call__(self, x: mx.array) -> mx.array:
        """Map x [P, hidden] to [P, hidden]."""
        return self.down_proj(nn.gelu_approx(self.gate_proj(x)) * self.up_proj(x))


class VisionBlock(nn.Module):
    """One encoder layer: attention and MLP, each between two norms and added to its input."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = VisionAttention(config)
        self.mlp = VisionMLP(config)
        self.input_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.post_attention_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.pre_feedforward_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.post_feedforward_layernorm = nn.RMSNorm(hidden, eps=eps)

    def __call__(self, x: mx.array, rope: tuple[mx.array, mx.array]) -> mx.array:
        """Map x [P, hidden] to [P, hidden]."""
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), rope))
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class VisionEncoder(nn.Module):
    """The stack of layers; nothing follows the last one."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = [VisionBlock(config) for _ in range(config.num_hidden_layers)]


def patch_grid(positions: np.ndarray, kernel: int) -> tuple[int, int]:
    """Rows and columns of the patch grid that positions [P, 2] = (x, y) describe.

    Raises:
        ValueError: the positions are not one whole grid in reading order whose sides are
            multiples of `kernel`; pooling would then mix patches that are no neighbours.
    """
    columns, rows = (int(side) + 1 for side in positions.max(axis=0))
    expected = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    if rows % kernel or columns % kernel or not np.array_equal(positions, expected):
        raise ValueError(
            f"positions must be one unpadded grid of patches in reading order with sides divisible "
            f"by {kernel}, got {len(positions)} positions spanning {rows} rows x {columns} columns"
        )
    return rows, columns


class VisionTower(nn.Module):
    """Encodes one unpadded picture: patches [P, 768] and positions [P, 2] to [P / 9, hidden].

    Source of the formulas: the reference's `Gemma4VisionModel`.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedder = PatchEmbedder(config)
        self.encoder = VisionEncoder(config)
        if config.standardize:
            self.std_bias = mx.zeros((config.hidden_size,))
            self.std_scale = mx.ones((config.hidden_size,))

    def __call__(self, patches: mx.array, positions: mx.array | np.ndarray) -> mx.array:
        """Encode a picture lazily.

        Args:
            patches: float32 [P, 3 · patch_size²], pixels in 0..1, reading order.
            positions: int [P, 2], (column, row) of each patch.

        Returns:
            Features [P / pooling², hidden] in the tower's dtype, reading order.
        """
        *_, features = self.blocks(patches, positions)
        return features

    def blocks(self, patches: mx.array, positions: mx.array | np.ndarray) -> Iterator[mx.array]:
        """Encode a picture in steps: evaluate each array that comes; the last is the result.

        Evaluating between steps bounds the memory of a large budget and lets the caller stop.
        """
        grid = patch_grid(np.array(positions), self.config.pooling_kernel_size)
        where = mx.array(positions)
        theta = self.config.rope_theta
        rope = rope_2d(where, self.config.head_dim, theta)
        x = self.patch_embedder(patches, where)
        for number, layer in enumerate(self.encoder.layers, start=1):
            x = layer(x, rope)
            if number % _BLOCKS_PER_STEP == 0:
                yield x
        yield self._pool(x, grid)

    def _pool(self, x: mx.array, grid: tuple[int, int]) -> mx.array:
        """Mean of each 3x3 cell, times sqrt(hidden), standardised where the config says so.

        All in float32: the scaled values of 26B and 31B exceed float16, and std_bias cancels
        large numbers.
        """
        k, (rows, columns) = self.config.pooling_kernel_size, grid
        hidden = x.shape[-1]
        cells = x.astype(mx.float32).reshape(rows // k, k, columns // k, k, hidden)
        # The reference returns the mean in the working type before it scales.
        pooled = cells.mean(axis=(1, 3)).reshape(-1, hidden).astype(x.dtype)
        pooled = pooled.astype(mx.float32) * hidden**0.5
        if self.config.standardize:
            pooled = (pooled - self.std_bias.astype(mx.float32)) * self.std_scale.astype(mx.float32)
        return pooled.astype(x.dtype)
