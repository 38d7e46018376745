"""How many tokens to draft, from what drafting has brought so far; none when it does not pay.

With acceptance a per draft, a block of k drafts brings (1 - a^(k+1)) / (1 - a) tokens for the price
of one wider pass. The width with the most tokens per price is taken; when even that is no better
than plain decoding, drafting rests and is tried again later, each time after a longer rest.
"""

from __future__ import annotations

from dataclasses import dataclass

_START = 0.6
_LEARN = 0.1  # weight of one draft's outcome
_MARGIN = 1.05  # tokens per price from which on drafting is worth its trouble
_REST, _LONGEST_REST = 16, 256  # tokens
_PROBE = 2  # drafts of the first block after a rest
_ASSUMED_STEP = 0.15
"""Price of one more row in a pass, in plain steps, until it has been measured."""


@dataclass(slots=True)
class DraftCounts:
    """What drafting did in one reply.

    Attributes:
        blocks: passes that verified drafts.
        drafted: tokens proposed.
        accepted: of these, tokens kept.
    """

    blocks: int = 0
    drafted: int = 0
    accepted: int = 0


class Pace:
    """Decides the width of the next block.

    Args:
        most: drafts in one block.
        draft_price: price of making one draft, in plain steps.
        measure: learn prices from the clock. Without it the same reply always takes the same
            decisions, which a reply with a seed needs.
    """

    def __init__(self, most: int, draft_price: float, *, measure: bool = True) -> None:
        self.counts = DraftCounts()
        self._most = most
        self._measure = measure
        self._acceptance = _START
        self._row_price = _ASSUMED_STEP + draft_price
        self._plain_s: float | None = None
        self._seen_widths: set[int] = set()
        self._resting = 0
        self._rest = _REST
        self._probing = False

    @property
    def acceptance(self) -> float:
        """Share of drafts expected to stand."""
        return self._acceptance

    def width(self) -> int:
        """Drafts wanted now; 0 while drafting rests."""
        if self._resting > 0:
            return 0
        if self._probing:
            return min(_PROBE, self._most)
        return max(range(1, self._most + 1), key=self._gain)

    def plain(self, seconds: float | None) -> None:
        """One token was decoded plainly; ``seconds`` of it if they say anything."""
        self._resting -= self._resting > 0
        if seconds is not None and self._measure:
            before = self._plain_s
            self._plain_s = seconds if before is None else 0.8 * before + 0.2 * seconds

    def block(self, drafted: int, accepted: int, seconds: float) -> None:
        """A block was verified."""
        self.counts.blocks += 1
        self.counts.drafted += drafted
        self.counts.accepted += accepted
        for kept in [True] * accepted + [False] * (accepted < drafted):
            self._acceptance += _LEARN * (kept - self._acceptance)
        self._learn_price(drafted, seconds)
        if max(self._gain(k) for k in range(1, self._most + 1)) < _MARGIN:
            self._resting, self._probing = self._rest, True
            self._rest = min(2 * self._rest, _LONGEST_REST)
        elif self._probing and accepted:
            self._probing, self._rest = False, _REST

    def _gain(self, drafts: int) -> float:
        a = min(self._acceptance, 0.999)
        return (1 - a ** (drafts + 1)) / (1 - a) / (1 + drafts * self._row_price)

    def _learn_price(self, drafted: int, seconds: float) -> None:
        known = drafted in self._seen_widths
        self._seen_widths.add(drafted)
        # The first pass of a width pays for preparing its kernels.
        if not self._measure or not self._plain_s or not known:
            return
        price = max(0.0, (seconds / self._plain_s - 1) / drafted)
        self._row_price += 0.2 * (price - self._row_price)
