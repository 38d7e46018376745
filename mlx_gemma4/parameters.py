"""How many numbers a checkpoint holds, from its configuration alone (no MLX, nothing allocated).

The counts follow the published tensor list; doubled, they reproduce the published bf16 file sizes
(header bytes aside), which is how they are tested. The memory planner and ``info`` use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from mlx_gemma4.config import (
    AudioConfig,
    Gemma4Config,
    LayerSpec,
    TextConfig,
    UnifiedAudioConfig,
    UnifiedVisionConfig,
    VisionConfig,
)

_MEL_BINS = 128
_CONV_TAPS = 9  # the two subsampling convolutions are 3 × 3
_CLIP_SCALARS = 4  # input_min, input_max, output_min, output_max beside a clipped linear


@dataclass(frozen=True)
class Parameters:
    """Counts of stored numbers by role."""

    embedding: int = 0
    per_layer_table: int = 0
    per_layer_projections: int = 0
    attention: int = 0
    mlp: int = 0
    router: int = 0
    experts: int = 0
    norms: int = 0
    vision: int = 0
    audio: int = 0
    projectors: int = 0

    @property
    def total(self) -> int:
        """All stored numbers."""
        return sum(getattr(self, f.name) for f in fields(self))

    @property
    def text(self) -> int:
        """The decoder's numbers, embeddings included."""
        return self.total - self.vision - self.audio - self.projectors


def count_parameters(config: Gemma4Config) -> Parameters:
    """Count every tensor of a checkpoint with this configuration.

    The keys and values that early E2B and E4B files carry for KV-shared layers are not counted
    (:func:`dead_shared_kv` gives them): they are never loaded.
    """
    text = config.text
    width, layers = text.hidden_size, text.layers
    return Parameters(
        embedding=text.vocab_size * width * (1 if config.tie_word_embeddings else 2),
        per_layer_table=text.vocab_size_per_layer_input
        * text.num_hidden_layers
        * text.hidden_size_per_layer_input,
        per_layer_projections=_per_layer_projections(text),
        attention=sum(_attention(text, layer) for layer in layers),
        mlp=sum(3 * width * layer.intermediate_size for layer in layers),
        router=sum(_router(text) for _ in layers),
        experts=sum(
            3 * text.num_experts * text.moe_intermediate_size * width
            for _ in layers
            if text.enable_moe_block
        ),
        norms=_norms(text),
        vision=_vision(config.vision, text),
        audio=_audio(config.audio),
        projectors=sum(_projectors(config)),
    )


def active_parameters(config: Gemma4Config) -> int:
    """Numbers read per decoded token: all text weights but the PLE table and idle experts."""
    text, counted = config.text, count_parameters(config)
    experts = counted.experts
    if text.num_experts:
        experts = experts * text.top_k_experts // text.num_experts
    return counted.text - counted.per_layer_table - counted.experts + experts


def dead_shared_kv(text: TextConfig) -> int:
    """Numbers in k_proj, v_proj and k_norm that early files carry for KV-shared layers."""
    return sum(
        2 * layer.kv_heads * layer.head_dim * text.hidden_size + layer.head_dim
        for layer in text.layers
        if layer.donor is not None
    )


def kv_numbers_per_token(text: TextConfig) -> int:
    """Cached numbers per token in the full-attention layers (they grow with the context)."""
    return sum(2 * layer.kv_heads * layer.head_dim for layer in _cached(text, sliding=False))


def kv_numbers_in_windows(text: TextConfig) -> int:
    """Cached numbers in the sliding layers once their windows are full."""
    per_token = sum(2 * layer.kv_heads * layer.head_dim for layer in _cached(text, sliding=True))
    return per_token * text.sliding_window


def _cached(text: TextConfig, *, sliding: bool) -> Iterator[LayerSpec]:
    return (x for x in text.layers if x.donor is None and x.is_sliding == sliding)


def _attention(text: TextConfig, layer: LayerSpec) -> int:
    queries = text.num_attention_heads * layer.head_dim
    own_kv = 0
    if layer.donor is None:
        copies = 1 if layer.k_eq_v else 2
        own_kv = copies * layer.kv_heads * layer.head_dim * text.hidden_size + layer.head_dim
    return 2 * queries * text.hidden_size + layer.head_dim + own_kv


def _per_layer_projections(text: TextConfig) -> int:
    size, width = text.hidden_size_per_layer_input, text.hidden_size
    if not size:
        return 0
    per_layer = 2 * size * width + width
    return text.num_hidden_layers * (size * width + per_layer) + size


def _router(text: TextConfig) -> int:
    if not text.enable_moe_block:
        return 0
    return text.num_experts * text.hidden_size + text.hidden_size + text.num_experts


def _norms(text: TextConfig) -> int:
    per_layer = 4 + (3 if text.enable_moe_block else 0)
    return text.num_hidden_layers * (per_layer * text.hidden_size + 1) + text.hidden_size


def _vision(vision: VisionConfig | UnifiedVisionConfig | None, text: TextConfig) -> int:
    if vision is None:
        return 0
    if isinstance(vision, UnifiedVisionConfig):
        pixels, width = 3 * vision.model_patch_size**2, vision.mm_embed_dim
        norms = 2 * (pixels + width + width)
        return norms + (pixels + 1) * width + vision.mm_posemb_size * 2 * width
    width, heads = vision.hidden_size, vision.num_attention_heads * vision.head_dim
    kv = vision.num_key_value_heads * vision.head_dim
    linears = 2 * heads * width + 2 * kv * width + 3 * width * vision.intermediate_size
    clips = 7 * _CLIP_SCALARS if vision.use_clipped_linears else 0
    layer = linears + 4 * width + 2 * vision.head_dim + clips
    patches = 3 * vision.patch_size**2 * width + 2 * vision.position_embedding_size * width
    return patches + vision.num_hidden_layers * layer + (2 * width if vision.standardize else 0)


def _audio(audio: AudioConfig | UnifiedAudioConfig | None) -> int:
    if not isinstance(audio, AudioConfig):
        return 0
    width, (first, second) = audio.hidden_size, audio.subsampling_conv_channels
    subsample = _CONV_TAPS * first + first + _CONV_TAPS * first * second + second
    subsample += _MEL_BINS // 4 * second * width
    feed_forward = 2 * (2 * width + 8 * width * width)
    attention = 5 * width * width + width // audio.num_attention_heads
    convolution = 3 * width * width + (audio.conv_kernel_size + 2) * width
    clips = 10 * _CLIP_SCALARS if audio.use_clipped_linears else 0
    layer = feed_forward + attention + convolution + 3 * width + clips
    output = (width + 1) * audio.output_proj_dims
    return subsample + audio.num_hidden_layers * layer + output


def _projectors(config: Gemma4Config) -> Iterator[int]:
    width = config.text.hidden_size
    if isinstance(config.vision, UnifiedVisionConfig):
        yield config.vision.output_proj_dims * width
    elif config.vision is not None:
        yield config.vision.hidden_size * width
    if isinstance(config.audio, UnifiedAudioConfig):
        yield config.audio.audio_embed_dim * width
    elif config.audio is not None:
        yield config.audio.output_proj_dims * width
