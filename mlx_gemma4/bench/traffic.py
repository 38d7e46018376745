"""Bytes a decode step must read: every weight once, and of the experts those that are hit.

With uniform routing a block of w tokens hits ``E (1 - (1 - k/E)^w)`` distinct experts of E. A
kernel that reads each hit expert once reads that many; MLX's gather, below 64 tokens, reads one
expert per token and choice, ``w k``. Weights are counted at 4.5 bits (4-bit groups of 64 with two
16-bit constants), per-layer tables by the one row that is read.
"""

from __future__ import annotations

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.tensors import checkpoint_tensors

WIDTHS = (1, 4, 8)
_BITS = 4.5


def distinct_experts(experts: int, chosen: int, width: int) -> float:
    """Experts that ``width`` tokens hit on average when each chooses ``chosen`` of ``experts``."""
    return experts * (1 - (1 - chosen / experts) ** width)


def weight_bytes(config: Gemma4Config, width: int = 1, *, read_once: bool = True) -> float:
    """Bytes of weights read by a step over ``width`` tokens, head included.

    Args:
        config: of the model; only its decoder is counted.
        width: tokens of the step.
        read_once: each hit expert once; otherwise once per token that chose it.
    """
    text = config.text
    dense = experts = 0
    for name, spec in checkpoint_tensors(config).items():
        if not name.startswith(("language_model.", "lm_head")) or len(spec.shape) < 2:
            continue
        if "embed_tokens_per_layer" in name:
            dense += spec.shape[-1] * width
        elif spec.role == "experts":
            experts += spec.size
        else:
            dense += spec.size
    if text.enable_moe_block:
        hit = distinct_experts(text.num_experts, text.top_k_experts, width)
        read = hit if read_once else width * text.top_k_experts
        dense += experts * read / text.num_experts
    return dense * _BITS / 8
