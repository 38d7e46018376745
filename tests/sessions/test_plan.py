"""The memory planner: sizes against published files, verdicts, advice, damaged files."""

import subprocess
import sys

import pytest

from mlx_gemma4.errors import WeightsError
from mlx_gemma4.plan import GIB, Machine, plan, tensor_headers
from mlx_gemma4.published import ARCHITECTURES, published_config
from mlx_gemma4.testing import random_checkpoint


def mac(gigabytes: int) -> Machine:
    return Machine("Apple M", gigabytes * GIB, gigabytes * GIB, metal=True)


@pytest.mark.parametrize(
    ("name", "quant", "published"),
    [
        ("e2b", "4bit", 3_580_765_126),
        ("e2b", "8bit", 5_899_232_198),
        ("e4b", "6bit", 7_090_961_364),
        ("26b", "4bit", 15_608_614_044),  # that file keeps the dense MLP at 8 bits
        ("31b", "4bit", 18_411_755_224),
    ],
)
def test_weights_are_within_two_percent_of_published_files(name, quant, published):
    planned = plan(published_config(name), quant=quant, machine=mac(512)).weights
    assert planned == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("name", "gigabytes", "verdict"),
    [("e2b", 16, "fits"), ("e4b", 8, "wont"), ("12b", 16, "fits"), ("26b", 24, "wont")]
    + [("26b", 32, "fits"), ("31b", 32, "tight"), ("31b", 64, "fits")],
)
def test_verdicts_at_four_bits(name, gigabytes, verdict):
    judged = plan(published_config(name), quant="4bit", machine=mac(gigabytes))
    assert judged.verdict == verdict
    assert bool(judged.advice) == (verdict != "fits")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_kv_grows_with_the_context_and_stops_at_the_model_s_limit(name):
    config = published_config(name)
    limit = config.text.max_position_embeddings
    sizes = [plan(config, context=n, machine=mac(512)).kv for n in (4096, 65536, limit, 2 * limit)]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3]


def test_advice_names_what_would_fit():
    long = plan(published_config("31b"), quant="4bit", context=262_144, machine=mac(48))
    assert long.verdict == "wont"
    assert any("context of" in sentence for sentence in long.advice)
    heavy = plan(published_config("26b"), quant="bf16", machine=mac(32))
    assert "The 4-bit version fits." in heavy.advice
    hopeless = plan(published_config("31b"), quant="4bit", machine=mac(16))
    assert "36 GB" in hopeless.advice[0]


def test_a_folder_is_planned_from_its_headers(tmp_path):
    folder = random_checkpoint(tmp_path / "e2b", "e2b")
    stored = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    planned = plan(folder, machine=mac(16))
    assert planned.verdict == "fits"
    assert 0.9 * stored < planned.weights <= stored


def test_damaged_and_missing_files_are_named(tmp_path):
    folder = random_checkpoint(tmp_path / "e2b", "e2b")
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:5])
    with pytest.raises(WeightsError, match=weights.name):
        list(tensor_headers(folder))
    weights.unlink()
    with pytest.raises(WeightsError, match="no \\*.safetensors"):
        plan(folder)


def test_planning_imports_no_mlx():
    code = (
        "import sys, mlx_gemma4.plan; assert not any(m.split('.')[0] == 'mlx' for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
