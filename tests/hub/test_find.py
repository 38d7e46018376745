"""Finding, describing and deleting checkpoints by what their own files say."""

import json
import shutil
from pathlib import Path

import pytest

from mlx_gemma4 import hub
from mlx_gemma4.errors import HubError
from mlx_gemma4.testing import random_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("tiny") / "e2b", "e2b")


@pytest.fixture
def cached(tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A cache as huggingface_hub lays it out, with links; (cache, snapshot)."""
    repo = tmp_path / "cache" / "models--owner--name"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for file in tiny.iterdir():
        shutil.copy(file, repo / "blobs" / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    return tmp_path / "cache", snapshot


def test_cache_and_folders_are_searched(cached, tiny, monkeypatch, tmp_path: Path) -> None:
    cache, snapshot = cached
    monkeypatch.setattr(hub, "_LMSTUDIO_FOLDERS", (str(tmp_path / "lm"),))
    shutil.copytree(tiny, tmp_path / "lm" / "someone" / "their-model")
    shutil.copytree(tiny, tmp_path / "mine" / "a")
    (tmp_path / "mine" / "b").mkdir()
    (tmp_path / "mine" / "b" / "config.json").write_text('{"model_type": "llama"}')
    found = hub.local_checkpoints([tmp_path / "mine"], cache)
    assert {(c.repo, c.source) for c in found} == {
        ("owner/name", "huggingface"),
        ("someone/their-model", "lmstudio"),
        ("", "folder"),
    }
    assert found[0].path == snapshot
    monkeypatch.setattr(hub, "cache_folder", lambda: cache)
    assert hub.find("Owner/Name") == snapshot
    assert hub.find(tiny) == tiny
    with pytest.raises(HubError, match="not on this machine"):
        hub.find("nobody/nothing")
    with pytest.raises(HubError, match=r"no config\.json"):
        hub.find(tmp_path)
    for nowhere in (tmp_path / "gone", "./nobody", "nothing"):
        with pytest.raises(HubError, match="There is no folder .*owner/name"):
            hub.find(nowhere)
    with pytest.raises(HubError, match="is a file"):
        hub.find(tiny / "config.json")


def test_badges_come_from_the_files_not_from_the_name(tiny, tmp_path: Path) -> None:
    facts = hub.describe(tiny)
    assert facts.inputs == ("text", "image", "video", "audio")
    assert not facts.chat
    assert facts.quantisation == "bf16"
    assert facts.problem == ""
    assert facts.size == sum(path.stat().st_size for path in tiny.iterdir())
    deaf = tmp_path / "e4b-that-hears-everything"
    shutil.copytree(tiny, deaf)
    config = json.loads((deaf / "config.json").read_text())
    config["audio_config"] = None
    config["facet"] = {"label": "Demo (tiny)"}
    config["quantization"] = {"bits": 4, "group_size": 64}
    (deaf / "config.json").write_text(json.dumps(config))
    (deaf / "chat_template.jinja").write_text("{% if tools %}…{% endif %}")
    facts = hub.describe(deaf)
    assert facts.inputs == ("text", "image", "video")
    assert (facts.label, facts.quantisation, facts.chat, facts.tools) == (
        "Demo (tiny)",
        "4-bit",
        True,
        True,
    )


def test_towers_missing_from_the_weights_are_no_badge(tiny, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    blind = tmp_path / "blind"
    shutil.copytree(tiny, blind)
    tensors = load_file(blind / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if "vision" not in name},
        blind / "model.safetensors",
    )
    assert hub.describe(blind).inputs == ("text", "audio")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"xx"), "damaged"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-2.safetensors"}}'
            ),
            "model-2.safetensors is missing",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(tiny, tmp_path: Path, damage, words: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny, broken)
    damage(broken)
    assert words in hub.describe(broken).problem


def test_delete_frees_what_it_said(cached) -> None:
    _cache, snapshot = cached
    repo = snapshot.parents[1]
    said = hub.size_to_free(snapshot)
    assert said > 1_000_000
    assert hub.delete(snapshot) == said
    assert not repo.exists()
    with pytest.raises(HubError, match="nothing was deleted"):
        hub.delete(repo.parent)


def test_published_shapes_have_names() -> None:
    from mlx_gemma4.published import ARCHITECTURES, published_config

    names = [hub.architecture_of(published_config(name)) for name in ARCHITECTURES]
    assert names == ["E2B", "E4B", "12B", "26B-A4B", "31B"]
