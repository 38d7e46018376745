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
from mlx_gemma4.session.stores import SnapshotStore
from mlx_gemma4.session.tape import MediaRun, Tape

GRID = 256
"""Tokens between snapshots inside a long prompt."""


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
        chunk: int = DEFAULT_CHUNK,
    ) -> None:
        self.tape = Tape()
        self.cache = model.make_cache()
        self.snapshots = SnapshotStore(snapshot_bytes)
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
        stretch = self.tape.stretch(first, stop)
        soft = [(run.start, self._features(run)[: run.length]) for run in stretch.media]
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

    def _forward(
        self, piece: Embedded, blocks: np.ndarray, end: int, *, read: bool
    ) -> mx.array | None:
        """One pass over the tape up to position ``end``, with snapshots at grid points."""
        hidden: mx.array | None = None
        with self.cache.snapshots_at(self._grid_points(end)) as taken:
            if read:
                hidden = self._model.prefill(piece, self.cache, blocks=blocks)
                mx.eval(hidden, self.cache.arrays())
            else:
                self._model.extend(piece, self.cache, blocks=blocks)
                mx.eval(self.cache.arrays())
        for snapshot in taken:
            self.snapshots.add(snapshot, turn_end=False)
        mx.clear_cache()
        return hidden

    def _grid_points(self, end: int) -> list[int]:
        """Grid positions up to ``end`` that cut through no picture."""
        first = self.cache.offset // GRID * GRID + GRID
        return [p for p in range(first, end + 1, GRID) if self.tape.whole_blocks(p) == p]
