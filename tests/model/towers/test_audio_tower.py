"""The audio tower against transformers, block by block and whole."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from tower_oracle import assert_close, fill, randomise
from transformers.models.gemma4 import modeling_gemma4 as reference
from transformers.models.gemma4.configuration_gemma4 import Gemma4AudioConfig

from mlx_gemma4 import audio
from mlx_gemma4.config import AudioConfig

pytestmark = pytest.mark.parity

SHAPE = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "subsampling_conv_channels": (128, 4),
    "output_proj_dims": 40,
}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def make(**changes):
    shape = {**SHAPE, **changes}
    theirs = reference.Gemma4AudioModel(
        Gemma4AudioConfig(**{**shape, "subsampling_conv_channels": [128, 4]})
    ).eval()
    ours = audio.AudioTower(AudioConfig(**shape))
    fill(ours, randomise(theirs, seed=3))
    return ours, theirs


def mel(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, 128)).astype(np.float32)


def padded(frames: np.ndarray, length: int):
    mask = torch.arange(length)[None] < len(frames)
    filled = np.pad(frames, ((0, length - len(frames)), (0, 0)))
    return torch.from_numpy(filled)[None], mask


# One to four frames; borders of the 12-token blocks of the reference; odd lengths; 30 seconds.
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 46, 47, 48, 49, 99, 241, 2999])
def test_tower_equals_reference(frames):
    ours, theirs = make()
    features = mel(frames)
    # Padding as in a batch with a longer clip; only valid tokens are compared, as the model does.
    out = theirs(*padded(features, frames + 7))
    want = out.last_hidden_state[out.attention_mask]
    got = ours(mx.array(features))
    assert got.shape[0] == -(-frames // 4)
    assert_close(got, want)


@pytest.mark.parametrize("changes", [{"gradient_clipping": 0.7}, {"use_clipped_linears": False}])
def test_variants_equal_reference(changes):
    ours, theirs = make(**changes)
    features = mel(61)
    out = theirs(*padded(features, 61))
    assert_close(ours(mx.array(features)), out.last_hidden_state[0])


def test_blocks_equal_reference():
    ours, theirs = make()
    features = mel(123)
    x, mask = padded(features, 123)
    hidden, _ = theirs.subsample_conv_projection(x, mask)
    mine = ours.subsample(None, mx.array(features))
    assert_close(mine, hidden[0])
    tokens = hidden.shape[1]
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)[None]
    hidden_keys = torch.where(
        (distance >= 0) & (distance < 12), 0.0, torch.finfo(torch.float32).min
    )
    blocked = theirs._convert_4d_mask_to_blocked_5d(hidden_keys[None, None])
    places = theirs.rel_pos_enc(hidden)
    relative, state = ours.relative_keys(), ours.initial_state()
    for number, layer in enumerate(theirs.layers):
        block, before = ours.layers[number], state.layers[number]
        attended, _ = layer.self_attn(hidden, places, blocked)
        got, _, _ = block.self_attn(mine, relative[number], before, 0)
        assert_close(got, attended[0])
        assert_close(block.feed_forward1(mine), layer.feed_forward1(hidden)[0])
        assert_close(block.lconv1d(mine, before.tail)[0], layer.lconv1d(hidden)[0])
        got, _ = block(mine, relative[number], before, 0)
        hidden = layer(hidden, blocked, places)
        assert_close(got, hidden[0])
        mine = mx.array(hidden[0].numpy())


def test_relative_table_equals_reference():
    _, theirs = make()
    table = theirs.rel_pos_enc(torch.zeros(1, 1, 64))[0].numpy()[::-1]  # theirs counts down
    assert_close(audio.distance_table(13, 64), table, 1e-6)


def test_twelve_keys_are_visible():
    """The reference shows a query 12 keys, itself included; the 13th back changes nothing."""
    config = AudioConfig(**SHAPE)
    assert audio.visible_keys(config) == 12
    attention = make()[0].layers[0].self_attn
    tower = audio.AudioTower(config)
    relative = attention.relative_keys(audio.distance_table(12, 64))
    state = tower.initial_state().layers[0]
    x = mx.random.normal((13, 64))
    changed = mx.concatenate([x[:1] + 1.0, x[1:]])
    plain, _, _ = attention(x, relative, state, 0)
    other, _, _ = attention(changed, relative, state, 0)
    difference = np.abs(np.array(plain - other)).max(axis=1)
    assert (difference[:12] > 0).all()
    assert difference[12] == 0


def test_the_width_of_the_projection_is_free():
    """E4B's text is wider than the tower's 1536 outputs: only the projector knows it."""
    ours, _ = make(output_proj_dims=24)
    assert ours(mx.array(mel(8))).shape == (2, 24)


def test_bfloat16_stays_bfloat16():
    ours, _ = make()
    ours.set_dtype(mx.bfloat16)
    assert ours(mx.array(mel(9))).dtype == mx.bfloat16
