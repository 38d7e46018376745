"""What a model's own kernels are checked with: its matrices, its shapes, random activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from mlx_gemma4.layers import ExpertLinear, Linear
from mlx_gemma4.masks import Reach
from mlx_gemma4.model import Gemma4
from mlx_gemma4.rope import Rope
from mlx_gemma4.text import DecoderLayer

TOLERANCES = {mx.float32: 2.0**-14, mx.float16: 2.0**-10, mx.bfloat16: 2.0**-7}
"""Largest difference from the reference in float32, as a share of its largest number.

Float32: sums of up to 21,504 products in another order. 16-bit types: the kernels go on in float32
and round once on output, which is half a unit in the last place (2^-9 of a number in bfloat16,
2^-12 in float16), or twice where a norm reads that output; the rest is head-room for numbers that
cancel. The reference in the type itself is no measure: it rounds after every operation.
"""
BLOCK_TOKENS = 8
"""Width of the block that the experts' short-block kernels are checked at."""
KEYS = 512
"""Cache length that decode attention is checked at."""
_OFFSET = 1000
_SEED = 20


@dataclass(frozen=True)
class Case:
    """One call of one function of a :class:`~mlx_gemma4.fusion.Fusion`."""

    field: str
    label: str
    arguments: tuple[Any, ...]

    def call(self, function: Callable[..., Any]) -> list[mx.array]:
        """The arrays ``function`` makes of the arguments."""
        found: Any = tree_flatten(function(*self.arguments))
        return [array for _, array in found if isinstance(array, mx.array)]


def in_float32(case: Case) -> Case:
    """The same call with all 16-bit floats, those in layers too, as float32."""
    return Case(case.field, case.label, tuple(map(_widened, case.arguments)))


def _widened(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(map(_widened, argument))
    if isinstance(argument, mx.array):
        return argument.astype(mx.float32) if argument.dtype in TOLERANCES else argument
    if isinstance(argument, Linear | ExpertLinear):
        made = ExpertLinear(1, 1, 1) if isinstance(argument, ExpertLinear) else Linear(1, 1)
        for name in ("weight", "scales", "biases"):
            if name in argument:
                made[name] = _widened(argument[name])
        made.quantization = argument.quantization
        return made
    return argument


def difference(case: Case, got: list[mx.array], wanted: list[mx.array]) -> float:
    """The largest difference, as a share of the tolerance: at most 1 is equal.

    Args:
        case: what was called.
        got: what the kernel made of it.
        wanted: what the reference made of it :func:`in_float32`.

    A router may choose either of two experts with equal logits. What counts is that the logits
    chosen and the weights without the experts' own scale are the same numbers, so those are
    compared, sorted.
    """
    if len(got) != len(wanted):
        return float("inf")
    if case.field == "route":
        got, wanted = _by_size(case, got), _by_size(case, wanted)
    return max(
        (_share(a, b, case.arguments[0].dtype) for a, b in zip(got, wanted, strict=True)),
        default=0.0,
    )


def _share(got: mx.array, wanted: mx.array, dtype: mx.Dtype) -> float:
    if got.shape != wanted.shape:
        return float("inf")
    wanted = wanted.astype(mx.float32)
    limit = TOLERANCES[dtype] * mx.maximum(mx.abs(wanted).max(), 1e-30)
    share = np.array(mx.abs(got.astype(mx.float32) - wanted).max() / limit).item()
    return share if share == share else float("inf")


def _by_size(case: Case, chosen: list[mx.array]) -> list[mx.array]:
    """The logits chosen, by size, and the softmax weights in that order."""
    x, proj, per_expert_scale, _, _ = in_float32(case).arguments
    experts, weights = chosen
    logits = mx.take_along_axis(proj(x), experts, axis=-1)
    shares = weights / per_expert_scale[experts]
    return [mx.sort(logits, axis=-1), mx.sort(shares, axis=-1)]


def model_cases(model: Gemma4) -> Iterator[Case]:
    """Each distinct call that decoding with this model makes, once; blocks only of experts."""
    text = model.language_model
    random = _Random(text.config.hidden_size, text.dtype)
    seen: set[tuple[object, ...]] = set()
    for layer in text.layers:
        for case in _layer_cases(layer, text.config, random):
            key = (case.field, case.label, *map(signature, case.arguments))
            if key not in seen:
                seen.add(key)
                yield case


def signature(argument: Any) -> object:
    """What decides which code an argument leads to: shapes, types and packings, not numbers."""
    if isinstance(argument, mx.array):
        return argument.shape, argument.dtype
    if isinstance(argument, tuple):
        return tuple(map(signature, argument))
    if hasattr(argument, "weight"):
        weight = argument.weight
        return weight.shape, weight.dtype, getattr(argument, "quantization", None)
    return type(argument)


class _Random:
    """Activations; every call gives other numbers, every run the same."""

    def __init__(self, hidden: int, dtype: mx.Dtype) -> None:
        self.hidden = hidden
        self.dtype = dtype
        self._key = mx.random.key(_SEED)

    def __call__(self, *shape: int) -> mx.array:
        self._key, key = mx.random.split(self._key)
        return mx.random.normal(shape, key=key).astype(self.dtype)

    def row(self, tokens: int = 1) -> mx.array:
        """Hidden states [1, tokens, hidden]."""
        return self(1, tokens, self.hidden)


def _layer_cases(layer: DecoderLayer, text: Any, random: _Random) -> Iterator[Case]:
    yield from _attention_cases(layer, text, random)
    row, eps, scalar = random.row, layer.eps, layer.layer_scalar
    before = layer.pre_feedforward_layernorm.weight
    after = layer.post_feedforward_layernorm.weight
    post = layer.post_attention_layernorm.weight
    yield Case("gate_up", "dense MLP", (row(), layer.mlp.gate_up_proj))
    if layer.has_experts:
        yield from _expert_cases(layer, text, random)
        return
    yield Case("residual_norm", "after attention", (row(), row(), post, eps, None, (before,)))
    if text.hidden_size_per_layer_input:
        inputs = random(1, 1, text.hidden_size_per_layer_input)
        yield Case("per_layer_gate", "gate", (row(), layer.per_layer_input_gate, inputs))
        yield Case("residual_norm", "after MLP", (row(), row(), after, eps, None, ()))
        after = layer.post_per_layer_input_norm.weight
    yield Case("residual_norm", "end of layer", (row(), row(), after, eps, scalar, (before,)))


def _attention_cases(layer: DecoderLayer, text: Any, random: _Random) -> Iterator[Case]:
    attention, spec = layer.self_attn, layer.spec
    heads = attention.heads
    packed = random(1, 1, heads.packed, spec.head_dim)
    weight = attention.k_norm.weight if heads.groups else None
    turns = Rope(spec.rope, spec.head_dim).turns(_OFFSET, 1)
    label = f"head dim {spec.head_dim}"
    arguments = (packed, attention.q_norm.weight, weight, turns, heads, layer.eps)
    yield Case("head_norm_rope", label, arguments)
    if not spec.is_sliding:
        # Real queries and keys are normed, so their products are of the order of the head size's
        # root; so must these be, or softmax would put everything on one key.
        q = random(1, text.num_attention_heads, 1, spec.head_dim) * spec.head_dim**-0.25
        buffer = random(1, 2 * spec.kv_heads, KEYS + 64, spec.head_dim) * spec.head_dim**-0.25
        keys, values = mx.split(buffer, 2, axis=1)
        for count in (KEYS, 100):
            views = keys[:, :, :count], values[:, :, :count]
            yield Case("attend_wide", f"{label}, {count} keys", (q, *views, None))
        seen = mx.arange(keys.shape[2]) < KEYS
        bias = mx.where(seen, 0.0, -mx.inf).astype(random.dtype)[None]
        reach = Reach(mx.array([KEYS - 1], mx.int32), bias)
        yield Case("attend_wide", f"{label}, {KEYS} keys of a buffer", (q, keys, values, reach))


def _expert_cases(layer: DecoderLayer, text: Any, random: _Random) -> Iterator[Case]:
    row, router, experts = random.row, layer.router, layer.experts
    post = layer.post_attention_layernorm.weight
    norms = (
        layer.pre_feedforward_layernorm.weight,
        layer.pre_feedforward_layernorm_2.weight,
        router.scale,
    )
    yield Case("residual_norm", "after attention", (row(), row(), post, layer.eps, None, norms))
    after = (
        layer.post_feedforward_layernorm_1.weight,
        layer.post_feedforward_layernorm_2.weight,
        layer.post_feedforward_layernorm.weight,
    )
    tail = (row(), row(), row(), after, layer.eps, layer.layer_scalar, norms[:1])
    yield Case("experts_tail", "end of layer", tail)
    for tokens in (1, BLOCK_TOKENS):
        z = row(tokens)[0]
        scales, top = router.per_expert_scale, router.top_k
        yield Case("route", f"{tokens} tokens", (z, router.proj, scales, router.factor, top))
        chosen = mx.argsort(random(tokens, text.num_experts), axis=-1)[:, :top]
        weights = mx.softmax(random(tokens, top).astype(mx.float32), axis=-1)
        matrices = experts.gate_up_proj, experts.down_proj
        yield Case("run_experts", f"{tokens} tokens", (z, chosen, weights, *matrices))
