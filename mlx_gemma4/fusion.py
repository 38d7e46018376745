"""Which functions a model computes the chains between its matrix products with.

A model holds one :class:`Fusion` and hands it through each pass, so that there is no switch
anywhere else: ``OFF`` runs operation by operation, ``PORTABLE`` uses what MLX alone can fuse on any
backend, and ``FULL`` is ``PORTABLE`` with the own kernels that proved equal and faster here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import mlx.core as mx

from mlx_gemma4 import chains, moe, wide_attention


class FusionMode(StrEnum):
    """How far a model is fused."""

    OFF = "off"
    PORTABLE = "portable"
    FULL = "full"


@dataclass(frozen=True)
class Fusion:
    """One function per chain; each field's portable function documents arguments and result."""

    mode: FusionMode
    residual_norm: Callable[..., tuple[mx.array, tuple[mx.array, ...]]]
    """:func:`mlx_gemma4.chains.residual_norm`"""
    experts_tail: Callable[..., tuple[mx.array, tuple[mx.array, ...]]]
    """:func:`mlx_gemma4.chains.experts_tail`"""
    head_norm_rope: Callable[..., tuple[mx.array, mx.array | None]]
    """:func:`mlx_gemma4.chains.head_norm_rope`"""
    gate_up: Callable[[mx.array, Any], mx.array]
    """:func:`mlx_gemma4.chains.gate_up`"""
    per_layer_gate: Callable[[mx.array, Any, mx.array], mx.array]
    """:func:`mlx_gemma4.chains.per_layer_gate`"""
    route: Callable[..., tuple[mx.array, mx.array]]
    """:func:`mlx_gemma4.moe.route`"""
    run_experts: Callable[..., mx.array]
    """:func:`mlx_gemma4.moe.run_experts`"""
    attend_wide: Callable[..., mx.array]
    """:func:`mlx_gemma4.wide_attention.attend_wide`"""


OFF = Fusion(
    mode=FusionMode.OFF,
    residual_norm=chains.plain_residual_norm,
    experts_tail=chains.plain_experts_tail,
    head_norm_rope=chains.plain_head_norm_rope,
    gate_up=chains.plain_gate_up,
    per_layer_gate=chains.plain_per_layer_gate,
    route=moe.plain_route,
    run_experts=moe.plain_run_experts,
    attend_wide=wide_attention.plain_attend_wide,
)
PORTABLE = Fusion(
    mode=FusionMode.PORTABLE,
    residual_norm=chains.residual_norm,
    experts_tail=chains.experts_tail,
    head_norm_rope=chains.head_norm_rope,
    gate_up=chains.gate_up,
    per_layer_gate=chains.per_layer_gate,
    route=moe.route,
    run_experts=moe.run_experts,
    attend_wide=wide_attention.attend_wide,
)
