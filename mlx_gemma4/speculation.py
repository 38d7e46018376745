"""Speculative decoding: several drafted tokens are verified in one pass of the model.

A drafter proposes what may come next; one forward pass gives the model's own distribution at every
place; the drafts that stand are kept and the cache is trimmed back to them. Greedy replies are the
same tokens as without drafts, sampled ones have the same distribution. Between blocks, and whenever
drafting does not pay, decoding goes on one token ahead of the host as usual.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import mlx.core as mx
import numpy as np

from mlx_gemma4.sampling import Sampler, SamplingOptions
from mlx_gemma4.speculation_accept import Distribution, accept, accept_greedy
from mlx_gemma4.speculation_pace import DraftCounts, Pace

if TYPE_CHECKING:
    from mlx_gemma4.cache import Cache
    from mlx_gemma4.model import Gemma4


class Drafts(NamedTuple):
    """Proposed tokens, not evaluated yet."""

    tokens: mx.array
    """int32 [k]"""
    sources: list[tuple[mx.array, mx.array]] | None
    """Ids [n] and log-probabilities [n] each was drawn from; ``None`` if not drawn."""


class Drafter(Protocol):
    """Proposes tokens for one reply."""

    most: int
    """Drafts in one block."""
    price: float
    """Price of one draft, in steps of the model."""

    def feed(self, token: int) -> None:
        """One more token of the reply is known; called for each, in order."""

    def ready(self) -> bool:
        """Whether there would be something to propose after the tokens known."""
        ...

    def propose(self, hidden: mx.array, cache: Cache, count: int) -> Drafts | None:
        """At most ``count`` drafts to follow the last token fed.

        Args:
            hidden: [1, 1, hidden] after the final norm, from which that token was picked.
            cache: the model's, without that token.
            count: at least 1.
        """


class DraftSource(Protocol):
    """Makes drafters: :class:`~mlx_gemma4.drafter_lookup.PromptLookup` or an assistant model."""

    def start(self, model: Gemma4, prompt: np.ndarray, sampling: SamplingOptions) -> Drafter:
        """The drafter of one reply.

        Raises:
            PromptError: it does not belong to this model.
        """
        ...


OneAhead = Callable[
    [mx.array, Callable[[int, float | None], bool]],
    Generator[int, None, tuple[mx.array, mx.array]],
]
"""Plain decoding from a picked token on, until the callback (token, seconds) says to leave."""


Verdict = Callable[[], tuple[int, int, list[int]]]
"""Waits for a pass; gives the number of drafts kept, the token after them and all drafts."""


class Gate(Protocol):
    """What a constrained reply may go on with; :class:`~mlx_gemma4.constrain.ReplyGate`."""

    def feed(self, token: int) -> None:
        """A token was picked; called before anybody is told of it."""

    def fitting(self, token: int, drafts: list[int]) -> list[int]:
        """The leading drafts that may follow ``token``, which is picked and not fed yet."""
        ...

    def along(self, drafts: list[int]) -> list[mx.array | None]:
        """Tokens allowed before each draft and after the last, bool [V] or None for all."""
        ...


class Speculation:
    """The tokens of one reply, drafted where it pays.

    Args:
        model: verifies.
        drafter: proposes.
        sampler: of the reply.
        sampling: its options.
        cache: holds the prompt.
        limit: most tokens of the reply.
        gate: holds the reply to a constraint; plain decoding feeds it too.
    """

    def __init__(
        self,
        model: Gemma4,
        drafter: Drafter,
        sampler: Sampler,
        sampling: SamplingOptions,
        cache: Cache,
        limit: int,
        gate: Gate | None = None,
    ) -> None:
        self._model = model
        self._gate = gate
        self._drafter = drafter
        self._sampler = sampler
        self._greedy = sampling.is_greedy
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._random = np.random.default_rng(seed)
        self._cache = cache
        self._left = limit
        measured = self._greedy or sampling.seed is None
        self._pace = Pace(drafter.most, drafter.price, measure=measured)
        self._fed_ahead = False

    @property
    def counts(self) -> DraftCounts:
        """What drafting did up to now."""
        return self._pace.counts

    def run(self, token: mx.array, one_ahead: OneAhead) -> Generator[int, None, None]:
        """All tokens from the first picked one on.

        When a token is yielded the cache holds it, and may hold drafts behind it; they are gone
        when the generator is closed.
        """
        while True:
            hidden, token = yield from one_ahead(token, self._leave)
            known = cast("int", token.item())
            self._drafter.feed(known)
            while drafts := self._propose(hidden, known):
                hidden, known = yield from self._block(known, drafts)
                self._drafter.feed(known)
            token = mx.array([known])
            self._fed_ahead = True

    def _leave(self, token: int, seconds: float | None) -> bool:
        self._left -= 1
        self._pace.plain(seconds)
        if not self._fed_ahead:
            self._drafter.feed(token)
        self._fed_ahead = False
        return self._width() > 0 and self._drafter.ready()

    def _width(self) -> int:
        """Drafts wanted: behind them one more token must fit the reply."""
        return max(0, min(self._pace.width(), self._left - 1))

    def _propose(self, hidden: mx.array, token: int) -> Drafts | None:
        width = self._width()
        drafts = self._drafter.propose(hidden, self._cache, width) if width else None
        if drafts is None or self._gate is None:
            return drafts
        kept = len(self._gate.fitting(token, _ids(drafts.tokens)))
        sources = None if drafts.sources is None else drafts.sources[:kept]
        return Drafts(drafts.tokens[:kept], sources) if kept else None

    def _block(self, token: int, drafts: Drafts) -> Generator[int, None, tuple[mx.array, int]]:
        """Verify drafts behind ``token``; yields it and the drafts that stand.

        Returns:
            The hidden state behind the last of them and the token picked from it.
        """
        cache, count = self._cache, drafts.tokens.size
        surplus = 0
        started = time.perf_counter()
        if self._gate is not None:
            self._gate.feed(token)
        try:
            hidden = self._forward(mx.concatenate([mx.array([token]), drafts.tokens]))
            surplus = count
            verdict = self._verdict(drafts, self._model.greedy_logits(hidden)[0])
            seconds = time.perf_counter() - started
            yield token
            started = time.perf_counter()
            kept, following, drafted = verdict()
            seconds += time.perf_counter() - started
            cache.trim(count - kept)
            surplus = kept
            self._left -= kept + 1
            self._pace.block(count, kept, seconds)
            self._sampler.saw([*drafted[:kept], following])
            for draft in drafted[:kept]:
                self._drafter.feed(draft)
                if self._gate is not None:
                    self._gate.feed(draft)
                surplus -= 1
                yield draft
        finally:
            cache.trim(surplus)
        return hidden[:, kept : kept + 1], following

    def _forward(self, ids: mx.array) -> mx.array:
        """Run tokens [n] -> hidden states [1, n, hidden] of all of them."""
        text, ids = self._model.language_model, ids.astype(mx.int32)[None]
        hidden = text.embed(ids)
        return text(hidden, text.per_layer_inputs(ids, hidden), self._cache)

    def _verdict(self, drafts: Drafts, logits: mx.array) -> Verdict:
        """Queue the pass; calling the result waits for it.

        What a grammar allows is found out while the pass runs, so there the rest is queued late.
        """
        gate, judge = self._gate, self._compared if self._greedy else self._drawn
        if gate is None:
            return judge(drafts, self._sampler.along(logits, drafts.tokens))
        mx.async_eval(logits, drafts.tokens)

        def held() -> tuple[int, int, list[int]]:
            masks = gate.along(_ids(drafts.tokens))
            return judge(drafts, self._sampler.along(logits, drafts.tokens, masks))()

        return held

    def _compared(self, drafts: Drafts, scores: mx.array) -> Verdict:
        best = self._sampler.best(scores)
        mx.async_eval(best, drafts.tokens)

        def compare() -> tuple[int, int, list[int]]:
            drafted = _ids(drafts.tokens)
            return (*accept_greedy(drafted, _ids(best)), drafted)

        return compare

    def _drawn(self, drafts: Drafts, scores: mx.array) -> Verdict:
        rows = [self._sampler.distribution_of(scores[i]) for i in range(scores.shape[0])]
        mx.async_eval(rows, drafts)

        def draw() -> tuple[int, int, list[int]]:
            drafted = _ids(drafts.tokens)
            sources = [Distribution.certain(token) for token in drafted]
            if drafts.sources is not None:
                sources = [_distribution(*pair) for pair in drafts.sources]
            targets = [_distribution(*pair) for pair in rows]
            return (*accept(drafted, sources, targets, self._random), drafted)

        return draw


def _ids(tokens: mx.array) -> list[int]:
    return np.array(tokens).tolist()


def _distribution(ids: mx.array, logs: mx.array) -> Distribution:
    return Distribution.of_logs(np.array(ids), np.array(logs))
