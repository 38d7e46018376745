"""Which drafted tokens stand: exact rejection sampling on the host.

Leviathan et al. 2023 (Fast Inference from Transformers via Speculative Decoding, algorithm 1): a
draft x from q is kept with probability min(1, p(x) / q(x)); the first one refused is replaced by a
draw from max(p - q, 0), normalised. What comes out is distributed as if drawn from p token by
token, whatever q is. A draft that was not drawn has q(x) = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Distribution(NamedTuple):
    """Probabilities of the tokens that may come next; tokens not listed have none."""

    ids: np.ndarray
    """int [n]"""
    probabilities: np.ndarray
    """float64 [n], sum 1"""

    @classmethod
    def of_logs(cls, ids: np.ndarray, logs: np.ndarray) -> Distribution:
        """From ids [n] and log-probabilities [n] in any scale."""
        weights = np.exp(np.asarray(logs, dtype=np.float64) - np.max(logs))
        return cls(np.asarray(ids), weights / weights.sum())

    @classmethod
    def certain(cls, token: int) -> Distribution:
        """A single possible token."""
        return cls(np.array([token]), np.ones(1))

    def of(self, token: int) -> float:
        """Probability of one token."""
        return float(self.probabilities[self.ids == token].sum())

    def draw(self, random: np.random.Generator) -> int:
        """A token drawn from it."""
        return int(self.ids[random.choice(self.ids.size, p=self.probabilities)])

    def without(self, other: Distribution) -> Distribution:
        """``max(p - q, 0)``, normalised; itself if nothing is left (p = q up to rounding)."""
        order = np.argsort(other.ids)
        ids, q = other.ids[order], other.probabilities[order]
        at = np.minimum(np.searchsorted(ids, self.ids), ids.size - 1)
        rest = np.maximum(self.probabilities - np.where(ids[at] == self.ids, q[at], 0.0), 0.0)
        total = rest.sum()
        return Distribution(self.ids, rest / total) if total > 0 else self


def accept(
    drafted: Sequence[int],
    sources: Sequence[Distribution],
    targets: Sequence[Distribution],
    random: np.random.Generator,
) -> tuple[int, int]:
    """Decide how many drafts stand and what follows them.

    Args:
        drafted: the drafts, in order.
        sources: what each was drawn from.
        targets: the model's own distribution at each draft's place, and one more.
        random: source of chance.

    Returns:
        How many leading drafts are kept, and the token after them.
    """
    for index, (token, source) in enumerate(zip(drafted, sources, strict=True)):
        target = targets[index]
        if random.random() * source.of(token) >= target.of(token):
            return index, target.without(source).draw(random)
    return len(drafted), targets[len(drafted)].draw(random)


def accept_greedy(drafted: Sequence[int], best: Sequence[int]) -> tuple[int, int]:
    """As :func:`accept` where the model always takes its ``best`` token (one more than drafts)."""
    for index, token in enumerate(drafted):
        if token != best[index]:
            return index, best[index]
    return len(drafted), best[len(drafted)]
