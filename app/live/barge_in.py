"""Interrupting the assistant by voice: duck at once, stop when it is speech.

While our own voice plays, the canceller eats part of the user's too (in double talk it lost 10 dB
and a voice detector saw 13 % of it), so the detector of quiet times is the wrong judge. Step one
looks at energy only: what is left after cancellation against what the far end explains. Ducking
then ends the double talk, and step two asks the voice detector again.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app.live.echo import STEP
from app.live.vad import SILENT_DB, WINDOW, VoiceWindow, level_db


@dataclass(frozen=True, slots=True)
class BargeInOptions:
    """Levels in dB, spans in steps of 10 ms or in seconds.

    faded_s: after so long only our ducked voice echoes.
    most_in_vain: duckings in a row for nothing louder than an echo, until it is taken for one.
    fading_db: a window this much below the loudest so far is the end of a cough, not more speech.
    rising_s: a cough is loudest where it begins; of what grew louder for so long less is enough
        (confirm_rising_s, which lets a single "Stop" do) and its quiet parts count too.
    """

    margin_db: float = 12.0
    least_leak_db: float = -38.0
    near_steps: int = 2
    near_within: int = 4
    confirm_speech_s: float = 0.16
    confirm_rising_s: float = 0.12
    rising_s: float = 0.08
    fading_db: float = 20.0
    confirm_energy_s: float = 0.15
    give_up_s: float = 0.7
    faded_s: float = 0.2
    most_in_vain: int = 2
    far_decay_db: float = 0.4
    quiet_far_db: float = -60.0


class NearEndDetector:
    """Is somebody else than our loudspeaker audible in this 10 ms step?

    The far-end envelope (falling 40 dB a second, the room's decay with a margin) times the leak of
    the canceller explains some of the cleaned signal. The leak is learned as the 95th percentile
    of the last seconds of playback in which nobody spoke.
    """

    def __init__(self, options: BargeInOptions | None = None) -> None:
        self._options = options or BargeInOptions()
        self._far_db = -90.0
        self._leaks: deque[float] = deque(maxlen=300)
        self._noise: deque[float] = deque(maxlen=300)
        self._near: deque[bool] = deque(maxlen=self._options.near_within)
        self._leak_db = -20.0
        self._noise_db = -70.0
        self._steps = 0

    def step(self, clean: np.ndarray, far: np.ndarray) -> bool:
        """Take one step (float32 [160] each); True while near-end sound is certain enough."""
        options = self._options
        self._far_db = max(level_db(far), self._far_db - options.far_decay_db)
        level = level_db(clean)
        expected = max(self._far_db + self._leak_db, self._noise_db)
        near = level > expected + options.margin_db
        self._near.append(near)
        self._learn(level, near)
        return sum(self._near) >= options.near_steps

    def _learn(self, level: float, near: bool) -> None:
        self._steps += 1
        if self._far_db > self._options.quiet_far_db:
            if not near:
                self._leaks.append(level - self._far_db)
        elif not near:
            self._noise.append(level)
        if self._steps % 10 == 0:
            if len(self._leaks) >= 20:
                self._leak_db = float(
                    np.clip(np.percentile(self._leaks, 95), self._options.least_leak_db, 0.0)
                )
            if len(self._noise) >= 20:
                self._noise_db = float(np.percentile(self._noise, 90))


class BargeInState(StrEnum):
    """Steps of an interruption."""

    PLAYING = "playing"
    DUCKED = "ducked"
    STOPPED = "stopped"


class BargeIn:
    """Decides on ducking and stopping while the assistant is audible.

    Feed it the 10 ms steps (`near`) and the 32 ms windows (`window`) of the cleaned signal; read
    `state` after each. `onset` is the sample at which the near-end sound began.
    """

    def __init__(self, options: BargeInOptions | None = None) -> None:
        self.options = options or BargeInOptions()
        self.state = BargeInState.PLAYING
        self.onset = 0
        self.room_changed = False
        """The last ducking was for our own echo, louder or on another way than was learned."""
        self._judged: list[bool] = []
        """Of what was near, and every window of speech: may it be our own echo?"""
        self._near_samples = self._speech_samples = 0
        self._ducked_at = self._loudest_at = self._in_vain = 0
        self._loudest_db = SILENT_DB

    def begin(self) -> None:
        """The assistant starts to be audible."""
        self.state = BargeInState.PLAYING
        self._in_vain = 0

    def near(self, near: bool, own: bool, position: int) -> BargeInState:
        """One 10 ms step ending at sample `position` held near-end sound or not.

        own: it is no louder than our echo would be without any cancellation. Ducking by 20 dB makes
        the difference: a voice stays as loud as it was, an echo falls with what we play.
        """
        self.room_changed = False
        if self.state is BargeInState.PLAYING and near:
            self.state = BargeInState.DUCKED
            self._ducked_at = position
            self.onset = max(0, position - self.options.near_within * STEP)
            self._near_samples, self._speech_samples = self.options.near_steps * STEP, 0
            self._loudest_db, self._loudest_at = SILENT_DB, position
            self._judged.clear()
        elif self.state is BargeInState.DUCKED:
            self._near_samples += STEP * near
            if near and position - self._ducked_at >= self.options.faded_s * STEP * 100:
                self._judged.append(own)
            self._settle(position)
        return self.state

    def window(self, window: VoiceWindow, position: int) -> BargeInState:
        """One judged window of what the canceller leaves, complete at sample `position`."""
        if self.state is BargeInState.DUCKED and window.speech:
            if window.level_db > self._loudest_db:
                self._loudest_db, self._loudest_at = window.level_db, position
            carries = window.level_db > self._loudest_db - self.options.fading_db
            self._speech_samples += WINDOW * (carries or self._rising)
            self._judged.append(False)
            self._settle(position)
        return self.state

    @property
    def _rising(self) -> bool:
        """It grew louder after it began."""
        return self._loudest_at - self._ducked_at >= self.options.rising_s * STEP * 100

    def _settle(self, position: int) -> None:
        wanted = self.options.confirm_rising_s if self._rising else self.options.confirm_speech_s
        enough_speech = self._speech_samples >= wanted * STEP * 100
        enough_energy = self._near_samples >= self.options.confirm_energy_s * STEP * 100
        if enough_speech and enough_energy:
            self.state = BargeInState.STOPPED
        elif position - self._ducked_at >= self.options.give_up_s * STEP * 100:
            self._give_up()

    def _give_up(self) -> None:
        """Nobody went on. Twice in a row with nothing louder than an echo: it was one."""
        self.state = BargeInState.PLAYING
        self._in_vain = self._in_vain + 1 if all(self._judged) else 0
        self.room_changed = self._in_vain >= self.options.most_in_vain
        if self.room_changed:
            self._in_vain = 0
