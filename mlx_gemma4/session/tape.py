"""The session's own record of what it has fed to the model: ids, kinds and media, in order.

A tape is what a prompt is made of after all rendering. Two tapes are compared to find out how much
of a conversation is already in the KV cache, so every position has a code: the token id for text,
and for a soft token a number made of its medium's key, kind and place, and for live sound of the
branch it was heard on. A code never changes. This module imports no MLX.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mlx_gemma4.inputs import AUDIO, TEXT, ModelInputs

_MEDIA_BIT = 1 << 62
_CODE_MASK = _MEDIA_BIT - 1


class MediaRun(NamedTuple):
    """Soft tokens of one medium at ``start`` … ``start + length`` of a tape."""

    start: int
    length: int
    kind: int
    key: str

    @property
    def stop(self) -> int:
        """Position after the last soft token."""
        return self.start + self.length


class Stretch(NamedTuple):
    """A piece of a tape, ready to be embedded.

    Attributes:
        ids: int32 [T].
        token_types: uint8 [T], as in ``ModelInputs``.
        media: the runs inside, with ``start`` counted from the stretch's first token; a run that
            begins before the stretch has a negative start.
    """

    ids: np.ndarray
    token_types: np.ndarray
    media: tuple[MediaRun, ...]


class Tape:
    """An append-only list of prompt positions that can be cut back."""

    def __init__(self) -> None:
        self._ids = array("i")
        self._codes = array("q")
        self._runs: list[MediaRun] = []

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes of ids and codes."""
        return len(self) * (self._ids.itemsize + self._codes.itemsize)

    @property
    def runs(self) -> tuple[MediaRun, ...]:
        """All media on the tape, in order."""
        return tuple(self._runs)

    @property
    def ids(self) -> np.ndarray:
        """All ids, int32 [T]; soft positions hold their placeholder."""
        return np.array(self._ids, dtype=np.int32)

    def extend(self, inputs: ModelInputs) -> None:
        """Append a rendered and expanded piece of prompt."""
        at = 0
        for (start, end, kind), medium in zip(inputs.runs(), inputs.media, strict=True):
            self.append_tokens(inputs.ids[at:start].tolist())
            self.append_soft(int(inputs.ids[start]), kind, medium.key, end - start)
            at = end
        self.append_tokens(inputs.ids[at:].tolist())

    def append_tape(self, other: Tape) -> None:
        """Append a copy of another tape."""
        base = len(self)
        self._ids.extend(other._ids)
        self._codes.extend(other._codes)
        self._runs.extend(run._replace(start=run.start + base) for run in other._runs)

    def append_tokens(self, ids: Iterable[int]) -> None:
        """Append text tokens."""
        ids = list(ids)
        self._ids.extend(ids)
        self._codes.extend(ids)

    def append_soft(
        self, placeholder: int, kind: int, key: str, count: int, branch: int = 0
    ) -> None:
        """Append ``count`` soft tokens of one medium; the same medium again makes its run longer.

        That is how a clip grows while it is spoken. What it says next is not known from its key:
        ``branch`` tells apart what was heard before and after going back to a mark.
        """
        if count <= 0:
            return
        last = self._runs[-1] if self._runs else None
        grows = last is not None and last.stop == len(self) and (last.key, last.kind) == (key, kind)
        done = last.length if grows and last else 0
        base = _code(f"{branch}:{key}" if branch else key, kind)
        self._ids.extend([placeholder] * count)
        places = np.arange(done, done + count, dtype=np.int64)
        self._codes.frombytes(((base + places) & _CODE_MASK | _MEDIA_BIT).tobytes())
        if grows and last:
            self._runs[-1] = last._replace(length=last.length + count)
        else:
            self._runs.append(MediaRun(len(self) - count, count, kind, key))

    def rename_last(self, key: str) -> None:
        """Give the last run its final key (the content of a clip is known when it is closed).

        Its codes stay: they are what going back into the clip is recognised by.
        """
        self._runs[-1] = self._runs[-1]._replace(key=key)

    def truncate(self, length: int) -> None:
        """Forget everything from position ``length`` on."""
        del self._ids[length:]
        del self._codes[length:]
        while self._runs and self._runs[-1].start >= length:
            self._runs.pop()
        if self._runs and self._runs[-1].stop > length:
            run = self._runs[-1]
            self._runs[-1] = run._replace(length=length - run.start)

    def part(self, start: int = 0) -> Tape:
        """An independent copy of everything from ``start`` on; ``start`` must cut no medium."""
        other = Tape()
        other._ids = self._ids[start:]
        other._codes = self._codes[start:]
        other._runs = [r._replace(start=r.start - start) for r in self._runs if r.start >= start]
        return other

    def common_prefix(self, other: Tape) -> int:
        """Number of leading positions at which both tapes hold the same."""
        shared = min(len(self), len(other))
        mine = np.frombuffer(self._codes, dtype=np.int64, count=shared) if shared else np.zeros(0)
        theirs = np.frombuffer(other._codes, dtype=np.int64, count=shared) if shared else mine
        differs = np.flatnonzero(mine != theirs)
        return int(differs[0]) if differs.size else shared

    def whole_blocks(self, position: int) -> int:
        """``position``, moved to the start of the picture block it would cut through.

        Picture tokens may attend to later ones of their block, so a block's keys and values are
        only valid when the whole block went through one forward pass (spec 3.7).
        """
        run = self._picture_at(position)
        return run.start if run and run.start < position < run.stop else position

    def _picture_at(self, position: int) -> MediaRun | None:
        for run in reversed(self._runs):
            if run.start <= position:
                return run if run.kind not in (TEXT, AUDIO) else None
        return None

    def stretch(self, start: int, stop: int) -> Stretch:
        """The positions ``start`` … ``stop`` with their media."""
        types = np.zeros(stop - start, dtype=np.uint8)
        media = []
        for run in self._runs:
            if run.stop > start and run.start < stop:
                media.append(run._replace(start=run.start - start))
                types[max(0, run.start - start) : run.stop - start] = run.kind
        return Stretch(np.array(self._ids[start:stop], dtype=np.int32), types, tuple(media))


def _code(key: str, kind: int) -> int:
    digest = hashlib.blake2b(f"{kind}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") & _CODE_MASK
