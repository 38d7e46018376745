"""What a session keeps so that nothing is computed twice: encoded media and KV snapshots.

Both are bounded by bytes and forget what was used longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mlx.core as mx

    from mlx_gemma4.cache import Snapshot


class FeatureStore:
    """Soft tokens of encoded media by content key, least recently used first out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._features: OrderedDict[str, mx.array] = OrderedDict()

    def get(self, key: str) -> mx.array | None:
        """The features [n, hidden] of this medium, if still kept."""
        features = self._features.get(key)
        if features is not None:
            self._features.move_to_end(key)
        return features

    def put(self, key: str, features: mx.array) -> None:
        """Keep evaluated features; older ones make room."""
        self.discard(key)
        self._features[key] = features
        self.nbytes += features.nbytes
        while self.nbytes > self.limit and len(self._features) > 1:
            self.discard(next(iter(self._features)))

    def discard(self, key: str) -> None:
        """Forget one medium."""
        features = self._features.pop(key, None)
        if features is not None:
            self.nbytes -= features.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._features.clear()
        self.nbytes = 0


class SnapshotStore:
    """Points the cache can go back to: turn ends first in worth, then a regular grid.

    Space is made from grid points used longest ago, then from turn ends used longest ago. The
    newest snapshot always stays, whatever its size.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._grid: OrderedDict[int, Snapshot] = OrderedDict()
        self._turns: OrderedDict[int, Snapshot] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all kept window copies."""
        return sum(s.nbytes for kept in (self._grid, self._turns) for s in kept.values())

    @property
    def positions(self) -> tuple[int, ...]:
        """Where the cache can go back to, ascending."""
        return tuple(sorted({*self._grid, *self._turns}))

    def add(self, snapshot: Snapshot, *, turn_end: bool) -> None:
        """Keep a snapshot; a turn end replaces a grid point at the same place."""
        if turn_end:
            self._grid.pop(snapshot.offset, None)
            self._turns[snapshot.offset] = snapshot
        elif snapshot.offset not in self._turns:
            self._grid[snapshot.offset] = snapshot
        self._make_room(snapshot.offset)

    def has(self, position: int) -> bool:
        """Whether a valid snapshot stands exactly here."""
        found = self._turns.get(position) or self._grid.get(position)
        return found is not None and found.valid

    def nearest(self, position: int) -> Snapshot | None:
        """The newest valid snapshot at or before ``position``."""
        self._drop_invalid()
        usable = [p for p in self.positions if p <= position]
        if not usable:
            return None
        kept = self._turns if usable[-1] in self._turns else self._grid
        kept.move_to_end(usable[-1])
        return kept[usable[-1]]

    def clear(self) -> None:
        """Forget everything."""
        self._grid.clear()
        self._turns.clear()

    def _drop_invalid(self) -> None:
        for kept in (self._grid, self._turns):
            for position in [p for p, s in kept.items() if not s.valid]:
                del kept[position]

    def _make_room(self, newest: int) -> None:
        self._drop_invalid()
        excess = self.nbytes - self.limit
        for kept in (self._grid, self._turns):
            for position in list(kept):
                if excess <= 0:
                    return
                if position != newest:
                    excess -= kept.pop(position).nbytes
