"""LoRA adapters as mlx-lm writes them, applied over the fused projections."""

import json

import mlx.core as mx
import numpy as np
import pytest
from core_checks import assert_close, logits_of, text_ids
from mlx.utils import tree_flatten, tree_map
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model as load_with_mlx_lm

from mlx_gemma4.adapters import LoRAExperts, LoRALinear, apply_adapter
from mlx_gemma4.convert import convert
from mlx_gemma4.errors import WeightsError
from mlx_gemma4.weights import load_model

IDS = text_ids(21)
ALL_KEYS = None
SOME_KEYS = ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"]


def write_adapter(source, folder, keys):
    """Train nothing, but give every factor a random value, and save as mlx-lm does."""
    model, _ = load_with_mlx_lm(source)
    model.freeze()
    parameters = {"rank": 4, "scale": 3.0, "dropout": 0.0}
    if keys:
        parameters["keys"] = keys
    linear_to_lora_layers(model, 3, dict(parameters))
    rng = np.random.default_rng(0)
    model.update(
        tree_map(
            lambda a: mx.array(rng.normal(0, 0.1, a.shape).astype(np.float32)),
            model.trainable_parameters(),
        )
    )
    folder.mkdir()
    weights = dict(tree_flatten(model.trainable_parameters()))
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    config = {"fine_tune_type": "lora", "num_layers": 3, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("keys", [ALL_KEYS, SOME_KEYS])
def test_adapted_logits_equal_mlx_lm(tiny, tmp_path, keys):
    adapter = write_adapter(tiny.folder, tmp_path / "adapter", keys)
    theirs, _ = load_with_mlx_lm(tiny.folder)
    theirs = load_adapters(theirs, str(adapter))
    theirs.eval()
    model = load_model(tiny.folder)
    plain = logits_of(model, IDS, last_only=False)
    apply_adapter(model, adapter)
    adapted = logits_of(model, IDS, last_only=False)
    assert_close(adapted, theirs(mx.array(IDS)[None])[0])
    assert mx.abs(adapted - plain).max().item() > 0.01
    wrapped = [m for _, m in model.named_modules() if isinstance(m, (LoRALinear, LoRAExperts))]
    assert wrapped
    if tiny.arch == "26b" and keys is ALL_KEYS:
        assert any(isinstance(m, LoRAExperts) for m in wrapped)


def test_adapter_over_a_quantised_base(tiny_models, tmp_path):
    base = convert(tiny_models["31b"].folder, tmp_path / "4bit", "4bit")
    adapter = write_adapter(base, tmp_path / "adapter", SOME_KEYS)
    theirs, _ = load_with_mlx_lm(base)
    theirs = load_adapters(theirs, str(adapter))
    theirs.eval()
    model = load_model(base)
    apply_adapter(model, adapter)
    assert_close(logits_of(model, IDS, last_only=False), theirs(mx.array(IDS)[None])[0])


def test_wrong_adapters_are_refused(tiny_models, tmp_path):
    adapter = write_adapter(tiny_models["31b"].folder, tmp_path / "adapter", SOME_KEYS)
    with pytest.raises(WeightsError, match="trained on this checkpoint"):
        apply_adapter(load_model(tiny_models["e2b"].folder), adapter)
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({"fine_tune_type": "dora", "lora_parameters": {"scale": 1}}))
    with pytest.raises(WeightsError, match="'dora'"):
        apply_adapter(load_model(tiny_models["31b"].folder), adapter)
    config.write_text("{}")
    with pytest.raises(WeightsError, match="no adapter configuration"):
        apply_adapter(load_model(tiny_models["31b"].folder), adapter)
    with pytest.raises(WeightsError):
        apply_adapter(load_model(tiny_models["31b"].folder), tmp_path / "nowhere")
