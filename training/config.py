"""Sizes of the demo checkpoint: a small Gemma 4 of E-series shape, 8.6 million parameters."""

from __future__ import annotations

from transformers.models.gemma4 import (
    Gemma4AudioConfig,
    Gemma4Config,
    Gemma4TextConfig,
    Gemma4VisionConfig,
)

from training.tokenizer import special, vocab_size

LABEL = "Demo (tiny)"
SEED = 20260402
VISION_WIDTH = 192
AUDIO_WIDTH = 160
TEXT_WIDTH = 192
GLOBAL_HEAD_DIM = 64


def text_config() -> Gemma4TextConfig:
    """Six layers, sliding and full attention, the last two reading the keys of earlier ones."""
    return Gemma4TextConfig(
        vocab_size=vocab_size(),
        vocab_size_per_layer_input=vocab_size(),
        hidden_size=TEXT_WIDTH,
        intermediate_size=576,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        global_head_dim=GLOBAL_HEAD_DIM,
        sliding_window=256,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
        hidden_size_per_layer_input=32,
        num_kv_shared_layers=2,
        max_position_embeddings=8192,
        final_logit_softcapping=30.0,
        pad_token_id=special("<pad>"),
        eos_token_id=special("<eos>"),
        bos_token_id=special("<bos>"),
        use_bidirectional_attention=None,
    )


def vision_config() -> Gemma4VisionConfig:
    """Four layers; the position table reaches the longest strip that 1120 soft tokens allow."""
    return Gemma4VisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=64,
        position_embedding_size=3360,
        pooling_kernel_size=3,
        use_clipped_linears=False,
    )


def audio_config() -> Gemma4AudioConfig:
    """Four conformer layers; the first convolution keeps 128 channels, as its shape demands."""
    return Gemma4AudioConfig(
        hidden_size=AUDIO_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=5,
        subsampling_conv_channels=[128, 16],
        output_proj_dims=AUDIO_WIDTH,
        use_clipped_linears=False,
    )


def model_config() -> Gemma4Config:
    """The whole checkpoint. Clipping of the linears is switched on at export, with real bounds."""
    return Gemma4Config(
        text_config=text_config(),
        vision_config=vision_config(),
        audio_config=audio_config(),
        image_token_id=special("<|image|>"),
        boi_token_id=special("<|image>"),
        eoi_token_id=special("<image|>"),
        audio_token_id=special("<|audio|>"),
        boa_token_id=special("<|audio>"),
        eoa_token_index=special("<audio|>"),
        video_token_id=special("<|video|>"),
    )
