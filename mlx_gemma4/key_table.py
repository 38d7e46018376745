"""Tensor names of every known checkpoint layout, mapped to one canonical name.

Canonical names are those of :mod:`mlx_gemma4.tensors`: Google's, without the leading ``model.``.
Applying the mapping to its own result changes nothing. This module imports no MLX.

    Google        model.language_model.layers.0...   model.vision_tower...   model.embed_vision...
    text only     model.layers.0...
    mlx-vlm       language_model.model.layers.0...   vision_tower...         embed_vision...
    mlx-lm        the same text names, everything else left out
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mlx_gemma4.config import Gemma4Config, TextConfig

TOWERS = ("vision_tower", "vision_embedder", "embed_vision", "audio_tower", "embed_audio")
PLE_TABLE = "language_model.embed_tokens_per_layer"
"""The per-layer embedding table of E2B and E4B: half of a 4-bit E2B, read one row per token."""
_TEXT_HEADS = frozenset(
    (
        "embed_tokens",
        "embed_tokens_per_layer",
        "per_layer_model_projection",
        "per_layer_projection_norm",
        "layers",
        "norm",
    )
)
# transformers keeps the 12B patch embedder inside its projector module.
_PATCH_EMBEDDER = ("patch_ln1", "patch_ln2", "patch_dense", "pos_embedding", "pos_norm")
_BUFFERS = ("rotary_emb", "inv_freq", "inv_timescales", "embed_scale", "softcap")
_DEAD = re.compile(r"language_model\.layers\.(\d+)\.self_attn\.(k_proj|v_proj|k_norm)\.")


def canonical_name(name: str) -> str:
    """The canonical name of a tensor, whatever layout it comes from."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in ("model", "language_model"):
        parts = parts[1:]
    if parts[0] == "embed_vision" and len(parts) > 1 and parts[1] in _PATCH_EMBEDDER:
        parts[0] = "vision_embedder"
    if parts[0] in _TEXT_HEADS:
        parts = ["language_model", *parts]
    if "experts" in parts:
        parts = [part for part in parts if part != "switch_glu"]
        if parts[-1] in ("gate_up_proj", "down_proj"):
            parts.append("weight")
    return ".".join(parts)


def is_droppable(name: str, text: TextConfig, tied: bool) -> bool:
    """Whether a canonical tensor may be ignored: it carries nothing the model reads.

    That is: computed buffers, a copy of a tied output head, and the dead keys and values of layers
    that share another layer's.
    """
    if any(part in _BUFFERS for part in name.split(".")):
        return True
    if tied and name.startswith("lm_head."):
        return True
    dead = _DEAD.match(name)
    return dead is not None and int(dead[1]) >= text.kv_shared_from


def without_absent_towers(
    config: Gemma4Config, names: Iterable[str]
) -> tuple[Gemma4Config, list[str]]:
    """Cut the config down to the parts whose tensors are there, and say which are gone.

    Args:
        config: what ``config.json`` promises.
        names: canonical names of all tensors.
    """
    heads = {name.split(".", 1)[0] for name in names} & set(TOWERS)
    notices = []
    if config.vision is not None and not any("vision" in head for head in heads):
        config = replace(config, vision=None)
        notices.append("This checkpoint was converted without its vision part: no pictures.")
    if config.audio is not None and not any("audio" in head for head in heads):
        config = replace(config, audio=None)
        notices.append("This checkpoint was converted without its audio part: no sound.")
    return config, notices
