"""Settings of the parts that see and hear; attribute names equal the published keys.

This module imports no MLX.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VisionConfig:
    """The picture tower of E2B, E4B, 26B and 31B."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 16
    num_attention_heads: int = 12
    num_key_value_heads: int = 12
    head_dim: int = 64
    patch_size: int = 16
    pooling_kernel_size: int = 3
    position_embedding_size: int = 10_240
    default_output_length: int = 280
    rope_theta: float = 100.0
    use_clipped_linears: bool = False
    standardize: bool = False
    rms_norm_eps: float = 1e-6


@dataclass(frozen=True)
class AudioConfig:
    """The sound tower (conformer) of E2B and E4B."""

    hidden_size: int = 1024
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    subsampling_conv_channels: tuple[int, int] = (128, 32)
    conv_kernel_size: int = 5
    residual_weight: float = 0.5
    attention_chunk_size: int = 12
    attention_context_left: int = 13
    attention_context_right: int = 0
    attention_logit_cap: float = 50.0
    attention_invalid_logits_value: float = -1e9
    use_clipped_linears: bool = True
    gradient_clipping: float = 1e10
    output_proj_dims: int = 1536
    rms_norm_eps: float = 1e-6


@dataclass(frozen=True)
class UnifiedVisionConfig:
    """The encoder-free picture embedder of the 12B."""

    patch_size: int = 16
    pooling_kernel_size: int = 3
    mm_embed_dim: int = 3840
    mm_posemb_size: int = 1120
    num_soft_tokens: int = 280
    output_proj_dims: int = 3840
    rms_norm_eps: float = 1e-6

    @property
    def model_patch_size(self) -> int:
        """Side of one model patch in pixels (48)."""
        return self.patch_size * self.pooling_kernel_size


@dataclass(frozen=True)
class UnifiedAudioConfig:
    """The encoder-free sound input of the 12B: raw frames of ``audio_embed_dim`` samples."""

    audio_embed_dim: int = 640
    rms_norm_eps: float = 1e-6
