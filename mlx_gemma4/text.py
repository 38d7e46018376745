"""The language decoder: embeddings, per-layer inputs, decoder layers, final norm.

One pass computes each thing once: the attention plan, rotary offsets and per-layer inputs belong
to the step, not to a layer. When only the last position is wanted, every position but the last
stops right after the keys and values of the last layer that has its own (index M - 1): nothing
later reads them. On E2B that skips seven tenths of a prompt's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.attention import Attention
from mlx_gemma4.cache import KV, Cache, RowStore, SlidingCache
from mlx_gemma4.compiled_step import CompiledSteps, replays_by_default
from mlx_gemma4.config import FULL, SLIDING, LayerSpec, TextConfig
from mlx_gemma4.disk_table import DiskTable
from mlx_gemma4.fusion import PORTABLE, Fusion
from mlx_gemma4.kv_packed import full_cache
from mlx_gemma4.layers import Embedding, FusedLinear, Linear, RMSNorm, merge_per_layer
from mlx_gemma4.masks import plan_last_row, plan_step
from mlx_gemma4.moe import Experts, Router
from mlx_gemma4.rope import Rope
from mlx_gemma4.step import Step


class Stream(NamedTuple):
    """The residual stream between two layers and, normed, what the second one reads."""

    residual: mx.array
    """[batch, time, hidden]"""
    normed: mx.array
    """[batch, time, hidden]"""


class MLP(nn.Module):
    """``down(gelu(gate x) * up x)`` with gate and up as one matrix."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        parts = [("gate_proj", intermediate_size), ("up_proj", intermediate_size)]
        self.gate_up_proj = FusedLinear(hidden_size, parts)
        self.down_proj = Linear(intermediate_size, hidden_size)

    def __call__(self, x: mx.array, fusion: Fusion) -> mx.array:
        """``x``: [..., hidden] -> [..., hidden]."""
        return self.down_proj(fusion.gate_up(x, self.gate_up_proj))


class DecoderLayer(nn.Module):
    """Attention, MLP (with experts on the 26B), per-layer input gate, layer scalar."""

    def __init__(self, text: TextConfig, spec: LayerSpec) -> None:
        super().__init__()
        hidden, eps = text.hidden_size, text.rms_norm_eps
        self.spec = spec
        self.eps = eps
        self.self_attn = Attention(text, spec)
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
        stream: Stream,
        per_layer: mx.array | None,
        step: Step,
        following: mx.array,
        cache: RowStore | None = None,
        shared: KV | None = None,
    ) -> tuple[Stream, KV]:
        """Run the layer for the last ``step.rows`` rows of ``stream``.

        Args:
            stream: residual and, normed for this layer, its input.
            per_layer: this layer's slice of the per-layer inputs [batch, time, dims].
            step: the pass.
            following: weight of the norm that reads this layer's output.
            cache: where keys and values go.
            shared: keys and values of the layer this one shares them with.

        Returns:
            The stream with ``step.rows`` rows, normed by ``following``, and the keys and values
            attention used.
        """
        h, kv = self.self_attn(stream.normed, step, cache, shared)
        residual = last_rows(stream.residual, step.rows)
        if self.has_experts:
            return self._dense_and_experts(residual, h, step, following), kv
        tail = step.fusion.residual_norm
        before, after = self.pre_feedforward_layernorm, self.post_feedforward_layernorm
        post = self.post_attention_layernorm.weight
        a, (normed,) = tail(residual, h, post, self.eps, None, (before.weight,))
        out = self.mlp(normed, step.fusion)
        if per_layer is None:
            x, (n,) = tail(a, out, after.weight, self.eps, self.layer_scalar, (following,))
            return Stream(x, n), kv
        b, _ = tail(a, out, after.weight, self.eps, None, ())
        inputs = last_rows(per_layer, step.rows)
        gated = step.fusion.per_layer_gate(b, self.per_layer_input_gate, inputs)
        out, post = self.per_layer_projection(gated), self.post_per_layer_input_norm.weight
        x, (n,) = tail(b, out, post, self.eps, self.layer_scalar, (following,))
        return Stream(x, n), kv

    def fill(self, stream: Stream, step: Step, cache: RowStore | None) -> KV:
        """Only store the keys and values of ``stream``; no output."""
        return self.self_attn.keys_values(stream.normed, step, cache)

    def _dense_and_experts(
        self, residual: mx.array, h: mx.array, step: Step, following: mx.array
    ) -> Stream:
        """The rest of a layer whose dense MLP and experts read the same residual."""
        fusion, router, experts = step.fusion, self.router, self.experts
        before = (
            self.pre_feedforward_layernorm.weight,
            self.pre_feedforward_layernorm_2.weight,
            router.scale,
        )
        post = self.post_attention_layernorm.weight
        a, normed = fusion.residual_norm(residual, h, post, self.eps, None, before)
        dense = self.mlp(normed[0], fusion)
        z, r = (rows.reshape(-1, rows.shape[-1]) for rows in normed[1:])
        scales = router.per_expert_scale
        chosen, weights = fusion.route(r, router.proj, scales, router.factor, router.top_k)
        routed = fusion.run_experts(z, chosen, weights, experts.gate_up_proj, experts.down_proj)
        after = (
            self.post_feedforward_layernorm_1.weight,
            self.post_feedforward_layernorm_2.weight,
            self.post_feedforward_layernorm.weight,
        )
        x, (n,) = fusion.experts_tail(
            a, dense, routed.reshape(a.shape), after, self.eps, self.layer_scalar, (following,)
        )
        return Stream(x, n)


class TextModel(nn.Module):
    """The decoder without towers and head."""

    def __init__(self, text: TextConfig, fusion: Fusion = PORTABLE) -> None:
        super().__init__()
        self.config = text
        self.fusion = fusion
        """How chains are computed; may be replaced between two passes."""
        self.replays = replays_by_default()
        """Whether decode steps run as one compiled function, where the cache allows it."""
        self.embed_tokens = Embedding(text.vocab_size, text.hidden_size)
        if per_layer := text.hidden_size_per_layer_input:
            packed = per_layer * text.num_hidden_layers
            table = Embedding(text.vocab_size_per_layer_input, packed)
            self.embed_tokens_per_layer: Embedding | DiskTable = table
            self.per_layer_model_projection = Linear(text.hidden_size, packed)
            self.per_layer_projection_norm = RMSNorm(per_layer, text.rms_norm_eps)
        self._ropes = {spec.kind: Rope(spec.rope, spec.head_dim) for spec in text.layers}
        self.layers = [DecoderLayer(text, spec) for spec in text.layers]
        self.norm = RMSNorm(text.hidden_size, text.rms_norm_eps)
        self._compiled = CompiledSteps(text, self, self._ropes, self._run)

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
        if cache is not None and hidden.shape[1] == 1 and self.replays:
            normed = self._compiled(hidden, per_layer, cache, self.fusion)
            if normed is not None:
                return normed
        step, last = self._steps(hidden.shape[1], cache, blocks, start)
        caches = () if cache is None else cache.layers
        if not last_only:
            return self._run(hidden, per_layer, caches, step)
        cut = self.config.kv_shared_from - 1
        return self._run(hidden, per_layer, caches, step, (cut, last))

    def _run(
        self,
        hidden: mx.array,
        per_layer: mx.array | None,
        caches: Sequence[RowStore],
        step: Step,
        narrowed: tuple[int, Step] | None = None,
    ) -> mx.array:
        """All layers and the final norm; ``narrowed``: from which layer on only which rows."""
        donated: dict[str, KV] = {}
        stream = self._enter(hidden)
        for spec, layer in zip(self.config.layers, self.layers, strict=True):
            if narrowed is not None and spec.index == narrowed[0]:
                step = narrowed[1]
            shared = None if spec.donor is None else donated[spec.kind]
            own = None if spec.donor is not None or not caches else caches[spec.index]
            inputs = None if per_layer is None else per_layer[:, :, spec.index]
            stream, kv = layer(stream, inputs, step, self._following(spec.index), own, shared)
            donated[spec.kind] = kv
            if narrowed is not None and spec.index == narrowed[0]:
                step = self._after(step)
        return stream.normed

    def forget_steps(self) -> None:
        """Trace compiled steps anew: a plain attribute of a module, or a module, has changed."""
        self._compiled.forget()

    def extend(
        self,
        hidden: mx.array,
        per_layer: mx.array | None,
        cache: Cache,
        *,
        blocks: np.ndarray | None = None,
    ) -> None:
        """Only fill the cache: a call whose result nobody reads, with the least work possible."""
        step, _ = self._steps(hidden.shape[1], cache, blocks, 0)
        cut = self.config.kv_shared_from - 1
        stream = self._enter(hidden)
        for index in range(cut):
            inputs = None if per_layer is None else per_layer[:, :, index]
            following = self._following(index)
            stream, _ = self.layers[index](stream, inputs, step, following, cache[index])
        self.layers[cut].fill(stream, step, cache[cut])

    def make_cache(
        self, start: int = 0, slack: int | None = None, *, kv_bits: int | None = None
    ) -> Cache:
        """Empty caches for the layers below M.

        Args:
            start: absolute position of the first token.
            slack: tokens beyond the window that stay trimmable on sliding layers.
            kv_bits: pack keys and values of full layers into 8 or 4 bits; ``None`` does not.

        Raises:
            PromptError: another number of bits.
        """
        text = self.config
        more = {} if slack is None else {"slack": slack}
        return Cache(
            [
                SlidingCache(text.sliding_window, start, **more)
                if spec.is_sliding
                else full_cache(start, kv_bits)
                for spec in text.layers[: text.kv_shared_from]
            ]
        )

    def shared_kv(self, cache: Cache) -> dict[str, KV]:
        """Keys and values a drafter reads: those of the last own layer of each kind."""
        last = {kind: self.config.last_own_layer(kind) for kind in (SLIDING, FULL)}
        return {kind: cache[index].view() for kind, index in last.items() if index is not None}

    def _enter(self, hidden: mx.array) -> Stream:
        return Stream(hidden, self.layers[0].input_layernorm(hidden))

    def _following(self, index: int) -> mx.array:
        """Weight of the norm after layer ``index``: the next layer's first, or the final one."""
        after = self.layers[index + 1 : index + 2]
        return after[0].input_layernorm.weight if after else self.norm.weight

    def _steps(
        self, rows: int, cache: Cache | None, blocks: Sequence[int] | np.ndarray | None, start: int
    ) -> tuple[Step, Step]:
        """A pass over ``rows`` new tokens, and the same with only the last one's output wanted."""
        first = start if cache is None else cache.start
        offset = start if cache is None else cache.offset
        if cache is not None:
            cache.before_append(rows)
        ids = None if blocks is None else np.asarray(blocks)
        plan = plan_step(self.config, offset, rows, first=first, blocks=ids)
        turns = {kind: rope.turns(offset, rows) for kind, rope in self._ropes.items()}
        last = plan_last_row(self.config, plan, first)
        return Step(plan, turns, self.fusion), Step(last, turns, self.fusion)

    @staticmethod
    def _after(last: Step) -> Step:
        """The pass of the layers that only the last row enters."""
        turns = {kind: turns.last(1) for kind, turns in last.turns.items()}
        return Step(last.plan, turns, last.fusion)


def last_rows(x: mx.array, rows: int) -> mx.array:
    """The last ``rows`` time steps of ``x`` [batch, time, ...]."""
    return x if x.shape[1] == rows else x[:, x.shape[1] - rows :]
