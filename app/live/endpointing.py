"""When does silence mean "your turn"? A wait that follows the speaker.

The wait starts at `base_s`. It grows towards the pauses this speaker makes inside turns (those
after which he went on) and shrinks or grows with how finished the phrase sounded
(`prosody.finished_score`).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Waits in seconds."""

    base_s: float = 0.6
    shortest_s: float = 0.4
    longest_s: float = 1.6
    remembered_pauses: int = 12


class Endpointer:
    """Learns a speaker's pauses and gives the silence to wait for."""

    def __init__(self, options: EndpointOptions | None = None) -> None:
        self.options = options or EndpointOptions()
        self._pauses: deque[float] = deque(maxlen=self.options.remembered_pauses)

    def observe_pause(self, seconds: float) -> None:
        """The speaker paused for `seconds` inside a turn and went on."""
        self._pauses.append(min(seconds, self.options.longest_s))

    def wait(self, finished: float = 0.5) -> float:
        """Silence in seconds after which the turn ends.

        Args:
            finished: how finished the phrase sounded, 0 to 1.
        """
        scaled = self._speaker_wait() * (1.5 - finished)
        return float(np.clip(scaled, self.options.shortest_s, self.options.longest_s))

    def _speaker_wait(self) -> float:
        """`base_s`, raised above four fifths of the pauses this speaker made inside turns.

        The memory is filled up with the base wait, so one odd pause moves it little.
        """
        base = self.options.base_s
        prior = [base * 0.6] * max(0, 4 - len(self._pauses))
        usual = float(np.percentile([*self._pauses, *prior], 80))
        return max(base, usual * 1.25)
