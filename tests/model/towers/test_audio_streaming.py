"""Sound pushed piece by piece equals the whole clip, for any cutting; marks are exact."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_map

from mlx_gemma4.audio import AudioTower
from mlx_gemma4.audio_processing import MelStream, RawStream, make_clip
from mlx_gemma4.audio_stream import ClipStream
from mlx_gemma4.config import AudioConfig
from mlx_gemma4.errors import MediaError
from mlx_gemma4.projector import MultimodalProjector

SHAPE = AudioConfig(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=2,
    subsampling_conv_channels=(128, 8),
    output_proj_dims=24,
)


@pytest.fixture(scope="module")
def tower() -> AudioTower:
    mx.random.seed(11)
    made = AudioTower(SHAPE)
    made.update(tree_map(_drawn, made.parameters()))
    return made


def _drawn(value: mx.array) -> mx.array:
    if value.ndim == 0:  # clip bounds, some of them active
        return mx.sign(value) * 2.0
    if value.ndim == 1:
        return 1.0 + 0.3 * mx.random.normal(value.shape)
    fan_in = value.size // value.shape[0]
    return mx.random.normal(value.shape) / fan_in**0.5


def speech(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.2 * rng.standard_normal(samples)).astype(np.float32)


def joined(parts: list[mx.array]) -> np.ndarray:
    return np.concatenate([np.array(part) for part in parts])


def assert_equal(got: np.ndarray, want: mx.array) -> None:
    want = np.array(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max(initial=0) <= 1e-5 * np.abs(want).max(initial=1e-9)


def cut(items: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Pieces of the given sizes (zero allowed), then the rest."""
    borders = np.minimum(np.cumsum(sizes), len(items))
    return np.split(items, borders)


@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 150), sizes=st.lists(st.integers(0, 40), max_size=8))
def test_any_cutting_of_mel_equals_the_whole_clip(tower, frames, sizes):
    mel = np.random.default_rng(frames).standard_normal((frames, 128)).astype(np.float32)
    stream = tower.stream()
    parts = [stream.push(mx.array(piece)) for piece in cut(mel, sizes)]
    final = sum(len(part) for part in parts)
    parts.append(stream.finish())
    assert final == frames // 4  # only the last token may wait for the end
    assert_equal(joined(parts), tower(mx.array(mel)))


def test_frame_by_frame_equals_the_whole_clip(tower):
    mel = np.random.default_rng(5).standard_normal((97, 128)).astype(np.float32)
    stream = tower.stream()
    parts = [stream.push(mx.array(mel[i : i + 1])) for i in range(97)]
    assert_equal(joined([*parts, stream.finish()]), tower(mx.array(mel)))


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(0, 60),
    tried=st.integers(0, 60),
    after=st.integers(1, 60),
    close=st.booleans(),
)
def test_rollback_forgets_everything_after_the_mark(tower, before, tried, after, close):
    rng = np.random.default_rng(before * 61 + tried)
    first, wrong, last = (
        mx.array(rng.standard_normal((n, 128)).astype(np.float32)) for n in (before, tried, after)
    )
    stream = tower.stream()
    parts = [stream.push(first)]
    mark = stream.mark()
    stream.push(wrong)
    if close:
        stream.finish()
    stream.rollback(mark)
    parts += [stream.push(last), stream.finish()]
    assert_equal(joined(parts), tower(mx.concatenate([first, last])))


def test_a_later_mark_stays_good_after_an_earlier_rollback(tower):
    mel = mx.random.normal((40, 128))
    stream = tower.stream()
    stream.push(mel[:9])
    early = stream.mark()
    middle = stream.push(mel[9:20])
    late = stream.mark()
    stream.rollback(early)
    stream.push(mx.zeros((17, 128)))
    stream.rollback(late)
    rest = [stream.push(mel[20:]), stream.finish()]
    got = joined([tower(mel[:8]), middle, *rest])
    assert_equal(got, tower(mel))


def test_a_clip_ends_at_thirty_seconds(tower):
    stream = tower.stream()
    stream._mark = stream._mark._replace(state=stream._mark.state._replace(tokens=749))
    stream.push(mx.zeros((4, 128)))
    with pytest.raises(MediaError, match="at most 30 seconds"):
        stream.push(mx.zeros((1, 128)))
    assert stream.tokens == 750
    front = MelStream()
    front.push(np.zeros(480_000, np.float32))
    with pytest.raises(MediaError, match="at most 30 seconds"):
        front.push(np.zeros(1, np.float32))
    assert front.samples == 480_000


def test_a_finished_clip_takes_no_more(tower):
    stream = tower.stream()
    stream.push(mx.zeros((5, 128)))
    assert stream.finish().shape == (1, 24)
    assert stream.finish().shape == (0, 24)
    with pytest.raises(MediaError, match="closed"):
        stream.push(mx.zeros((1, 128)))


def test_an_empty_clip_has_no_tokens(tower):
    stream = tower.stream()
    assert stream.push(mx.zeros((0, 128))).shape == (0, 24)
    assert stream.finish().shape == (0, 24)


@pytest.mark.parametrize("raw", [False, True])
@settings(max_examples=30, deadline=None)
@given(samples=st.integers(161, 6000), sizes=st.lists(st.integers(0, 1500), max_size=10))
def test_front_end_is_exact_for_any_cutting(raw, samples, sizes):
    pcm = speech(samples, seed=samples)
    stream = RawStream() if raw else MelStream()
    parts = [stream.push(piece) for piece in cut(pcm, sizes)]
    whole = make_clip(pcm, raw=raw)
    frames = np.concatenate([*parts, stream.finish()])
    assert np.array_equal(frames, whole.features)
    assert stream.clip().key == whole.key


@pytest.mark.parametrize("raw", [False, True])
def test_sample_by_sample_equals_the_whole_clip(raw):
    pcm = speech(1700)
    stream = RawStream() if raw else MelStream()
    parts = [stream.push(pcm[i : i + 1]) for i in range(pcm.size)]
    whole = make_clip(pcm, raw=raw)
    assert np.array_equal(np.concatenate([*parts, stream.finish()]), whole.features)


@pytest.mark.parametrize("raw", [False, True])
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(0, 2500), min_size=1, max_size=6), back=st.integers(0, 5))
def test_front_end_rollback(raw, sizes, back):
    stream = RawStream() if raw else MelStream()
    pushed, marks = [], []
    for number, size in enumerate(sizes):
        marks.append((stream.mark(), list(pushed)))
        pushed.append(speech(size, seed=number))
        stream.push(pushed[-1])
    mark, pushed = marks[min(back, len(marks) - 1)]
    stream.rollback(mark)
    last = speech(777, seed=99)
    stream.push(last)
    whole = make_clip(np.concatenate([*pushed, last]), raw=raw)
    got = stream.clip()
    assert got.key == whole.key
    assert np.array_equal(got.features, whole.features)


@pytest.mark.parametrize("raw", [False, True])
def test_microphone_to_soft_tokens(tower, raw):
    """Samples in 30 ms pieces, a speculative end, more samples: equal to the whole clip."""
    pcm = speech(9_123)
    project = MultimodalProjector(640 if raw else 24, 16)
    front = RawStream() if raw else MelStream()
    clip = ClipStream(front, None if raw else tower.stream(), project)
    parts = []
    for start in range(0, pcm.size, 480):
        parts.append(clip.push(pcm[start : start + 480]))
        if start == 4800:
            mark = clip.mark()
            clip.finish()
            clip.rollback(mark)
    parts.append(clip.finish())
    whole = make_clip(pcm, raw=raw)
    features = mx.array(whole.features)
    assert_equal(joined(parts), project(features if raw else tower(features)))
    assert clip.front.clip().key == whole.key
    assert len(joined(parts)) == whole.soft_tokens


def test_states_do_not_grow(tower):
    """Ten seconds in, a layer remembers eleven keys, eleven values and four rows: no more."""
    stream = tower.stream()
    for _ in range(30):
        mx.eval(stream.push(mx.random.normal((30, 128))))
    layer = stream.mark().state.layers[0]
    assert layer.keys.shape == layer.values.shape == (2, 11, 16)
    assert layer.tail.shape == (4, 32)
    assert stream.tokens == 225


def test_quantised_towers_stream_too():
    """Some conversions quantise the tower's linear layers; types must not be read off those."""
    mx.random.seed(2)
    quantised = AudioTower(SHAPE)
    quantised.update(tree_map(_drawn, quantised.parameters()))
    mel = mx.random.normal((37, 128))
    plain = np.array(quantised(mel))
    nn.quantize(quantised, group_size=32, bits=8)
    whole = quantised(mel)
    stream = quantised.stream()
    parts = [stream.push(mel[:10]), stream.push(mel[10:]), stream.finish()]
    assert_equal(joined(parts), whole)
    assert 0 < np.abs(np.array(whole) - plain).max() < 0.1 * np.abs(plain).max()
