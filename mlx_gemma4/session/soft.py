"""Soft tokens of one medium, kept in the pieces they were made in.

A clip of sound grows while it is spoken. Joining its pieces would take time that grows with the
clip, just when the speaker waits for an answer; so only what a pass needs is ever joined.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import mlx.core as mx


@dataclass(frozen=True, slots=True, eq=False)
class SoftTokens:
    """Rows [n, hidden] in pieces; never changed.

    Attributes:
        pieces: evaluated arrays [k, hidden], k ≥ 1.
        ends: rows up to the end of each piece.
    """

    pieces: tuple[mx.array, ...] = ()
    ends: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * (self.pieces[0].nbytes // self.ends[0]) if self.pieces else 0

    def plus(self, rows: mx.array) -> SoftTokens:
        """These and ``rows`` [k, hidden] behind them."""
        return SoftTokens((*self.pieces, rows), (*self.ends, len(self) + rows.shape[0]))

    def __getitem__(self, part: slice) -> mx.array:
        """The rows of a stretch, joined; only its pieces are touched."""
        low, high, step = part.indices(len(self))
        assert step == 1
        if low >= high:
            return self.pieces[0][:0]
        first, last = bisect_right(self.ends, low), bisect_right(self.ends, high - 1)
        before = self.ends[first] - self.pieces[first].shape[0]
        touched = self.pieces[first : last + 1]
        joined = touched[0] if len(touched) == 1 else mx.concatenate(list(touched))
        return joined[low - before : high - before]


Rows = mx.array | SoftTokens
"""Soft tokens [n, hidden] of a medium: sliced, they are an array."""
