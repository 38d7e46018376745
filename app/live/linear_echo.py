"""A linear echo canceller for deciding, not for listening: what is left beside our own voice?

WebRTC's canceller removes echo with a suppressor that also eats the user's voice while both speak
(10 dB and more), which is right for what the model hears and wrong for noticing an interruption.
This filter only subtracts what the loudspeaker explains linearly, so a voice in double talk passes
untouched.

Partitioned-block frequency-domain Kalman filter (Enzner and Vary 2006; Kuech, Mabande and Enzner
2014): each bin of each partition carries its own uncertainty, from which the step size follows.
Near-end speech raises the measured noise and stops adaptation by itself; no double-talk detector.

The same uncertainty says how much echo to expect in what is left, bin by bin. `Surprise` compares:
the mean over bins of the logarithm lets a weak hiss between the bands of our own voice count as
much as a loud vowel, so that the first consonant of an interruption is noticed.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from app.live.echo import STEP

_SPECTRUM = STEP + 1
_FORGET = 0.9995
"""Share of the filter that is believed to hold from one block to the next (the room changes)."""
_NOISE_SMOOTHING = 0.7
_START = 1.0
_FLOOR = 1e-8
_LISTEN = 30
"""Steps of our first sound that tell how much of it arrives."""
_ROOMY = 3.5
"""Doubt of a partition against the response's whole power: all of it may lie in one, and more."""
_LEAST_DOUBT = 0.01
_RECENT = 20
"""Partitions in which most of an echo's power arrives."""
_MUCH = 8.0
"""What is left may be our echo up to this share of what arrives of it: a volume was turned up."""
_TURNS = 4
_BINS = slice(4, 140)
"""200 to 7,000 Hz of 50 Hz bins."""
_MARGIN_DB, _HOLD_DB = np.array([8.0, 9.0]), np.array([5.0, 6.0])
"""Above what is usual: to notice somebody, to go on hearing him. Mean log ratio, ratio of sums."""
_STEPS, _WITHIN = 2, 3
_APART, _CHANGED, _BLIND = 30, 100, 3
"""Steps: learned so far from a voice; taken for another room; from silence to a usable estimate."""
_LEAST_DB = -16.0
"""A threshold is not below this: an estimate that was very good for seconds may get worse again."""
_USUALLY_AUDIBLE, _USUALLY_SILENT = np.array([_LEAST_DB] * 2), np.array([0.0, 0.0])
_DECAY = 10 ** (-0.12)
"""What is expected falls by 60 dB in 0.5 s at most: a room rings on behind the filter's reach."""
_QUIETEST = 5e-6
"""Power by bin of white noise at -75 dBFS: a microphone that gates to digital zero is no room in
which everything is surprising."""
_AUDIBLE = 30.0
"""Echo this much above the floor counts as audible; the floor lies below the mean of the noise."""
_RISE = 1.0035
"""1.5 dB a second."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of 10 ms: the sound [160], its power by bin [161], the echo still expected.

    own: all of it may be our echo, not cancelled at all.
    """

    sound: np.ndarray
    power: np.ndarray
    expected: np.ndarray
    own: bool = False


class LinearEcho:
    """Blocks of 10 ms in, what the far end does not explain out.

    Args:
        reach_s: longest echo path, device delay and reverberation together.
    """

    def __init__(self, reach_s: float = 0.26) -> None:
        count = round(reach_s * 100)
        self._filter = np.zeros((count, _SPECTRUM), np.complex64)
        self._doubt = np.full((count, _SPECTRUM), _START, np.float32)
        self._played = np.zeros((count, _SPECTRUM), np.complex64)
        self._noise = np.full(_SPECTRUM, 1e-4, np.float32)
        self._last = np.zeros(STEP, np.float32)
        self._turn = 0
        self._silent = len(self._played)
        self._listened, self._arrived, self._sent = 0, 0.0, 1e-9
        self._scale = _START

    @property
    def idle(self) -> bool:
        """Nothing was played for longer than the filter reaches back."""
        return self._silent > len(self._played)

    def process(self, near: np.ndarray, far: np.ndarray) -> Rest:
        """Subtract the echo.

        Args:
            near: captured sound, float32 [160].
            far: what the loudspeaker played at that time, same shape.
        """
        self._silent = 0 if np.any(far) else self._silent + 1
        if self.idle:
            return Rest(near, np.abs(_spectrum(near)) ** 2, np.zeros(_SPECTRUM, np.float32))
        block = np.concatenate([self._last, far])
        self._last = np.array(far, np.float32)
        self._played = np.roll(self._played, 1, axis=0)
        self._played[0] = np.fft.rfft(block)
        echo = np.fft.irfft((self._played * self._filter).sum(axis=0))[STEP:]
        error = (near - echo).astype(np.float32)
        self._listen(near)
        return self._adapt(error)

    def _listen(self, near: np.ndarray) -> None:
        """Scale the doubt by how much of what is played arrives, once, from the first steps.

        Where the loudspeaker is far from the microphone, a doubt meant for a loud echo would
        explain a voice over our own for seconds.
        """
        if self._listened >= _LISTEN or not np.any(self._last):
            return
        self._listened += 1
        self._arrived += float((np.abs(_spectrum(near)) ** 2).sum())
        self._sent += float((np.abs(self._played[:_RECENT]) ** 2).sum())
        if self._listened == _LISTEN:
            power = _RECENT * self._arrived / self._sent
            self._scale = float(np.clip(_ROOMY * power, _LEAST_DOUBT, _START))
            self._doubt *= np.float32(self._scale)

    def relearn(self) -> None:
        """The way from the loudspeaker has changed: nothing of the filter is believed."""
        self._doubt[:] = self._scale

    def _adapt(self, error: np.ndarray) -> Rest:
        """Kalman update.

        A partition's response may fill only the first half of its block; that is restored for a
        quarter of the partitions at a time.
        """
        spectrum = _spectrum(error)
        power = np.abs(spectrum) ** 2
        self._noise += (1 - _NOISE_SMOOTHING) * (power - self._noise)
        played = np.abs(self._played) ** 2
        explained = (played * self._doubt).sum(axis=0)
        gain = self._doubt / (explained + 2 * self._noise + _FLOOR)
        self._filter += gain * self._played.conj() * spectrum
        some = slice(self._turn, None, _TURNS)
        self._turn = (self._turn + 1) % _TURNS
        response = np.fft.irfft(self._filter[some], axis=1)
        response[:, STEP:] = 0
        self._filter[some] = np.fft.rfft(response, axis=1)
        kept = (1 - 0.5 * gain * played) * self._doubt
        share = _FORGET**2
        self._doubt = share * kept + (1 - share) * np.abs(self._filter) ** 2
        own = bool(power.sum() < _MUCH * self._arrived / self._sent * played[:_RECENT].sum())
        return Rest(error, power, explained, own)


class Surprise:
    """Is something in the rest that neither our echo nor the room's noise explains?

    Two measures of a step against what is expected: the mean over bins of the logarithm notices the
    hiss of a consonant, the ratio of the sums a vowel, whose power lies in few bins. Each has two
    thresholds, while we are audible and while we are not: the 95th percentile of the last seconds
    in which nobody spoke, plus a margin that is smaller once somebody speaks (hysteresis). A step
    counts as usual only if nothing was noticed 0.3 s before and after it, else the quiet beginning
    of a word would raise the threshold that its loud part must pass.
    """

    def __init__(self) -> None:
        self._noise = np.full(_BINS.stop - _BINS.start, 1e-4)
        self._expected = np.zeros(_BINS.stop - _BINS.start)
        self._usual = {
            True: deque([_USUALLY_AUDIBLE] * 8, maxlen=400),
            False: deque([_USUALLY_SILENT] * 8, maxlen=400),
        }
        self._threshold = {True: _USUALLY_AUDIBLE, False: _USUALLY_SILENT}
        self._recent: deque[bool] = deque(maxlen=_WITHIN)
        self._waiting: deque[tuple[bool, np.ndarray]] = deque()
        self._since_near = _APART
        self._noticed = False
        self._near_for = self._audible_for = self._steps = 0

    def step(self, rest: Rest) -> bool:
        """Take one step; True while two of the last three were out of the ordinary."""
        power = rest.power[_BINS] + 1e-9
        self._expected = expected = np.maximum(rest.expected[_BINS], _DECAY * self._expected)
        usually = expected + self._noise
        audible = bool(expected.sum() > _AUDIBLE * self._noise.sum())
        self._audible_for = self._audible_for + 1 if audible else 0
        measures = 10 * np.array(
            [np.mean(np.log10(power / usually)), np.log10(power.sum() / usually.sum())]
        )
        margin = _HOLD_DB if self._noticed else _MARGIN_DB
        beginning = 0 < self._audible_for <= _BLIND
        near = bool(np.any(measures > self._threshold[audible] + margin)) and not beginning
        if rest.expected.any():
            self._learn(audible, measures, near)
        # The room's noise is what every bin falls back to: it follows down at once, up slowly.
        follow = np.where(power < self._noise, 0.8 * self._noise + 0.2 * power, _RISE * self._noise)
        self._noise = np.maximum(follow, _QUIETEST)
        self._recent.append(near)
        self._noticed = sum(self._recent) >= _STEPS
        return self._noticed

    def calm(self) -> None:
        """What was noticed last was nobody."""
        self._recent.clear()
        self._noticed = False

    def _learn(self, audible: bool, measures: np.ndarray, near: bool) -> None:
        """Take in what is usual while we speak, `_APART` steps late.

        What lasts longer than `_CHANGED` steps over our audible voice is no interruption (that
        would have ended it) but another room, and usual from then on. While we say nothing, the
        user speaks for as long as he likes, and none of it is usual.
        """
        self._near_for = self._near_for + 1 if near and audible else max(0, self._near_for - 1)
        if near and self._near_for < _CHANGED:
            self._since_near = 0
            self._waiting.clear()
            return
        self._since_near += 1
        if self._since_near > _APART:
            self._waiting.append((audible, measures))
        if len(self._waiting) > _APART:
            was_audible, values = self._waiting.popleft()
            self._usual[was_audible].append(values)
        self._steps += 1
        if self._steps % 10 == 0:
            usual = np.array(self._usual[audible])
            self._threshold[audible] = np.maximum(np.percentile(usual, 95, axis=0), _LEAST_DB)


def _spectrum(block: np.ndarray) -> np.ndarray:
    """Of 10 ms behind as much silence, so that products with it do not wrap around."""
    return np.fft.rfft(np.concatenate([np.zeros(STEP, np.float32), block]))
