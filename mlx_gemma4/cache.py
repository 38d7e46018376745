"""Key/value caches: full layers remember everything, sliding layers a window plus slack.

Both keep tokens in time order, so a forward pass gets plain slices with known absolute positions
and masks need no ring arithmetic. Arrays are [batch, kv heads, time, head dim].
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import mlx.core as mx

from mlx_gemma4.errors import SessionError

_STEP = 256  # rows; buffers grow in multiples of this
DEFAULT_SLACK = 64
"""Tokens beyond the window that a sliding cache keeps, so that this many can always be trimmed."""


class KV(NamedTuple):
    """Keys and values [batch, kv heads, time, head dim]; ``start``: position of the first row."""

    keys: mx.array
    values: mx.array
    start: int


Rows = tuple[mx.array, ...]
"""Stored rows of a full layer, [batch, kv heads, time, ...] each: keys and values."""


class Tail(NamedTuple):
    """Own copies of the rows of all full layers at positions ``start`` … ``stop``."""

    start: int
    stop: int
    layers: tuple[Rows, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return sum(_nbytes(*rows) for rows in self.layers)

    def part(self, low: int, high: int) -> Tail:
        """The rows at positions ``low`` … ``high``, not copied."""
        cut = slice(low - self.start, high - self.start)
        return Tail(low, high, tuple(tuple(a[:, :, cut] for a in rows) for rows in self.layers))


class FullCache:
    """Keeps every token. A snapshot is only a length."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.offset = start
        self._keys: mx.array | None = None
        self._values: mx.array | None = None
        self._marks: tuple[int, ...] = ()

    @property
    def trimmable(self) -> int:
        """How many of the newest tokens can be dropped."""
        return self.offset - self.start

    @property
    def nbytes(self) -> int:
        """Bytes held, spare rows included."""
        return _nbytes(self._keys, self._values)

    @property
    def row_bytes(self) -> int:
        """Bytes of one position; 0 while nothing is stored."""
        return self.nbytes // self._keys.shape[2] if self._keys is not None else 0

    def append(self, keys: mx.array, values: mx.array) -> KV:
        """Add new rows and return all keys and values attention may see now."""
        used, new = self.offset - self.start, keys.shape[2]
        if self._keys is None or used + new > self._keys.shape[2]:
            capacity = _rounded(max(used + new, used + used // 8))
            self._keys = _grown(self._keys, keys, used, capacity)
            self._values = _grown(self._values, values, used, capacity)
        self._keys = _written(self._keys, keys, used)
        self._values = _written(self._values, values, used)
        self.offset += new
        return self.view()

    def view(self) -> KV:
        """All stored keys and values."""
        return _sliced(self._keys, self._values, 0, self.offset - self.start, self.start)

    def trim(self, count: int) -> None:
        """Drop the newest ``count`` tokens (at most ``trimmable``)."""
        self.offset -= count

    def snapshot(self) -> int:
        """The state to give to :meth:`restore`: the offset; the rows stay where they are."""
        return self.offset

    def restore(self, state: int) -> None:
        """Go back to a snapshot of this cache (the owner checks that its rows still stand)."""
        self.offset = state

    def rows(self, low: int, high: int) -> Rows:
        """Own copies of the stored rows at positions ``low`` … ``high``."""
        assert self._keys is not None
        assert self._values is not None
        first, last = low - self.start, high - self.start
        return _owned(self._keys[:, :, first:last]), _owned(self._values[:, :, first:last])

    def put(self, position: int, rows: Rows) -> None:
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
        return [a for a in (self._keys, self._values) if a is not None]


class WindowState(NamedTuple):
    """A sliding cache's snapshot: an own copy of the rows the next token can see."""

    offset: int
    base: int
    keys: mx.array | None
    values: mx.array | None


class SlidingCache:
    """Keeps the last ``window - 1`` tokens, which is what the next token sees, plus slack."""

    def __init__(self, window: int, start: int = 0, slack: int = DEFAULT_SLACK) -> None:
        self.window = window
        self.slack = slack
        self.start = start
        self.offset = start
        self._base = start  # absolute position of row 0
        self._keys: mx.array | None = None
        self._values: mx.array | None = None
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
        return _nbytes(self._keys, self._values)

    def append(self, keys: mx.array, values: mx.array) -> KV:
        """Add new rows and return what their attention may see.

        That is up to ``window - 1`` earlier tokens and all new ones, also when more tokens arrive
        at once than the window holds.
        """
        used, new = self.offset - self._base, keys.shape[2]
        seen = min(used, self.window - 1)
        if self._keys is None or used + new > self._keys.shape[2]:
            return self._append_rebuilding(keys, values, seen)
        self._keys = _written(self._keys, keys, used)
        self._values = _written(self._values, values, used)
        self.offset += new
        self._copy_marks(self._keys, self._values, self._base)
        return _sliced(self._keys, self._values, used - seen, used + new, self._base)

    def _append_rebuilding(self, keys: mx.array, values: mx.array, seen: int) -> KV:
        """The buffer is full: join its tail with the new rows and start a fresh one."""
        used, new = self.offset - self._base, keys.shape[2]
        tail = min(used, self.window - 1 + self.slack)
        if tail:
            assert self._keys is not None
            assert self._values is not None
            keys = mx.concatenate([self._keys[:, :, used - tail : used], keys], axis=2)
            values = mx.concatenate([self._values[:, :, used - tail : used], values], axis=2)
        seen_kv = _sliced(keys, values, tail - seen, tail + new, self.offset - tail)
        joined_base = self.offset - tail
        self.offset += new
        self._copy_marks(keys, values, joined_base)
        kept = min(tail + new, self.window - 1 + self.slack)
        self._base = self.offset - kept
        capacity = _rounded(kept + _STEP // 2)
        self._keys = _rebuilt(keys, kept, capacity)
        self._values = _rebuilt(values, kept, capacity)
        return seen_kv

    def view(self) -> KV:
        """The keys and values the token at ``offset - 1`` sees, itself included."""
        used = self.offset - self._base
        low = max(0, used - self.window)
        return _sliced(self._keys, self._values, low, used, self._base)

    def trim(self, count: int) -> None:
        """Drop the newest ``count`` tokens (at most ``trimmable``)."""
        self.offset -= count

    def snapshot(self) -> WindowState:
        """An own, evaluated copy of the rows the next token can see."""
        used = self.offset - self._base
        seen = min(used, self.window - 1)
        if self._keys is None or self._values is None or not seen:
            return WindowState(self.offset, self.offset, None, None)
        keys = _owned(self._keys[:, :, used - seen : used])
        values = _owned(self._values[:, :, used - seen : used])
        mx.eval(keys, values)
        return WindowState(self.offset, self.offset - seen, keys, values)

    def restore(self, state: WindowState) -> None:
        """Go back to a snapshot; the snapshot stays valid and can be restored again."""
        self.offset, self._base = state.offset, state.base
        self._keys = self._values = None
        if state.keys is not None and state.values is not None:
            # New handles: item assignment into ours must not change the snapshot's.
            self._keys, self._values = state.keys[...], state.values[...]

    def reset(self) -> None:
        """Forget every token."""
        self.offset = self._base = self.start
        self._keys = self._values = None

    def set_marks(self, positions: Sequence[int]) -> None:
        """See :meth:`Cache.snapshots_at`."""
        self._marks, self._marked = tuple(positions), []

    def take_marks(self) -> tuple[WindowState, ...]:
        """The states at the marks; clears them."""
        marked, self._marks, self._marked = self._marked, (), []
        return tuple(marked)

    def _copy_marks(self, keys: mx.array, values: mx.array, base: int) -> None:
        """Copy the windows that end at the marks while their rows are still here."""
        for position in self._marks:
            low, high = max(base, position - self.window + 1) - base, position - base
            rows = _owned(keys[:, :, low:high]), _owned(values[:, :, low:high])
            self._marked.append(WindowState(position, base + low, *rows))

    def arrays(self) -> list[mx.array]:
        """What to evaluate so that the cache is materialised."""
        held = [self._keys, self._values, *(a for s in self._marked for a in (s.keys, s.values))]
        return [a for a in held if a is not None]


class Snapshot:
    """State of a whole :class:`Cache`; belongs to the cache that made it."""

    def __init__(self, offset: int, layers: Sequence[int | WindowState]) -> None:
        self.offset = offset
        self.valid = True
        """Turns false once other tokens overwrote rows the snapshot relies on."""
        self._layers = tuple(layers)

    @property
    def layers(self) -> tuple[int | WindowState, ...]:
        """State of each layer's cache."""
        return self._layers

    @property
    def nbytes(self) -> int:
        """Bytes the snapshot holds on its own (window copies)."""
        states = (s for s in self._layers if isinstance(s, WindowState))
        return sum(_nbytes(s.keys, s.values) for s in states)


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
        mx.eval([a for rows in tail.layers for a in rows])
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


def _nbytes(*arrays: mx.array | None) -> int:
    return sum(array.nbytes for array in arrays if array is not None)


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


def _sliced(keys: mx.array | None, values: mx.array | None, low: int, high: int, base: int) -> KV:
    assert keys is not None
    assert values is not None
    return KV(keys[:, :, low:high], values[:, :, low:high], base + low)
