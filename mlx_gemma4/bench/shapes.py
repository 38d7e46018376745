"""Models of the published shapes with random weights, for measuring without a download."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config
from mlx_gemma4.errors import PromptError
from mlx_gemma4.model import Gemma4
from mlx_gemma4.published import ARCHITECTURES, published_json

_TINY_WIDTH = 64
_TINY_VOCAB = 128


def shape_json(name: str, depth: int | None = None) -> dict[str, Any]:
    """``config.json`` of a published size, text only, with ``depth`` layers instead of all.

    A reduced depth keeps the share of KV-sharing layers and at least one full layer that has keys
    and values of its own.

    Raises:
        PromptError: an unknown size or a depth that size cannot have.
    """
    if name not in ARCHITECTURES:
        raise PromptError(f"There is no size {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    config = published_json(name) | {"vision_config": None, "audio_config": None}
    text = dict(config["text_config"])
    layers = text["num_hidden_layers"]
    if depth is not None and depth != layers:
        text |= _reduced(text, depth, layers)
    return config | {"text_config": text}


def _reduced(text: dict[str, Any], depth: int, layers: int) -> dict[str, Any]:
    if not 2 <= depth <= layers:
        raise PromptError(f"The depth must be between 2 and {layers} layers.")
    shared = round(depth * text.get("num_kv_shared_layers", 0) / layers)
    kinds = list(text["layer_types"][:depth])
    kinds[-1] = FULL
    own = depth - shared
    if FULL not in kinds[:own]:
        kinds[own - 1] = FULL
    if SLIDING not in kinds[:own]:
        kinds[0] = SLIDING
    return {"num_hidden_layers": depth, "num_kv_shared_layers": shared, "layer_types": kinds}


def tiny_json(name: str) -> dict[str, Any]:
    """A published size with all its layers and heads but tiny widths: same graph, no memory."""
    config = shape_json(name)
    text = dict(config["text_config"])
    text |= {"hidden_size": _TINY_WIDTH, "intermediate_size": _TINY_WIDTH}
    text |= {"vocab_size": _TINY_VOCAB, "vocab_size_per_layer_input": _TINY_VOCAB}
    for key in ("hidden_size_per_layer_input", "moe_intermediate_size"):
        if text.get(key):
            text[key] = _TINY_WIDTH
    return config | {"text_config": text}


def random_model(config_json: dict[str, Any], dtype: mx.Dtype = mx.float32) -> Gemma4:
    """A model with random weights of this configuration, evaluated."""
    model = Gemma4(Gemma4Config.from_json(config_json))
    mx.random.seed(0)
    weights = [
        (name, _random(name, value).astype(dtype))
        for name, value in tree_flatten(model.parameters())
    ]
    model.update(tree_unflatten(weights))
    mx.eval(model.parameters())
    return model


def _random(name: str, value: mx.array) -> mx.array:
    if value.ndim < 2:
        return mx.ones(value.shape)
    scale = value.shape[-1] ** -0.5
    return mx.random.normal(value.shape) * scale


def cast(model: Any, dtype: mx.Dtype) -> None:
    """Change all floating parameters of a module to ``dtype``."""
    model.update(
        tree_map(
            lambda a: a.astype(dtype) if mx.issubdtype(a.dtype, mx.floating) else a,
            model.parameters(),
        )
    )
    mx.eval(model.parameters())
