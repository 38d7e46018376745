"""The other engines on this library's arrays: mlx-lm and mlx-vlm, when they are installed.

Fused matrices are handed over as slices of their rows, so every engine reads the same memory; only
gate and up of stacked experts must be copied, because their rows are interleaved per expert.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from mlx_gemma4.bench.shapes import PACKING
from mlx_gemma4.layers import ExpertLinear, FusedLinear
from mlx_gemma4.model import Gemma4

OURS = "facet"
PEERS = ("mlx-lm", "mlx-vlm")
_MODULES = {"mlx-lm": "mlx_lm", "mlx-vlm": "mlx_vlm"}
_CHUNK = 2048  # the default of both


def available(engine: str) -> bool:
    """Whether an engine is installed here."""
    return engine == OURS or importlib.util.find_spec(_MODULES[engine]) is not None


def versions() -> dict[str, str]:
    """Versions of the peers that are installed."""
    return {peer: version(peer) for peer in PEERS if available(peer)}


def missing_note() -> list[str]:
    """One sentence per peer that cannot be measured."""
    return [
        f"{peer} is not installed here, so it was left out; `pip install {peer}` adds it."
        for peer in PEERS
        if not available(peer)
    ]


def shared_tensors(model: Gemma4) -> dict[str, mx.array]:
    """This model's arrays under the names and in the pieces that MLX conversions use."""
    modules = dict(model.named_modules())
    flat: Any = tree_flatten(model.parameters())
    tensors: dict[str, mx.array] = {}
    for name, array in flat:
        path, _, leaf = name.rpartition(".")
        module = modules.get(path)
        if isinstance(module, FusedLinear):
            tensors |= _parts(path, leaf, array, module)
        elif isinstance(module, ExpertLinear):
            tensors |= _expert_parts(path, leaf, array)
        else:
            tensors[name] = array
    mx.eval(list(tensors.values()))
    return tensors


def _parts(path: str, leaf: str, array: mx.array, module: FusedLinear) -> dict[str, mx.array]:
    parent = path.rpartition(".")[0]
    pieces, start = {}, 0
    for name, rows in zip(module.part_names, module.part_rows, strict=True):
        pieces[f"{parent}.{name}.{leaf}"] = array[start : start + rows]
        start += rows
    return pieces


def _expert_parts(path: str, leaf: str, array: mx.array) -> dict[str, mx.array]:
    parent, _, name = path.rpartition(".")
    if name != "gate_up_proj":
        return {f"{parent}.switch_glu.{name}.{leaf}": array}
    gate, up = mx.split(array, 2, axis=1)
    return {
        f"{parent}.switch_glu.gate_proj.{leaf}": mx.contiguous(gate),
        f"{parent}.switch_glu.up_proj.{leaf}": mx.contiguous(up),
    }


def bare_peer(engine: str, text: dict[str, Any]) -> Any:
    """A peer's text model of this configuration, with its own (unevaluated) weights."""
    if engine == "mlx-lm":
        from mlx_lm.models import gemma4_text  # pyright: ignore[reportMissingImports]

        return gemma4_text.Model(gemma4_text.ModelArgs.from_dict(text))
    from mlx_vlm.models.gemma4.config import TextConfig  # pyright: ignore[reportMissingImports]
    from mlx_vlm.models.gemma4.language import (  # pyright: ignore[reportMissingImports]
        LanguageModel,
    )

    return LanguageModel(TextConfig.from_dict(text))


def pack(model: nn.Module) -> None:
    """Give every matrix that can be packed its quantised module."""
    nn.quantize(
        model,
        group_size=PACKING.group_size,
        bits=PACKING.bits,
        class_predicate=lambda _path, module: _packable(module),
    )


def _packable(module: nn.Module) -> bool:
    if not hasattr(module, "to_quantized"):
        return False
    weight = getattr(module, "weight", None)
    return weight is None or weight.shape[-1] % PACKING.group_size == 0


def _own_stream(engine: str) -> Any:
    if engine == "mlx-lm":
        from mlx_lm.generate import generation_stream  # pyright: ignore[reportMissingImports]
    else:
        from mlx_vlm.generate.common import (  # pyright: ignore[reportMissingImports]
            generation_stream,
        )
    return generation_stream


class TextPeer:
    """A peer that reads text, on the arrays of one of our models.

    Args:
        engine: one of ``PEERS``, installed.
        text: the ``text_config`` of the model.
        tensors: from :func:`shared_tensors`.
    """

    def __init__(self, engine: str, text: dict[str, Any], tensors: dict[str, mx.array]) -> None:
        self.engine = engine
        self.model = bare_peer(engine, text)
        named = {
            "model." + name.removeprefix("language_model."): array
            for name, array in tensors.items()
            if name.startswith("language_model.")
        }
        if any(name.endswith(".scales") for name in named):
            pack(self.model)
        self.model.load_weights(list(named.items()), strict=True)
        self.model.eval()

    def make_cache(self) -> Any:
        """Empty caches."""
        return self.model.make_cache()

    def wait(self) -> None:
        """Until the pass it is ahead by has ended; each peer has a stream of its own."""
        mx.synchronize(_own_stream(self.engine))

    def tokens(self, prompt: np.ndarray, count: int, cache: Any) -> Iterator[int]:
        """Greedy decoding with the peer's own generation loop: ``count`` tokens."""
        for token, _ in self._steps(mx.array(prompt), count, cache):
            yield token if isinstance(token, int) else int(token.item())

    def _steps(self, ids: mx.array, count: int, cache: Any) -> Iterator[Any]:
        if self.engine == "mlx-lm":
            from mlx_lm.generate import generate_step  # pyright: ignore[reportMissingImports]

            return generate_step(ids, self.model, max_tokens=count, prompt_cache=cache)
        from mlx_vlm.generate.ar import (  # pyright: ignore[reportMissingImports]
            generate_step as vlm_step,
        )

        return vlm_step(
            ids[None],
            _TextOnly(self.model),
            None,
            None,
            max_tokens=count,
            prompt_cache=cache,
            prefill_step_size=_CHUNK,
        )


class _TextOnly(nn.Module):
    """What mlx-vlm's whole model does with a prompt without media."""

    def __init__(self, language_model: Any) -> None:
        super().__init__()
        self.language_model = language_model
        self.config = language_model.config

    def get_input_embeddings(self, ids: mx.array, *_: object, **__: object) -> Any:
        from mlx_vlm.models.base import (  # pyright: ignore[reportMissingImports]
            InputEmbeddingsFeatures,
        )

        inner = self.language_model.model
        per_layer = None
        if inner.hidden_size_per_layer_input:
            per_layer = inner.get_per_layer_inputs(ids)
        hidden = inner.embed_tokens(ids) * inner.embed_scale
        return InputEmbeddingsFeatures(inputs_embeds=hidden, per_layer_inputs=per_layer)


def cache_bytes(cache: Any) -> int:
    """Bytes of a peer's KV caches."""
    held = (getattr(layer, part, None) for layer in cache for part in ("keys", "values"))
    return sum(array.nbytes for array in held if isinstance(array, mx.array))
