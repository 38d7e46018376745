"""What a session keeps so that nothing is computed twice: encoded media and KV snapshots.

Both are bounded by bytes and forget what was used longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from mlx_gemma4.session.shelves import Point, Shelf, Shelves

if TYPE_CHECKING:
    from mlx_gemma4.session.soft import Rows
    from mlx_gemma4.snapshot import Snapshot


class FeatureStore:
    """Soft tokens of encoded media by content key, least recently used first out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._features: OrderedDict[str, Rows] = OrderedDict()

    def get(self, key: str) -> Rows | None:
        """The features [n, hidden] of this medium, if still kept."""
        features = self._features.get(key)
        if features is not None:
            self._features.move_to_end(key)
        return features

    def put(self, key: str, features: Rows) -> None:
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
    """Points the cache can go back to: turn ends first in worth, then tails, then a regular grid.

    Space is made from grid points used longest ago, then from the oldest shelves, then from turn
    ends used longest ago. The newest snapshot always stays, whatever its size.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.shelves = Shelves()
        self._grid: OrderedDict[int, Snapshot] = OrderedDict()
        self._turns: OrderedDict[int, Snapshot] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes of all window copies and tails."""
        windows = sum(s.nbytes for kept in (self._grid, self._turns) for s in kept.values())
        return windows + self.shelves.nbytes

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

    def take_between(self, start: int, stop: int) -> tuple[Point, ...]:
        """Hand over the valid snapshots after ``start`` and up to ``stop``, ascending."""
        self._drop_invalid()
        points = []
        for position in [p for p in self.positions if start < p <= stop]:
            ends_turn = position in self._turns
            kept = self._turns if ends_turn else self._grid
            points.append(Point(kept.pop(position), turn_end=ends_turn))
        return tuple(points)

    def forget_points(self) -> None:
        """Forget all snapshots, because the cache they belong to is gone; shelves stay."""
        self._grid.clear()
        self._turns.clear()

    def add_shelf(self, shelf: Shelf) -> None:
        """Keep a tail that the conversation leaves; older ones make room."""
        self.shelves.add(shelf)
        self._make_room(None)

    def _drop_invalid(self) -> None:
        for kept in (self._grid, self._turns):
            for position in [p for p, s in kept.items() if not s.valid]:
                del kept[position]

    def _make_room(self, newest: int | None) -> None:
        self._drop_invalid()
        excess = self.nbytes - self.limit
        excess -= self._shrink(self._grid, excess, newest)
        excess -= self.shelves.shrink(excess)
        self._shrink(self._turns, excess, newest)

    @staticmethod
    def _shrink(kept: OrderedDict[int, Snapshot], excess: int, newest: int | None) -> int:
        """Drop what was used longest ago; returns the bytes it gave."""
        freed = 0
        for position in [p for p in kept if p != newest]:
            if freed >= excess:
                break
            freed += kept.pop(position).nbytes
        return freed
