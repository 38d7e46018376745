"""Runaway repetition is found, ordinary repetition is not."""

import random

import pytest

from mlx_gemma4.loops import LoopDetector


def first_alarm(tokens) -> int | None:
    detector = LoopDetector()
    return next((i for i, token in enumerate(tokens, start=1) if detector.feed(token)), None)


@pytest.mark.parametrize("period", [1, 2, 7, 32, 100, 256])
def test_a_loop_is_found_soon(period):
    block = list(range(1000, 1000 + period))
    intro = list(range(50))
    alarm = first_alarm(intro + block * 400)
    assert alarm is not None
    assert alarm <= len(intro) + period + max(6 * period, 192)


def test_block_longer_than_the_window_is_not_reported():
    assert first_alarm(list(range(300)) * 20) is None


def test_ordinary_text_passes():
    rng = random.Random(0)
    assert first_alarm(rng.choices(range(200), k=20_000)) is None
    row = [5, 9, 9, 7, 3]  # a table with rows that differ in one cell
    rows = [token for i in range(500) for token in (*row, 100 + i % 50, *row)]
    assert first_alarm(rows) is None
    assert first_alarm([7] * 150) is None  # a ruler


def test_a_break_starts_the_count_again():
    tokens = ([1, 2] * 90 + [3]) * 3
    assert first_alarm(tokens) is None
