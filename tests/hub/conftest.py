"""A hub that serves a small checkpoint and does what each test asks of it."""

import json
import random
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.hub.server import Hub, running


@pytest.fixture(autouse=True)
def online(monkeypatch) -> None:
    """The test run itself is offline; the server here is on this machine."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub():
    weights = random.Random(1).randbytes(3_000_000)
    files = {
        "config.json": json.dumps({"model_type": "gemma4"}).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors": weights,
        "README.md": b"# A model",
        "original/consolidated.bin": b"not wanted",
        "model.gguf": b"not wanted",
    }
    with running(Hub(files)) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
