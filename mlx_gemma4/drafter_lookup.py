"""Drafts from the conversation itself: what followed the last few tokens when they came before.

Pays where answers copy: editing code or text, quoting a document, filling a form. Costs nothing
elsewhere, because nothing is drafted without a match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlx_gemma4.errors import PromptError

if TYPE_CHECKING:
    from mlx_gemma4.cache import Cache
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.sampling import SamplingOptions
    from mlx_gemma4.speculation import Drafts

_CONTEXT = 32  # tokens compared backwards to choose among several matches
_CANDIDATES = 32  # newest matches looked at


@dataclass(frozen=True, slots=True)
class PromptLookup:
    """Draft by looking the last tokens up in what came before.

    Attributes:
        ngram: tokens that must match.
        most: tokens drafted at once.
    """

    ngram: int = 3
    most: int = 8

    def __post_init__(self) -> None:
        if not (1 <= self.ngram <= 16 and 1 <= self.most <= 16):
            raise PromptError("Prompt lookup takes 1 to 16 tokens to match and 1 to 16 to draft.")

    def start(self, model: Gemma4, prompt: np.ndarray, sampling: SamplingOptions) -> LookupDrafter:
        """The drafter of one reply."""
        del sampling
        return LookupDrafter(self, prompt, model.config.soft_token_ids)


class LookupDrafter:
    """Looks up one reply; see :class:`PromptLookup`."""

    price = 0.0

    def __init__(self, options: PromptLookup, prompt: np.ndarray, never: frozenset[int]) -> None:
        self.most = options.most
        self._ngram = options.ngram
        self._never = list(never)
        self._length = len(prompt)
        self._known = np.empty(max(1024, 2 * self._length), dtype=np.int32)
        self._known[: self._length] = prompt

    def feed(self, token: int) -> None:
        """One more token is known."""
        if self._length == self._known.size:
            self._known = np.concatenate([self._known, np.empty_like(self._known)])
        self._known[self._length] = token
        self._length += 1

    def ready(self) -> bool:
        """Whether the last tokens occurred before."""
        return self._match() is not None

    def propose(self, hidden: mx.array, cache: Cache, count: int) -> Drafts | None:
        """What followed the last tokens before, at most ``count`` tokens."""
        from mlx_gemma4.speculation import Drafts

        del hidden, cache
        at = self._match()
        if at is None:
            return None
        following = self._known[at : min(at + count, self._length)]
        placeholders = np.flatnonzero(np.isin(following, self._never))
        following = following[: placeholders[0]] if placeholders.size else following
        return Drafts(mx.array(following), None) if following.size else None

    def _match(self) -> int | None:
        """Position after the earlier occurrence with the longest common context, newest first."""
        n, known = self._ngram, self._known[: self._length]
        if self._length <= n:
            return None
        tail = known[-n:]
        found = known[:-n] == tail[0]  # starts of n-grams before the last one
        for step in range(1, n):
            found &= known[step : step - n] == tail[step]
        ends = np.flatnonzero(found)[-_CANDIDATES:][::-1] + n
        if not ends.size:
            return None
        return int(max(ends, key=lambda end: self._common(int(end))))

    def _common(self, end: int) -> int:
        """How many tokens before ``end`` equal the last ones known."""
        span = min(end, _CONTEXT)
        differs = self._known[end - span : end] != self._known[self._length - span : self._length]
        places = np.flatnonzero(differs)
        return span - 1 - int(places[-1]) if places.size else span
