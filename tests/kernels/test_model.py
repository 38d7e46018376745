"""Whole models with every kernel switched on, run on the host: the same logits as without."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import pytest

from mlx_gemma4.bench.shapes import random_model, tiny_json
from mlx_gemma4.fusion import PORTABLE
from mlx_gemma4.kernels import full_fusion
from mlx_gemma4.layers import Quantization
from tests.kernels.harness.host import HostBackend, Library, RecordingBackend

# A prompt, single tokens, a block to verify, a block long enough for MLX's grouped gather.
WIDTHS = (9, 1, 1, 4, 1, 130, 1)
MODELS = {
    "26b": (6, 4, {"head_norm_rope", "route", "experts_tail", "experts_down", "runs_down"}),
    "e2b": (10, 8, {"per_layer_gate", "residual_norm", "attend_part"}),
    "31b": (6, 4, {"experts_gate_up", "head_norm_rope", "attend_join"}),
}


def build(name: str):
    depth, bits, _ = MODELS[name]
    config = tiny_json(name)
    text = dict(config["text_config"])
    text |= {"num_hidden_layers": depth, "layer_types": text["layer_types"][:depth]}
    text["num_kv_shared_layers"] = 4 if name == "e2b" else 0
    if text["enable_moe_block"]:
        text["num_experts"] = 12
    return random_model(config | {"text_config": text}, packing=Quantization(32, bits))


def logits(model) -> Iterator[mx.array]:
    """Of each pass in turn."""
    cache, text = model.make_cache(), model.language_model
    for start, width in enumerate(WIDTHS):
        ids = mx.array([[(7 * i + start) % 100 + 3 for i in range(width)]])
        hidden = text.embed(ids)
        hidden = text(hidden, text.per_layer_inputs(ids, hidden), cache)
        yield model.logits(hidden[:, -1:])


@pytest.mark.parametrize("name", MODELS)
def test_full_equals_portable(name) -> None:
    model = build(name)
    model.use(PORTABLE)
    wanted = list(logits(model))
    mx.eval(wanted)
    recording = RecordingBackend()
    model.use(full_fusion(backend=recording))
    list(logits(model))
    host = HostBackend(Library(recording.instances))
    model.use(full_fusion(backend=host))
    for width, got, right in zip(WIDTHS, logits(model), wanted, strict=True):
        assert mx.allclose(got, right, rtol=1e-3, atol=1e-3), f"after {width} tokens"
    for kernel in MODELS[name][2]:
        assert any(kernel in label for label in host.ran), kernel
