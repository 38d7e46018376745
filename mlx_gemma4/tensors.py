"""The tensors of every checkpoint, as data: name, shape and role, derived from the config alone.

Names are Google's published ones without the leading ``model.``; shapes are theirs too, with
convolutions in PyTorch order. Loading checks files against this table, ``convert`` and the test
checkpoints write from it, and sizes are computed from it without allocating anything. This module
imports no MLX.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Literal

from mlx_gemma4.config import (
    AudioConfig,
    Gemma4Config,
    LayerSpec,
    TextConfig,
    UnifiedAudioConfig,
    UnifiedVisionConfig,
    VisionConfig,
)

Role = Literal["norm", "matrix", "embedding", "experts", "conv", "bias", "scalar", "table"]
"""``matrix``, ``embedding`` and ``experts`` may be quantised; the other roles never are."""

QUANTISABLE: frozenset[Role] = frozenset(("matrix", "embedding", "experts"))
CLIP_BOUNDS = ("input_min", "input_max", "output_min", "output_max")


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a checkpoint."""

    shape: tuple[int, ...]
    role: Role
    optional: bool = False
    """Whether a file may leave it out (clip bounds: absent means unclipped)."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Table = Iterator[tuple[str, TensorSpec]]


def checkpoint_tensors(config: Gemma4Config) -> dict[str, TensorSpec]:
    """All tensors the model needs, by canonical name, in file order."""
    table = dict(_text(config.text))
    if isinstance(config.vision, UnifiedVisionConfig):
        table |= _unified_vision(config.vision)
        table |= _projector("embed_vision", config.vision.mm_embed_dim, config)
    elif isinstance(config.vision, VisionConfig):
        table |= _vision(config.vision)
        table |= _projector("embed_vision", config.vision.hidden_size, config)
    if isinstance(config.audio, UnifiedAudioConfig):
        table |= _projector("embed_audio", config.audio.audio_embed_dim, config)
    elif isinstance(config.audio, AudioConfig):
        table |= _audio(config.audio)
        table |= _projector("embed_audio", config.audio.output_proj_dims, config)
    if not config.tie_word_embeddings:
        shape = (config.text.vocab_size, config.text.hidden_size)
        table["lm_head.weight"] = TensorSpec(shape, "matrix")
    return table


def dead_tensors(text: TextConfig) -> dict[str, TensorSpec]:
    """Keys, values and key norms some files carry for layers that share another layer's."""
    dead: dict[str, TensorSpec] = {}
    for spec in text.layers[text.kv_shared_from :]:
        path = f"language_model.layers.{spec.index}.self_attn"
        dead |= _keys_values(path, spec, text.hidden_size)
    return dead


def parameter_count(config: Gemma4Config) -> int:
    """Number of parameters the model uses."""
    return sum(spec.size for spec in checkpoint_tensors(config).values())


def published_bytes(config: Gemma4Config) -> int:
    """Bytes of tensor data in Google's bf16 files, dead shared-layer tensors included."""
    dead = sum(spec.size for spec in dead_tensors(config.text).values())
    return 2 * (parameter_count(config) + dead)


def kv_bytes_per_token(text: TextConfig, itemsize: int = 2, bits: int | None = None) -> int:
    """Bytes the KV cache grows by per token past the sliding window (full layers only).

    With ``bits`` each number takes that many, and every 64 numbers a scale and a bias.
    """
    own = text.layers[: text.kv_shared_from]
    numbers = sum(2 * s.kv_heads * s.head_dim for s in own if not s.is_sliding)
    if bits is None:
        return numbers * itemsize
    return numbers * bits // 8 + numbers // 64 * 2 * itemsize


def sliding_kv_bytes(text: TextConfig, itemsize: int = 2) -> int:
    """Bytes of the sliding layers' KV cache once the window is full."""
    own = text.layers[: text.kv_shared_from]
    per_token = sum(2 * s.kv_heads * s.head_dim * itemsize for s in own if s.is_sliding)
    return per_token * text.sliding_window


def _matrix(name: str, rows: int, columns: int) -> tuple[str, TensorSpec]:
    return f"{name}.weight", TensorSpec((rows, columns), "matrix")


def _norm(name: str, dims: int) -> tuple[str, TensorSpec]:
    return f"{name}.weight", TensorSpec((dims,), "norm")


def _projector(name: str, dims: int, config: Gemma4Config) -> Table:
    yield _matrix(f"{name}.embedding_projection", config.text.hidden_size, dims)


def _text(text: TextConfig) -> Table:
    path, hidden = "language_model", text.hidden_size
    yield (
        f"{path}.embed_tokens.weight",
        TensorSpec((text.vocab_size, hidden), "embedding"),
    )
    if per_layer := text.hidden_size_per_layer_input:
        packed = per_layer * text.num_hidden_layers
        table = TensorSpec((text.vocab_size_per_layer_input, packed), "embedding")
        yield f"{path}.embed_tokens_per_layer.weight", table
        yield _matrix(f"{path}.per_layer_model_projection", packed, hidden)
        yield _norm(f"{path}.per_layer_projection_norm", per_layer)
    for spec in text.layers:
        yield from _decoder_layer(f"{path}.layers.{spec.index}", spec, text)
    yield _norm(f"{path}.norm", hidden)


def _decoder_layer(path: str, spec: LayerSpec, text: TextConfig) -> Table:
    hidden, width = text.hidden_size, text.num_attention_heads * spec.head_dim
    for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield _norm(f"{path}.{norm}_layernorm", hidden)
    yield f"{path}.layer_scalar", TensorSpec((1,), "scalar")
    yield _matrix(f"{path}.self_attn.q_proj", width, hidden)
    yield _norm(f"{path}.self_attn.q_norm", spec.head_dim)
    if spec.donor is None:
        yield from _keys_values(f"{path}.self_attn", spec, hidden)
    yield _matrix(f"{path}.self_attn.o_proj", hidden, width)
    yield _matrix(f"{path}.mlp.gate_proj", spec.intermediate_size, hidden)
    yield _matrix(f"{path}.mlp.up_proj", spec.intermediate_size, hidden)
    yield _matrix(f"{path}.mlp.down_proj", hidden, spec.intermediate_size)
    if per_layer := text.hidden_size_per_layer_input:
        yield _matrix(f"{path}.per_layer_input_gate", per_layer, hidden)
        yield _matrix(f"{path}.per_layer_projection", hidden, per_layer)
        yield _norm(f"{path}.post_per_layer_input_norm", hidden)
    if text.enable_moe_block:
        yield from _experts(path, text)


def _keys_values(path: str, spec: LayerSpec, hidden: int) -> Table:
    rows = spec.kv_heads * spec.head_dim
    yield _matrix(f"{path}.k_proj", rows, hidden)
    if not spec.k_eq_v:
        yield _matrix(f"{path}.v_proj", rows, hidden)
    yield _norm(f"{path}.k_norm", spec.head_dim)


def _experts(path: str, text: TextConfig) -> Table:
    hidden, count, wide = text.hidden_size, text.num_experts, text.moe_intermediate_size
    yield _matrix(f"{path}.router.proj", count, hidden)
    yield f"{path}.router.scale", TensorSpec((hidden,), "norm")
    yield f"{path}.router.per_expert_scale", TensorSpec((count,), "norm")
    yield f"{path}.experts.gate_up_proj", TensorSpec((count, 2 * wide, hidden), "experts")
    yield f"{path}.experts.down_proj", TensorSpec((count, hidden, wide), "experts")
    for norm in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
        yield _norm(f"{path}.{norm}", hidden)
    yield _norm(f"{path}.pre_feedforward_layernorm_2", hidden)


def _clipped(name: str, rows: int, columns: int, clipped: bool) -> Table:
    yield _matrix(f"{name}.linear", rows, columns)
    if clipped:
        for bound in CLIP_BOUNDS:
            yield f"{name}.{bound}", TensorSpec((), "scalar", optional=True)


def _vision(vision: VisionConfig) -> Table:
    path, hidden, clip = "vision_tower", vision.hidden_size, vision.use_clipped_linears
    heads = vision.num_attention_heads * vision.head_dim
    kv = vision.num_key_value_heads * vision.head_dim
    yield _matrix(f"{path}.patch_embedder.input_proj", hidden, 3 * vision.patch_size**2)
    positions = TensorSpec((2, vision.position_embedding_size, hidden), "table")
    yield f"{path}.patch_embedder.position_embedding_table", positions
    for i in range(vision.num_hidden_layers):
        layer = f"{path}.encoder.layers.{i}"
        for norm in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield _norm(f"{layer}.{norm}_layernorm", hidden)
        yield from _clipped(f"{layer}.self_attn.q_proj", heads, hidden, clip)
        yield from _clipped(f"{layer}.self_attn.k_proj", kv, hidden, clip)
        yield from _clipped(f"{layer}.self_attn.v_proj", kv, hidden, clip)
        yield from _clipped(f"{layer}.self_attn.o_proj", hidden, heads, clip)
        yield _norm(f"{layer}.self_attn.q_norm", vision.head_dim)
        yield _norm(f"{layer}.self_attn.k_norm", vision.head_dim)
        yield from _clipped(f"{layer}.mlp.gate_proj", vision.intermediate_size, hidden, clip)
        yield from _clipped(f"{layer}.mlp.up_proj", vision.intermediate_size, hidden, clip)
        yield from _clipped(f"{layer}.mlp.down_proj", hidden, vision.intermediate_size, clip)
    if vision.standardize:
        yield f"{path}.std_bias", TensorSpec((hidden,), "bias")
        yield f"{path}.std_scale", TensorSpec((hidden,), "norm")


def _unified_vision(vision: UnifiedVisionConfig) -> Table:
    path, dims, wide = "vision_embedder", vision.mm_embed_dim, 3 * vision.model_patch_size**2
    yield from _layer_norm(f"{path}.patch_ln1", wide)
    yield _matrix(f"{path}.patch_dense", dims, wide)
    yield f"{path}.patch_dense.bias", TensorSpec((dims,), "bias")
    yield from _layer_norm(f"{path}.patch_ln2", dims)
    yield f"{path}.pos_embedding", TensorSpec((vision.mm_posemb_size, 2, dims), "table")
    yield from _layer_norm(f"{path}.pos_norm", dims)


def _layer_norm(name: str, dims: int) -> Table:
    yield _norm(name, dims)
    yield f"{name}.bias", TensorSpec((dims,), "bias")


def _audio(audio: AudioConfig) -> Table:
    path, hidden, channels = "audio_tower", audio.hidden_size, audio.subsampling_conv_channels
    for i, (inputs, outputs) in enumerate(zip((1, channels[0]), channels, strict=True)):
        layer = f"{path}.subsample_conv_projection.layer{i}"
        yield f"{layer}.conv.weight", TensorSpec((outputs, inputs, 3, 3), "conv")
        yield _norm(f"{layer}.norm", outputs)
    bands = 128 // 4  # two stride-2 convolutions over 128 mel bands
    flat = bands * channels[1]
    yield _matrix(f"{path}.subsample_conv_projection.input_proj_linear", hidden, flat)
    for i in range(audio.num_hidden_layers):
        yield from _conformer_layer(f"{path}.layers.{i}", audio)
    yield _matrix(f"{path}.output_proj", audio.output_proj_dims, hidden)
    yield f"{path}.output_proj.bias", TensorSpec((audio.output_proj_dims,), "bias")


def _conformer_layer(path: str, audio: AudioConfig) -> Table:
    hidden, clip = audio.hidden_size, audio.use_clipped_linears
    for block in ("feed_forward1", "feed_forward2"):
        yield _norm(f"{path}.{block}.pre_layer_norm", hidden)
        yield _norm(f"{path}.{block}.post_layer_norm", hidden)
        yield from _clipped(f"{path}.{block}.ffw_layer_1", 4 * hidden, hidden, clip)
        yield from _clipped(f"{path}.{block}.ffw_layer_2", hidden, 4 * hidden, clip)
    for name in ("q_proj", "k_proj", "v_proj", "post"):
        yield from _clipped(f"{path}.self_attn.{name}", hidden, hidden, clip)
    yield _matrix(f"{path}.self_attn.relative_k_proj", hidden, hidden)
    head_dim = hidden // audio.num_attention_heads
    yield f"{path}.self_attn.per_dim_scale", TensorSpec((head_dim,), "bias")
    yield _norm(f"{path}.lconv1d.pre_layer_norm", hidden)
    yield from _clipped(f"{path}.lconv1d.linear_start", 2 * hidden, hidden, clip)
    kernel = TensorSpec((hidden, 1, audio.conv_kernel_size), "conv")
    yield f"{path}.lconv1d.depthwise_conv1d.weight", kernel
    yield _norm(f"{path}.lconv1d.conv_norm", hidden)
    yield from _clipped(f"{path}.lconv1d.linear_end", hidden, hidden, clip)
    for norm in ("norm_pre_attn", "norm_post_attn", "norm_out"):
        yield _norm(f"{path}.{norm}", hidden)
