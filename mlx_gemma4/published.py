"""Configurations of the five released sizes, for planning and benchmarks before any download.

Values: the published ``config.json`` files. This module imports no MLX.
"""

from __future__ import annotations

from typing import Any

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config

ARCHITECTURES = ("e2b", "e4b", "12b", "26b", "31b")

_COMMON_TEXT: dict[str, Any] = {
    "vocab_size": 262_144,
    "vocab_size_per_layer_input": 262_144,
    "head_dim": 256,
    "global_head_dim": 512,
    "num_global_key_value_heads": None,
    "num_kv_shared_layers": 0,
    "use_double_wide_mlp": False,
    "attention_k_eq_v": False,
    "enable_moe_block": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
    "final_logit_softcapping": 30.0,
    "rope_parameters": {
        SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
        FULL: {
            "rope_type": "proportional",
            "partial_rotary_factor": 0.25,
            "rope_theta": 1_000_000.0,
        },
    },
}
_EDGE_TEXT: dict[str, Any] = _COMMON_TEXT | {
    "num_attention_heads": 8,
    "sliding_window": 512,
    "hidden_size_per_layer_input": 256,
    "max_position_embeddings": 131_072,
}
_LARGE_TEXT: dict[str, Any] = _COMMON_TEXT | {
    "attention_k_eq_v": True,
    "sliding_window": 1024,
    "hidden_size_per_layer_input": 0,
    "use_bidirectional_attention": "vision",
    "max_position_embeddings": 262_144,
}
_EDGE_VISION: dict[str, Any] = {"use_clipped_linears": True}
_LARGE_VISION: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 72,
    "standardize": True,
}
_TEXT: dict[str, dict[str, Any]] = {
    "e2b": _EDGE_TEXT
    | {
        "hidden_size": 1536,
        "intermediate_size": 6144,
        "num_key_value_heads": 1,
        "num_hidden_layers": 35,
        "num_kv_shared_layers": 20,
        "use_double_wide_mlp": True,
    },
    "e4b": _EDGE_TEXT
    | {
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_key_value_heads": 2,
        "num_hidden_layers": 42,
        "num_kv_shared_layers": 18,
    },
    "12b": _LARGE_TEXT
    | {
        "hidden_size": 3840,
        "intermediate_size": 15_360,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 1,
        "num_hidden_layers": 48,
    },
    "26b": _LARGE_TEXT
    | {
        "hidden_size": 2816,
        "intermediate_size": 2112,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "num_global_key_value_heads": 2,
        "num_hidden_layers": 30,
        "enable_moe_block": True,
        "num_experts": 128,
        "top_k_experts": 8,
        "moe_intermediate_size": 704,
    },
    "31b": _LARGE_TEXT
    | {
        "hidden_size": 5376,
        "intermediate_size": 21_504,
        "num_attention_heads": 32,
        "num_key_value_heads": 16,
        "num_global_key_value_heads": 4,
        "num_hidden_layers": 60,
    },
}


def published_json(name: str) -> dict[str, Any]:
    """The ``config.json`` of one released size (one of ``ARCHITECTURES``) as a dictionary."""
    text = _TEXT[name]
    period = 5 if name == "e2b" else 6
    layers = range(1, text["num_hidden_layers"] + 1)
    text = text | {"layer_types": [FULL if i % period == 0 else SLIDING for i in layers]}
    unified = name == "12b"
    kind = "Gemma4Unified" if unified else "Gemma4"
    edge = name in ("e2b", "e4b")
    return {
        "architectures": [f"{kind}ForConditionalGeneration"],
        "model_type": "gemma4_unified" if unified else "gemma4",
        "text_config": text,
        "vision_config": {} if unified else _EDGE_VISION if edge else _LARGE_VISION,
        "audio_config": {} if unified or edge else None,
    }


def published_config(name: str) -> Gemma4Config:
    """The configuration of one released size (one of ``ARCHITECTURES``)."""
    return Gemma4Config.from_json(published_json(name))
