"""The 12B's embedders and the projectors against transformers."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from tower_oracle import assert_close, fill, randomise
from transformers.models.gemma4 import modeling_gemma4
from transformers.models.gemma4.configuration_gemma4 import Gemma4AudioConfig, Gemma4TextConfig
from transformers.models.gemma4_unified import configuration_gemma4_unified as configuration
from transformers.models.gemma4_unified import modeling_gemma4_unified as reference

from mlx_gemma4.config import UnifiedVisionConfig
from mlx_gemma4.projector import MultimodalProjector
from mlx_gemma4.unified import UnifiedVisionEmbedder

pytestmark = pytest.mark.parity

VISION = {"mm_embed_dim": 48, "mm_posemb_size": 32, "output_proj_dims": 48}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def text_config(hidden: int = 56):
    return configuration.Gemma4UnifiedTextConfig(hidden_size=hidden)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (1, 31)])
def test_vision_embedder_equals_reference(rows, columns):
    theirs = reference.Gemma4UnifiedVisionEmbedder(
        configuration.Gemma4UnifiedVisionConfig(**VISION), text_config()
    ).eval()
    drawn = randomise(theirs, seed=5)
    projection = drawn.pop("multimodal_embedder.embedding_projection.weight")
    ours = UnifiedVisionEmbedder(UnifiedVisionConfig(**VISION))
    fill(ours, drawn)
    project = MultimodalProjector(48, 56)
    fill(project, {"embedding_projection.weight": projection})

    rng = np.random.default_rng(1)
    patches = rng.uniform(0, 1, (rows * columns, 6912)).astype(np.float32)
    grid = np.meshgrid(np.arange(columns), np.arange(rows))
    positions = np.stack(grid, axis=-1).reshape(-1, 2).astype(np.int32)
    out = theirs(
        torch.from_numpy(patches)[None],
        torch.from_numpy(positions).long()[None],
        return_dict=True,
    )
    features = ours(mx.array(patches), mx.array(positions))
    assert_close(features, out.last_hidden_state[0])
    assert_close(project(features), out.pooler_output[0])


def test_raw_sound_projector_equals_reference():
    audio = configuration.Gemma4UnifiedAudioConfig()
    theirs = reference.Gemma4UnifiedMultimodalEmbedder(audio, text_config()).eval()
    ours = MultimodalProjector(640, 56)
    fill(ours, randomise(theirs, seed=6))
    frames = (np.random.default_rng(2).standard_normal((7, 640)) * 0.1).astype(np.float32)
    frames[3] = 0.0  # digital silence: only the epsilon keeps it finite
    assert_close(ours(mx.array(frames)), theirs(torch.from_numpy(frames)))


def test_tower_projector_equals_reference():
    theirs = modeling_gemma4.Gemma4MultimodalEmbedder(
        Gemma4AudioConfig(output_proj_dims=24), Gemma4TextConfig(hidden_size=56)
    ).eval()
    ours = MultimodalProjector(24, 56)
    fill(ours, randomise(theirs, seed=8))
    x = np.random.default_rng(4).standard_normal((9, 24)).astype(np.float32) * 300
    assert_close(ours(mx.array(x)), theirs(torch.from_numpy(x)))
