"""mlx-lm over the same conversation, with the prompt cache that its own server keeps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlx_gemma4.bench.peers import TextPeer, cache_bytes, shared_tensors
from mlx_gemma4.model import Gemma4

PEER = "mlx-lm"


class CachedPeer:
    """mlx-lm's text model on our arrays, beside its ``LRUPromptCache`` of whole caches.

    Args:
        text: the ``text_config`` of the model.
        model: ours; its arrays are used.
    """

    def __init__(self, text: dict[str, Any], model: Gemma4) -> None:
        from mlx_lm.models.cache import (  # pyright: ignore[reportMissingImports]
            LRUPromptCache,
        )

        self._peer = TextPeer(PEER, text, shared_tensors(model))
        self._known = LRUPromptCache()
        self.held_bytes = 0

    def first_token(self, prompt: np.ndarray) -> tuple[float, int]:
        """Seconds to the first token after ``prompt`` (int32 [tokens]), and the rows run for it."""
        ids = [int(token) for token in prompt]
        start = time.perf_counter()
        cache, rest = self._known.fetch_nearest_cache(PEER, ids)
        cache = cache or self._peer.make_cache()
        next(self._peer.tokens(np.array(rest, dtype=np.int32), 1, cache))
        seconds = time.perf_counter() - start
        self._known.insert_cache(PEER, ids, cache)
        self.held_bytes += cache_bytes(cache)
        return seconds, len(rest)


def peer_turns(
    text: dict[str, Any], model: Gemma4, prompts: Sequence[np.ndarray]
) -> tuple[list[tuple[float, int]], int]:
    """Each prompt's (seconds, rows run), and the bytes of all caches kept, at most ten."""
    peer = CachedPeer(text, model)
    return [peer.first_token(prompt) for prompt in prompts], peer.held_bytes
