"""Every kernel a published model uses, at that model's real shapes and types, in the harness."""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import pytest

from mlx_gemma4.bench.shapes import PACKING, random_model
from mlx_gemma4.config import FULL, SLIDING
from mlx_gemma4.fusion import PORTABLE
from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.cases import difference, in_float32, model_cases
from mlx_gemma4.published import ARCHITECTURES, published_config, published_json
from tests.kernels.harness.host import HostBackend, Library, RecordingBackend

# Their number only decides how far into the weights an index reaches; see the last test.
_EXPERTS = 12


def real_model(name: str):
    """Real widths, heads and layer kinds; one layer of each kind, a small vocabulary."""
    config = published_json(name)
    text = dict(config["text_config"])
    shares = bool(text["num_kv_shared_layers"])
    text["layer_types"] = [SLIDING, FULL] * (1 + shares)
    text["num_hidden_layers"] = len(text["layer_types"])
    text["num_kv_shared_layers"] = 2 * shares
    text |= {"vocab_size": 64, "vocab_size_per_layer_input": 64}
    if text["enable_moe_block"]:
        text["num_experts"] = _EXPERTS
    none = {"vision_config": None, "audio_config": None}
    return random_model(config | none | {"text_config": text}, mx.bfloat16, PACKING)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_real_shapes(name) -> None:
    cases = list(model_cases(real_model(name)))
    recording = RecordingBackend()
    for case in cases:
        case.call(partial(FUNCTIONS[case.field], recording))
    library = Library(recording.instances)
    for case in cases:
        host = HostBackend(library)
        got = case.call(partial(FUNCTIONS[case.field], host))
        assert host.ran, f"{case.field} {case.label} handed over to its reference"
        wanted = in_float32(case).call(getattr(PORTABLE, case.field))
        assert difference(case, got, wanted) <= 1, f"{case.field} {case.label}"
    fields = {case.field for case in cases}
    assert {"residual_norm", "head_norm_rope", "gate_up", "attend_wide"} <= fields


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_indices_fit_32_bits(name) -> None:
    """Bodies count in 32 bits; the longest array of numbers they index is the experts' in bf16."""
    text = published_config(name).text
    wide = max(spec.intermediate_size for spec in text.layers)
    assert 2 * wide * text.hidden_size < 2**32
    if text.enable_moe_block:
        assert text.num_experts * 2 * text.moe_intermediate_size * text.hidden_size < 2**32
    context = text.max_position_embeddings
    assert context * 2 * max(spec.kv_heads * spec.head_dim for spec in text.layers) < 2**32
