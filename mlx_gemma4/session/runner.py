"""Keeps one tape and one KV cache together: runs what is new, goes back without loss.

The cache always holds a prefix of the tape; the rest of the tape is *pending*. Going back restores
the nearest snapshot, so at most one grid step is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from mlx_gemma4.errors import SessionError
from mlx_gemma4.model import Embedded, Gemma4, block_ids
from mlx_gemma4.prefill import DEFAULT_CHUNK, chunks, soft_within
from mlx_gemma4.session.shelves import Shelf
from mlx_gemma4.session.soft import Rows
from mlx_gemma4.session.stores import SnapshotStore
from mlx_gemma4.session.tape import MediaRun, Tape

GRID = 256
"""Tokens between snapshots inside a long prompt."""
_WORTH_A_COPY = 16
"""Tokens of a tail from which on copying windows for it is cheaper than running it again."""


class Cancelled(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Prefill stopped between two chunks because the caller asked for it."""


@dataclass
class Watch:
    """How a caller follows and stops a prefill.

    Attributes:
        progress: called with (tokens done, tokens to do) after each chunk.
        cancelled: asked before each chunk; True stops with :class:`Cancelled`.
    """

    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)
    cancelled: Callable[[], bool] = field(default=lambda: False)


class Runner:
    """Owns tape, cache and snapshots of one conversation.

    Args:
        model: the model; used on the calling thread only.
        features: gives the soft tokens [n, hidden] of a medium on the tape.
        snapshot_bytes: room for snapshots.
        chunk: tokens per forward pass.
        kv_bits: see :meth:`~mlx_gemma4.text.TextModel.make_cache`.
    """

    def __init__(
        self,
        model: Gemma4,
        features: Callable[[MediaRun], Rows],
        snapshot_bytes: int,
        chunk: int = DEFAULT_CHUNK,
        *,
        kv_bits: int | None = None,
    ) -> None:
        self.tape = Tape()
        self.cache = model.make_cache(kv_bits=kv_bits)
        self._kv_bits = kv_bits
        self.snapshots = SnapshotStore(snapshot_bytes)
        self._model = model
        self._features = features
        self._chunk = chunk
        self._wanted: set[int] = set()  # snapshots to take when their tokens are run

    @property
    def pending(self) -> int:
        """Tokens on the tape that the model has not seen."""
        return len(self.tape) - self.cache.offset

    def advance(self, stop: int | None = None, watch: Watch | None = None) -> None:
        """Run the tape up to ``stop`` (all of it by default) into the cache.

        Raises:
            Cancelled: between two chunks; what was run stays valid.
        """
        self._run(len(self.tape) if stop is None else stop, watch or Watch(), read=False)

    def read_last(self, watch: Watch | None = None) -> mx.array:
        """Run the whole tape and return the hidden state of its last position, [1, 1, hidden].

        Raises:
            Cancelled: between two chunks. SessionError: the tape is empty.
        """
        if not len(self.tape):
            raise SessionError("There is nothing to answer yet; add a message first.")
        if not self.pending:
            self.rewind(len(self.tape) - 1)
        hidden = self._run(len(self.tape), watch or Watch(), read=True)
        assert hidden is not None
        return hidden

    def rewind(self, position: int) -> None:
        """Make the cache hold at most the first ``position`` tokens; the tape keeps its length.

        Never leaves part of a picture in the cache (spec 3.7).
        """
        position = self.tape.whole_blocks(position)
        excess = self.cache.offset - position
        if excess <= 0 or self.cache.trim(excess) == excess:
            return
        snapshot = self.snapshots.nearest(position)
        if snapshot is not None:
            self.cache.restore(snapshot)
        elif position:
            self.cache.reset()
        else:
            self.cache = self._model.make_cache(kv_bits=self._kv_bits)
            self.snapshots.forget_points()

    def truncate(self, length: int) -> None:
        """Cut tape and cache back to ``length`` tokens."""
        self.rewind(length)
        self._forget_wanted(length)
        self.tape.truncate(length)

    def replace(self, tape: Tape, *, keep: bool = True) -> int:
        """Take another tape; what it leaves behind is kept for coming back.

        Args:
            tape: what the conversation is from now on.
            keep: whether the present tape may be wanted again.

        Returns:
            How many leading tokens need not be run again.
        """
        shared = self.tape.common_prefix(tape)
        before, standing = self.cache, min(shared, self.cache.offset)
        if keep:
            self._shelve(shared)
        self.rewind(shared)
        self._forget_wanted(shared)
        self.tape = tape
        self._take_back(standing if self.cache is before else 0)
        return self.cache.offset

    def _shelve(self, start: int) -> None:
        """Copy what the cache holds from ``start`` on, up to its last snapshot."""
        cache, stop = self.cache, self.cache.offset
        room = (stop - start) * cache.row_bytes <= self.snapshots.limit
        if start >= stop or not room:
            return
        if stop - start >= _WORTH_A_COPY and not self.snapshots.has(stop):
            self.snapshots.add(cache.snapshot(), turn_end=True)
        kept = self.snapshots.take_between(start, stop)
        if kept:
            tail = cache.copy_tail(start, kept[-1].snapshot.offset)
            self.snapshots.add_shelf(Shelf(self.tape, tail, kept))

    def _take_back(self, standing: int) -> None:
        """Put back kept tails that the tape follows; rows up to ``standing`` are in the cache."""
        way = self.snapshots.shelves.way(self.tape, standing)
        ahead = [p for p in way.points if self.tape.whole_blocks(p.offset) == p.offset]
        if not ahead or ahead[-1].offset <= self.cache.offset:
            return
        self.cache.rejoin(way.tails, [p.snapshot for p in ahead])
        for shelf in way.spent:
            self.snapshots.shelves.discard(shelf)
        for point in ahead:
            self.snapshots.add(point.snapshot, turn_end=point.turn_end)

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` more tokens now: later it would come at a bad time."""
        self.cache.reserve(rows)
        mx.eval(self.cache.arrays())

    def snapshot(self) -> None:
        """Remember this point as a turn end, if the cache is level with the tape."""
        if not self.pending and len(self.tape):
            self.snapshots.add(self.cache.snapshot(), turn_end=True)

    def snapshot_on_the_way(self) -> None:
        """Remember this point as a turn end without a pass of its own.

        What is pending will be run by somebody anyway; that pass takes the snapshot in its midst.
        """
        if self.pending:
            self._wanted.add(len(self.tape))
        elif not self.snapshots.has(len(self.tape)):
            self.snapshot()

    def _forget_wanted(self, length: int) -> None:
        self._wanted = {p for p in self._wanted if p <= length}

    def _run(self, stop: int, watch: Watch, *, read: bool) -> mx.array | None:
        first = self.cache.offset
        stretch = self.tape.stretch(first, stop)
        soft = [self._soft(run, stop - first) for run in stretch.media]
        blocks = block_ids(stretch.token_types)
        hidden: mx.array | None = None
        for start, end in chunks(stretch.token_types, self._chunk):
            if watch.cancelled():
                raise Cancelled
            piece = self._model.embed(stretch.ids[start:end], soft_within(soft, start, end))
            reads = read and first + end == stop
            hidden = self._forward(piece, blocks[start:end], first + end, read=reads)
            watch.progress(end, stop - first)
        return hidden

    def _soft(self, run: MediaRun, length: int) -> tuple[int, mx.array]:
        """The part of a medium that lies in a stretch of ``length`` tokens, and where it begins."""
        low, high = max(0, -run.start), min(run.length, length - run.start)
        return run.start + low, self._features(run)[low:high]

    def _forward(
        self, piece: Embedded, blocks: np.ndarray, end: int, *, read: bool
    ) -> mx.array | None:
        """One pass over the tape up to position ``end``, with snapshots on the way."""
        hidden: mx.array | None = None
        with self.cache.snapshots_at(self._points(end)) as taken:
            if read:
                hidden = self._model.prefill(piece, self.cache, blocks=blocks)
                mx.eval(hidden, self.cache.arrays())
            else:
                self._model.extend(piece, self.cache, blocks=blocks)
                mx.eval(self.cache.arrays())
        for snapshot in taken:
            self.snapshots.add(snapshot, turn_end=snapshot.offset in self._wanted)
            self._wanted.discard(snapshot.offset)
        mx.clear_cache()
        return hidden

    def _points(self, end: int) -> list[int]:
        """Where the next pass, up to ``end``, takes snapshots: none of them cuts a picture."""
        first = self.cache.offset + 1
        grid = range(-(-first // GRID) * GRID, end + 1, GRID)
        points = {*grid, *(p for p in self._wanted if first <= p <= end)}
        return sorted(p for p in points if self.tape.whole_blocks(p) == p)
