"""One tiny random checkpoint per architecture, ours and the reference's model over it."""

from pathlib import Path

import pytest
from core_checks import text_ids, using

from mlx_gemma4.fusion import OFF, PORTABLE, FusionMode
from mlx_gemma4.kernels import full_fusion
from mlx_gemma4.published import ARCHITECTURES
from mlx_gemma4.testing import random_checkpoint
from mlx_gemma4.weights import load_model
from tests.kernels.harness.host import HostBackend, Library, RecordingBackend


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


@pytest.fixture(scope="session")
def full(tiny_models):
    """Every own kernel these models can use, compiled for this processor."""
    recording = RecordingBackend()
    for tiny in tiny_models.values():
        with using(tiny.ours, full_fusion(backend=recording)) as model:
            for last_only in (True, False):
                cache = model.make_cache()
                for width in (1, 11, 40):
                    model.prefill(model.embed(text_ids(width)), cache, last_only=last_only)
    return full_fusion(backend=HostBackend(Library(recording.instances)))


@pytest.fixture(params=FusionMode)
def fusion(request):
    """Each way to compute the chains."""
    known = {FusionMode.OFF: OFF, FusionMode.PORTABLE: PORTABLE}
    return known.get(request.param) or request.getfixturevalue("full")
