"""Random tiny towers shared with the reference: every tensor drawn, none left at its default."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import torch
from mlx.utils import tree_flatten

# Tensors are tiny: two threads that wait for each other take ten times as long on a busy machine.
torch.set_num_threads(1)


def draw(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A value for every kind of tensor, far from the defaults that hide bugs."""
    normal = rng.standard_normal(shape)
    if name.endswith(("input_min", "output_min")):
        value = -rng.uniform(0.5, 1.5, shape)  # tight enough to clip some values
    elif name.endswith(("input_max", "output_max")):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith("std_bias"):
        value = 3.0 * normal
    elif name.endswith("std_scale"):
        value = 0.2 + rng.uniform(0, 1, shape)
    elif "norm" in name or "ln" in name.split(".")[-2:][0]:
        value = 1.0 + 0.3 * normal if name.endswith("weight") else 0.3 * normal
    elif name.endswith(("position_embedding_table", "pos_embedding", "per_dim_scale", "bias")):
        value = 0.5 * normal
    else:
        fan = int(np.prod(shape[1:])) or 1
        value = normal / np.sqrt(fan)
    return np.asarray(value, dtype=np.float32)


def randomise(module: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Draw every saved tensor of a reference module and return them all by name."""
    rng = np.random.default_rng(seed)
    state = module.state_dict()
    drawn = {name: draw(name, tuple(value.shape), rng) for name, value in state.items()}
    module.load_state_dict({name: torch.from_numpy(value) for name, value in drawn.items()})
    return drawn


def fill(module, tensors: dict[str, np.ndarray]) -> None:
    """Load tensors of the reference layout; names and shapes must match ours one to one."""
    ours = {}
    for name, value in tensors.items():
        if name.endswith("conv.weight"):
            value = value.transpose(0, 2, 3, 1)
        if name.endswith("depthwise_conv1d.weight"):
            value = value.transpose(0, 2, 1)
        ours[name] = mx.array(value)
    assert set(ours) == {name for name, _ in tree_flatten(module.parameters())}
    module.load_weights(list(ours.items()), strict=True)


def assert_close(ours: mx.array, theirs, tolerance: float = 1e-4) -> None:
    """Largest absolute difference within `tolerance` of the reference's largest value."""
    a, b = np.array(ours, dtype=np.float32), np.asarray(theirs, dtype=np.float32)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()
