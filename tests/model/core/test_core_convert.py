"""Converted checkpoints load here and in mlx-lm to the same logits; mlx-lm's own load here."""

import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from core_checks import assert_close, logits_of, text_ids
from mlx import nn
from mlx_lm.utils import load_model as load_with_mlx_lm
from mlx_lm.utils import quantize_model, save_config, save_model

from mlx_gemma4.convert import convert
from mlx_gemma4.errors import WeightsError
from mlx_gemma4.layers import FusedLinear, Quantization
from mlx_gemma4.quantization import PRESETS, quantise_q4_0
from mlx_gemma4.weights import load_model

IDS = text_ids(37)


def theirs(folder):
    model, _ = load_with_mlx_lm(Path(folder))
    model.set_dtype(mx.float32)
    return model(mx.array(IDS)[None])[0]


def ours(folder):
    return logits_of(load_model(folder), IDS, last_only=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_mlx_lm_loads_every_preset(tiny_models, tmp_path, preset):
    folder = convert(tiny_models["26b"].folder, tmp_path / preset, preset)
    assert_close(ours(folder), theirs(folder))


@pytest.mark.parametrize("preset", ["4bit", "mxfp4"])
def test_mlx_lm_loads_what_we_write(tiny, tmp_path, preset):
    folder = convert(tiny.folder, tmp_path / preset, preset)
    assert_close(ours(folder), theirs(folder))
    assert (folder / "tokenizer.json").is_file()
    assert (folder / "processor_config.json").is_file()


@pytest.mark.parametrize(
    ("bits", "group", "mode"),
    [(4, 64, "affine"), (3, 32, "affine"), (4, 16, "nvfp4")],
)
def test_we_load_what_mlx_lm_writes(tiny, tmp_path, monkeypatch, bits, group, mode):
    model, config = load_with_mlx_lm(tiny.folder)
    model, config = quantize_model(model, config, group, bits, mode)
    save_model(tmp_path, model)
    save_config(config, tmp_path / "config.json")
    loaded = load_model(tmp_path)
    assert loaded.config.inputs == ("text",)
    qkv = loaded.language_model.layers[0].self_attn.qkv_proj
    assert isinstance(qkv, FusedLinear)
    assert qkv.quantization == Quantization(group, bits, mode)
    # mlx-lm's tables yield bfloat16 in the float modes and would round the per-layer inputs.
    rows = nn.QuantizedEmbedding.__call__
    monkeypatch.setattr(
        nn.QuantizedEmbedding, "__call__", lambda table, ids: rows(table, ids).astype(mx.float32)
    )
    assert_close(logits_of(loaded, IDS, last_only=False), model(mx.array(IDS)[None])[0])


def test_presets_protect_what_low_precision_hurts(tiny, tmp_path):
    folder = convert(tiny.folder, tmp_path / "4bit", "4bit")
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization"]
    assert config["quantization_config"] == quantization
    names = set(mx.load(str(folder / "model.safetensors")))
    packed = {name.removesuffix(".scales") for name in names if name.endswith(".scales")}
    assert all(path.startswith("language_model.model.") for path in packed)
    assert not any("per_layer_model_projection" in path for path in packed)

    def bits(path):
        return quantization.get(f"language_model.model.{path}", quantization)["bits"]

    assert bits("layers.0.self_attn.q_proj") == 4
    assert bits("embed_tokens") == 6
    if tiny.arch == "26b":
        assert bits("layers.0.router.proj") == bits("layers.0.mlp.up_proj") == 8
        assert bits("layers.0.experts.switch_glu.up_proj") == 4
    else:
        assert bits("layers.0.mlp.up_proj") == 4
    if tiny.ours.config.family == "edge":
        assert bits("layers.0.per_layer_input_gate") == 8
        assert bits("embed_tokens_per_layer") == 6 or bits("embed_tokens_per_layer") == 8


def lattice(shape, rng, bfloat16):
    """Weights on a Q4_0 lattice: every group has an element at -8 d."""
    steps = rng.integers(0, 16, (*shape[:-1], shape[-1] // 32, 32))
    steps[..., 5] = 0
    d = rng.uniform(0.01, 0.1, (*steps.shape[:-1], 1)) * rng.choice([-1, 1], (*steps.shape[:-1], 1))
    d = mx.array(d.astype(np.float32)).astype(mx.bfloat16).astype(mx.float32)
    weight = (d * mx.array(steps - 8.0).astype(mx.float32)).reshape(shape)
    return weight.astype(mx.bfloat16) if bfloat16 else weight


@pytest.mark.parametrize("bfloat16", [False, True])
def test_q4_0_weights_stay_on_their_lattice(bfloat16):
    rng = np.random.default_rng(0)
    weight = lattice((3, 8, 96), rng, bfloat16)
    packed = quantise_q4_0(weight)
    # MLX multiplies and adds in the scales' type; float32 shows what is stored.
    exact = [a.astype(mx.float32) for a in (packed.scales, packed.biases)]
    back = mx.dequantize(packed.weight, *exact, 32, 4)
    assert packed.scales.dtype == weight.dtype
    assert mx.array_equal(back.astype(weight.dtype), weight)
    affine = mx.dequantize(*mx.quantize(weight, 32, 4), 32, 4)
    assert mx.abs(affine - weight).max().item() > 0.001  # what min/max would have lost
    assert quantise_q4_0(weight + 0.003) is None
    zeros = quantise_q4_0(mx.zeros((2, 32)))
    assert mx.all(mx.dequantize(zeros.weight, zeros.scales, zeros.biases, 32, 4) == 0).item()


def test_q4_0_checkpoint_keeps_its_numbers(tiny_models, tmp_path):
    tiny = tiny_models["26b"]
    rng = np.random.default_rng(1)
    source = tmp_path / "qat"
    from shutil import copytree

    copytree(tiny.folder, source)
    tensors = mx.load(str(source / "model.safetensors"))
    for name, value in tensors.items():
        if "language_model.layers" in name and ("_proj" in name or "experts" in name):
            tensors[name] = lattice(value.shape, rng, bfloat16=False)
    mx.save_safetensors(str(source / "model.safetensors"), dict(tensors), {"format": "pt"})
    folder = convert(source, tmp_path / "q4", "q4_0")
    layer = load_model(folder).language_model.layers[0]
    assert layer.self_attn.qkv_proj.quantization == Quantization(32, 4)
    assert layer.experts.gate_up_proj.quantization == Quantization(32, 4)
    written = mx.load(str(folder / "model.safetensors"))
    path = "language_model.model.layers.0.mlp.down_proj"
    parts = [written[f"{path}.{end}"] for end in ("weight", "scales", "biases")]
    original = tensors["model.language_model.layers.0.mlp.down_proj.weight"]
    assert mx.abs(mx.dequantize(*parts, 32, 4) - original).max().item() < 1e-7


def test_shards_and_memory_are_bounded(tiny_models, tmp_path, monkeypatch):
    monkeypatch.setattr("mlx_gemma4.convert._SHARD_BYTES", 300_000)
    folder = convert(tiny_models["31b"].folder, tmp_path / "shards", "8bit")
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) > 2
    for file in files:
        assert file.stat().st_size < 500_000 or len(mx.load(str(file))) == 1
    assert_close(ours(folder), theirs(folder))


def test_refusals(tiny_models, tmp_path):
    source = tiny_models["31b"].folder
    with pytest.raises(WeightsError, match="no preset"):
        convert(source, tmp_path / "x", "9bit")
    folder = convert(source, tmp_path / "4bit", "4bit")
    with pytest.raises(WeightsError, match="not empty"):
        convert(source, folder, "4bit")
    with pytest.raises(WeightsError, match="quantised already"):
        convert(folder, tmp_path / "again", "8bit")
    assert not (tmp_path / "again").exists()


def test_a_failure_leaves_nothing_and_takes_nothing(tiny_models, tmp_path):
    source = tiny_models["31b"].folder
    mine = tmp_path / "4bit.partial" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("of the user")

    def stop(done, total, stage):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "4bit", "4bit", progress=stop)
    assert list(tmp_path.iterdir()) == [mine.parent]
    folder = convert(source, tmp_path / "4bit", "4bit")
    assert sorted(tmp_path.iterdir()) == [folder, mine.parent]
    assert mine.read_text() == "of the user"
    assert folder.stat().st_mode == mine.parent.stat().st_mode
