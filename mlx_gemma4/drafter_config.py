"""What an assistant checkpoint is: the ``config.json`` of Gemma 4's multi-token drafters, as data.

An assistant is a small decoder without keys and values of its own: its layers read those of the
model it was made for. This module imports no MLX.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_gemma4.config import Gemma4Config, LayerSpec, TextConfig
from mlx_gemma4.errors import ConfigError
from mlx_gemma4.tensors import TensorSpec

ASSISTANT_TYPES = ("gemma4_assistant", "gemma4_unified_assistant")
_MOST_CENTROIDS = 1 << 20


@dataclass(frozen=True)
class AssistantConfig:
    """Configuration of an assistant.

    Attributes:
        text: its decoder; every layer takes keys and values from the model.
        backbone: hidden size of the model it was made for.
        centroids: groups of its vocabulary; 0 when all of it is scored.
        top_centroids: groups whose tokens are scored.
    """

    text: TextConfig
    backbone: int
    centroids: int = 0
    top_centroids: int = 0

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Layer settings, none with keys and values of its own."""
        return tuple(replace(spec, donor=spec.index) for spec in self.text.layers)

    @classmethod
    def from_path(cls, folder: str | Path) -> AssistantConfig:
        """Read ``config.json`` of an assistant checkpoint.

        Raises:
            ConfigError: missing, damaged, or no assistant of Gemma 4.
        """
        path = Path(folder) / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"There is no config.json in {folder}; download it again.") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read as JSON; download it again.") from error
        return cls.from_json(raw)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> AssistantConfig:
        """Build from the parsed file.

        Raises:
            ConfigError: no assistant, or values that contradict each other.
        """
        kind = raw.get("model_type") if isinstance(raw, dict) else None
        if kind not in ASSISTANT_TYPES:
            raise ConfigError(
                f"This checkpoint is of type {kind or 'unknown'!r}, not a Gemma 4 assistant; "
                "choose the assistant made for the model, or prompt lookup."
            )
        own = dict(raw.get("text_config") or {})
        # Zero shared layers stands for "all": no layer has keys and values of its own.
        own |= {"model_type": "gemma4_text", "num_kv_shared_layers": 0}
        own |= {"hidden_size_per_layer_input": 0, "enable_moe_block": False}
        own |= {"use_double_wide_mlp": False}
        text = Gemma4Config.from_json(own).text
        ordered = bool(raw.get("use_ordered_embeddings"))
        centroids = int(raw.get("num_centroids", 2048)) if ordered else 0
        top = int(raw.get("centroid_intermediate_top_k", 32)) if ordered else 0
        backbone = raw.get("backbone_hidden_size")
        fits = not ordered or (0 < top <= centroids <= _MOST_CENTROIDS)
        if not isinstance(backbone, int) or not fits or (ordered and text.vocab_size % centroids):
            raise ConfigError("This assistant's config.json contradicts itself; download it again.")
        return cls(text, backbone, centroids, top)


def assistant_tensors(config: AssistantConfig) -> dict[str, TensorSpec]:
    """All tensors of an assistant by canonical name: the published ones without ``model.``."""
    return dict(_tensors(config))


def _tensors(config: AssistantConfig) -> Iterator[tuple[str, TensorSpec]]:
    text, hidden = config.text, config.text.hidden_size
    yield "pre_projection.weight", TensorSpec((hidden, 2 * config.backbone), "matrix")
    yield "post_projection.weight", TensorSpec((config.backbone, hidden), "matrix")
    yield "embed_tokens.weight", TensorSpec((text.vocab_size, hidden), "embedding")
    if config.centroids:
        yield "centroids.weight", TensorSpec((config.centroids, hidden), "matrix")
    for spec in text.layers:
        path = f"layers.{spec.index}"
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield f"{path}.{norm}_layernorm.weight", TensorSpec((hidden,), "norm")
        width = text.num_attention_heads * spec.head_dim
        yield f"{path}.layer_scalar", TensorSpec((1,), "scalar")
        yield f"{path}.self_attn.q_proj.weight", TensorSpec((width, hidden), "matrix")
        yield f"{path}.self_attn.q_norm.weight", TensorSpec((spec.head_dim,), "norm")
        yield f"{path}.self_attn.o_proj.weight", TensorSpec((hidden, width), "matrix")
        wide = (spec.intermediate_size, hidden)
        yield f"{path}.mlp.gate_proj.weight", TensorSpec(wide, "matrix")
        yield f"{path}.mlp.up_proj.weight", TensorSpec(wide, "matrix")
        yield f"{path}.mlp.down_proj.weight", TensorSpec(wide[::-1], "matrix")
    yield "norm.weight", TensorSpec((hidden,), "norm")
