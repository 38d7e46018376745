"""Does a model fit this machine? Answered from headers and configurations, before anything loads.

Imports no MLX, so the app can show verdicts while no model is loaded. Sizes are bytes. Weights and
KV are exact (file headers, published shapes); activations are an upper estimate of what one prefill
chunk and one encoded picture hold at a time, see :func:`_prefill_bytes`.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from mlx_gemma4.config import AudioConfig, Gemma4Config, TextConfig, VisionConfig
from mlx_gemma4.file_headers import tensor_headers
from mlx_gemma4.key_table import PLE_TABLE, canonical_name
from mlx_gemma4.tensors import (
    QUANTISABLE,
    checkpoint_tensors,
    dead_tensors,
    kv_bytes_per_token,
    sliding_kv_bytes,
)

Verdict = Literal["fits", "tight", "wont"]
OnDisk = Literal["auto", "on", "off"]
"""Where the per-layer embedding table of E2B and E4B is kept: "auto" leaves it on disk when memory
would be tight with it."""

GIB = 1 << 30
KV_BITS = (8, 4)
"""What keys and values of full layers can be packed into."""
IMAGE_BUDGETS = (70, 140, 280, 560, 1120)
MIN_CONTEXT = 4096
PREFILL_CHUNK = 1024
SCORE_BLOCK_BYTES = 256 << 20
"""Upper bound of one block of attention scores; longer contexts use smaller query blocks."""
RESERVE = 1 * GIB
"""Left to the window's process, the sound and camera buffers and the allocator's slack."""
COMFORT = 0.85
"""Up to this share of the limit a model "fits"; above it other apps feel it ("tight")."""

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
_SMALLER = ("8bit", "6bit", "4bit")
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
    """Bytes by purpose, the verdict, and what would make it fit (whole sentences).

    ``weights`` are those in memory; ``on_disk`` is what stays in the file and is read by row.
    """

    weights: int
    kv: int
    activations: int
    prefill_peak: int
    reserve: int
    limit: int
    verdict: Verdict
    advice: tuple[str, ...] = ()
    on_disk: int = 0

    @property
    def total(self) -> int:
        """What must be there at the worst moment, reserve included."""
        return self.weights + self.kv + max(self.activations, self.prefill_peak) + self.reserve


class _Weights(NamedTuple):
    """Bytes of all weights, and of these the per-layer embedding table."""

    total: int
    table: int


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
    ple_on_disk: OnDisk = "off",
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
        ple_on_disk: where the per-layer embedding table is, see :data:`OnDisk`.
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
    on_disk = ple_on_disk == "on"
    request = _Request(config, weights, context, image_budget, machine, kv_bits, on_disk)
    first = request.judged()
    if first.verdict != "fits" and ple_on_disk == "auto" and weights.table:
        request = request._replace(on_disk=True)
        first = request.judged()
    if first.verdict == "fits":
        return first
    stored = None if not isinstance(source, Gemma4Config) else quant or "bf16"
    return replace(first, advice=tuple(_advice(request, stored)))


class _Request(NamedTuple):
    """What a plan is made for."""

    config: Gemma4Config
    weights: _Weights
    context: int
    image_budget: int
    machine: Machine
    kv_bits: int | None
    on_disk: bool

    def judged(self) -> Plan:
        """The plan, without advice."""
        text, machine = self.config.text, self.machine
        context = min(self.context, text.max_position_embeddings)
        item = 2 if machine.metal else 4
        kv = kv_bytes_per_token(text, item, self.kv_bits) * context + sliding_kv_bytes(text, item)
        decode = _decode_bytes(text, item)
        encode = _encode_bytes(self.config, self.image_budget, item)
        peak = max(_prefill_bytes(text, context, item), encode)
        table = self.weights.table if self.on_disk else 0
        held = self.weights.total - table
        rough = Plan(held, kv, decode, peak, RESERVE, machine.limit, "fits", on_disk=table)
        return replace(rough, verdict=_verdict(rough.total, machine.limit))


def _verdict(total: int, limit: int) -> Verdict:
    if total <= COMFORT * limit:
        return "fits"
    return "tight" if total <= limit else "wont"


def _advice(request: _Request, quant: str | None) -> Iterator[str]:
    """What to change, the mildest change of each kind; a machine size when nothing else helps."""
    found = False
    for changes in _changes(request, quant):
        fitting = (words for words, changed in changes if changed.judged().verdict == "fits")
        words = next(fitting, None)
        if words is not None:
            found = True
            yield words
    if not found:
        needed = _smallest_machine(request.judged().total)
        yield f"It runs well on a Mac with {needed} GB of memory; a smaller model fits this one."


def _changes(request: _Request, quant: str | None) -> Iterator[list[tuple[str, _Request]]]:
    """Kinds of change, the mildest first: what to say and what would be asked for then."""
    if request.weights.table and not request.on_disk:
        words = "With its per-layer table kept on disk it fits."
        yield [(words, request._replace(on_disk=True))]
    contexts = [request.context >> n for n in range(1, request.context.bit_length())]
    yield [
        (f"A context of {tokens} tokens fits.", request._replace(context=tokens))
        for tokens in contexts
        if tokens >= MIN_CONTEXT
    ]
    yield [
        (f"With a chat memory of {bits} bit precision it fits.", request._replace(kv_bits=bits))
        for bits in KV_BITS
        if request.kv_bits is None or bits < request.kv_bits
    ]
    yield [
        (f"Pictures of at most {budget} tokens fit.", request._replace(image_budget=budget))
        for budget in reversed(IMAGE_BUDGETS)
        if budget < request.image_budget
    ]
    smaller = [(q, _weights_of(request.config, q, request.machine)) for q in _SMALLER if q != quant]
    yield [
        (f"The {q.replace('bit', '-bit')} version fits.", request._replace(weights=weights))
        for q, weights in smaller
        if weights.total < request.weights.total
    ]


def _smallest_machine(total: int) -> int:
    for size in (8, 16, 24, 32, 36, 48, 64, 96, 128, 192, 256):
        if total <= COMFORT * Machine("", size * GIB, 0, True).limit:
            return size
    return 512


def _weights_of(config: Gemma4Config, quant: str, machine: Machine) -> _Weights:
    """Bytes of all weights at a quantisation; towers, norms and PLE projections stay 16 bit.

    The router is kept at 8 bits, as published mixtures do (research: spec 7.3).
    """
    if quant not in BITS_PER_WEIGHT:
        raise ValueError(f"unknown quantisation {quant!r}; known: {', '.join(BITS_PER_WEIGHT)}")
    plain = 16 if machine.metal else 32
    bits = plain if quant == "bf16" else BITS_PER_WEIGHT[quant]
    total = table = 0.0
    for name, spec in checkpoint_tensors(config).items():
        width = bits
        if spec.role not in QUANTISABLE or name.startswith(_KEPT_PLAIN):
            width = plain
        elif ".router." in name:
            width = max(bits, BITS_PER_WEIGHT["8bit"])
        total += spec.size * width
        table += spec.size * width * (name == f"{PLE_TABLE}.weight")
    return _Weights(int(total / 8), int(table / 8))


def _weights_in(folder: Path, config: Gemma4Config, machine: Machine) -> _Weights:
    """Bytes the checkpoint's tensors take once loaded; floats double on a CPU-only backend."""
    total = table = 0
    dead = tuple(name.removesuffix("weight") for name in dead_tensors(config.text))
    for name, dtype, shape in tensor_headers(folder):
        name = canonical_name(name)
        if name.startswith(dead):
            continue
        width = _DTYPE_BYTES.get(dtype, 4 if dtype in ("U32", "I32") else 8)
        widens = not machine.metal and dtype in ("BF16", "F16")
        size = prod(shape) * (4 if widens else width)
        total += size
        table += size * name.startswith(f"{PLE_TABLE}.")
    return _Weights(total, table)


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
