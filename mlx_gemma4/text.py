"""The language decoder: embeddings, per-layer inputs, decoder layers, final norm.

One pass computes each thing once: the attention plan, rotary offsets and per-layer inputs belong
to the step, not to a layer. When only the last position is wanted, every position but the last
stops right after the keys and values of the last layer that has its own (index M - 1): nothing
later reads them. On E2B that skips seven tenths of a prompt's work.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.attention import Attention
from mlx_gemma4.cache import KV, Cache, FullCache, SlidingCache
from mlx_gemma4.config import FULL, SLIDING, LayerSpec, TextConfig
from mlx_gemma4.layers import (
    Embedding,
    FusedLinear,
    Linear,
    RMSNorm,
    geglu,
    merge_per_layer,
    norm_residual,
)
from mlx_gemma4.masks import StepPlan, plan_last_row, plan_step
from mlx_gemma4.moe import Experts, Router
from mlx_gemma4.rope import Rope


class MLP(nn.Module):
    """``down(gelu(gate x) * up x)`` with gate and up as one matrix."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        parts = [("gate_proj", intermediate_size), ("up_proj", intermediate_size)]
        self.gate_up_proj = FusedLinear(hidden_size, parts)
        self.down_proj = Linear(intermediate_size, hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        """``x``: [..., hidden] -> [..., hidden]."""
        gate, up = mx.split(self.gate_up_proj(x), 2, axis=-1)
        return self.down_proj(geglu(gate, up))


class DecoderLayer(nn.Module):
    """Attention, MLP (with experts on the 26B), per-layer input gate, layer scalar."""

    def __init__(self, text: TextConfig, spec: LayerSpec, rope: Rope) -> None:
        super().__init__()
        hidden, eps = text.hidden_size, text.rms_norm_eps
        self.spec = spec
        self.self_attn = Attention(text, spec, rope)
        self.mlp = MLP(hidden, spec.intermediate_size)
        self.input_layernorm = RMSNorm(hidden, eps)
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.pre_feedforward_layernorm = RMSNorm(hidden, eps)
        self.post_feedforward_layernorm = RMSNorm(hidden, eps)
        self.layer_scalar = mx.ones((1,))
        self.has_experts = text.enable_moe_block
        if self.has_experts:
            self.router = Router(text)
            self.experts = Experts(text)
            self.post_feedforward_layernorm_1 = RMSNorm(hidden, eps)
            self.post_feedforward_layernorm_2 = RMSNorm(hidden, eps)
            self.pre_feedforward_layernorm_2 = RMSNorm(hidden, eps)
        if per_layer := text.hidden_size_per_layer_input:
            self.per_layer_input_gate = Linear(hidden, per_layer)
            self.per_layer_projection = Linear(per_layer, hidden)
            self.post_per_layer_input_norm = RMSNorm(hidden, eps)

    def __call__(
        self,
        x: mx.array,
        per_layer: mx.array | None,
        queries: StepPlan,
        cache: FullCache | SlidingCache | None = None,
        shared: KV | None = None,
    ) -> tuple[mx.array, KV]:
        """Run the layer for the last ``queries.rows`` rows of ``x`` [batch, time, hidden].

        ``per_layer`` is this layer's slice of the per-layer inputs [batch, time, dims].

        Returns:
            Hidden states [batch, queries.rows, hidden] and the keys and values attention used.
        """
        h, kv = self.self_attn(self.input_layernorm(x), queries, cache, shared)
        a = norm_residual(last_rows(x, queries.rows), h, self.post_attention_layernorm)
        norm, scalar = self.post_feedforward_layernorm, self.layer_scalar
        if per_layer is None:
            return norm_residual(a, self._feed_forward(a), norm, scalar), kv
        b = norm_residual(a, self._feed_forward(a), norm)
        return self._per_layer_gate(b, last_rows(per_layer, queries.rows)), kv

    def fill(self, x: mx.array, queries: StepPlan, cache: FullCache | SlidingCache | None) -> KV:
        """Only store the keys and values of ``x``; no output."""
        return self.self_attn.keys_values(self.input_layernorm(x), queries, cache)

    def _feed_forward(self, a: mx.array) -> mx.array:
        dense = self.mlp(self.pre_feedforward_layernorm(a))
        if not self.has_experts:
            return dense
        flat = a.reshape(-1, a.shape[-1])
        routed = self.experts(self.pre_feedforward_layernorm_2(flat), *self.router(flat))
        return norm_residual(
            self.post_feedforward_layernorm_1(dense),
            routed.reshape(a.shape),
            self.post_feedforward_layernorm_2,
        )

    def _per_layer_gate(self, b: mx.array, per_layer: mx.array) -> mx.array:
        gated = geglu(self.per_layer_input_gate(b), per_layer)
        projected = self.per_layer_projection(gated)
        return norm_residual(b, projected, self.post_per_layer_input_norm, self.layer_scalar)


class TextModel(nn.Module):
    """The decoder without towers and head."""

    def __init__(self, text: TextConfig) -> None:
        super().__init__()
        self.config = text
        self.embed_tokens = Embedding(text.vocab_size, text.hidden_size)
        if per_layer := text.hidden_size_per_layer_input:
            packed = per_layer * text.num_hidden_layers
            self.embed_tokens_per_layer = Embedding(text.vocab_size_per_layer_input, packed)
            self.per_layer_model_projection = Linear(text.hidden_size, packed)
            self.per_layer_projection_norm = RMSNorm(per_layer, text.rms_norm_eps)
        ropes = {
            (s.rope, s.head_dim): Rope(s.rope, s.head_dim) for s in text.layers
        }  # one per kind of layer
        self.layers = [DecoderLayer(text, s, ropes[s.rope, s.head_dim]) for s in text.layers]
        self.norm = RMSNorm(text.hidden_size, text.rms_norm_eps)

    @property
    def dtype(self) -> mx.Dtype:
        """Type of the hidden states."""
        return self.norm.weight.dtype

    def set_table_dtype(self, dtype: mx.Dtype) -> None:
        """Type of the rows that quantised tables yield; dense tables have their own."""
        self.embed_tokens.dtype = dtype
        if self.config.hidden_size_per_layer_input:
            self.embed_tokens_per_layer.dtype = dtype

    def embed(self, ids: mx.array) -> mx.array:
        """``ids`` [batch, time] -> scaled embeddings [batch, time, hidden].

        The factor sqrt(hidden) is rounded to the weights' type (MLX's weak typing does it), as in
        training. This is the one place where token rows are embedded.
        """
        return self.embed_tokens(ids) * self.config.hidden_size**0.5

    def per_layer_inputs(self, ids: mx.array, embeddings: mx.array) -> mx.array | None:
        """The second input of every layer: token identity plus context.

        Args:
            ids: [batch, time], with the pad id at soft-token positions.
            embeddings: scaled embeddings with soft tokens merged in [batch, time, hidden].

        Returns:
            [batch, time, layers, dims], or ``None`` for models without per-layer inputs.
        """
        dims = self.config.hidden_size_per_layer_input
        if not dims:
            return None
        shape = (*ids.shape, self.config.num_hidden_layers, dims)
        identity = self.embed_tokens_per_layer(ids).reshape(shape)
        context = self.per_layer_model_projection(embeddings) * self.config.hidden_size**-0.5
        context = self.per_layer_projection_norm(context.reshape(shape))
        return merge_per_layer(context, identity, dims**0.5)

    def __call__(
        self,
        hidden: mx.array,
        per_layer: mx.array | None = None,
        cache: Cache | None = None,
        *,
        blocks: np.ndarray | None = None,
        last_only: bool = False,
        start: int = 0,
    ) -> mx.array:
        """Run all layers.

        Args:
            hidden: merged embeddings [batch, time, hidden].
            per_layer: see :meth:`per_layer_inputs`.
            cache: earlier tokens; is extended by the new ones. ``None``: no history, nothing kept.
            blocks: picture block id per new token, int [time], 0 outside.
            last_only: return only the last position.
            start: absolute position of the first token when there is no cache.

        Returns:
            Hidden states after the final norm, [batch, time or 1, hidden].
        """
        plan, last = self._plans(hidden.shape[1], cache, blocks, start)
        cut = self.config.kv_shared_from - 1
        donated: dict[str, KV] = {}
        for spec, layer in zip(self.config.layers, self.layers, strict=True):
            if last_only and spec.index == cut:
                plan = last
            shared = None if spec.donor is None else donated[spec.kind]
            own = None if cache is None or spec.donor is not None else cache[spec.index]
            inputs = None if per_layer is None else per_layer[:, :, spec.index]
            hidden, kv = layer(hidden, inputs, plan, own, shared)
            donated[spec.kind] = kv
        return self.norm(hidden)

    def extend(
        self,
        hidden: mx.array,
        per_layer: mx.array | None,
        cache: Cache,
        *,
        blocks: np.ndarray | None = None,
    ) -> None:
        """Only fill the cache: a call whose result nobody reads, with the least work possible."""
        plan, _ = self._plans(hidden.shape[1], cache, blocks, 0)
        cut = self.config.kv_shared_from - 1
        for index in range(cut):
            inputs = None if per_layer is None else per_layer[:, :, index]
            hidden, _ = self.layers[index](hidden, inputs, plan, cache[index])
        self.layers[cut].fill(hidden, plan, cache[cut])

    def make_cache(self, start: int = 0, slack: int | None = None) -> Cache:
        """Empty caches for the layers below M.

        Args:
            start: absolute position of the first token.
            slack: tokens beyond the window that stay trimmable on sliding layers.
        """
        text = self.config
        more = {} if slack is None else {"slack": slack}
        return Cache(
            [
                SlidingCache(text.sliding_window, start, **more)
                if spec.is_sliding
                else FullCache(start)
                for spec in text.layers[: text.kv_shared_from]
            ]
        )

    def shared_kv(self, cache: Cache) -> dict[str, KV]:
        """Keys and values a drafter reads: those of the last own layer of each kind."""
        last = {kind: self.config.last_own_layer(kind) for kind in (SLIDING, FULL)}
        return {kind: cache[index].view() for kind, index in last.items() if index is not None}

    def _plans(
        self, rows: int, cache: Cache | None, blocks: Sequence[int] | np.ndarray | None, start: int
    ) -> tuple[StepPlan, StepPlan]:
        first = start if cache is None else cache.start
        offset = start if cache is None else cache.offset
        if cache is not None:
            cache.before_append(rows)
        ids = None if blocks is None else np.asarray(blocks)
        plan = plan_step(self.config, offset, rows, first=first, blocks=ids)
        return plan, plan_last_row(self.config, plan, first)


def last_rows(x: mx.array, rows: int) -> mx.array:
    """The last ``rows`` time steps of ``x`` [batch, time, ...]."""
    return x if x.shape[1] == rows else x[:, x.shape[1] - rows :]
