"""Models of the published shapes with random weights, for measuring without a download."""

from __future__ import annotations

import tempfile
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_map

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config
from mlx_gemma4.errors import PromptError
from mlx_gemma4.layers import Embedding, ExpertLinear, Linear, Quantization
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.published import ARCHITECTURES, published_json
from mlx_gemma4.testing import random_checkpoint
from mlx_gemma4.testing import tiny_json as checkpoint_json

PACKING = Quantization(64, 4)
"""The packing most published 4-bit conversions use."""
SEED = 0

_TINY_WIDTH = 64
_TINY_VOCAB = 128
_STEP_OF_SCALE = 0.25  # a uniform 4-bit step of this much of width^-0.5 has unit gain


def shape_json(name: str, depth: int | None = None, *, towers: bool = False) -> dict[str, Any]:
    """``config.json`` of a published size with ``depth`` layers instead of all.

    A reduced depth keeps the share of KV-sharing layers and at least one full layer that has keys
    and values of its own.

    Args:
        name: a published size.
        depth: decoder layers; all of them if ``None``.
        towers: whether the model has its vision and audio parts.

    Raises:
        PromptError: an unknown size or a depth that size cannot have.
    """
    if name not in ARCHITECTURES:
        raise PromptError(f"There is no size {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    config = published_json(name)
    if not towers:
        config |= {"vision_config": None, "audio_config": None}
    text: dict[str, Any] = dict(config["text_config"])
    layers: int = text["num_hidden_layers"]
    if depth is not None and depth != layers:
        text |= _reduced(text, depth, layers)
    return config | {"text_config": text}


def _reduced(text: dict[str, Any], depth: int, layers: int) -> dict[str, Any]:
    if not 2 <= depth <= layers:
        raise PromptError(f"The depth must be between 2 and {layers} layers.")
    shared = min(round(depth * text.get("num_kv_shared_layers", 0) / layers), depth - 2)
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
    text: dict[str, Any] = dict(config["text_config"])
    text |= {"hidden_size": _TINY_WIDTH, "intermediate_size": _TINY_WIDTH}
    text |= {"vocab_size": _TINY_VOCAB, "vocab_size_per_layer_input": _TINY_VOCAB}
    for key in ("hidden_size_per_layer_input", "moe_intermediate_size"):
        if text.get(key):
            text[key] = _TINY_WIDTH
    return config | {"text_config": text}


def random_model(
    config_json: dict[str, Any],
    dtype: mx.Dtype = mx.float32,
    packing: Quantization | None = None,
    seed: int = SEED,
) -> Gemma4:
    """A model of this configuration with random matrices, evaluated; norms and bounds are neutral.

    But the norms of queries make dot products near one, as trained ones do: attention has no other
    scale, and were it nearly one-hot, the last bits of rounding would decide between tokens.

    Args:
        config_json: as in a checkpoint.
        dtype: of everything that is not packed.
        packing: packs the decoder's matrices and tables whose rows divide into groups; the words
            are drawn directly, so no dense copy is ever made.
        seed: of the numbers.
    """
    model = Gemma4(Gemma4Config.from_json(config_json))
    rng = np.random.default_rng(seed)
    for path, module in model.named_modules():
        packs = packing is not None and path.startswith("language_model")
        if packs and isinstance(module, Linear | ExpertLinear | Embedding):
            assert packing is not None
            if module.weight.shape[-1] % packing.group_size == 0:
                _pack(module, packing, rng, dtype)
        _fill_dense(module, rng)
        if path.endswith("q_norm"):
            module.weight = module.weight * module.weight.size**-0.5
    cast(model, dtype)
    model.language_model.set_table_dtype(dtype)
    model.eval()
    return model


def _pack(
    module: Linear | ExpertLinear | Embedding,
    packing: Quantization,
    rng: np.random.Generator,
    dtype: mx.Dtype,
) -> None:
    *rows, width = module.weight.shape
    words = rng.integers(0, 1 << 32, (*rows, width * packing.bits // 32), dtype=np.uint32)
    step = _STEP_OF_SCALE * width**-0.5
    groups = (*rows, width // packing.group_size)
    module.weight = mx.array(words)
    module.scales = mx.full(groups, step, dtype=dtype)
    module.biases = mx.full(groups, -step * ((1 << packing.bits) - 1) / 2, dtype=dtype)
    module.quantization = packing


def _fill_dense(module: nn.Module, rng: np.random.Generator) -> None:
    """Draw this module's own dense matrices; vectors and scalars keep their neutral value."""
    for name, value in list(module.items()):
        dense = isinstance(value, mx.array) and mx.issubdtype(value.dtype, mx.floating)
        if dense and value.ndim >= 2 and name not in ("scales", "biases"):
            draws = rng.random(value.shape, dtype=np.float32)
            draws -= 0.5
            draws *= (12 / value.shape[-1]) ** 0.5
            module[name] = mx.array(draws)
            mx.eval(module[name])


def cast(model: Any, dtype: mx.Dtype) -> None:
    """Change all floating parameters of a module to ``dtype``."""
    model.update(
        tree_map(
            lambda a: a.astype(dtype) if mx.issubdtype(a.dtype, mx.floating) else a,
            model.parameters(),
        )
    )
    mx.eval(model.parameters())


def with_tokenizer(config_json: dict[str, Any]) -> tuple[dict[str, Any], Processor]:
    """The configuration with the token ids of a small tokenizer, and a processor for both."""
    small = checkpoint_json("e2b")
    ids = {k: v for k, v in small.items() if k.endswith(("_token_id", "_token_index"))}
    special = {k: small["text_config"][k] for k in ("pad_token_id", "bos_token_id", "eos_token_id")}
    text: dict[str, Any] = config_json["text_config"] | special
    config_json = config_json | ids | {"text_config": text}
    with tempfile.TemporaryDirectory() as folder:
        random_checkpoint(folder, "e2b")
        return config_json, Processor.from_path(folder, Gemma4Config.from_json(config_json))
