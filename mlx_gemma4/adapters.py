"""LoRA adapters in mlx-lm's format over this library's fused projections.

A folder holds ``adapter_config.json`` (``lora_parameters.scale``) and ``adapters.safetensors`` with
``<module>.lora_a`` and ``<module>.lora_b`` under the unfused module names. For a fused matrix the
low-rank factors of its parts lie side by side, ``b`` block-diagonally, which is exact:

    y = W x + scale * (x A) B        A: [in, ranks of all parts]   B: [ranks of all parts, out]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_unflatten

from mlx_gemma4.errors import WeightsError
from mlx_gemma4.key_table import canonical_name
from mlx_gemma4.layers import ExpertLinear, FusedLinear, Linear, SplitExperts, SplitLinear
from mlx_gemma4.model import Gemma4

_EXPERT_PARTS = ("gate_proj", "up_proj")


class Factors(NamedTuple):
    """``a`` [in, rank] and ``b`` [rank, out]; per expert [experts, in, rank], [.., rank, out]."""

    a: mx.array
    b: mx.array


class LoRALinear(nn.Module):
    """A linear map plus a low-rank update."""

    def __init__(self, linear: nn.Module, factors: Factors, scale: float) -> None:
        super().__init__()
        self.linear = linear
        self.lora_a = factors.a
        self.lora_b = factors.b
        self.scale = scale

    def __call__(self, x: mx.array) -> mx.array:
        """``x``: [..., in] -> [..., out]."""
        update = self.scale * ((x @ self.lora_a) @ self.lora_b)
        return self.linear(x) + update.astype(x.dtype)


class LoRAExperts(nn.Module):
    """One matrix per expert plus a low-rank update per expert."""

    def __init__(self, linear: nn.Module, factors: Factors, scale: float) -> None:
        super().__init__()
        self.linear = linear
        self.lora_a = factors.a
        self.lora_b = factors.b
        self.scale = scale

    def __call__(self, x: mx.array, experts: mx.array, ordered: bool = False) -> mx.array:
        """As :meth:`ExpertLinear.__call__`."""
        z = mx.gather_mm(x, self.lora_a, rhs_indices=experts, sorted_indices=ordered)
        z = mx.gather_mm(z, self.lora_b, rhs_indices=experts, sorted_indices=ordered)
        return self.linear(x, experts, ordered) + (self.scale * z).astype(x.dtype)


def apply_adapter(model: Gemma4, folder: str | Path) -> None:
    """Wrap the adapted modules of ``model`` in place.

    Raises:
        WeightsError: files are missing or damaged, the adapter is of another kind or for another
            model, or it adapts something that cannot be adapted.
    """
    folder = Path(folder)
    scale = _scale(folder / "adapter_config.json")
    factors = _read_factors(folder / "adapters.safetensors")
    replaced = []
    for path, module in list(model.named_modules()):
        wrapped = _wrap(path, module, factors, scale)
        if wrapped is not None:
            replaced.append((path, wrapped))
    if factors:
        raise WeightsError(
            f"The adapter changes {sorted(factors)[0]!r}, which this model does not have or cannot "
            "adapt; use an adapter trained on this checkpoint."
        )
    model.update_modules(tree_unflatten(replaced))
    mx.eval(model.parameters())


def _scale(path: Path) -> float:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        kind = raw.get("fine_tune_type", "lora")
        scale = float(raw["lora_parameters"]["scale"]) if kind == "lora" else 0.0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is missing or is no adapter configuration of mlx-lm ({error})."
        ) from error
    if kind != "lora":
        raise WeightsError(
            f"This adapter is of type {kind!r}; only LoRA adapters can be loaded, so fuse it into "
            "the model with mlx-lm first."
        )
    return scale


def _read_factors(path: Path) -> dict[str, Factors]:
    """Low-rank factors by canonical module path, experts transposed to [.., in, rank]."""
    try:
        tensors = mx.load(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is missing or damaged; save the adapter again.") from error
    assert isinstance(tensors, dict)
    halves: dict[str, dict[str, mx.array]] = {}
    for name, array in tensors.items():
        module, _, half = name.rpartition(".")
        halves.setdefault(_module_path(module), {})[half] = array
    factors = {}
    for module, pair in halves.items():
        if set(pair) != {"lora_a", "lora_b"}:
            raise WeightsError(
                f"{path} holds {', '.join(sorted(pair))} for {module!r}, not one pair of LoRA "
                "factors; save the adapter again."
            )
        a, b = pair["lora_a"], pair["lora_b"]
        if a.ndim == 3:
            a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
        factors[module] = Factors(a, b)
    return factors


def _module_path(name: str) -> str:
    return canonical_name(name + ".weight").removesuffix(".weight")


def _wrap(
    path: str, module: nn.Module, factors: dict[str, Factors], scale: float
) -> nn.Module | None:
    """The adapted module, or ``None``; used factors are removed from ``factors``."""
    parent = path.rpartition(".")[0]
    if isinstance(module, (FusedLinear, SplitLinear)):
        parts = dict(zip(module.part_names, module.part_rows, strict=True))
        merged = _merged(_taken(factors, parent, parts), parts, path)
        return None if merged is None else LoRALinear(module, merged, scale)
    if isinstance(module, (ExpertLinear, SplitExperts)):
        if path in factors:
            return LoRAExperts(module, factors.pop(path), scale)
        if not path.endswith("gate_up_proj"):
            return None
        rows = _expert_rows(module) // 2
        parts: dict[str, int] = dict.fromkeys(_EXPERT_PARTS, rows)
        merged = _merged(_taken(factors, parent, parts), parts, path)
        return None if merged is None else LoRAExperts(module, merged, scale)
    if isinstance(module, (Linear, nn.Linear)) and path in factors:
        merged = _merged({"": factors.pop(path)}, {"": module.weight.shape[0]}, path)
        assert merged is not None
        return LoRALinear(module, merged, scale)
    return None


def _expert_rows(module: ExpertLinear | SplitExperts) -> int:
    members = module.parts if isinstance(module, SplitExperts) else [module]
    return sum(member.weight.shape[1] for member in members)


def _taken(
    factors: dict[str, Factors], parent: str, parts: Mapping[str, Any]
) -> dict[str, Factors]:
    found = {name: f"{parent}.{name}" for name in parts if f"{parent}.{name}" in factors}
    return {name: factors.pop(path) for name, path in found.items()}


def _merged(found: Mapping[str, Factors], parts: Mapping[str, int], path: str) -> Factors | None:
    """Factors of some parts as factors of the whole; rows of other parts stay unchanged."""
    if not found:
        return None
    total = sum(parts.values())
    blocks, start = [], 0
    for name, rows in parts.items():
        if name in found:
            b = found[name].b
            if b.shape[-1] != rows:
                raise WeightsError(
                    f"The adapter's factors for {path}.{name} make {b.shape[-1]} outputs where "
                    f"this model has {rows}; use an adapter trained on this checkpoint."
                )
            padding = [(0, 0)] * (b.ndim - 1) + [(start, total - start - rows)]
            blocks.append(mx.pad(b, padding))
        start += rows
    a = mx.concatenate([found[name].a for name in parts if name in found], axis=-1)
    return Factors(a, mx.concatenate(blocks, axis=-2))
