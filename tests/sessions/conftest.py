"""Tiny real models of all five architectures."""

import pytest
from session_checks import Counter

from mlx_gemma4 import load
from mlx_gemma4.testing import random_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """``tiny(arch)`` loads a random tiny model once: (model, processor)."""
    loaded = {}

    def get(arch):
        if arch not in loaded:
            folder = random_checkpoint(tmp_path_factory.mktemp("models") / arch, arch)
            loaded[arch] = load(folder)
        return loaded[arch]

    return get


@pytest.fixture
def counter(monkeypatch):
    return lambda model: Counter(model, monkeypatch)
