"""A small model, its kernels compiled for the host, and a timer whose outcome is known."""

from __future__ import annotations

from functools import partial
from itertools import count

import mlx.core as mx
import pytest

from mlx_gemma4.bench.shapes import random_model, tiny_json
from mlx_gemma4.kernels import FUNCTIONS
from mlx_gemma4.kernels.cases import model_cases
from mlx_gemma4.model import Gemma4
from tests.kernels.harness.host import Library, RecordingBackend


def small_model(name: str = "26b") -> Gemma4:
    """Six layers of a published size, tiny widths."""
    config = tiny_json(name)
    text = config["text_config"] | {"num_hidden_layers": 6, "num_experts": 10}
    text["layer_types"] = text["layer_types"][:6]
    return random_model(config | {"text_config": text})


@pytest.fixture(scope="session")
def tiny():
    return small_model()


@pytest.fixture(scope="session")
def instances(tiny):
    recording = RecordingBackend()
    for case in model_cases(tiny):
        case.call(partial(FUNCTIONS[case.field], recording))
    return recording.instances


@pytest.fixture(scope="session")
def library(instances):
    return Library(instances)


class Stopwatch:
    """Every second call it times is the reference; kernels take ``kernel`` seconds."""

    def __init__(self, kernel: float = 1e-6) -> None:
        self._times = (kernel if i % 2 == 0 else 2e-6 for i in count())

    def __call__(self, call) -> float:
        mx.eval(call())
        return next(self._times)
