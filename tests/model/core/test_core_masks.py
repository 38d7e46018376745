"""Bands against the visibility rule written out, and how much they compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4 import masks
from mlx_gemma4.masks import plan_last_row, plan_step
from mlx_gemma4.published import published_config
from mlx_gemma4.testing import tiny_config


def visible(bands, rows, offset, first):
    """[rows, all keys] of what the bands let through; every row must be covered exactly once."""
    seen = np.zeros((rows, offset + rows - first), dtype=bool)
    covered = np.zeros(rows, dtype=int)
    for band in bands:
        height, width = band.row_stop - band.row_start, band.key_stop - band.key_start
        mask = band.mask
        if mask is None:
            allowed = np.ones((height, width), dtype=bool)
        elif isinstance(mask, str):  # causal, aligned to the last key
            allowed = np.arange(width)[None] <= np.arange(height)[:, None] + width - height
        else:
            allowed = np.array(mask)
            assert allowed.shape == (height, width)
        keys = slice(band.key_start - first, band.key_stop - first)
        seen[band.row_start : band.row_stop, keys] = allowed
        covered[band.row_start : band.row_stop] += 1
    assert (covered == 1).all()
    return seen


def rule(rows, offset, first, window=None, blocks=None):
    i = np.arange(offset, offset + rows)[:, None]
    j = np.arange(first, offset + rows)[None]
    seen = j <= i
    if blocks is not None:
        inside = np.where(j >= offset, blocks[np.maximum(j - offset, 0)], 0)
        seen |= (inside == blocks[i - offset]) & (inside != 0)
    return seen if window is None else seen & (j > i - window)


@st.composite
def passes(draw):
    first = draw(st.integers(0, 5))
    offset = first + draw(st.integers(0, 60))
    blocks, ids = [], 0
    for _ in range(draw(st.integers(1, 5))):
        picture = draw(st.booleans())
        ids += picture
        blocks += [ids if picture else 0] * draw(st.integers(1, 25))
    return first, offset, np.array(blocks, dtype=np.int32)


@given(passes(), st.sampled_from(["e2b", "31b"]))
@settings(max_examples=150, deadline=None)
def test_bands_follow_the_rule(case, arch):
    first, offset, blocks = case
    text = tiny_config(arch).text
    rows = len(blocks)
    plan = plan_step(text, offset, rows, first=first, blocks=blocks)
    overlay = blocks if arch == "31b" else None
    assert (visible(plan.full, rows, offset, first) == rule(rows, offset, first)).all()
    expected = rule(rows, offset, first, text.sliding_window, overlay)
    assert (visible(plan.sliding, rows, offset, first) == expected).all()
    last = plan_last_row(text, plan, first)
    assert (visible(last.sliding, 1, offset + rows - 1, first) == expected[-1:]).all()
    assert all(band.mask is None for band in (*last.sliding, *last.full))


@pytest.mark.parametrize("arch", ["e2b", "31b"])
@pytest.mark.parametrize(
    ("chunk", "offset"), [(2048, 0), (5000, 0), (300, 4096), (512, 4096), (2048, 4096)]
)
def test_sliding_prefill_computes_little_more_than_the_band(arch, chunk, offset):
    text = published_config(arch).text
    plan = plan_step(text, offset, chunk)
    exact = sum(min(text.sliding_window, offset + i + 1) for i in range(chunk))
    assert sum(band.elements for band in plan.sliding) <= 1.3 * exact


@pytest.mark.parametrize("context", [2_048, 32_768, 131_072])
def test_full_attention_keeps_its_score_matrix_within_a_fixed_size(context):
    text = published_config("e2b").text
    plan = plan_step(text, context - 2048, 2048)
    heads = text.num_attention_heads
    assert max(band.elements for band in plan.full) * heads <= masks.SCORE_ELEMENTS


def test_inner_bands_share_one_mask():
    plan = plan_step(published_config("e2b").text, 4096, 2048)
    arrays = {id(band.mask) for band in plan.sliding}
    assert len(plan.sliding) == 16
    assert len(arrays) == 1
