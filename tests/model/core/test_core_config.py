"""Every spelling of a configuration means the same model; anything else is refused."""

import json
import subprocess
import sys

import pytest

from mlx_gemma4.config import FULL, SLIDING, Gemma4Config
from mlx_gemma4.errors import ConfigError
from mlx_gemma4.published import ARCHITECTURES, published_config, published_json
from mlx_gemma4.tensors import (
    checkpoint_tensors,
    dead_tensors,
    kv_bytes_per_token,
    parameter_count,
    published_bytes,
    sliding_kv_bytes,
)
from mlx_gemma4.testing import tiny_json

PUBLISHED_BYTES = {
    "e2b": 10_246_357_958,
    "e4b": 15_992_314_836,
    "26b": 51_611_872_412,
    "31b": 62_546_177_752,
}


@pytest.mark.parametrize("arch", PUBLISHED_BYTES)
def test_parameter_counts_reproduce_the_published_files(arch):
    assert published_bytes(published_config(arch)) == PUBLISHED_BYTES[arch]


def test_parameter_count_of_the_12b():
    assert parameter_count(published_config("12b")) == pytest.approx(11.96e9, rel=1e-3)


def test_dead_tensors_have_their_known_size():
    sizes = {a: sum(s.size for s in dead_tensors(published_config(a).text).values()) for a in
             ("e2b", "e4b", "31b")}  # fmt: skip
    # 20 and 18 layers of key and value rows, and their key norms
    assert sizes["e2b"] * 2 == pytest.approx(37_748_736, rel=1e-3)
    assert sizes["e4b"] * 2 == pytest.approx(110_100_480, rel=1e-3)
    assert sizes["31b"] == 0


@pytest.mark.parametrize(
    ("arch", "full_kib", "window_mb"),
    [("e2b", 6, 6.3), ("e4b", 16, 21), ("12b", 16, 335.5), ("26b", 20, 209.7), ("31b", 80, 838.9)],
)
def test_kv_sizes(arch, full_kib, window_mb):
    text = published_config(arch).text
    assert kv_bytes_per_token(text) == full_kib * 1024
    assert sliding_kv_bytes(text) / 1e6 == pytest.approx(window_mb, rel=0.01)


def test_layers_that_share_and_their_donors():
    e2b, e4b, large = (published_config(a).text for a in ("e2b", "e4b", "31b"))
    assert (e2b.kv_shared_from, e4b.kv_shared_from) == (15, 24)
    assert {e2b.layer(i).donor for i in range(15, 35)} == {13, 14}
    assert {e4b.layer(i).donor for i in range(24, 42)} == {22, 23}
    assert {spec.donor for spec in large.layers} == {None}
    assert [s.index for s in e2b.layers if not s.is_sliding] == [4, 9, 14, 19, 24, 29, 34]
    assert {s.intermediate_size for s in e2b.layers[:15]} == {6144}
    assert {s.intermediate_size for s in e2b.layers[15:]} == {12_288}
    assert {s.intermediate_size for s in e4b.layers} == {10_240}
    assert (large.layer(5).kv_heads, large.layer(5).head_dim, large.layer(5).k_eq_v) == (
        4,
        512,
        True,
    )
    assert (large.layer(4).kv_heads, large.layer(4).head_dim, large.layer(4).k_eq_v) == (
        16,
        256,
        False,
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_transformers_writes_reads_back_the_same(arch, tmp_path):
    """Its own spelling uses ``per_layer_config`` and many more keys."""
    from transformers import AutoConfig

    (tmp_path / "config.json").write_text(json.dumps(tiny_json(arch)))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    raw = json.loads((tmp_path / "again" / "config.json").read_text())
    assert "per_layer_config" in raw["text_config"]
    ours, again = Gemma4Config.from_json(tiny_json(arch)), Gemma4Config.from_json(raw)
    assert again.text.layers == ours.text.layers
    assert checkpoint_tensors(again) == checkpoint_tensors(ours)
    assert again.inputs == ours.inputs
    assert again.soft_token_ids == ours.soft_token_ids


def test_null_means_absent():
    raw = published_json("e2b")
    nulled = json.loads(json.dumps(raw))
    nulled["text_config"] |= {
        "num_global_key_value_heads": None,
        "num_experts": None,
        "rope_parameters": None,
        "use_bidirectional_attention": None,
        "per_layer_config": None,
    }
    nulled |= {"quantization": None, "boi_token_id": None}
    assert Gemma4Config.from_json(nulled).text.layers == Gemma4Config.from_json(raw).text.layers
    assert Gemma4Config.from_json(nulled).boi_token_id == 255_999


def test_layer_pattern_and_forced_last_layer():
    text = published_json("e2b")["text_config"]
    del text["layer_types"]
    raw = {"model_type": "gemma4", "text_config": text | {"num_hidden_layers": 14,
           "num_kv_shared_layers": 0}}  # fmt: skip
    kinds = Gemma4Config.from_json(raw).text.layer_types
    assert [i for i, kind in enumerate(kinds) if kind == FULL] == [5, 11, 13]


def test_a_flat_text_only_file():
    raw = published_json("e4b")["text_config"] | {"model_type": "gemma4_text"}
    config = Gemma4Config.from_json(raw)
    assert config.inputs == ("text",)
    assert config.text.layers == published_config("e4b").text.layers


def test_stop_ids_are_joined():
    raw = published_json("31b")
    assert set(Gemma4Config.from_json(raw).eos_token_ids) == {1, 106, 50}
    generation = {"eos_token_id": [1, 106], "suppress_tokens": [258_883, 258_882]}
    config = Gemma4Config.from_json(raw, generation)
    assert set(config.eos_token_ids) == {1, 106, 50}
    assert config.suppress_token_ids == (258_883, 258_882)
    assert Gemma4Config.from_json(raw | {"eoa_token_id": 7}).eoa_token_id == 7


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gemma3"},
        {"text_config": [1, 2]},
        {"vision_config": "yes"},
        {"vision_config": {"num_hidden_layers": 10**9}},
        {"audio_config": {"hidden_size": None, "num_attention_heads": 0}},
        {"vocab_size": 1 << 40},
        {"rope_parameters": 3},
        {"model_type": None},
        {"text_config": {}},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": "many"},
        {"hidden_size": -1},
        {"num_attention_heads": 7},
        {"num_kv_shared_layers": 35},
        {"num_kv_shared_layers": 32},
        {"layer_types": [SLIDING]},
        {"hidden_activation": "relu"},
        {"attention_bias": True},
        {"use_bidirectional_attention": "all"},
        {"enable_moe_block": True},
        {"rope_parameters": {FULL: {"rope_type": "yarn"}}},
    ],
)
def test_what_is_no_gemma4_is_refused(change):
    raw = published_json("e2b")
    (key,) = change
    if key.endswith(("model_type", "_config")):
        raw |= change
    else:
        raw["text_config"] = raw["text_config"] | change
    if key == "num_attention_heads":
        raw["text_config"]["num_key_value_heads"] = 2
    with pytest.raises(ConfigError) as caught:
        Gemma4Config.from_json(raw)
    assert str(caught.value).endswith(".")


def test_config_needs_no_mlx():
    code = (
        "import sys, mlx_gemma4, mlx_gemma4.config, mlx_gemma4.tensors, mlx_gemma4.key_table;"
        "from mlx_gemma4 import Gemma4Config; assert 'mlx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_win_over_modules_of_the_same_name():
    code = (
        "from mlx_gemma4.generate import stream; import mlx_gemma4;"
        "from mlx_gemma4 import generate, load; assert callable(generate) and callable(load)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
