"""Notices when a model repeats itself without end.

All sizes of Gemma 4 can fall into a loop, mostly in long greedy or constrained replies (spec T56).
Raising the repetition penalty against it hurts exact copying, so the remedy is to stop and to say
so.
"""

from __future__ import annotations

import numpy as np


class LoopDetector:
    """Finds exact repetition: the last tokens all equal the ones ``period`` places before.

    A loop is reported once the same block of at most ``max_period`` tokens has come ``repeats``
    times on top of its first appearance and the repetition is at least ``min_span`` tokens long.
    The second condition spares rows of a table, rulers of dashes and lists of zeros.

    Cost per token: one comparison over ``max_period`` small integers.
    """

    def __init__(self, *, max_period: int = 256, repeats: int = 6, min_span: int = 192) -> None:
        self._history = np.full(max_period, -1, dtype=np.int64)  # newest first
        self._matched = np.zeros(max_period, dtype=np.int64)  # run of matches, per period
        self._needed = np.maximum(repeats * np.arange(1, max_period + 1), min_span)

    def feed(self, token: int) -> bool:
        """Add a token; return whether the text is going round in circles now."""
        equal = self._history == token
        self._matched += 1
        self._matched *= equal
        self._history[1:] = self._history[:-1]
        self._history[0] = token
        return bool((self._matched >= self._needed).any())
