"""The vision tower against transformers, block by block and whole."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from tower_oracle import assert_close, fill, randomise
from transformers.models.gemma4 import modeling_gemma4 as reference
from transformers.models.gemma4.configuration_gemma4 import Gemma4VisionConfig

from mlx_gemma4 import vision
from mlx_gemma4.config import VisionConfig

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


SIZES = {"edge": (16, True, False), "large": (72, False, True)}


def make(kind: str):
    head_dim, clipped, standardize = SIZES[kind]
    shape = {
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 5,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "head_dim": head_dim,
        "position_embedding_size": 64,
        "use_clipped_linears": clipped,
        "standardize": standardize,
    }
    theirs = reference.Gemma4VisionModel(
        Gemma4VisionConfig(**shape, attn_implementation="eager")
    ).eval()
    ours = vision.VisionTower(VisionConfig(**shape))
    fill(ours, randomise(theirs, seed=7))
    return ours, theirs


def picture(rows: int, columns: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    patches = rng.uniform(0, 1, (rows * columns, 768)).astype(np.float32)
    grid = np.meshgrid(np.arange(columns), np.arange(rows))
    return patches, np.stack(grid, axis=-1).reshape(-1, 2).astype(np.int32)


def padded(patches, positions, length):
    extra = length - len(patches)
    return (
        torch.from_numpy(np.pad(patches, ((0, extra), (0, 0))))[None],
        torch.from_numpy(np.pad(positions, ((0, extra), (0, 0)), constant_values=-1)).long()[None],
    )


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (6, 9), (12, 3)])
def test_tower_equals_reference(kind, rows, columns):
    ours, theirs = make(kind)
    patches, positions = picture(rows, columns)
    # The reference gets the padding of a real batch; we encode without any.
    want = theirs(*padded(patches, positions, 126)).last_hidden_state
    assert_close(ours(mx.array(patches), mx.array(positions)), want)


@pytest.mark.parametrize("kind", SIZES)
def test_blocks_equal_reference(kind):
    ours, theirs = make(kind)
    patches, positions = picture(6, 6)
    x, where = padded(patches, positions, 36)
    embedded = theirs.patch_embedder(x, where, torch.zeros(1, 36, dtype=bool))
    mine = ours.patch_embedder(mx.array(patches), mx.array(positions))
    assert_close(mine, embedded[0])
    angles = theirs.encoder.rotary_emb(embedded, where)
    rope = vision.rope_2d(mx.array(positions), ours.config.head_dim, ours.config.rope_theta)
    for layer, block in zip(theirs.encoder.layers, ours.encoder.layers, strict=True):
        kwargs = {"position_embeddings": angles, "position_ids": where, "attention_mask": None}
        attended, _ = layer.self_attn(embedded, **kwargs)
        assert_close(block.self_attn(mine, rope), attended[0])
        assert_close(block.mlp(mine), layer.mlp(embedded)[0])
        assert_close(block(mine, rope), layer(embedded, **kwargs)[0])
        # Both go on from the reference's state, so that each block is judged alone.
        embedded = layer(embedded, **kwargs)
        mine = mx.array(embedded[0].numpy())


def test_steps_end_in_the_same_features():
    ours, _ = make("edge")
    patches, positions = (mx.array(part) for part in picture(6, 3))
    steps = list(ours.blocks(patches, positions))
    assert len(steps) == 2  # five layers, one step at four, then the result
    assert mx.array_equal(steps[-1], ours(patches, positions))


def test_query_blocks_change_nothing(monkeypatch):
    ours, _ = make("large")
    patches, positions = (mx.array(part) for part in picture(9, 6))
    whole = ours(patches, positions)
    monkeypatch.setattr(vision, "_MAX_SCORES", 3 * 54 * 7)  # seven queries at a time
    assert_close(ours(patches, positions), np.array(whole), 1e-5)


def test_attention_of_the_largest_picture_is_bounded():
    """One head of 10 080 patches has 406 MB of scores; 16 heads would have 6.5 GB."""
    q, k, v = (mx.random.normal((1, 10_080, 72)) for _ in range(3))
    mx.eval(q, k, v)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    mx.eval(vision.full_attention(q, k, v))
    # The scores and their softmax live together.
    assert mx.get_peak_memory() - before < 2.2 * 4 * vision._MAX_SCORES


@pytest.mark.parametrize(
    "positions",
    [[[0, 0], [1, 0], [2, 0]], [[1, 0], [0, 0]], [[0, 0], [-1, -1]]],
    ids=["not a multiple of 3", "wrong order", "padding"],
)
def test_positions_that_are_no_grid_are_refused(positions):
    ours, _ = make("edge")
    with pytest.raises(ValueError, match="one unpadded grid"):
        ours(mx.zeros((len(positions), 768)), mx.array(positions))


def test_clipping_is_active_in_the_parity_runs():
    """Guards the tests themselves: with open bounds the result must differ."""
    ours, _ = make("edge")
    patches, positions = (mx.array(part) for part in picture(6, 3))
    clipped = ours(patches, positions)
    for layer in ours.encoder.layers:
        layer.self_attn.q_proj.output_max = mx.array(float("inf"))
        layer.mlp.down_proj.output_max = mx.array(float("inf"))
    opened = ours(patches, positions)
    assert float(mx.abs(clipped - opened).max()) > 1e-2


def test_bfloat16_stays_bfloat16():
    ours, _ = make("edge")
    ours.set_dtype(mx.bfloat16)
    patches, positions = (mx.array(part) for part in picture(3, 3))
    assert ours(patches, positions).dtype == mx.bfloat16


def test_a_quantised_tower_still_sees():
    ours, _ = make("large")
    patches, positions = (mx.array(part) for part in picture(6, 3))
    plain = ours(patches, positions)
    eligible = lambda _, m: isinstance(m, nn.Linear) and m.weight.shape[-1] % 32 == 0  # noqa: E731
    nn.quantize(ours, group_size=32, bits=8, class_predicate=eligible)
    assert isinstance(ours.patch_embedder.input_proj, nn.QuantizedLinear)
    assert_close(ours(patches, positions), np.array(plain), 0.2)
