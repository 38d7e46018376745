"""Checkpoints of every layout load to the same logits; faulty ones are named."""

import json
import shutil

import mlx.core as mx
import numpy as np
import pytest
from core_checks import Prompt, assert_close, logits_of, text_ids

from mlx_gemma4.convert import convert
from mlx_gemma4.errors import ConfigError, Gemma4Error, WeightsError
from mlx_gemma4.key_table import canonical_name
from mlx_gemma4.layers import FusedLinear, Quantization, SplitExperts, SplitLinear
from mlx_gemma4.published import ARCHITECTURES, published_config
from mlx_gemma4.tensors import checkpoint_tensors, dead_tensors
from mlx_gemma4.weights import infer_quantization, load_model

IDS = text_ids(37)


def rewritten(tiny, folder, change):
    """A copy of the checkpoint whose tensors went through ``change``."""
    shutil.copytree(tiny.folder, folder)
    file = folder / "model.safetensors"
    tensors = change(mx.load(str(tiny.folder / "model.safetensors")))
    mx.save_safetensors(str(file), tensors, {"format": "pt"})
    return folder


def logits(model):
    return logits_of(model, IDS, last_only=False)


def test_mlx_layout_with_all_parts_loads_to_the_same_logits(tiny, tmp_path):
    converted = convert(tiny.folder, tmp_path / "mlx", "bf16")
    names = list(mx.load(str(converted / "model.safetensors")))
    assert all(
        name.startswith(("language_model.model.", "vis", "audio", "embed")) for name in names
    )
    model = load_model(converted)
    prompt = Prompt(tiny.ours.config).text(5).picture(2, 2)
    if tiny.ours.config.audio is not None:
        prompt.sound(40)
    rounded = load_model(tiny.folder, mx.bfloat16)
    rounded.update(_as_float32(rounded.parameters()))
    inputs = prompt.text(4).inputs
    assert_close(model.forward_logits(inputs), rounded.forward_logits(inputs))
    assert not model.notices


def _as_float32(tree):
    from mlx.utils import tree_map

    return tree_map(lambda a: a.astype(mx.float32), tree)


def test_text_only_files_load_and_say_what_is_missing(tiny, tmp_path):
    def only_text(tensors):
        return {
            k.replace("model.language_model.", "language_model.model."): v
            for k, v in tensors.items()
            if "language_model" in k
        }

    model = load_model(rewritten(tiny, tmp_path / "text", only_text))
    assert model.config.inputs == ("text",)
    assert len(model.notices) == (2 if tiny.ours.config.audio is not None else 1)
    assert "pictures" in model.notices[0]
    assert_close(logits(model), logits(tiny.ours))
    with pytest.raises(Gemma4Error, match="takes no pictures"):
        model.encode_image(Prompt(tiny.ours.config).picture(1, 1).media[0])


@pytest.mark.parametrize("arch", ["e2b", "e4b"])
def test_dead_keys_and_values_of_sharing_layers_are_dropped(tiny_models, tmp_path, arch):
    tiny = tiny_models[arch]
    dead = dead_tensors(tiny.ours.config.text)
    assert dead

    def with_dead(tensors):
        return tensors | {f"model.{k}": mx.full(s.shape, 9.0) for k, s in dead.items()}

    model = load_model(rewritten(tiny, tmp_path / "dead", with_dead))
    assert_close(logits(model), logits(tiny.ours), 1e-7)


def test_a_doubled_prefix_and_sharded_files(tiny_models, tmp_path):
    """Names are mapped until nothing changes (trap T60), and an index leads to all shards."""
    tiny = tiny_models["26b"]
    folder = rewritten(tiny, tmp_path / "shards", lambda tensors: tensors)
    tensors = mx.load(str(tiny.folder / "model.safetensors"))
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-{i + 1:05d}-of-00002.safetensors"
        prefixed = {n.replace("language_model.", "language_model.model.model."): n for n in part}
        mx.save_safetensors(str(folder / file), {k: tensors[n] for k, n in prefixed.items()})
        weight_map |= dict.fromkeys(prefixed, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_close(logits(load_model(folder)), logits(tiny.ours), 1e-7)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match="model-00002-of-00002.safetensors is missing"):
        load_model(folder)


def test_renaming_twice_changes_nothing(tiny):
    for prefix in ("model.", "", "language_model.model."):
        for name in checkpoint_tensors(tiny.ours.config):
            raw = prefix + name if prefix != "language_model.model." else name
            once = canonical_name(raw)
            assert canonical_name(once) == once
            assert once.removesuffix(".weight") == name.removesuffix(".weight")


def test_every_fault_is_named(tiny_models, tmp_path):
    tiny = tiny_models["e2b"]
    name = "model.language_model.layers.1.mlp.down_proj.weight"

    def faulty(tensors):
        tensors["model.language_model.norm.weight"] = mx.zeros((3,))
        tensors["model.language_model.layers.0.surprise"] = mx.zeros((3,))
        return {k: v for k, v in tensors.items() if k != name}

    with pytest.raises(WeightsError) as caught:
        load_model(rewritten(tiny, tmp_path / "faulty", faulty))
    message = str(caught.value)
    assert "1 missing (language_model.layers.1.mlp.down_proj.weight)" in message
    assert "1 unknown (language_model.layers.0.surprise)" in message
    assert "language_model.norm.weight is (3,), not (64,)" in message


def test_clip_bounds_are_all_there_or_none(tiny_models, tmp_path):
    tiny = tiny_models["e2b"]
    gone = "model.vision_tower.encoder.layers.0.mlp.up_proj.input_max"

    def without_one(tensors):
        return {k: v for k, v in tensors.items() if k != gone}

    def without_any(tensors):
        ends = ("_min", "_max")
        return {k: v for k, v in tensors.items() if not (k.endswith(ends) and "vision" in k)}

    with pytest.raises(WeightsError, match=r"up_proj\.input_max"):
        load_model(rewritten(tiny, tmp_path / "one", without_one))
    load_model(rewritten(tiny, tmp_path / "none", without_any))


@pytest.mark.parametrize("cut", [0, 4, 50, 20_000])
def test_damaged_files(tiny_models, tmp_path, cut):
    folder = rewritten(tiny_models["31b"], tmp_path / "cut", lambda tensors: tensors)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        load_model(folder)


def test_folders_that_are_no_checkpoints(tiny_models, tmp_path):
    with pytest.raises(ConfigError, match=r"no config\.json"):
        load_model(tmp_path)
    shutil.copy(tiny_models["e2b"].folder / "config.json", tmp_path)
    with pytest.raises(WeightsError, match="no model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        load_model(tmp_path)


def test_progress_reaches_the_end(tiny_models):
    seen = []
    load_model(tiny_models["31b"].folder, progress=lambda *step: seen.append(step))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_table_larger_than_one_gpu_buffer_is_named(tiny_models, monkeypatch):
    monkeypatch.setattr(mx, "device_info", lambda: {"max_buffer_length": 100_000})
    with pytest.raises(WeightsError, match=r"embed_tokens.* use a quantised checkpoint"):
        load_model(tiny_models["e2b"].folder)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_modules_of_the_real_sizes_match_the_table_without_being_allocated(arch):
    from mlx.utils import tree_flatten

    from mlx_gemma4.model import Gemma4

    config = published_config(arch)
    model = Gemma4(config)
    ours = sum(array.size for _, array in tree_flatten(model.parameters()))
    assert ours == sum(spec.size for spec in checkpoint_tensors(config).values())
    assert mx.get_active_memory() < 1 << 30


def test_projections_are_fused(tiny):
    text = tiny.ours.config.text
    for spec, layer in zip(text.layers, tiny.ours.language_model.layers, strict=True):
        names = ("q_proj", "k_proj", "v_proj")
        if spec.donor is not None:
            names = names[:1]
        elif spec.k_eq_v:
            names = names[:2]
        assert isinstance(layer.self_attn.qkv_proj, FusedLinear)
        assert layer.self_attn.qkv_proj.part_names == names
        assert layer.mlp.gate_up_proj.part_names == ("gate_proj", "up_proj")


@pytest.mark.parametrize(
    ("bits", "group", "mode"),
    [(b, g, "affine") for b in (2, 3, 4, 5, 6, 8) for g in (32, 64, 128)]
    + [(4, 32, "mxfp4"), (8, 32, "mxfp8"), (4, 16, "nvfp4")],
)
def test_packing_is_read_off_the_arrays(bits, group, mode):
    packed = mx.quantize(mx.ones((4, 384)), group_size=group, bits=bits, mode=mode)
    weight, scales, biases = (*packed, None)[:3]
    assert infer_quantization(weight, scales, biases, (4, 384)) == Quantization(group, bits, mode)
    with pytest.raises(ValueError, match="is packed as"):
        infer_quantization(weight, scales, biases, (4, 400))


def quantised_unequally(tiny, folder, **bits):
    """A checkpoint whose named projections have different widths, under MLX names."""

    def pack(tensors):
        result = {}
        for name, value in tensors.items():
            how = next((b for part, b in bits.items() if f".{part}" in name), None)
            if how is None or "language_model" not in name or "norm" in name:
                result[name] = value
                continue
            if name.endswith("gate_up_proj"):
                continue
            stem = name.removesuffix(".weight")
            result |= dict(
                zip(
                    (f"{stem}.weight", f"{stem}.scales", f"{stem}.biases"),
                    mx.quantize(value, 32, how),
                    strict=True,
                )
            )
        return result

    return rewritten(tiny, folder, pack)


def test_parts_of_different_width_lie_side_by_side(tiny, tmp_path):
    folder = quantised_unequally(tiny, tmp_path / "mixed", q_proj=4, k_proj=8, up_proj=6)
    model = load_model(folder)
    layer = model.language_model.layers[0]
    assert isinstance(layer.self_attn.qkv_proj, SplitLinear)
    assert isinstance(layer.mlp.gate_up_proj, SplitLinear)
    assert layer.self_attn.qkv_proj.part_names == ("q_proj", "k_proj", "v_proj")
    assert_close(logits(model), logits(_dequantised(folder, tmp_path / "flat")))


def _dequantised(folder, target):
    """The same numbers as an unquantised checkpoint."""
    shutil.copytree(folder, target)
    packed = mx.load(str(folder / "model.safetensors"))
    flat = {}
    for name, value in packed.items():
        stem = name.removesuffix(".weight")
        if f"{stem}.scales" in packed and name.endswith(".weight"):
            scales, biases = packed[f"{stem}.scales"], packed[f"{stem}.biases"]
            bits = value.shape[-1] * 32 // (scales.shape[-1] * 32)
            flat[name] = mx.dequantize(value, scales, biases, 32, bits)
        elif not name.endswith((".scales", ".biases")):
            flat[name] = value
    mx.save_safetensors(str(target / "model.safetensors"), flat)
    return load_model(target)


def test_experts_quantised_unequally(tiny_models, tmp_path):
    tiny, target = tiny_models["26b"], tmp_path / "experts"

    def pack(tensors):
        result = {}
        for name, value in tensors.items():
            if not name.endswith("experts.gate_up_proj"):
                result[name] = value
                continue
            stem = name.removesuffix("gate_up_proj") + "switch_glu."
            for part, half, bits in zip(
                ("gate_proj", "up_proj"), mx.split(value, 2, axis=1), (4, 8), strict=True
            ):
                keys = [f"{stem}{part}.{end}" for end in ("weight", "scales", "biases")]
                result |= dict(zip(keys, mx.quantize(half, 32, bits), strict=True))
        return result

    model = load_model(rewritten(tiny, target, pack))
    layer = model.language_model.layers[0]
    assert isinstance(layer.experts.gate_up_proj, SplitExperts)
    assert np.isfinite(np.array(logits(model))).all()
    assert_close(logits(model), logits(_dequantised(target, tmp_path / "flat")))


def test_float16_keeps_the_towers_in_float32(tiny_models):
    """26B and 31B pool to numbers float16 cannot hold (trap T14)."""
    model = load_model(tiny_models["31b"].folder, mx.float16)
    assert model.dtype == mx.float16
    assert model.vision_tower.std_bias.dtype == mx.float32
    rows = model.encode_image(Prompt(model.config).picture(1, 2).media[0])
    assert rows.dtype == mx.float16
    assert mx.all(mx.isfinite(rows)).item()
