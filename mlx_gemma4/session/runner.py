"""Keeps one tape and one KV cache together: runs what is new, goes back without loss.

The cache always holds a prefix of the tape; the rest of the tape is *pending*. Going back restores
the nearest snapshot, so at most one grid step is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.core as mx

from mlx_gemma4.errors import SessionError
from mlx_gemma4.model import Gemma4
from mlx_gemma4.session.stores import SnapshotStore
from mlx_gemma4.session.tape import MediaRun, Tape

GRID = 256
"""Tokens between snapshots inside a long prompt."""
PREFILL_CHUNK = 1024
"""Tokens per forward pass; a multiple of GRID."""


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
    """

    def __init__(
        self,
        model: Gemma4,
        features: Callable[[MediaRun], mx.array],
        snapshot_bytes: int,
        chunk: int = PREFILL_CHUNK,
    ) -> None:
        self.tape = Tape()
        self.cache = model.make_cache()
        self.snapshots = SnapshotStore(snapshot_bytes)
        self.tokens_run = 0
        self._model = model
        self._features = features
        self._chunk = chunk

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
        if snapshot is None:
            self.cache = self._model.make_cache()
            self.snapshots.clear()
        else:
            self.cache.restore(snapshot)

    def truncate(self, length: int) -> None:
        """Cut tape and cache back to ``length`` tokens."""
        self.rewind(length)
        self.tape.truncate(length)

    def replace(self, tape: Tape) -> int:
        """Take another tape; returns how many leading tokens need not be run again."""
        shared = self.tape.common_prefix(tape)
        self.rewind(shared)
        self.tape = tape
        return min(self.cache.offset, shared)

    def snapshot(self) -> None:
        """Remember this point as a turn end, if the cache is level with the tape."""
        if not self.pending and len(self.tape):
            self.snapshots.add(self.cache.snapshot(), turn_end=True)

    def _run(self, stop: int, watch: Watch, *, read: bool) -> mx.array | None:
        first = self.cache.offset
        hidden: mx.array | None = None
        for start, end in self.tape.chunks(first, stop, self._chunk):
            if watch.cancelled():
                raise Cancelled
            hidden = self._forward(start, end, read=read and end == stop)
            watch.progress(end - first, stop - first)
        return hidden

    def _forward(self, start: int, end: int, *, read: bool) -> mx.array | None:
        stretch = self.tape.stretch(start, end)
        soft = [self._rows(run, end - start) for run in stretch.media]
        embedded = self._model.embed(stretch.ids, soft)
        self.tokens_run += end - start
        marks = [p for p in range(start - start % GRID + GRID, end + 1, GRID) if self._whole(p)]
        with self.cache.snapshots_at(marks) as taken:
            if read:
                hidden = self._model.prefill(embedded, self.cache, blocks=stretch.blocks)
                mx.eval(hidden, self.cache.arrays())
            else:
                hidden = None
                self._model.extend(embedded, self.cache, blocks=stretch.blocks)
                mx.eval(self.cache.arrays())
        for snapshot in taken:
            self.snapshots.add(snapshot, turn_end=False)
        return hidden

    def _whole(self, position: int) -> bool:
        return self.tape.whole_blocks(position) == position

    def _rows(self, run: MediaRun, length: int) -> tuple[int, mx.array]:
        """Where a medium's soft tokens begin in this stretch, and which of them lie in it."""
        features = self._features(run)
        low = max(0, -run.start)
        high = min(run.length, length - run.start)
        return max(0, run.start), features[low:high]
