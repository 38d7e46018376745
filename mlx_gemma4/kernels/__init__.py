"""Own GPU kernels: drop-in replacements of the portable functions in :mod:`mlx_gemma4.fusion`.

Every function here takes what its reference takes, gives what it gives, and hands over to it for
shapes, types or packings no kernel was written for. Which of them a machine uses is decided by
:mod:`mlx_gemma4.kernels.check`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from functools import partial
from types import MappingProxyType
from typing import Any

from mlx_gemma4.fusion import PORTABLE, Fusion, FusionMode
from mlx_gemma4.kernels import attention, chains, experts
from mlx_gemma4.kernels.backends import Backend, own_backend

__all__ = ["FUNCTIONS", "full_fusion"]

FUNCTIONS: MappingProxyType[str, Callable[..., Any]] = MappingProxyType(
    {
        "run_experts": experts.run_experts,
        "route": experts.route,
        "residual_norm": chains.residual_norm,
        "experts_tail": chains.experts_tail,
        "head_norm_rope": chains.head_norm_rope,
        "gate_up": chains.gate_up,
        "per_layer_gate": chains.per_layer_gate,
        "attend_wide": attention.attend_wide,
    }
)
"""By the field of :class:`~mlx_gemma4.fusion.Fusion` each replaces; the backend comes first."""


def full_fusion(accepted: Collection[str] | None = None, backend: Backend | None = None) -> Fusion:
    """The fusion a model runs with own kernels.

    Args:
        accepted: fields to replace; all there are if ``None``.
        backend: where kernels run; MLX's device if ``None``.

    Returns:
        The portable fusion with those fields replaced, or as it is where there is no GPU.
    """
    backend = backend or own_backend()
    if backend is None:
        return PORTABLE
    known = {field.name for field in dataclasses.fields(Fusion)}
    chosen = {
        name: partial(function, backend)
        for name, function in FUNCTIONS.items()
        if name in known and (accepted is None or name in accepted)
    }
    return dataclasses.replace(PORTABLE, mode=FusionMode.FULL, **chosen)
