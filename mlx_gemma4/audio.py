"""The audio tower of E2B and E4B: log-mel frames of one clip in, 25 soft tokens a second out.

Every layer looks only backwards (causal convolution, attention to the 12 newest keys), so the tower
is one function from a state and new tokens to outputs and the next state. The whole clip and the
stream of `audio_stream` run the same code. The attribute tree follows the published tensor names.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from mlx_gemma4.audio_processing import FRAMES_PER_TOKEN
from mlx_gemma4.audio_stream import AudioStream
from mlx_gemma4.config import AudioConfig
from mlx_gemma4.vision import ClippedLinear

# Token u reads mel frames 4u-3 to 4u+3, so three frames are kept before the next token's own four.
MEL_TAIL = FRAMES_PER_TOKEN - 1
# Clip limits this large cannot change a float32 or bfloat16 activation; then no kernel is spent.
_NO_CLIPPING = 1e10


def visible_keys(config: AudioConfig) -> int:
    """Keys a query sees, itself included: 12 in every release.

    The reference keeps distances below `attention_context_left - 1`. Google's JAX code and the 13
    rows of the relative table suggest 13 keys; parity with the reference decides here.
    """
    return config.attention_context_left - 1


class LayerState(NamedTuple):
    """What one conformer layer remembers of the tokens before: never written to, only replaced.

    keys, values: float32 [heads, visible_keys - 1, head_dim]; tail: [conv_kernel_size - 1, hidden].
    """

    keys: mx.array
    values: mx.array
    tail: mx.array


class AudioState(NamedTuple):
    """State of the conformer after `tokens` tokens: one `LayerState` per layer."""

    tokens: int
    layers: tuple[LayerState, ...]


def _bounded(x: mx.array, limit: float) -> mx.array:
    """Clip to ±limit (and to float16's range), as the reference does around its norms."""
    if x.dtype == mx.float16:
        limit = min(limit, 65504.0)
    return x if limit >= _NO_CLIPPING else mx.clip(x, -limit, limit)


class SubsampleLayer(nn.Module):
    """3x3 convolution of stride 2, layer norm over channels, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, eps: float) -> None:
        super().__init__()
        # Time is padded by the caller (it may be a stream's tail), frequency by one on each side.
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=(0, 1), bias=False)
        self.norm = nn.LayerNorm(channels_out, eps=eps, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        """Map x [1, 2T + 1, F, in] to [1, T, F / 2, out]."""
        return nn.relu(self.norm(self.conv(x)))


class Subsampling(nn.Module):
    """Mel frames to token-rate hidden states, four to one."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second = config.subsampling_conv_channels
        self.layer0 = SubsampleLayer(1, first, config.rms_norm_eps)
        self.layer1 = SubsampleLayer(first, second, config.rms_norm_eps)
        # 128 mel bands become first / 4 rows after two halvings, as the reference counts them.
        self.input_proj_linear = nn.Linear(first // 4 * second, config.hidden_size, bias=False)

    def __call__(self, mel: mx.array, valid: int) -> mx.array:
        """Subsample a stretch of one clip.

        Args:
            mel: [3 + 4n, bands]: the three frames before (zeros at the start of the clip), then
                the frames of n tokens, zeros after the clip's last frame.
            valid: how many of the 4n frames are real.

        Returns:
            Hidden states [n, hidden].
        """
        x = self.layer0(mel.astype(self.layer0.conv.weight.dtype)[None, :, :, None])
        # Row 0 belongs to the time before; a row is real when its centre frame is.
        real = 1 + (valid + 1) // 2
        x = mx.where(mx.arange(x.shape[1])[None, :, None, None] < real, x, 0)
        x = self.layer1(x)
        return self.input_proj_linear(x.reshape(x.shape[1], -1))


class AudioFeedForward(nn.Module):
    """Half-step feed-forward layer: `x + 0.5 · norm(W2 · silu(W1 · norm(x)))`."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.ffw_layer_1 = ClippedLinear(hidden, 4 * hidden, clipped=clipped)
        self.ffw_layer_2 = ClippedLinear(4 * hidden, hidden, clipped=clipped)
        self.pre_layer_norm = nn.RMSNorm(hidden, eps=config.rms_norm_eps)
        self.post_layer_norm = nn.RMSNorm(hidden, eps=config.rms_norm_eps)
        self._limit, self._weight = config.gradient_clipping, config.residual_weight

    def __call__(self, x: mx.array) -> mx.array:
        """Map x [T, hidden] to [T, hidden]."""
        y = self.pre_layer_norm(_bounded(x, self._limit))
        y = self.ffw_layer_2(nn.silu(self.ffw_layer_1(y)))
        return x + self._weight * self.post_layer_norm(_bounded(y, self._limit))


class AudioAttention(nn.Module):
    """Attention to the newest keys with a learned bias per distance; float32 after projection."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self._heads = config.num_attention_heads
        self._head_dim = hidden // self._heads
        self._block, self._span = config.attention_chunk_size, visible_keys(config)
        self._cap, self._hidden_logit = (
            config.attention_logit_cap,
            config.attention_invalid_logits_value,
        )
        self.q_proj = ClippedLinear(hidden, hidden, clipped=clipped)
        self.k_proj = ClippedLinear(hidden, hidden, clipped=clipped)
        self.v_proj = ClippedLinear(hidden, hidden, clipped=clipped)
        self.post = ClippedLinear(hidden, hidden, clipped=clipped)
        self.relative_k_proj = nn.Linear(hidden, hidden, bias=False)
        self.per_dim_scale = mx.zeros((self._head_dim,))

    def relative_keys(self, table: mx.array) -> mx.array:
        """Keys of the distances: table [distances, hidden] to float32 [heads, dim, distances]."""
        keys = self.relative_k_proj(table.astype(self.per_dim_scale.dtype))
        return keys.astype(mx.float32).reshape(-1, self._heads, self._head_dim).transpose(1, 2, 0)

    def _heads_first(self, x: mx.array) -> mx.array:
        return x.astype(mx.float32).reshape(-1, self._heads, self._head_dim).transpose(1, 0, 2)

    def __call__(
        self, x: mx.array, relative: mx.array, state: LayerState, tokens: int
    ) -> tuple[mx.array, mx.array, mx.array]:
        """Attend from new tokens x [T, hidden] to themselves and the state's keys.

        Args:
            x: normed hidden states [T, hidden].
            relative: from `relative_keys`.
            state: keys and values of the tokens before.
            tokens: how many tokens came before; keys before the clip's start stay hidden.

        Returns:
            Output [T, hidden] and the keys and values [heads, past + T, head_dim].
        """
        scale = self._head_dim**-0.5 / math.log(2)
        q = self._heads_first(self.q_proj(x)) * (
            scale * nn.softplus(self.per_dim_scale.astype(mx.float32))
        )
        k = self._heads_first(self.k_proj(x)) * (math.log(1 + math.e) / math.log(2))
        keys = mx.concatenate([state.keys, k], axis=1)
        values = mx.concatenate([state.values, self._heads_first(self.v_proj(x))], axis=1)
        out = self._banded(q, keys, values, relative, min(tokens, self._span - 1))
        out = out.transpose(1, 0, 2).reshape(x.shape[0], -1).astype(x.dtype)
        return self.post(out), keys, values

    def _banded(
        self, q: mx.array, keys: mx.array, values: mx.array, relative: mx.array, known: int
    ) -> mx.array:
        """Blocks of queries against the band of keys each block can see.

        q [H, T, d]; keys and values [H, past + T, d] of which the newest `known` past rows are
        real. Query i of a block sees band rows i to i + past, distance = past + i - row.
        """
        length, past = q.shape[1], self._span - 1
        block = min(self._block, length)
        count = -(-length // block)
        fill = count * block - length
        q = mx.pad(q, [(0, 0), (0, fill), (0, 0)]).reshape(self._heads, count, block, -1)
        rows = mx.arange(count)[:, None] * block + mx.arange(block + past)
        rows = mx.minimum(rows, keys.shape[1] - 1)  # rows past the end are only seen by the fill
        distance = past + mx.arange(block)[:, None] - mx.arange(block + past)
        seen = ((distance >= 0) & (distance <= past))[None] & (rows[:, None] >= past - known)
        by_distance = q @ relative[:, None]
        index = mx.broadcast_to(
            mx.clip(distance, 0, past), (self._heads, count, block, block + past)
        )
        logits = q @ keys[:, rows].swapaxes(-1, -2)
        logits = logits + mx.take_along_axis(by_distance, index, axis=-1)
        logits = self._cap * mx.tanh(logits / self._cap)
        weights = mx.softmax(mx.where(seen, logits, self._hidden_logit), axis=-1)
        out = weights @ values[:, rows]
        return out.reshape(self._heads, count * block, -1)[:, :length]


class AudioLightConv(nn.Module):
    """Gated linear unit, causal depthwise convolution over time, norm, linear; added to x."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, clipped = config.hidden_size, config.use_clipped_linears
        self.pre_layer_norm = nn.RMSNorm(hidden, eps=config.rms_norm_eps)
        self.linear_start = ClippedLinear(hidden, 2 * hidden, clipped=clipped)
        self.depthwise_conv1d = nn.Conv1d(
            hidden, hidden, config.conv_kernel_size, groups=hidden, bias=False
        )
        self.conv_norm = nn.RMSNorm(hidden, eps=config.rms_norm_eps)
        self.linear_end = ClippedLinear(hidden, hidden, clipped=clipped)
        self._limit = config.gradient_clipping

    def __call__(self, x: mx.array, tail: mx.array) -> tuple[mx.array, mx.array]:
        """Map x [T, hidden] to [T, hidden]; `tail` holds the gated rows before it.

        Returns:
            The output and the gated rows to keep for the next call.
        """
        value, gate = mx.split(self.linear_start(self.pre_layer_norm(x)), 2, axis=-1)
        rows = mx.concatenate([tail, value * mx.sigmoid(gate)], axis=0)
        y = self.conv_norm(_bounded(self._convolve(rows), self._limit))
        return x + self.linear_end(nn.silu(y)), rows[rows.shape[0] - tail.shape[0] :]

    def _convolve(self, rows: mx.array) -> mx.array:
        if mx.default_device() == mx.gpu:
            return self.depthwise_conv1d(rows[None])[0]
        # MLX's grouped convolution on the CPU takes six times as long as shifted products.
        kernel = self.depthwise_conv1d.weight[:, :, 0]
        length = rows.shape[0] - kernel.shape[1] + 1
        products = (rows[j : j + length] * kernel[:, j] for j in range(kernel.shape[1]))
        return sum(products, start=mx.zeros((), dtype=rows.dtype))


class AudioBlock(nn.Module):
    """One conformer layer: half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.feed_forward1 = AudioFeedForward(config)
        self.feed_forward2 = AudioFeedForward(config)
        self.self_attn = AudioAttention(config)
        self.lconv1d = AudioLightConv(config)
        self.norm_pre_attn = nn.RMSNorm(hidden, eps=eps)
        self.norm_post_attn = nn.RMSNorm(hidden, eps=eps)
        self.norm_out = nn.RMSNorm(hidden, eps=eps)
        self._limit, self._past = config.gradient_clipping, visible_keys(config) - 1

    def __call__(
        self, x: mx.array, relative: mx.array, state: LayerState, tokens: int
    ) -> tuple[mx.array, LayerState]:
        """Map x [T, hidden], the tokens after `tokens` earlier ones, to [T, hidden]."""
        x = self.feed_forward1(x)
        normed = self.norm_pre_attn(_bounded(x, self._limit))
        attended, keys, values = self.self_attn(normed, relative, state, tokens)
        x = x + self.norm_post_attn(_bounded(attended, self._limit))
        x, tail = self.lconv1d(x, state.tail)
        x = self.norm_out(_bounded(self.feed_forward2(x), self._limit))
        kept = keys.shape[1] - self._past
        return x, LayerState(keys[:, kept:], values[:, kept:], tail)


def distance_table(distances: int, hidden: int) -> mx.array:
    """Sinusoids of the distances 0 to distances - 1: float32 [distances, hidden].

    Halves [sin | cos] over `hidden / 2` time scales from 1 to 10 000 in equal ratios.
    """
    half = hidden // 2
    scales = mx.exp(mx.arange(half, dtype=mx.float32) * (-math.log(10_000.0) / max(half - 1, 1)))
    angles = mx.arange(distances, dtype=mx.float32)[:, None] * scales
    return mx.concatenate([mx.sin(angles), mx.cos(angles)], axis=-1)


class AudioTower(nn.Module):
    """Encodes one unpadded clip: log-mel [F, 128] to [ceil(F / 4), output_proj_dims].

    Source of the formulas: the reference's `Gemma4AudioModel`.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.subsample_conv_projection = Subsampling(config)
        self.layers = [AudioBlock(config) for _ in range(config.num_hidden_layers)]
        self.output_proj = nn.Linear(config.hidden_size, config.output_proj_dims)

    def __call__(self, mel: mx.array) -> mx.array:
        """Encode the valid mel frames of one clip, lazily; all of it in one pass."""
        hidden = self.subsample(None, mx.array(mel))
        return self.encode(hidden, self.relative_keys(), self.initial_state())[0]

    @property
    def dtype(self) -> mx.Dtype:
        """Type of the features; read off a tensor that is never quantised."""
        return self.output_proj.bias.dtype

    def stream(self) -> AudioStream:
        """A new clip, to be encoded piece by piece."""
        return AudioStream(self)

    def initial_state(self) -> AudioState:
        """The state before a clip's first token."""
        config = self.config
        heads, past = config.num_attention_heads, visible_keys(config) - 1
        none = mx.zeros((heads, past, config.hidden_size // heads), dtype=mx.float32)
        tail = mx.zeros((config.conv_kernel_size - 1, config.hidden_size), dtype=self.dtype)
        return AudioState(0, (LayerState(none, none, tail),) * len(self.layers))

    def relative_keys(self) -> list[mx.array]:
        """The distance keys of every layer; they depend on the weights alone."""
        table = distance_table(visible_keys(self.config), self.config.hidden_size)
        return [layer.self_attn.relative_keys(table) for layer in self.layers]

    def subsample(self, before: mx.array | None, mel: mx.array) -> mx.array:
        """Token-rate hidden states [ceil(F / 4), hidden] of mel [F, bands].

        Args:
            before: the three mel frames before these; None at the start of a clip.
            mel: frames that begin at a token border; if F is no multiple of 4, the clip ends here.
        """
        valid = mel.shape[0]
        fill = -valid % FRAMES_PER_TOKEN
        if before is None:
            mel = mx.pad(mel, [(MEL_TAIL, fill), (0, 0)])
        else:
            mel = mx.pad(mx.concatenate([before, mel], axis=0), [(0, fill), (0, 0)])
        return self.subsample_conv_projection(mel, valid)

    def encode(
        self, hidden: mx.array, relative: list[mx.array], state: AudioState
    ) -> tuple[mx.array, AudioState]:
        """Run the conformer and the output projection over new tokens.

        Args:
            hidden: subsampled states [T, hidden], T at least 1.
            relative: from `relative_keys`.
            state: from `initial_state` or the call before.

        Returns:
            Features [T, output_proj_dims] and the next state.
        """
        layers = []
        for layer, keys, before in zip(self.layers, relative, state.layers, strict=True):
            hidden, after = layer(hidden, keys, before, state.tokens)
            layers.append(after)
        tokens = state.tokens + hidden.shape[0]
        return self.output_proj(hidden), AudioState(tokens, tuple(layers))
