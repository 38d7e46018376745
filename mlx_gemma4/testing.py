"""Tiny checkpoints for tests: real architecture, real file layout, random numbers in every tensor.

Shipped with the library so that an application can test against a model that loads in milliseconds.
Default initialisation would leave norms at one, clip bounds infinite and position tables constant,
and hide exactly the mistakes tests look for; here every tensor is randomised. The folders load with
:func:`mlx_gemma4.load` and with transformers alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config
from mlx_gemma4.published import ARCHITECTURES, published_json
from mlx_gemma4.tensors import TensorSpec, checkpoint_tensors

VOCAB_SIZE = 512
WINDOW = 16

SPECIAL_TOKENS = (
    *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
    *("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *('<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>"),
    *("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>"),
)
"""Special tokens of the tiny vocabulary; a token's place in the list is its id."""

_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "head_dim": 16,
    "global_head_dim": 32,
    "vocab_size": VOCAB_SIZE,
    "vocab_size_per_layer_input": VOCAB_SIZE,
    "sliding_window": WINDOW,
    "attention_bias": False,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
_PATTERNS = {"e2b": "ssfssfsf", "e4b": "ssfsfssf", "12b": "ssfssf", "26b": "ssfsf", "31b": "ssfsf"}
_TEXT_SIZES: dict[str, dict[str, Any]] = {
    "e2b": {"num_key_value_heads": 1, "num_kv_shared_layers": 4, "hidden_size_per_layer_input": 64},
    "e4b": {"num_key_value_heads": 2, "num_kv_shared_layers": 3, "hidden_size_per_layer_input": 64},
    "12b": {"num_key_value_heads": 2, "num_global_key_value_heads": 1},
    "26b": {
        "num_key_value_heads": 2,
        "num_global_key_value_heads": 1,
        "num_experts": 8,
        "top_k_experts": 2,
        "moe_intermediate_size": 32,
    },
    "31b": {"num_key_value_heads": 4, "num_global_key_value_heads": 2},
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "position_embedding_size": 4096,
}
_AUDIO: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "subsampling_conv_channels": [128, 4],
    "output_proj_dims": 48,
}


def tiny_json(arch: str) -> dict[str, Any]:
    """``config.json`` of a tiny model of one architecture (``e2b e4b 12b 26b 31b``)."""
    raw = published_json(arch)
    layers = [SLIDING if kind == "s" else FULL for kind in _PATTERNS[arch]]
    text = raw["text_config"] | _TEXT | _TEXT_SIZES[arch]
    text |= {"layer_types": layers, "num_hidden_layers": len(layers)}
    text["model_type"] = raw["model_type"] + "_text"
    raw |= {"text_config": text, "vocab_size": VOCAB_SIZE, "tie_word_embeddings": True}
    if raw["model_type"] == "gemma4_unified":
        raw["vision_config"] = {"mm_embed_dim": 64, "output_proj_dims": 64}
        raw["audio_config"] = {"audio_embed_dim": 640}
    else:
        raw["vision_config"] = raw["vision_config"] | _VISION
        raw["audio_config"] = _AUDIO if raw["audio_config"] is not None else None
    for part in ("vision", "audio"):
        if raw[f"{part}_config"] is not None:
            raw[f"{part}_config"]["model_type"] = f"{raw['model_type']}_{part}"
    return raw | _token_ids()


def tiny_config(arch: str) -> Gemma4Config:
    """Configuration of a tiny model of one architecture."""
    return Gemma4Config.from_json(tiny_json(arch), _generation_json())


def random_checkpoint(folder: str | Path, arch: str, seed: int = 0) -> Path:
    """Write a complete tiny checkpoint in Google's layout (float32) and return its folder.

    It holds ``config.json``, ``generation_config.json``, ``model.safetensors``, a byte-level
    tokenizer with all special tokens, and the processor's settings.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {arch!r}; one of {', '.join(ARCHITECTURES)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(arch)
    _write_json(folder / "config.json", tiny_json(arch))
    _write_json(folder / "generation_config.json", _generation_json())
    tensors = {f"model.{k}": mx.array(v) for k, v in random_tensors(config, seed).items()}
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "pt"})
    write_tokenizer(folder)
    _write_json(folder / "processor_config.json", _processor_json(config))
    return folder


def random_tensors(config: Gemma4Config, seed: int = 0) -> dict[str, np.ndarray]:
    """A random float32 value for every tensor of ``config``, by canonical name."""
    rng = np.random.default_rng(seed)
    table = checkpoint_tensors(config)
    return {name: _random(name, spec, rng).astype(np.float32) for name, spec in table.items()}


def tiny_tokenizer() -> Tokenizer:
    """A BPE tokenizer of Gemma's kind (spaces as ``▁``, byte fallback) with a tiny vocabulary."""
    letters = [chr(c) for c in range(33, 127)]
    pieces = [*SPECIAL_TOKENS, *(f"<0x{b:02X}>" for b in range(256)), "\n", "▁", *letters]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("i", "n"), ("a", "n"), ("\n", "\n")]
    pieces += [a + b for a, b in merges]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    bpe = models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>")
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁(?=$)^"), "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS]
    )
    return tokenizer


def write_tokenizer(folder: str | Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` of the tiny tokenizer."""
    folder = Path(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    named = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
        "video_token": "<|video|>",
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "Gemma4Processor",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
            "model_specific_special_tokens": named,
            "extra_special_tokens": named,
        },
    )


def _random(name: str, spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    """Values of a size that keeps activations near one, so that errors are visible."""
    if name.endswith(("input_min", "output_min")):
        return -rng.uniform(1.0, 3.0, spec.shape)
    if name.endswith(("input_max", "output_max")):
        return rng.uniform(1.0, 3.0, spec.shape)
    if name.endswith("q_norm.weight"):  # attention has no other scale: dot products near one
        return rng.uniform(0.5, 1.5, spec.shape) * spec.shape[-1] ** -0.5
    match spec.role:
        case "norm" | "scalar":
            return rng.uniform(0.5, 1.5, spec.shape)
        case "bias" | "table":
            return rng.normal(0.0, 0.3, spec.shape)
        case "conv":
            return rng.normal(0.0, np.prod(spec.shape[1:]) ** -0.5, spec.shape)
    return rng.normal(0.0, spec.shape[-1] ** -0.5, spec.shape)


def _token_ids() -> dict[str, int]:
    at = SPECIAL_TOKENS.index
    return {
        "boi_token_id": at("<|image>"),
        "eoi_token_id": at("<image|>"),
        "image_token_id": at("<|image|>"),
        "boa_token_id": at("<|audio>"),
        "eoa_token_index": at("<audio|>"),
        "audio_token_id": at("<|audio|>"),
        "video_token_id": at("<|video|>"),
    }


def _generation_json() -> dict[str, Any]:
    stops = [SPECIAL_TOKENS.index(t) for t in ("<eos>", "<turn|>", "<|tool_response>")]
    return {
        "bos_token_id": 2,
        "pad_token_id": 0,
        "eos_token_id": stops,
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 64,
        "top_p": 0.95,
    }


def _processor_json(config: Gemma4Config) -> dict[str, Any]:
    kind = "Gemma4Unified" if config.unified else "Gemma4"
    pictures = {
        "patch_size": 16,
        "max_soft_tokens": 280,
        "pooling_kernel_size": 3,
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "resample": 3,
        "image_processor_type": f"{kind}ImageProcessor",
    }
    video = {
        "max_soft_tokens": 70,
        "num_frames": 32,
        "do_sample_frames": True,
        "do_normalize": True,
    }
    raw: dict[str, Any] = {
        "processor_class": f"{kind}Processor",
        "image_seq_length": 280,
        "audio_seq_length": 750,
        "audio_ms_per_token": 40,
        "image_processor": pictures,
        "video_processor": pictures | video | {"video_processor_type": f"{kind}VideoProcessor"},
    }
    raw["feature_extractor"] = {
        "feature_extractor_type": f"{kind}AudioFeatureExtractor",
        "sampling_rate": 16_000,
    }
    del raw["video_processor"]["image_processor_type"]
    return raw


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
