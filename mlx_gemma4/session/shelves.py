"""Tails of the conversation that were left: another version of a reply, text before an edit.

A shelf holds the keys and values that the tail had in full layers, and the snapshots that lay in
it. Going back to it puts them into the cache again, so nothing is run twice. A tail can stand on
another shelf's tail (a branch of a branch); then both are put back, one behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlx_gemma4.session.tape import Tape
    from mlx_gemma4.snapshot import Snapshot, Tail

_MOST = 64
"""Shelves kept at once, so that looking through them takes bounded time."""


class Point(NamedTuple):
    """A snapshot and whether a turn ended there."""

    snapshot: Snapshot
    turn_end: bool

    @property
    def offset(self) -> int:
        """Tokens before it."""
        return self.snapshot.offset


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """A tail that was left.

    Attributes:
        tape: the conversation it was part of, from its first token; nobody changes it any more.
        tail: rows of the full layers from the fork to the last snapshot.
        points: snapshots in the tail, ascending, at least one.
    """

    tape: Tape
    tail: Tail
    points: tuple[Point, ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        windows = sum(point.snapshot.nbytes for point in self.points)
        return self.tail.nbytes + windows + self.tape.nbytes


class Way(NamedTuple):
    """How to get further on a tape with what the shelves hold.

    Attributes:
        tails: rows to put back, one behind the other.
        points: snapshots on the way, ascending.
        spent: shelves that hold nothing else.
    """

    tails: Sequence[Tail]
    points: Sequence[Point]
    spent: Sequence[Shelf]


class Shelves:
    """All shelves, the oldest first."""

    def __init__(self) -> None:
        self._shelves: list[Shelf] = []

    def __len__(self) -> int:
        return len(self._shelves)

    @property
    def nbytes(self) -> int:
        """Bytes of all shelves."""
        return sum(shelf.nbytes for shelf in self._shelves)

    def add(self, shelf: Shelf) -> None:
        """Keep a tail; it replaces those it contains."""
        kept = [s for s in self._shelves if not _contains(shelf, s)]
        self._shelves = [*kept[max(0, len(kept) + 1 - _MOST) :], shelf]

    def discard(self, shelf: Shelf) -> None:
        """Forget one shelf."""
        self._shelves.remove(shelf)

    def shrink(self, excess: int) -> int:
        """Drop the oldest until ``excess`` bytes are free; returns the bytes."""
        freed = 0
        while self._shelves and freed < excess:
            freed += self._shelves.pop(0).nbytes
        return freed

    def way(self, tape: Tape, reach: int) -> Way:
        """Find what brings a cache that holds ``reach`` tokens of ``tape`` furthest."""
        ahead = [(min(s.tape.common_prefix(tape), s.tail.stop), s) for s in self._shelves]
        way: list[tuple[int, int, Shelf]] = []
        while True:
            usable = [(stop, s) for stop, s in ahead if s.tail.start <= reach < stop]
            if not usable:
                break
            stop, shelf = max(usable, key=lambda found: found[0])
            way.append((reach, stop, shelf))
            reach = stop
        points = {
            point.offset: point
            for _, stop, shelf in way
            for point in shelf.points
            if point.offset <= stop
        }
        return Way(
            [shelf.tail.part(low, high) for low, high, shelf in way],
            [points[offset] for offset in sorted(points)],
            [shelf for _, stop, shelf in way if stop == shelf.tail.stop],
        )


def _contains(outer: Shelf, inner: Shelf) -> bool:
    same = outer.tape.common_prefix(inner.tape)
    return outer.tail.start <= inner.tail.start and inner.tail.stop <= min(same, outer.tail.stop)
