"""A tiny random model of each kind this area needs, and its tokenizer."""

from pathlib import Path

import numpy as np
import pytest

from mlx_gemma4.inputs import ModelInputs
from mlx_gemma4.loading import load
from mlx_gemma4.testing import random_checkpoint, tiny_tokenizer
from mlx_gemma4.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(tiny_tokenizer())


@pytest.fixture(scope="session")
def edge_folder(tmp_path_factory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("edge"), "e2b", 0)


@pytest.fixture(scope="session")
def edge(edge_folder):
    return load(edge_folder)


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    return load(random_checkpoint(tmp_path_factory.mktemp("large"), "12b", 0))


@pytest.fixture(scope="session")
def prompt(tokenizer):
    def build(text: str) -> ModelInputs:
        ids = np.array(tokenizer.encode(text, control=True), dtype=np.int32)
        return ModelInputs(ids, np.zeros(len(ids), dtype=np.uint8))

    return build
