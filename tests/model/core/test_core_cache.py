"""Caches against a plain list of everything ever appended."""

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4.cache import Cache, FullCache, SlidingCache
from mlx_gemma4.errors import SessionError

WINDOW, SLACK = 7, 5


def rows(start, count):
    """Rows that carry their own absolute position."""
    values = np.arange(start, start + count, dtype=np.float32)
    return mx.array(np.broadcast_to(values[None, None, :, None], (1, 2, count, 3)))


def positions(kv):
    keys, values = np.array(kv.keys), np.array(kv.values)
    assert (keys == -values).all()
    assert (keys == keys[:, :1, :, :1]).all()
    found = keys[0, 0, :, 0]
    assert (found == kv.start + np.arange(len(found))).all()
    return found


def both(keys):
    """Keys and, as values, their negatives: as a layer hands them to its cache."""
    return mx.concatenate([keys, -keys], axis=1)


def append(cache, count):
    new = rows(cache.offset, count)
    return positions(cache.append(both(new)))


def expected_view(cache, before, start):
    if isinstance(cache, FullCache):
        return np.arange(start, cache.offset)
    return np.arange(max(start, before - WINDOW + 1), cache.offset)


steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "trim", "snapshot", "restore"]),
        st.integers(1, 40),
    ),
    max_size=25,
)


@given(steps, st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_any_sequence_of_calls_shows_the_right_rows(sequence, start):
    cache = Cache([SlidingCache(WINDOW, start, SLACK), FullCache(start)])
    snapshots = []
    for action, count in sequence:
        before = cache.offset
        if action == "append":
            cache.before_append(count)
            for layer in cache:
                assert (append(layer, count) == expected_view(layer, before, start)).all()
        elif action == "trim":
            possible = min(count, *(layer.trimmable for layer in cache))
            assert cache.trim(count) == possible
            assert cache.offset == before - possible
        elif action == "snapshot":
            snapshots.append(cache.snapshot())
        elif snapshots:
            snapshot = snapshots[count % len(snapshots)]
            if snapshot.valid:
                cache.restore(snapshot)
                assert cache.offset == snapshot.offset
            else:
                with pytest.raises(SessionError):
                    cache.restore(snapshot)
        assert {layer.offset for layer in cache} == {cache.offset}


def test_slack_can_always_be_trimmed_after_the_window_has_slid():
    layer = SlidingCache(WINDOW, slack=SLACK)
    for count in (1, 50, 3, 1, 1, 300, *[1] * 700):
        append(layer, count)
        assert layer.trimmable >= min(SLACK, layer.offset)


def test_a_snapshot_survives_later_writes_into_the_buffer_it_came_from():
    layer = SlidingCache(WINDOW, slack=SLACK)
    append(layer, 30)
    state = layer.snapshot()
    for _ in range(3):
        layer.restore(state)
        layer.trim(0)
        assert (append(layer, 2) == np.arange(30 - WINDOW + 1, 32)).all()
        layer.trim(2)
        new = -rows(500, 1)  # other values where the first ones were
        layer.append(both(new))
    layer.restore(state)
    assert (append(layer, 1) == np.arange(30 - WINDOW + 1, 31)).all()


def test_a_snapshot_past_an_edit_is_refused():
    cache = Cache([SlidingCache(WINDOW), FullCache()])
    snapshots = []
    for _ in range(2):
        cache.before_append(10)
        for layer in cache:
            append(layer, 10)
        snapshots.append(cache.snapshot())
    early, late = snapshots
    cache.restore(early)
    cache.restore(late)  # nothing was overwritten yet
    cache.restore(early)
    cache.before_append(1)
    for layer in cache:
        append(layer, 1)
    assert not late.valid
    with pytest.raises(SessionError, match="no longer valid"):
        cache.restore(late)
    cache.restore(early)


def test_snapshot_of_another_cache_is_refused():
    one, two = (Cache([FullCache()]) for _ in range(2))
    with pytest.raises(SessionError):
        one.restore(two.snapshot())


def test_memory_of_a_sliding_cache_does_not_grow():
    layer = SlidingCache(window=512)
    new = mx.zeros((1, 1, 1024, 8))
    sizes = []
    for _ in range(6):
        layer.append(both(new))
        for _ in range(40):
            layer.append(both(new[:, :, :1]))
        mx.eval(layer.arrays())
        sizes.append(layer.nbytes)
    assert len(set(sizes)) == 1
    assert sizes[0] <= 2 * 2 * 512 * 8 * 4


def test_snapshot_costs_only_the_window():
    cache = Cache([SlidingCache(WINDOW), FullCache()])
    cache.before_append(100)
    for layer in cache:
        append(layer, 100)
    assert cache.snapshot().nbytes == 2 * (WINDOW - 1) * 2 * 3 * 4
