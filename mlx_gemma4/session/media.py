"""The soft tokens of every medium of a conversation, encoded at most once while they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import mlx.core as mx

from mlx_gemma4.inputs import ImagePatches, Media
from mlx_gemma4.model import Gemma4
from mlx_gemma4.session.soft import Rows
from mlx_gemma4.session.stores import FeatureStore
from mlx_gemma4.session.tape import MediaRun


class MediaMemory:
    """Finds soft tokens by content key.

    Media of messages are kept as long as there is room and made again from their source when
    needed; sound and frames that were fed live have no source, so they stay until no turn holds
    them.

    Args:
        model: encodes on the calling thread.
        limit: bytes for soft tokens that could be made again.
    """

    def __init__(self, model: Gemma4, limit: int) -> None:
        self.features = FeatureStore(limit)
        self.encoded = 0
        """Encoder runs so far."""
        self._model = model
        self._fed: dict[str, Rows] = {}
        self._sources: dict[str, Callable[[], Media]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all soft tokens held."""
        return self.features.nbytes + sum(rows.nbytes for rows in self._fed.values())

    def keep_source(self, key: str, make: Callable[[], Media]) -> None:
        """How to prepare a medium again."""
        self._sources[key] = make

    def keep_fed(self, key: str) -> None:
        """Soft tokens just put into ``features`` belong to a live turn."""
        rows = self.features.get(key)
        assert rows is not None
        self._fed[key] = rows

    def soft_tokens(self, run: MediaRun) -> Rows:
        """Evaluated soft tokens [n, hidden] of a medium on the tape."""
        for known in (self._fed.get(run.key), self.features.get(run.key)):
            if known is not None:
                return known
        return self.encode(self._sources[run.key]())

    def encode(self, medium: Media) -> Rows:
        """Evaluated soft tokens [n, hidden] of a medium, encoded now unless they are still kept."""
        known = self.features.get(medium.key)
        if known is not None:
            return known
        if isinstance(medium, ImagePatches):
            rows = self._model.encode_image(medium)
        else:
            rows = self._model.encode_audio(medium)
        mx.eval(rows)
        self.encoded += 1
        self.features.put(medium.key, rows)
        return rows

    def forget_all_but(self, keys: Iterable[str]) -> None:
        """Let go of fed media and sources that no turn holds any more."""
        kept = set(keys)
        self._fed = {key: rows for key, rows in self._fed.items() if key in kept}
        self._sources = {key: make for key, make in self._sources.items() if key in kept}
