"""Which keys each query sees, planned once per forward pass from absolute positions.

A pass over ``rows`` new tokens is cut into :class:`Band` objects: a few query rows and the stretch
of keys they need. Sliding layers take a quarter window of queries against at most 1.25 windows of
keys, so prefill computes the band and little else, in memory that does not grow with the prompt.
Full layers take as many rows as keep one score matrix within a fixed size.

Visibility (spec of the model): full layers ``j <= i``; sliding layers ``j <= i`` and ``j > i - W``;
inside a picture block, on sliding layers only, ``j`` may also be later than ``i`` but never leaves
the window: ``(j <= i or same block) and j > i - W``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import mlx.core as mx
import numpy as np

from mlx_gemma4.config import TextConfig

SCORE_ELEMENTS = 1 << 24
"""Upper bound of one full-attention score matrix, in elements over all heads (64 MB in float32)."""
_MIN_ROWS = 8  # up to 8 rows take MLX's vector attention kernel
_BANDS_PER_WINDOW = 4


@dataclass(frozen=True)
class Reach:
    """What one query row sees of a buffer that also holds rows it must not see.

    Attributes:
        last: int32 [1], the last row seen; on full layers all before it are seen too.
        bias: [1, rows of the buffer], 0 at rows seen and -inf elsewhere.
    """

    last: mx.array
    bias: mx.array


Mask = mx.array | Literal["causal"] | None
Sight = Mask | Reach


@dataclass(frozen=True)
class Band:
    """Query rows ``[row_start, row_stop)`` of this pass against keys at absolute positions.

    ``mask`` is ``None`` (all keys visible), ``"causal"`` (aligned to the last key), a boolean
    array [rows, keys] or a :class:`Reach`.
    """

    row_start: int
    row_stop: int
    key_start: int
    key_stop: int
    mask: Sight

    @property
    def elements(self) -> int:
        """Score elements per head."""
        return (self.row_stop - self.row_start) * (self.key_stop - self.key_start)


@dataclass(frozen=True)
class StepPlan:
    """The bands of one forward pass; ``offset`` is the absolute position of its first query row."""

    offset: int
    rows: int
    full: tuple[Band, ...]
    sliding: tuple[Band, ...]

    def bands(self, is_sliding: bool) -> tuple[Band, ...]:
        """The bands of one kind of layer."""
        return self.sliding if is_sliding else self.full


def plan_step(
    text: TextConfig, offset: int, rows: int, *, first: int = 0, blocks: np.ndarray | None = None
) -> StepPlan:
    """Plan one pass over ``rows`` new tokens starting at absolute position ``offset``.

    Args:
        text: the decoder's configuration.
        offset: tokens before this pass, as an absolute position.
        rows: new tokens.
        first: absolute position of the first token of the sequence.
        blocks: block id per new token, int [rows], 0 outside pictures; ``None`` if there are none
            or the model attends to pictures causally. A block must lie wholly inside one pass.
    """
    if text.use_bidirectional_attention != "vision" or blocks is None or not blocks.any():
        blocks = None
    return StepPlan(
        offset=offset,
        rows=rows,
        full=_full_bands(offset, rows, first, text.num_attention_heads),
        sliding=_sliding_bands(offset, rows, first, text.sliding_window, blocks),
    )


def plan_last_row(text: TextConfig, plan: StepPlan, first: int = 0) -> StepPlan:
    """The plan of only the last query row of ``plan``: no later key exists, so no mask either."""
    return plan_step(text, plan.offset + plan.rows - 1, 1, first=first)


def _full_bands(offset: int, rows: int, first: int, heads: int) -> tuple[Band, ...]:
    keys = offset + rows - first
    chunk = max(_MIN_ROWS, SCORE_ELEMENTS // (heads * keys))
    bands = []
    for start in range(0, rows, chunk):
        stop = min(start + chunk, rows)
        mask = "causal" if stop - start > 1 else None
        bands.append(Band(start, stop, first, offset + stop, mask))
    return tuple(bands)


def _sliding_bands(
    offset: int, rows: int, first: int, window: int, blocks: np.ndarray | None
) -> tuple[Band, ...]:
    chunk = max(1, window // _BANDS_PER_WINDOW)
    block_stops = None if blocks is None else _block_stops(blocks)
    shared: dict[tuple[int, int], mx.array] = {}  # inner bands all have the same relative mask
    bands = []
    for start in range(0, rows, chunk):
        stop = min(start + chunk, rows)
        key_start = max(first, offset + start - window + 1)
        if block_stops is not None and blocks is not None and blocks[start:stop].any():
            key_stop = offset + max(stop, int(block_stops[stop - 1]))
            mask: Mask = _block_mask(offset, start, stop, key_start, key_stop, window, blocks)
        else:
            key_stop = offset + stop
            mask = _window_mask(offset + start, offset + stop, key_start, window, shared)
        bands.append(Band(start, stop, key_start, key_stop, mask))
    return tuple(bands)


def _window_mask(
    start: int, stop: int, key_start: int, window: int, shared: dict[tuple[int, int], mx.array]
) -> Mask:
    """Mask of queries ``[start, stop)`` over keys ``[key_start, stop)`` (absolute positions)."""
    if stop - start == 1:
        return None
    if stop - key_start <= window:
        return "causal"
    shape = (stop - start, stop - key_start)
    if shape not in shared:
        shared[shape] = mx.array(_visible(start, stop, key_start, stop, window))
    return shared[shape]


def _visible(start: int, stop: int, key_start: int, key_stop: int, window: int) -> np.ndarray:
    query = np.arange(start, stop)[:, None]
    key = np.arange(key_start, key_stop)[None, :]
    return (key <= query) & (key > query - window)


def _block_mask(
    offset: int,
    start: int,
    stop: int,
    key_start: int,
    key_stop: int,
    window: int,
    blocks: np.ndarray,
) -> mx.array:
    """Window mask with the picture overlay; keys before this pass belong to no open block."""
    query = np.arange(offset + start, offset + stop)[:, None]
    key = np.arange(key_start, key_stop)[None, :]
    inside = np.where(key >= offset, blocks[np.maximum(key - offset, 0)], 0)
    own = blocks[start:stop, None]
    same = (inside == own) & (own != 0)
    return mx.array(((key <= query) | same) & (key > query - window))


def _block_stops(blocks: np.ndarray) -> np.ndarray:
    """For each row the row after its block ends (0 outside blocks), int [rows]."""
    stops = np.zeros(len(blocks), dtype=np.int64)
    borders = np.flatnonzero(np.diff(blocks)) + 1
    for start, stop in zip([0, *borders], [*borders, len(blocks)], strict=True):
        if blocks[start]:
            stops[start:stop] = stop
    return stops
