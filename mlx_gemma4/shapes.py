"""The five published Gemma 4 sizes as ``config.json`` contents (no weights, no MLX).

Used wherever a size must be reasoned about without its files: the memory planner, ``bench --shape``
and the tests. Values: the published configurations (transformers 5.23 names).
"""

from __future__ import annotations

from typing import Any

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config
from mlx_gemma4.errors import ConfigError

SHAPES = ("e2b", "e4b", "12b", "26b", "31b")

_COMMON: dict[str, Any] = {
    "vocab_size": 262_144,
    "head_dim": 256,
    "global_head_dim": 512,
    "rms_norm_eps": 1e-6,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
    "rope_parameters": {
        FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
        SLIDING: {"rope_type": "default", "rope_theta": 1e4},
    },
}
_SMALL_EYES = {"use_clipped_linears": True}
_LARGE_EYES = {
    "hidden_size": 1152,
    "num_hidden_layers": 27,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "standardize": True,
}


def shape_json(name: str) -> dict[str, Any]:
    """The ``config.json`` contents of one size: ``e2b``, ``e4b``, ``12b``, ``26b`` or ``31b``.

    Raises:
        ConfigError: an unknown name.
    """
    builders = {"e2b": _e2b, "e4b": _e4b, "12b": _12b, "26b": _26b, "31b": _31b}
    if name not in builders:
        raise ConfigError(f"There is no Gemma 4 size {name!r}; choose one of {', '.join(SHAPES)}.")
    return builders[name]()


def shape_config(name: str) -> Gemma4Config:
    """The parsed configuration of one size (see :func:`shape_json`)."""
    return Gemma4Config.from_json(shape_json(name))


def _layer_types(count: int, period: int) -> list[str]:
    return [FULL if i % period == period - 1 else SLIDING for i in range(count)]


def _towers(text: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": _COMMON | text,
        **rest,
    }


def _e2b() -> dict[str, Any]:
    text = {
        "hidden_size": 1536,
        "num_hidden_layers": 35,
        "intermediate_size": 6144,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "layer_types": _layer_types(35, 5),
        "sliding_window": 512,
        "num_kv_shared_layers": 20,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 256,
        "max_position_embeddings": 131_072,
    }
    return _towers(text, vision_config=_SMALL_EYES, audio_config={"hidden_size": 1024})


def _e4b() -> dict[str, Any]:
    text = {
        "hidden_size": 2560,
        "num_hidden_layers": 42,
        "intermediate_size": 10_240,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "layer_types": _layer_types(42, 6),
        "sliding_window": 512,
        "num_kv_shared_layers": 18,
        "hidden_size_per_layer_input": 256,
        "max_position_embeddings": 131_072,
    }
    return _towers(text, vision_config=_SMALL_EYES, audio_config={"hidden_size": 1024})


def _large(**text: Any) -> dict[str, Any]:
    return {
        "attention_k_eq_v": True,
        "sliding_window": 1024,
        "hidden_size_per_layer_input": 0,
        "use_bidirectional_attention": "vision",
        "max_position_embeddings": 262_144,
        **text,
    }


def _12b() -> dict[str, Any]:
    text = _large(
        hidden_size=3840,
        num_hidden_layers=48,
        intermediate_size=15_360,
        num_attention_heads=16,
        num_key_value_heads=8,
        num_global_key_value_heads=1,
        layer_types=_layer_types(48, 6),
    )
    return {
        "model_type": "gemma4_unified",
        "architectures": ["Gemma4UnifiedForConditionalGeneration"],
        "text_config": _COMMON | text,
        "vision_config": {"mm_embed_dim": 3840, "output_proj_dims": 3840},
        "audio_config": {"audio_embed_dim": 640},
    }


def _26b() -> dict[str, Any]:
    text = _large(
        hidden_size=2816,
        num_hidden_layers=30,
        intermediate_size=2112,
        num_attention_heads=16,
        num_key_value_heads=8,
        num_global_key_value_heads=2,
        layer_types=_layer_types(30, 6),
        enable_moe_block=True,
        num_experts=128,
        top_k_experts=8,
        moe_intermediate_size=704,
    )
    return _towers(text, vision_config=_LARGE_EYES)


def _31b() -> dict[str, Any]:
    text = _large(
        hidden_size=5376,
        num_hidden_layers=60,
        intermediate_size=21_504,
        num_attention_heads=32,
        num_key_value_heads=16,
        num_global_key_value_heads=4,
        layer_types=_layer_types(60, 6),
    )
    return _towers(text, vision_config=_LARGE_EYES)
