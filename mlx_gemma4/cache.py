"""Key/value caches: full layers remember everything, sliding layers a window plus slack.

Both keep tokens in time order, so a forward pass gets plain slices with known absolute positions
and masks need no ring arithmetic. A layer's keys and values lie in one array
[batch, 2 groups, time, head dim], keys first, so that new tokens are written by one kernel.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import mlx.core as mx

from mlx_gemma4.errors import SessionError
from mlx_gemma4.snapshot import Snapshot, Tail, WindowState, array_bytes

if TYPE_CHECKING:
    from mlx_gemma4.kv_packed import PackedRows

_STEP = 256  # rows; buffers grow in multiples of this
DEFAULT_SLACK = 64
"""Tokens beyond the window that a sliding cache keeps, so that this many can always be trimmed."""


class KV(NamedTuple):
    """Keys and values [batch, groups, time, head dim]; ``start``: position of the first row."""

    keys: mx.array | PackedRows
    values: mx.array | PackedRows
    start: int


class Slot(NamedTuple):
    """A layer's buffer [batch, 2 groups, capacity, head dim]; row ``at`` is the next token's."""

    buffer: mx.array
    at: int


class RowStore(Protocol):
    """Where attention puts the keys and values of new tokens."""

    def append(self, rows: mx.array) -> KV:
        """Add new rows and return all keys and values attention may see now."""
        ...


class FullCache:
    """Keeps every token. A snapshot is only a length."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.offset = start
        self._rows: mx.array | None = None
        self._marks: tuple[int, ...] = ()

    @property
    def trimmable(self) -> int:
        """How many of the newest tokens can be dropped."""
        return self.offset - self.start

    @property
    def nbytes(self) -> int:
        """Bytes held, spare rows included."""
        return array_bytes(self._rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of one position; 0 while nothing is stored."""
        return 0 if self._rows is None else self.nbytes // self._rows.shape[2]

    def append(self, rows: mx.array) -> KV:
        """Add new rows and return all keys and values attention may see now.

        Args:
            rows: keys, then values, of the new tokens [batch, 2 groups, time, head dim].
        """
        used, new = self.offset - self.start, rows.shape[2]
        self._rows = _written(self._with_room(rows, new), rows, used)
        self.offset += new
        return self.view()

    def slot(self) -> Slot | None:
        """Make room for one token that :meth:`take` brings; ``None`` while nothing is stored."""
        if self._rows is None:
            return None
        self._rows = self._with_room(self._rows, 1)
        return Slot(self._rows, self.offset - self.start)

    def take(self, rows: mx.array) -> None:
        """The buffer of :meth:`slot` with one more token in it."""
        self._rows = rows
        self.offset += 1

    def _with_room(self, like: mx.array, new: int) -> mx.array:
        used = self.offset - self.start
        if self._rows is not None and used + new <= self._rows.shape[2]:
            return self._rows
        capacity = _rounded(max(used + new, used + used // 8))
        return _grown(self._rows, like, used, capacity)

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` more tokens now; does nothing while nothing is stored."""
        if self._rows is not None:
            self._rows = self._with_room(self._rows, rows)

    def view(self) -> KV:
        """All stored keys and values."""
        return _sliced(self._rows, 0, self.offset - self.start, self.start)

    def trim(self, count: int) -> None:
        """Drop the newest ``count`` tokens (at most ``trimmable``)."""
        self.offset -= count

    def snapshot(self) -> int:
        """The state to give to :meth:`restore`: the offset; the rows stay where they are."""
        return self.offset

    def restore(self, state: int) -> None:
        """Go back to a snapshot of this cache (the owner checks that its rows still stand)."""
        self.offset = state

    def rows(self, low: int, high: int) -> tuple[mx.array, ...]:
        """Own copies of the stored rows at positions ``low`` … ``high``."""
        assert self._rows is not None
        return (_owned(self._rows[:, :, low - self.start : high - self.start]),)

    def put(self, position: int, rows: tuple[mx.array, ...]) -> None:
        """Write stored rows back at ``position``, which must not leave a gap; ends behind them."""
        self.offset = position
        self.append(*rows)

    def reset(self) -> None:
        """Forget every token; the rows stay where they are until others are written."""
        self.offset = self.start

    def set_marks(self, positions: Sequence[int]) -> None:
        """See :meth:`Cache.snapshots_at`."""
        self._marks = tuple(positions)

    def take_marks(self) -> tuple[int, ...]:
        """The states at the marks; clears them."""
        marks, self._marks = self._marks, ()
        return marks

    def arrays(self) -> list[mx.array]:
        """What to evaluate so that the cache is materialised."""
        return [] if self._rows is None else [self._rows]


class SlidingCache:
    """Keeps the last ``window - 1`` tokens, which is what the next token sees, plus slack."""

    def __init__(self, window: int, start: int = 0, slack: int = DEFAULT_SLACK) -> None:
        self.window = window
        self.slack = slack
        self.start = start
        self.offset = start
        self._base = start  # absolute position of row 0
        self._rows: mx.array | None = None
        self._marks: tuple[int, ...] = ()
        self._marked: list[WindowState] = []

    @property
    def trimmable(self) -> int:
        """How many of the newest tokens can be dropped and still leave a whole window."""
        used = self.offset - self._base
        return used if self._base == self.start else max(0, used - (self.window - 1))

    @property
    def nbytes(self) -> int:
        """Bytes held, spare rows included."""
        return array_bytes(self._rows)

    def append(self, rows: mx.array) -> KV:
        """Add new rows (see :meth:`FullCache.append`) and return what their attention may see.

        That is up to ``window - 1`` earlier tokens and all new ones, also when more tokens arrive
        at once than the window holds.
        """
        used, new = self.offset - self._base, rows.shape[2]
        seen = min(used, self.window - 1)
        if self._rows is None or used + new > self._rows.shape[2]:
            return self._append_rebuilding(rows, seen)
        self._rows = _written(self._rows, rows, used)
        self.offset += new
        self._copy_marks(self._rows, self._base)
        return _sliced(self._rows, used - seen, used + new, self._base)

    def slot(self) -> Slot | None:
        """See :meth:`FullCache.slot`; ``None`` also where a snapshot is to be taken in between."""
        if self._rows is None or self._marks:
            return None
        self.reserve(1)
        return Slot(self._rows, self.offset - self._base)

    def take(self, rows: mx.array) -> None:
        """See :meth:`FullCache.take`."""
        self._rows = rows
        self.offset += 1

    def reserve(self, rows: int) -> None:
        """See :meth:`FullCache.reserve`; the oldest rows that nobody can go back to are dropped."""
        used = self.offset - self._base
        if self._rows is None or used + rows <= self._rows.shape[2]:
            return
        kept = min(used, self.window - 1 + self.slack)
        capacity = _rounded(kept + max(rows, _STEP // 2))
        self._rows = _rebuilt(self._rows[:, :, used - kept : used], kept, capacity)
        self._base = self.offset - kept

    def _append_rebuilding(self, rows: mx.array, seen: int) -> KV:
        """The buffer is full: join its tail with the new rows and start a fresh one."""
        used, new = self.offset - self._base, rows.shape[2]
        tail = min(used, self.window - 1 + self.slack)
        if tail:
            assert self._rows is not None
            rows = mx.concatenate([self._rows[:, :, used - tail : used], rows], axis=2)
        seen_kv = _sliced(rows, tail - seen, tail + new, self.offset - tail)
        joined_base = self.offset - tail
        self.offset += new
        self._copy_marks(rows, joined_base)
        kept = min(tail + new, self.window - 1 + self.slack)
        self._base = self.offset - kept
        capacity = _rounded(kept + _STEP // 2)
        self._rows = _rebuilt(rows, kept, capacity)
        return seen_kv

    def view(self) -> KV:
        """The keys and values the token at ``offset - 1`` sees, itself included."""
        used = self.offset - self._base
        low = max(0, used - self.window)
        return _sliced(self._rows, low, used, self._base)

    def trim(self, count: int) -> None:
        """Drop the newest ``count`` tokens (at most ``trimmable``)."""
        self.offset -= count

    def snapshot(self) -> WindowState:
        """An own, evaluated copy of the rows the next token can see."""
        used = self.offset - self._base
        seen = min(used, self.window - 1)
        if self._rows is None or not seen:
            return WindowState(self.offset, self.offset, None)
        rows = _owned(self._rows[:, :, used - seen : used])
        mx.eval(rows)
        return WindowState(self.offset, self.offset - seen, rows)

    def restore(self, state: WindowState) -> None:
        """Go back to a snapshot; the snapshot stays valid and can be restored again."""
        self.offset, self._base = state.offset, state.base
        # A new handle: item assignment into ours must not change the snapshot's.
        self._rows = None if state.rows is None else state.rows[...]

    def reset(self) -> None:
        """Forget every token."""
        self.offset = self._base = self.start
        self._rows = None

    def set_marks(self, positions: Sequence[int]) -> None:
        """See :meth:`Cache.snapshots_at`."""
        self._marks, self._marked = tuple(positions), []

    def take_marks(self) -> tuple[WindowState, ...]:
        """The states at the marks; clears them."""
        marked, self._marks, self._marked = self._marked, (), []
        return tuple(marked)

    def _copy_marks(self, rows: mx.array, base: int) -> None:
        """Copy the windows that end at the marks while their rows are still here."""
        for position in self._marks:
            low, high = max(base, position - self.window + 1) - base, position - base
            self._marked.append(WindowState(position, base + low, _owned(rows[:, :, low:high])))

    def arrays(self) -> list[mx.array]:
        """What to evaluate so that the cache is materialised."""
        held = [self._rows, *(state.rows for state in self._marked)]
        return [a for a in held if a is not None]


class Cache:
    """The caches of all layers that have keys and values of their own, in layer order."""

    def __init__(self, layers: Sequence[FullCache | SlidingCache]) -> None:
        self.layers = tuple(layers)
        self._written_to = self.offset
        self._snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> FullCache | SlidingCache:
        return self.layers[index]

    def __iter__(self) -> Iterator[FullCache | SlidingCache]:
        return iter(self.layers)

    @property
    def start(self) -> int:
        """Absolute position of the first token."""
        return self.layers[0].start

    @property
    def offset(self) -> int:
        """Absolute position of the next token."""
        return self.layers[0].offset

    @property
    def nbytes(self) -> int:
        """Bytes held by all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def arrays(self) -> list[mx.array]:
        """What to evaluate so that the cache is materialised (``mx.eval(cache.arrays())``)."""
        return [array for layer in self.layers for array in layer.arrays()]

    def trim(self, count: int) -> int:
        """Drop the newest tokens; returns how many were dropped.

        That is ``count`` or, when a window has already slid past, fewer: the same number in all
        layers.
        """
        count = max(0, min(count, *(layer.trimmable for layer in self.layers)))
        for layer in self.layers:
            layer.trim(count)
        return count

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` more tokens, so that appending them copies no buffer."""
        for layer in self.layers:
            layer.reserve(rows)

    def snapshot(self) -> Snapshot:
        """Remember this point exactly: copies the windows, and of full layers only the length."""
        snapshot = Snapshot(self.offset, [layer.snapshot() for layer in self.layers])
        self._snapshots.add(snapshot)
        return snapshot

    @contextmanager
    def snapshots_at(self, positions: Sequence[int]) -> Iterator[list[Snapshot]]:
        """Snapshots inside the one forward pass that runs in this block.

        A long chunk slides windows past its own beginning; its earlier positions can only be
        remembered while it runs. The caller evaluates ``arrays()`` inside the block.

        Args:
            positions: absolute, ascending, after the present offset and not beyond the new one.

        Yields:
            A list that holds the snapshots once the block has ended.
        """
        taken: list[Snapshot] = []
        for layer in self.layers:
            layer.set_marks(positions)
        try:
            yield taken
        except BaseException:
            for layer in self.layers:
                layer.take_marks()
            raise
        states = [layer.take_marks() for layer in self.layers]
        for index, position in enumerate(positions):
            taken.append(Snapshot(position, [state[index] for state in states]))
        self._snapshots.update(taken)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back (or forward) to a snapshot of this cache.

        Raises:
            SessionError: the snapshot is of another cache, or other tokens have since been written
                over the rows it relies on.
        """
        if snapshot not in self._snapshots or not snapshot.valid:
            raise SessionError(
                "This snapshot is no longer valid, because the conversation was changed before it; "
                "take a new one."
            )
        for layer, state in zip(self.layers, snapshot.layers, strict=True):
            layer.restore(state)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Go back to the start; rows of full layers stay until others are written over them."""
        for layer in self.layers:
            layer.reset()

    @property
    def row_bytes(self) -> int:
        """Bytes one position takes in all full layers together; 0 while nothing is stored."""
        return sum(a.row_bytes for a in self.layers if isinstance(a, FullCache))

    def copy_tail(self, start: int, stop: int) -> Tail:
        """Copy what full layers hold at positions ``start`` … ``stop``, before it is written over.

        Together with snapshots inside of that stretch it is all that :meth:`rejoin` needs.
        """
        full = [layer for layer in self.layers if isinstance(layer, FullCache)]
        tail = Tail(start, stop, tuple(layer.rows(start, stop) for layer in full))
        mx.eval(tail.layers)
        return tail

    def rejoin(self, tails: Sequence[Tail], snapshots: Sequence[Snapshot]) -> None:
        """Put tails back one behind the other and go to the last of the snapshots.

        Args:
            tails: the first begins where this cache's own rows end or before; no gaps.
            snapshots: ascending, inside of the tails, taken when these rows were written; all of
                them can be restored again from now on.
        """
        self._invalidate_after(tails[0].start)
        full = [layer for layer in self.layers if isinstance(layer, FullCache)]
        for tail in tails:
            for layer, rows in zip(full, tail.layers, strict=True):
                layer.put(tail.start, rows)
        self._written_to = tails[-1].stop
        for snapshot in snapshots:
            snapshot.valid = True
            self._snapshots.add(snapshot)
        self.restore(snapshots[-1])
        mx.eval(self.arrays())

    def before_append(self, rows: int) -> None:
        """Called once per forward pass: snapshots beyond this point lose their rows now."""
        offset = self.offset
        if offset < self._written_to:
            self._invalidate_after(offset)
        self._written_to = offset + rows

    def _invalidate_after(self, offset: int) -> None:
        for snapshot in list(self._snapshots):
            if snapshot.offset > offset:
                snapshot.valid = False
                self._snapshots.discard(snapshot)


def _rounded(rows: int) -> int:
    return -(-rows // _STEP) * _STEP


def _buffer(like: mx.array, capacity: int) -> mx.array:
    batch, heads, _, dims = like.shape
    return mx.zeros((batch, heads, capacity, dims), dtype=like.dtype)


def _written(buffer: mx.array | None, rows: mx.array, at: int) -> mx.array:
    """``buffer`` with ``rows`` at row ``at``; in place when nobody else holds the buffer."""
    assert buffer is not None
    buffer[:, :, at : at + rows.shape[2]] = rows
    return buffer


def _grown(buffer: mx.array | None, like: mx.array, used: int, capacity: int) -> mx.array:
    fresh = _buffer(like, capacity)
    return fresh if buffer is None else _written(fresh, buffer[:, :, :used], 0)


def _rebuilt(rows: mx.array, kept: int, capacity: int) -> mx.array:
    return _written(_buffer(rows, capacity), rows[:, :, rows.shape[2] - kept :], 0)


def _owned(rows: mx.array) -> mx.array:
    """A real copy: a slice would keep the whole buffer alive and stop in-place updates."""
    return rows * 1


def _sliced(rows: mx.array | None, low: int, high: int, base: int) -> KV:
    assert rows is not None
    keys, values = mx.split(rows[:, :, low:high], 2, axis=1)
    return KV(keys, values, base + low)
