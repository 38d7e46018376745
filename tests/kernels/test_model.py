"""Whole models with every kernel switched on, run on the host: the same logits as without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mlx.core as mx
import pytest

from mlx_gemma4.bench.shapes import cast, random_model, tiny_json
from mlx_gemma4.config import FULL, SLIDING
from mlx_gemma4.fusion import PORTABLE
from mlx_gemma4.kernels import full_fusion
from mlx_gemma4.layers import Embedding, ExpertLinear, Linear, Quantization
from mlx_gemma4.model import Gemma4
from tests.kernels.harness.host import HostBackend, Library, RecordingBackend

# A prompt, single tokens, a block to verify, a block long enough for MLX's grouped gather.
WIDTHS = (9, 1, 1, 4, 1, 66, 60, 1)
BY_STEP = (9, 1, 1)


@dataclass(frozen=True)
class Kind:
    """A model, how its matrices are packed, its type, and kernels it must run."""

    name: str
    packing: Quantization | None
    kernels: frozenset[str]
    dtype: mx.Dtype = mx.float32


EXPERTS = frozenset({"route", "experts_tail", "experts_down", "runs_down", "head_norm_rope"})
DENSE = frozenset({"experts_gate_up", "residual_norm", "attend_part", "attend_join"})
EDGE = DENSE | {"per_layer_gate"}
KINDS = {
    "26b affine 4": Kind("26b", Quantization(32, 4), EXPERTS),
    "26b mxfp4": Kind("26b", Quantization(32, 4, "mxfp4"), EXPERTS),
    "e2b affine 8": Kind("e2b", Quantization(32, 8), EDGE),
    "e4b mxfp4": Kind("e4b", Quantization(32, 4, "mxfp4"), EDGE),
    "12b affine 4": Kind("12b", Quantization(64, 4), DENSE),
    "31b affine 8": Kind("31b", Quantization(64, 8), DENSE),
    "31b bf16": Kind("31b", None, DENSE, mx.bfloat16),
}
TOLERANCE = 1e-3


def build(kind: Kind) -> Gemma4:
    config = tiny_json(kind.name)
    text = dict(config["text_config"])
    text |= {"num_hidden_layers": 4, "layer_types": [SLIDING, FULL] * 2}
    text["num_kv_shared_layers"] = 2 if kind.name in ("e2b", "e4b") else 0
    if text["enable_moe_block"]:
        text["num_experts"] = 12
    model = random_model(config | {"text_config": text}, kind.dtype)
    for _, module in model.language_model.named_modules():
        if kind.packing and isinstance(module, Linear | ExpertLinear | Embedding):
            pack(module, kind.packing)
    return model


def pack(module: Linear | ExpertLinear | Embedding, packing: Quantization) -> None:
    how = {"group_size": packing.group_size, "bits": packing.bits, "mode": packing.mode}
    module.weight, module.scales, *biases = mx.quantize(module.weight, **how)
    module.quantization = packing
    if biases:
        module.biases = biases[0]


def logits(model: Gemma4, widths: Sequence[int] = WIDTHS) -> Iterator[mx.array]:
    """Of each pass in turn."""
    cache, text = model.make_cache(), model.language_model
    for start, width in enumerate(widths):
        ids = mx.array([[(7 * i + start) % 100 + 3 for i in range(width)]])
        hidden = text.embed(ids)
        hidden = text(hidden, text.per_layer_inputs(ids, hidden), cache)
        yield model.logits(hidden[:, -1:])


@contextmanager
def untraced() -> Iterator[None]:
    """What would be compiled runs as it is, so that kernels can run on the host."""
    mx.disable_compile()
    try:
        yield
    finally:
        mx.enable_compile()


@pytest.fixture(scope="module")
def models() -> dict[str, Gemma4]:
    return {label: build(kind) for label, kind in KINDS.items()}


@pytest.fixture(scope="module")
def library(models) -> Library:
    """The kernels of all models, compiled at once."""
    recording = RecordingBackend()
    for model in models.values():
        model.use(full_fusion(backend=recording))
        list(logits(model))
        model.language_model.replays = True
        with untraced():
            list(logits(model, BY_STEP))
        model.language_model.replays = False
    return Library(recording.instances)


@pytest.mark.parametrize("label", KINDS)
def test_full_equals_portable(models, library, label) -> None:
    model, kind, host = models[label], KINDS[label], HostBackend(library)
    model.use(full_fusion(backend=host))
    got = list(logits(model))
    model.use(PORTABLE)
    plain = list(logits(model))
    for kernel in kind.kernels:
        assert any(kernel in name for name in host.ran), kernel
    if kind.dtype == mx.float32:
        assert distance(got, plain) <= TOLERANCE
        return
    # The chains round after every operation and the kernels less often, so that neither is the
    # measure of the other: both are held against the same numbers in float32.
    cast(model, mx.float32)
    exact = list(logits(model))
    assert distance(got, exact) <= 1.5 * distance(plain, exact)


@pytest.mark.parametrize("label", ["26b affine 4", "e4b mxfp4", "31b affine 8"])
def test_a_step_as_one_function(models, library, label) -> None:
    model, host = models[label], HostBackend(library)
    model.use(PORTABLE)
    plain = list(logits(model, BY_STEP))
    model.use(full_fusion(backend=host))
    model.language_model.replays = True
    with untraced():
        assert distance(list(logits(model, BY_STEP)), plain) <= TOLERANCE
    model.language_model.replays = False
    assert any("attend_join" in name for name in host.ran)


def distance(ours: Sequence[mx.array], right: Sequence[mx.array]) -> float:
    """The largest difference in any pass, as a share of its largest number."""
    pairs = zip(ours, right, strict=True)
    return max(float(mx.abs(a - b).max() / mx.abs(b).max()) for a, b in pairs)
