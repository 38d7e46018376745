"""Resize table, patches, log-mel frames and token counts against the reference processors."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.gemma4 import image_processing_pil_gemma4 as reference
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
    Gemma4UnifiedAudioFeatureExtractor,
)

from mlx_gemma4 import audio_processing as sound
from mlx_gemma4 import image_processing as pictures
from mlx_gemma4.errors import MediaError

pytestmark = pytest.mark.parity

# Spec section 3.1: target height, width and soft tokens for budgets 70, 140, 280, 560, 1120.
TABLE = {
    (512, 512): "384x384=64 528x528=121 768x768=256 1104x1104=529 1584x1584=1089",
    (768, 1024): "336x432=63 480x624=130 672x912=266 960x1296=540 1344x1824=1064",
    (1080, 1920): "288x528=66 384x720=120 576x1056=264 816x1488=527 1200x2112=1100",
    (100, 4000): "48x2496=52 48x3552=74 96x5040=210 144x7152=447 240x10128=1055",
}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def speech(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("size", TABLE)
def test_resize_table_of_the_specification(size):
    rows = []
    for budget in pictures.BUDGETS:
        height, width = pictures.resized_size(*size, budget)
        rows.append(f"{height}x{width}={pictures.soft_tokens(*size, budget)}")
    assert " ".join(rows) == TABLE[size]


def reference_size(height, width, budget):
    try:
        return reference.get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
    except ValueError:
        return None


def our_size(height, width, budget):
    try:
        return pictures.resized_size(height, width, budget)
    except MediaError:
        return None


SIDES = st.one_of(st.integers(1, 200), st.integers(1, 20_000))


@settings(max_examples=400, deadline=None)
@given(height=SIDES, width=SIDES, budget=st.sampled_from(pictures.BUDGETS))
def test_resized_size_equals_reference(height, width, budget):
    assert our_size(height, width, budget) == reference_size(height, width, budget)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (1, 1), (1, 69), (64, 64), (1, 2)])
@pytest.mark.parametrize("budget", pictures.BUDGETS)
def test_extreme_shapes_do_as_the_reference_does(size, budget):
    assert our_size(*size, budget) == reference_size(*size, budget)


@pytest.mark.parametrize("budget", [0, 64, 100, 256, 2240, -70])
def test_other_budgets_are_refused(budget):
    with pytest.raises(MediaError, match="70, 140, 280, 560, 1120"):
        pictures.resized_size(100, 100, budget)


@pytest.mark.parametrize(
    ("size", "budget"),
    [((64, 64), 280), ((768, 1024), 70), ((211, 517), 140), ((1, 10_000), 70), ((1200, 800), 560)],
)
def test_patches_equal_reference_byte_for_byte(size, budget):
    rgb = noise(*size)
    theirs = reference.Gemma4ImageProcessorPil(max_soft_tokens=budget)(
        Image.fromarray(rgb), return_tensors="np"
    )
    ours = pictures.image_patches(rgb, budget, unified=False)
    count = len(ours.patches)
    assert ours.patches.dtype == np.float32
    assert ours.patches.tobytes() == theirs["pixel_values"][0, :count].tobytes()
    assert np.array_equal(ours.positions, theirs["image_position_ids"][0, :count])
    assert (theirs["image_position_ids"][0, count:] == -1).all()
    assert ours.soft_tokens == theirs["num_soft_tokens_per_image"][0]
    assert ours.size == size


def test_a_picture_of_the_right_size_is_not_resampled():
    rgb = noise(768, 768)
    assert np.shares_memory(pictures.resize(rgb, 280), rgb)


@pytest.fixture
def unified_reference(monkeypatch):
    """The 12B's image module. It imports torchvision at the top but `patches_merge` needs none."""
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2")
    functional = SimpleNamespace(InterpolationMode=object)
    for name in names:
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(functional=functional))
    name = "transformers.models.gemma4_unified.image_processing_gemma4_unified"
    yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize(("size", "budget"), [((64, 64), 70), ((300, 900), 140), ((900, 130), 70)])
def test_unified_patches_equal_reference(unified_reference, size, budget):
    """Resize and rescale come from the reference's Pillow processor, the merge from the 12B's."""
    rgb = noise(*size, seed=3)
    theirs = reference.Gemma4ImageProcessorPil(max_soft_tokens=budget)(
        Image.fromarray(rgb), return_tensors="pt"
    )
    ours = pictures.image_patches(rgb, budget, unified=True)
    count = ours.soft_tokens
    patches, positions = unified_reference.patches_merge(
        torch.as_tensor(theirs["pixel_values"])[:, : 9 * count],
        torch.as_tensor(theirs["image_position_ids"])[:, : 9 * count],
        count,
    )
    assert ours.patches.tobytes() == patches[0].numpy().tobytes()
    assert np.array_equal(ours.positions, positions[0])


def test_keys_tell_pictures_and_budgets_apart():
    rgb = noise(96, 96)
    keys = {
        pictures.image_patches(rgb, 70, unified=False).key,
        pictures.image_patches(rgb, 140, unified=False).key,
        pictures.image_patches(rgb, 70, unified=True).key,
        pictures.image_patches(rgb[::-1], 70, unified=False).key,
    }
    assert len(keys) == 4
    assert pictures.image_patches(rgb.copy(), 70, unified=False).key in keys


LENGTHS = [161, 320, 321, 322, 479, 480, 481, 659, 1000, 16_000, 16_100, 16_161, 33_333, 480_000]


@pytest.mark.parametrize("samples", LENGTHS)
def test_mel_frames_equal_reference(samples):
    pcm = speech(samples)
    theirs = Gemma4AudioFeatureExtractor()([pcm], return_tensors="np")
    mask = theirs["input_features_mask"][0].astype(bool)
    want = theirs["input_features"][0][mask]
    clip = sound.make_clip(pcm, raw=False)
    assert clip.valid == len(clip.features) == mask.sum() == sound.mel_frames(samples)
    assert clip.features.dtype == np.float32
    assert clip.features.tobytes() == want.tobytes()
    assert mask[: clip.valid].all()  # the valid frames are the first ones


def test_filters_and_window_equal_reference():
    theirs = Gemma4AudioFeatureExtractor()
    assert np.array_equal(sound._hann(), theirs.window)
    assert np.array_equal(sound.mel_filters(), theirs.mel_filters)


def mel_tokens(samples):
    return sound.MelStream()._tokens(sound.mel_frames(samples))


@settings(max_examples=300, deadline=None)
@given(samples=st.integers(1, 480_000))
def test_token_count_is_that_of_the_mask(samples):
    """The reference counts the mask through two strided steps; `ceil(ms / 40)` would differ."""
    length = -(-samples // 128) * 128
    frames = max(0, (length + 160 - 321) // 160 + 1)
    valid = np.arange(frames) * 160 + 320 < 160 + samples
    assert mel_tokens(samples) == valid[::2][::2].sum()


def test_token_counts_of_the_specification():
    known = {16_000: 25, 480_000: 750, 16_100: 25, 16_161: 26, 659: 1}
    assert {samples: mel_tokens(samples) for samples in known} == known


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16_100, 480_000])
def test_raw_frames_equal_reference(samples):
    pcm = speech(samples)
    theirs = Gemma4UnifiedAudioFeatureExtractor()([pcm], return_tensors="np")
    clip = sound.make_clip(pcm, raw=True)
    assert clip.features.tobytes() == theirs["input_features"][0].tobytes()
    assert clip.soft_tokens == theirs["input_features_mask"].sum() == -(-samples // 640)


@pytest.mark.parametrize("samples", [0, 1, 160])
def test_a_clip_without_a_token_is_refused(samples):
    with pytest.raises(MediaError, match="nothing to hear"):
        sound.make_clip(np.zeros(samples, np.float32), raw=False)


def test_sixteen_bit_samples_are_scaled():
    pcm = np.array([0, 16_384, -32_768] * 200, dtype=np.int16)
    whole = sound.make_clip((pcm / 32768).astype(np.float32), raw=False)
    assert sound.make_clip(pcm, raw=False).key == whole.key


@pytest.mark.parametrize(
    "pcm",
    [
        np.array([0.1, np.nan] * 500, np.float32),
        np.array([0.1, np.inf] * 500, np.float32),
        np.zeros((2, 900), np.float32),
        np.zeros(900, np.uint8),
        np.zeros(900, np.complex64),
        np.zeros(480_001, np.float32),
    ],
    ids=["nan", "inf", "stereo", "uint8", "complex", "too long"],
)
def test_bad_samples_are_refused(pcm):
    with pytest.raises(MediaError):
        sound.make_clip(pcm, raw=False)
