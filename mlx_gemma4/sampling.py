"""Picks the next token from logits, without ever sorting the vocabulary.

Order of the steps, as in transformers: repetition penalty, temperature, top-k, top-p, min-p. The
    usual case (top-k of at most a few thousand) finds the k best in two small partitions and does
    the rest on k values. Everything is built lazily, so that the next forward pass can be queued
    before a token is known on the host.

Sorting 262,144 logits costs more than a layer of the model on Metal, where even ``argpartition`` is
a full sort; greedy decoding needs no sort and no soft-cap, because the cap ``c·tanh(x/c)`` is
monotonic.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_gemma4.errors import PromptError

_MAX_CANDIDATES = 4096  # up to this k the two-stage search beats a threshold search
_SMALL = 8192  # vocabularies up to this size are partitioned directly


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How tokens are picked. The defaults are those of every published Gemma 4 checkpoint.

    Attributes:
        temperature: divides the logits; 0 means greedy.
        top_p: keep the smallest set of tokens with at least this probability.
        top_k: keep the k most probable tokens; 0 keeps all.
        min_p: drop tokens less probable than this fraction of the best.
        repetition_penalty: above 1, makes tokens that already occurred less likely.
        seed: of the random numbers; None draws one.
        greedy: always take the most probable token.
    """

    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int = 64
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        _require(0 <= self.temperature <= 100, "temperature", "between 0 and 100")
        _require(0 < self.top_p <= 1, "top-p", "above 0 and at most 1")
        _require(self.top_k >= 0, "top-k", "0 (off) or more")
        _require(0 <= self.min_p <= 1, "min-p", "between 0 and 1")
        _require(0.01 <= self.repetition_penalty <= 100, "repetition penalty", "0.01 to 100")
        _require(self.seed is None or 0 <= self.seed < 2**64, "seed", "0 or more, below 2^64")

    @property
    def is_greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.greedy or self.temperature == 0


def _require(right: bool, name: str, range_: str) -> None:
    if not right:  # written so that NaN fails
        raise PromptError(f"The {name} must be {range_}; change it and try again.")


class Sampler:
    """Picks tokens for one reply; holds its random state.

    Args:
        options: see ``SamplingOptions``.
        softcap: of the logits given to it, if they are not soft-capped yet; else None.
        suppress: tokens never to pick.
        history: tokens that already occurred, for the repetition penalty.
        vocab_size: width of the logits; needed for ``suppress`` and ``history`` only.
    """

    def __init__(
        self,
        options: SamplingOptions,
        *,
        softcap: float | None = None,
        suppress: Iterable[int] = (),
        history: Iterable[int] = (),
        vocab_size: int = 0,
    ) -> None:
        self._options = options
        self._softcap = softcap
        suppressed = [token for token in suppress if token < vocab_size]
        self._banned = _membership(suppressed, vocab_size) if suppressed else None
        self._penalised = options.repetition_penalty != 1
        self._seen = _membership(history, vocab_size) if self._penalised else None
        self._key = mx.random.key(secrets.randbits(63) if options.seed is None else options.seed)

    def __call__(self, logits: mx.array, allowed: mx.array | None = None) -> mx.array:
        """Pick one token.

        Args:
            logits: [V] or [1, V], any float type.
            allowed: bool [V], tokens that may be picked; None allows all.

        Returns:
            int32 [1], not evaluated yet.
        """
        token = self._pick(self._prepare(logits, allowed)).astype(mx.int32).reshape(1)
        if self._seen is not None:
            self._seen = self._seen | (mx.arange(self._seen.size) == token)
        return token

    def along(
        self,
        logits: mx.array,
        drafts: mx.array,
        allowed: Sequence[mx.array | None] | None = None,
    ) -> mx.array:
        """Scores of the tokens that may follow each draft, as if the drafts were picked in turn.

        Args:
            logits: [n + 1, V], before the first draft and after each one.
            drafts: ids [n].
            allowed: per row, as for :meth:`__call__`.

        Returns:
            [n + 1, V]: rows for :meth:`best` or :meth:`distribution_of`.
        """
        if self._seen is not None:
            picked = drafts[:, None] == mx.arange(logits.shape[-1])
            before = mx.concatenate([mx.zeros_like(self._seen)[None], picked])
            before = mx.cummax(before.astype(mx.uint8), axis=0).astype(mx.bool_)
            logits = self._penalise(self._cap(logits), self._seen | before)
        if self._banned is not None:
            logits = mx.where(self._banned, -mx.inf, logits)
        if allowed is not None:
            everything = mx.ones(logits.shape[-1:], dtype=mx.bool_)
            masks = mx.stack([everything if mask is None else mask for mask in allowed])
            logits = mx.where(masks, logits, -mx.inf)
        return logits

    @staticmethod
    def best(scores: mx.array) -> mx.array:
        """The most probable token of each row: [n, V] -> ids [n], lazily."""
        return mx.argmax(scores, axis=-1)

    def distribution_of(self, scores: mx.array) -> tuple[mx.array, mx.array]:
        """As :meth:`distribution`, for one row [V] of :meth:`along`."""
        ids, kept = self._filtered(scores)
        return ids, kept - mx.logsumexp(kept)

    def saw(self, tokens: Sequence[int]) -> None:
        """Tokens of the reply that were not picked here: they count for the repetition penalty."""
        if self._seen is not None:
            known = mx.array(list(tokens))[:, None] == mx.arange(self._seen.size)
            self._seen = self._seen | known.any(axis=0)

    def draw(self, logits: mx.array) -> tuple[mx.array, mx.array, mx.array]:
        """Pick one token [1] and tell what it was drawn from; see :meth:`distribution`."""
        ids, logs = self.distribution(logits)
        self._key, key = mx.random.split(self._key)
        return ids[mx.random.categorical(logs, key=key)].reshape(1), ids, logs

    def distribution(
        self, logits: mx.array, allowed: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """The distribution a token would be drawn from, for speculative decoding.

        Returns:
            Token ids [n] and their log-probabilities float32 [n] (-inf for dropped ones); n is k,
            or the whole vocabulary when top-k is off.
        """
        return self.distribution_of(self._prepare(logits, allowed))

    def _prepare(self, logits: mx.array, allowed: mx.array | None) -> mx.array:
        logits = logits.reshape(-1)
        if self._seen is not None:
            logits = self._penalise(self._cap(logits), self._seen)
        if self._banned is not None:
            logits = mx.where(self._banned, -mx.inf, logits)
        if allowed is not None:
            logits = mx.where(allowed, logits, -mx.inf)
        return logits

    def _penalise(self, logits: mx.array, seen: mx.array) -> mx.array:
        """Keskar et al. 2019, eq. 2, with negative logits multiplied as in transformers."""
        penalty = self._options.repetition_penalty
        changed = mx.where(logits > 0, logits / penalty, logits * penalty)
        return mx.where(seen, changed, logits)

    def _cap(self, logits: mx.array) -> mx.array:
        """``c · tanh(x / c)`` in float32: bfloat16 would round logits by up to 0.12."""
        logits = logits.astype(mx.float32)
        return self._softcap * mx.tanh(logits / self._softcap) if self._softcap else logits

    def _pick(self, logits: mx.array) -> mx.array:
        if self._options.is_greedy:
            return mx.argmax(logits)
        ids, scores = self._filtered(logits)
        self._key, key = mx.random.split(self._key)
        return ids[mx.random.categorical(scores, key=key)]

    def _filtered(self, logits: mx.array) -> tuple[mx.array, mx.array]:
        """Candidate ids [n] and their scores float32 [n], unnormalised, dropped ones at -inf."""
        k = min(self._options.top_k or logits.size, logits.size)
        if k <= _MAX_CANDIDATES:
            values, ids = top_k(logits, k)
            scores = self._tempered(values)
            order = mx.argsort(-scores)
            return ids[order], self._nucleus_sorted(scores[order])
        scores = self._tempered(logits)
        if k < logits.size:
            scores = keep_at_least(scores, mx.ones_like(scores), k)
        return mx.arange(logits.size), self._nucleus_whole(scores)

    def _tempered(self, values: mx.array) -> mx.array:
        if self._seen is not None:
            return values.astype(mx.float32) / self._options.temperature
        capped = self._cap(values) / self._options.temperature
        return mx.where(values == -mx.inf, -mx.inf, capped)  # the cap would make it finite

    def _nucleus_sorted(self, scores: mx.array) -> mx.array:
        """Top-p and min-p on scores in falling order; the best is always kept."""
        options = self._options
        if options.top_p < 1:
            p = mx.softmax(scores)
            scores = mx.where(mx.cumsum(p, inclusive=False) < options.top_p, scores, -mx.inf)
        return self._min_p(scores, scores[0])

    def _nucleus_whole(self, scores: mx.array) -> mx.array:
        if self._options.top_p < 1:
            scores = keep_at_least(scores, mx.softmax(scores), self._options.top_p)
        return self._min_p(scores, scores.max())

    def _min_p(self, scores: mx.array, best: mx.array) -> mx.array:
        if self._options.min_p == 0:
            return scores
        return mx.where(scores >= best + math.log(self._options.min_p), scores, -mx.inf)


def top_k(values: mx.array, k: int) -> tuple[mx.array, mx.array]:
    """The k largest of ``values`` [V] and their indices, in no order, without sorting all of them.

    Two stages. The k largest elements lie in the k blocks with the largest maxima: an element
    outside of them is at most as large as each of those k maxima. So k block maxima are picked
    first, then k elements out of the k blocks; a block size of about sqrt(V / k) makes both
    searches equally small (two of 4,096 for V = 262,144 and k = 64).
    """
    size = values.size
    block = _block_size(size, k)
    if size <= _SMALL or block < 2:
        ids = mx.argpartition(values, kth=size - k)[size - k :] if k < size else mx.arange(size)
        return values[ids], ids
    missing = -size % block
    if missing:
        values = mx.concatenate([values, mx.full((missing,), -mx.inf, dtype=values.dtype)])
    blocks = values.reshape(-1, block)
    count = blocks.shape[0]
    best = mx.argpartition(blocks.max(axis=1), kth=count - k)[count - k :]
    candidates = blocks[best].reshape(-1)
    inner = mx.argpartition(candidates, kth=k * block - k)[k * block - k :]
    ids = best[inner // block] * block + inner % block
    # Padding can be picked only when fewer than k values are above -inf; keep its index legal.
    return candidates[inner], mx.minimum(ids, size - 1)


def _block_size(size: int, k: int) -> int:
    return 1 << int(math.log2(max(1.0, math.sqrt(size / max(k, 1)))))


def keep_at_least(scores: mx.array, weights: mx.array, target: float) -> mx.array:
    """Keep the largest scores whose weights sum to at least ``target``; the others become -inf.

    The threshold is found bit by bit: floats, read as integers, sort like integers, so 32 sums over
    the vocabulary settle it exactly (up to the float32 rounding of a sum) with no sort and no wait
    for the host. Scores equal to the threshold are all kept.
    """
    bits = mx.view(scores.astype(mx.float32), mx.uint32)
    sign = mx.array(1 << 31, dtype=mx.uint32)
    keys = mx.where(bits >= sign, ~bits, bits | sign)
    # A rounded sum of all weights may stay below the target: then everything is kept.
    target_ = mx.minimum(mx.array(target, dtype=mx.float32), weights.sum() * (1 - 1e-6))
    threshold = mx.array(0, dtype=mx.uint32)
    for bit in range(31, -1, -1):
        higher = threshold | mx.array(1 << bit, dtype=mx.uint32)
        reached = mx.where(keys >= higher, weights, 0.0).sum() >= target_
        threshold = mx.where(reached, higher, threshold)
    return mx.where(keys >= threshold, scores, -mx.inf)


def _membership(tokens: Iterable[int], vocab_size: int) -> mx.array:
    mask = np.zeros(vocab_size, dtype=bool)
    inside = [token for token in tokens if 0 <= token < vocab_size]
    mask[np.asarray(inside, dtype=np.int64)] = True
    return mx.array(mask)
