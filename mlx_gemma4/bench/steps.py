"""One decode step of each engine as a lazily built graph, on the same shapes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx import nn

from mlx_gemma4.bench.graph import GraphCount, count_graph
from mlx_gemma4.bench.shapes import cast, random_model, tiny_json
from mlx_gemma4.layers import Embedding, ExpertLinear, Linear, Quantization
from mlx_gemma4.quantization import quantise

ENGINES = ("facet", "mlx-lm", "mlx-vlm")
_WARM_TOKENS = 40
_MODULES = {"mlx-lm": "mlx_lm", "mlx-vlm": "mlx_vlm"}

Forward = Callable[[mx.array, Any], mx.array]


def available(engine: str) -> bool:
    """Whether an engine is installed here."""
    return engine == "facet" or importlib.util.find_spec(_MODULES[engine]) is not None


def decode_count(engine: str, name: str, width: int = 1) -> GraphCount:
    """Count the graph of ``width`` new tokens (1: decoding) after a short prompt.

    Args:
        engine: one of ``ENGINES``.
        name: a published size; all layers, tiny widths, bfloat16, 4-bit weights.
        width: tokens of the step (a block to verify when more than one).
    """
    forward, cache, states = _ready(engine, tiny_json(name))
    for count in (_WARM_TOKENS, 1, 1, 1):  # buffers are grown before the counted step
        mx.eval(forward(mx.full((1, count), 5, dtype=mx.int32), cache), states(cache))
    tokens = mx.full((1, width), 5, dtype=mx.int32)
    return count_graph(lambda: [forward(tokens, cache), *states(cache)])


def _ready(
    engine: str, config: dict[str, Any]
) -> tuple[Forward, Any, Callable[[Any], list[mx.array]]]:
    if engine == "facet":
        return _facet(config)
    model, forward, cache = _peer(engine, config["text_config"])
    cast(model, mx.bfloat16)
    nn.quantize(model, group_size=64, bits=4, class_predicate=_quantisable)
    mx.eval(model.parameters())
    return forward, cache, _peer_states


def _peer_states(caches: Any) -> list[mx.array]:
    states = (state for cache in caches for state in cache.state)
    return [state for state in states if isinstance(state, mx.array)]


def _quantisable(_path: str, module: nn.Module) -> bool:
    if not hasattr(module, "to_quantized"):
        return False
    return not hasattr(module, "weight") or module.weight.shape[-1] % 64 == 0


def _facet(
    config: dict[str, Any],
) -> tuple[Forward, Any, Callable[[Any], list[mx.array]]]:
    model = random_model(config, mx.bfloat16)
    quantise_in_place(model, Quantization(64, 4))

    def forward(tokens: mx.array, cache: Any) -> mx.array:
        text = model.language_model
        hidden = text.embed(tokens)
        hidden = text(hidden, text.per_layer_inputs(tokens, hidden), cache)
        return model.logits(hidden[:, -1:])

    return forward, model.make_cache(), lambda cache: cache.arrays()


def quantise_in_place(model: nn.Module, how: Quantization) -> None:
    """Pack every matrix and table whose rows divide into groups."""
    for _, module in model.named_modules():
        if not isinstance(module, Linear | ExpertLinear | Embedding):
            continue
        if module.quantization is None and module.weight.shape[-1] % how.group_size == 0:
            packed = quantise(module.weight, how)
            module.weight, module.scales = packed.weight, packed.scales
            if packed.biases is not None:
                module.biases = packed.biases
            module.quantization = how
    mx.eval(model.parameters())


def _peer(engine: str, text: dict[str, Any]) -> tuple[Any, Forward, Any]:
    if engine == "mlx-lm":
        from mlx_lm.models import gemma4_text

        model = gemma4_text.Model(gemma4_text.ModelArgs.from_dict(text))
        return model, lambda tokens, cache: model(tokens, cache=cache), model.make_cache()
    from mlx_vlm.models.gemma4.config import TextConfig
    from mlx_vlm.models.gemma4.language import LanguageModel

    model = LanguageModel(TextConfig.from_dict(text))

    def forward(tokens: mx.array, cache: Any) -> mx.array:
        return model(tokens, cache=cache, logits_to_keep=1).logits

    return model, forward, model.make_cache()
