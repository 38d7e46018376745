"""The commands ``info`` and ``convert``."""

import json

import pytest

from mlx_gemma4.cli import main
from mlx_gemma4.convert import convert


def test_info_of_a_released_size(capsys):
    assert main(["info", "31b", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes_on_disk"] == 62_546_177_752
    assert facts["kv_bytes_per_token"] == 80 * 1024
    assert facts["inputs"] == ["text", "image", "video"]


def test_info_of_a_folder(tiny, tmp_path, capsys):
    folder = convert(tiny.folder, tmp_path / "4bit", "4bit")
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["inputs"] == list(tiny.ours.config.inputs)
    assert facts["weights"]["4-bit"] > 0.1
    assert set(facts["weights"]) <= {"4-bit", "6-bit", "8-bit", "f32"}
    assert sum(facts["weights"].values()) == pytest.approx(1, abs=1e-3)
    assert facts["bytes_on_disk"] == (folder / "model.safetensors").stat().st_size
    assert main(["info", str(folder)]) == 0
    assert "takes in" in capsys.readouterr().out


def test_convert_writes_a_folder_and_names_it(tiny_models, tmp_path, capsys):
    target = tmp_path / "mxfp4"
    assert main(["convert", str(tiny_models["26b"].folder), str(target), "--preset", "mxfp4"]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert main(["info", str(target), "--json"]) == 0
    assert "mxfp4" in json.loads(capsys.readouterr().out)["weights"]


def test_errors_are_one_sentence(tmp_path, capsys):
    assert main(["info", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "config.json" in error
