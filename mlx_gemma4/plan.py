"""Does a model fit this machine? Answered from headers and configurations, before anything loads.

Imports no MLX, so the app can show verdicts while no model is loaded. Sizes are bytes. Weights and
KV are exact (file headers, published shapes); activations are an upper estimate of what one prefill
chunk and one encoded picture hold at a time, see :func:`_prefill_bytes`.
"""

from __future__ import annotations

import json
import platform
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import psutil

from mlx_gemma4.config import AudioConfig, Gemma4Config, TextConfig, VisionConfig
from mlx_gemma4.errors import WeightsError
from mlx_gemma4.tensors import (
    QUANTISABLE,
    checkpoint_tensors,
    dead_tensors,
    kv_bytes_per_token,
    sliding_kv_bytes,
)

Verdict = Literal["fits", "tight", "wont"]

GIB = 1 << 30
IMAGE_BUDGETS = (70, 140, 280, 560, 1120)
MIN_CONTEXT = 4096
PREFILL_CHUNK = 1024
SCORE_BLOCK_BYTES = 256 << 20
"""Upper bound of one block of attention scores; longer contexts use smaller query blocks."""
RESERVE = 1 * GIB
"""Left to the window's process, the sound and camera buffers and the allocator's slack."""
COMFORT = 0.85
"""Up to this share of the limit a model "fits"; above it other apps feel it ("tight")."""
MAX_HEADER = 100 << 20

# Stored bits per weight, scales included (affine: 32 bits of scale and bias per 64 weights).
BITS_PER_WEIGHT: Mapping[str, float] = {
    "bf16": 16.0,
    "8bit": 8.5,
    "6bit": 6.5,
    "5bit": 5.5,
    "4bit": 4.5,
    "mxfp8": 8.25,
    "mxfp4": 4.25,
    "nvfp4": 4.5,
}
# Towers and the projection into the per-layer inputs lose too much when quantised (traps T8, T33).
_KEPT_PLAIN = ("vision_", "audio_", "embed_", "language_model.per_layer_model_projection")
_DTYPE_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1}


@dataclass(frozen=True)
class Machine:
    """What the verdict depends on. ``memory`` is all RAM, ``available`` what is free now."""

    chip: str
    memory: int
    available: int
    metal: bool

    @property
    def limit(self) -> int:
        """Bytes a model may hold: Metal's recommended working set (2/3 of RAM, 3/4 above 36 GB)."""
        share = 0.75 if self.memory > 36 * GIB else 2 / 3
        return int(self.memory * share)


@dataclass(frozen=True)
class Plan:
    """Bytes by purpose, the verdict, and what would make it fit (whole sentences)."""

    weights: int
    kv: int
    activations: int
    prefill_peak: int
    reserve: int
    limit: int
    verdict: Verdict
    advice: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """What must be there at the worst moment, reserve included."""
        return self.weights + self.kv + max(self.activations, self.prefill_peak) + self.reserve


def this_machine() -> Machine:
    """The machine this runs on."""
    memory = psutil.virtual_memory()
    metal = platform.system() == "Darwin" and platform.machine() == "arm64"
    return Machine(_chip_name(), memory.total, memory.available, metal)


def plan(
    source: Gemma4Config | Path | str,
    *,
    context: int = 8192,
    image_budget: int = 280,
    quant: str | None = None,
    kv_bits: int | None = None,
    machine: Machine | None = None,
) -> Plan:
    """Estimate the memory of a checkpoint folder or of a configuration at a quantisation.

    Args:
        source: a checkpoint folder (its file headers are read) or a configuration.
        context: tokens the conversation may grow to; cut to what the model allows.
        image_budget: soft tokens of the largest picture, one of :data:`IMAGE_BUDGETS`.
        quant: a key of :data:`BITS_PER_WEIGHT` for a configuration; ``None`` means ``bf16``.
            A folder is taken as stored.
        kv_bits: keep keys and values of full layers in 8 or 4 bits; ``None`` keeps them whole.
        machine: the machine to judge; the present one by default.

    Raises:
        ConfigError: no Gemma 4 configuration. WeightsError: unreadable weight files.
        ValueError: an unknown ``quant``.
    """
    machine = machine or this_machine()
    if isinstance(source, Gemma4Config):
        config, weights = source, _weights_of(source, quant or "bf16", machine)
    else:
        config = Gemma4Config.from_path(source)
        weights = _weights_in(Path(source), config, machine)
    first = _plan(config, weights, context, image_budget, machine, kv_bits)
    if first.verdict == "fits":
        return first
    stored = None if not isinstance(source, Gemma4Config) else quant or "bf16"
    advice = _advice(config, weights, context, image_budget, machine, stored, kv_bits)
    return replace(first, advice=tuple(advice))


def _plan(
    config: Gemma4Config,
    weights: int,
    context: int,
    image_budget: int,
    machine: Machine,
    kv_bits: int | None,
) -> Plan:
    text = config.text
    context = min(context, text.max_position_embeddings)
    item = 2 if machine.metal else 4
    kv = kv_bytes_per_token(text, item, kv_bits) * context + sliding_kv_bytes(text, item)
    decode = _decode_bytes(text, item)
    peak = max(_prefill_bytes(text, context, item), _encode_bytes(config, image_budget, item))
    rough = Plan(weights, kv, decode, peak, RESERVE, machine.limit, "fits")
    return replace(rough, verdict=_verdict(rough.total, machine.limit))


def _verdict(total: int, limit: int) -> Verdict:
    if total <= COMFORT * limit:
        return "fits"
    return "tight" if total <= limit else "wont"


def _advice(
    config: Gemma4Config,
    weights: int,
    context: int,
    image_budget: int,
    machine: Machine,
    quant: str | None,
    kv_bits: int | None,
) -> Iterator[str]:
    """What to change, the mildest change first; a machine size when nothing else helps."""

    def judged(
        w: int = weights,
        c: int = context,
        budget: int = image_budget,
        bits: int | None = kv_bits,
    ) -> Plan:
        return _plan(config, w, c, budget, machine, bits)

    found = False
    shorter = context
    while shorter // 2 >= MIN_CONTEXT:
        shorter //= 2
        if judged(c=shorter).verdict == "fits":
            yield f"A context of {shorter} tokens fits."
            found = True
            break
    for bits in (b for b in (8, 4) if kv_bits is None or b < kv_bits):
        if judged(bits=bits).verdict == "fits":
            yield f"Keys and values in {bits} bits fit."
            found = True
            break
    for budget in reversed([b for b in IMAGE_BUDGETS if b < image_budget]):
        if judged(budget=budget).verdict == "fits":
            yield f"Pictures of at most {budget} tokens fit."
            found = True
            break
    for smaller in ("8bit", "6bit", "4bit"):
        lighter = _weights_of(config, smaller, machine)
        if lighter < weights and smaller != quant and judged(w=lighter).verdict == "fits":
            yield f"The {smaller.replace('bit', '-bit')} version fits."
            found = True
            break
    if not found:
        needed = _smallest_machine(judged().total)
        yield f"It runs well on a Mac with {needed} GB of memory; a smaller model fits this one."


def _smallest_machine(total: int) -> int:
    for size in (8, 16, 24, 32, 36, 48, 64, 96, 128, 192, 256):
        if total <= COMFORT * Machine("", size * GIB, 0, True).limit:
            return size
    return 512


def _weights_of(config: Gemma4Config, quant: str, machine: Machine) -> int:
    """Bytes of all weights at a quantisation; towers, norms and PLE projections stay 16 bit.

    The router is kept at 8 bits, as published mixtures do (research: spec 7.3).
    """
    if quant not in BITS_PER_WEIGHT:
        raise ValueError(f"unknown quantisation {quant!r}; known: {', '.join(BITS_PER_WEIGHT)}")
    plain = 16 if machine.metal else 32
    bits = plain if quant == "bf16" else BITS_PER_WEIGHT[quant]
    total = 0.0
    for name, spec in checkpoint_tensors(config).items():
        if spec.role not in QUANTISABLE or name.startswith(_KEPT_PLAIN):
            total += spec.size * plain
        elif ".router." in name:
            total += spec.size * max(bits, BITS_PER_WEIGHT["8bit"])
        else:
            total += spec.size * bits
    return int(total / 8)


def _weights_in(folder: Path, config: Gemma4Config, machine: Machine) -> int:
    """Bytes the checkpoint's tensors take once loaded; floats double on a CPU-only backend."""
    total = 0
    dead = tuple(name.removesuffix("weight") for name in dead_tensors(config.text))
    for name, dtype, shape in tensor_headers(folder):
        if _canonical(name).startswith(dead):
            continue
        width = _DTYPE_BYTES.get(dtype, 4 if dtype in ("U32", "I32") else 8)
        widens = not machine.metal and dtype in ("BF16", "F16")
        total += prod(shape) * (4 if widens else width)
    return total


def _canonical(name: str) -> str:
    """Published names and both MLX conversions' names lead to the names of ``tensors``."""
    name = name.removeprefix("model.")
    return name.replace("language_model.model.", "language_model.", 1)


def tensor_headers(folder: Path) -> Iterator[tuple[str, str, list[int]]]:
    """Yield ``(name, dtype, shape)`` of every tensor in a folder's ``*.safetensors`` files.

    Raises:
        WeightsError: there is no such file, or its header cannot be read.
    """
    files = sorted(p for p in folder.glob("*.safetensors") if p.name != "adapters.safetensors")
    if not files:
        raise WeightsError(f"There are no *.safetensors files in {folder}; download it again.")
    for path in files:
        for name, entry in _header(path).items():
            if name != "__metadata__":
                yield name, entry["dtype"], entry["shape"]


def _header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file: 8 bytes of length, then that many bytes of JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER:
                raise ValueError("header too long")
            return json.loads(file.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise WeightsError(
            f"{path.name} is damaged ({error}); download the model again."
        ) from error


def _decode_bytes(text: TextConfig, item: int) -> int:
    """One decoded token: float32 logits with soft-cap and sampling copies, a few wide rows."""
    return 4 * 4 * text.vocab_size + 16 * item * text.hidden_size * text.num_hidden_layers


def _prefill_bytes(text: TextConfig, context: int, item: int) -> int:
    """One prefill chunk: residual copies, the widest MLP, one block of scores and its softmax."""
    rows = min(PREFILL_CHUNK, context)
    widest = max(layer.intermediate_size for layer in text.layers)
    if text.enable_moe_block:
        widest += text.top_k_experts * text.moe_intermediate_size
    per_layer = 2 * text.num_hidden_layers * text.hidden_size_per_layer_input
    streams = rows * (8 * text.hidden_size + 3 * widest + per_layer) * item
    queries = max(text.num_attention_heads * layer.head_dim for layer in text.layers)
    scores = min(SCORE_BLOCK_BYTES, 4 * text.num_attention_heads * rows * (context + rows))
    return streams + 3 * rows * queries * item + 2 * scores + 4 * text.vocab_size


def _encode_bytes(config: Gemma4Config, image_budget: int, item: int) -> int:
    """The larger of one picture through the vision tower and 30 s through the audio tower."""
    vision = audio = 0
    if isinstance(config.vision, VisionConfig):
        patches = 9 * image_budget
        heads = config.vision.num_attention_heads
        scores = min(SCORE_BLOCK_BYTES, 4 * heads * patches * patches)
        rows = 8 * config.vision.hidden_size + 3 * config.vision.intermediate_size
        vision = patches * (768 * 4 + rows * item) + 2 * scores
    if isinstance(config.audio, AudioConfig):
        # 3,000 mel frames pass two convolutions of 64 × 128 and 32 × 32 float32 values a frame.
        audio = 3000 * (64 * 128 // 2 + 32 * 32 // 4) * 4 + 750 * 16 * config.audio.hidden_size * 4
    return max(vision, audio)


def _chip_name() -> str:
    if platform.system() != "Darwin":
        return platform.processor() or platform.machine()
    try:
        asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=2).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return platform.machine()
