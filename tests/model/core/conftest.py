"""One tiny random checkpoint per architecture, ours and the reference's model over it."""

from pathlib import Path

import pytest

from mlx_gemma4.published import ARCHITECTURES
from mlx_gemma4.testing import random_checkpoint
from mlx_gemma4.weights import load_model


class Tiny:
    """A checkpoint folder with lazily loaded models."""

    def __init__(self, arch: str, folder: Path) -> None:
        self.arch = arch
        self.folder = random_checkpoint(folder, arch)
        self._ours = self._theirs = None

    @property
    def ours(self):
        if self._ours is None:
            self._ours = load_model(self.folder)
        return self._ours

    @property
    def theirs(self):
        if self._theirs is None:
            from transformers import AutoModelForImageTextToText

            self._theirs = AutoModelForImageTextToText.from_pretrained(
                self.folder, attn_implementation="eager"
            ).eval()
        return self._theirs


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {arch: Tiny(arch, root / arch) for arch in ARCHITECTURES}


@pytest.fixture(params=ARCHITECTURES)
def tiny(request, tiny_models):
    return tiny_models[request.param]
