"""Taking our own voice out of the microphone: WebRTC's echo canceller and noise suppressor.

`EchoReference` keeps what the loudspeaker played on the clock's scale, so that each captured block
meets the sound that was audible at that moment whatever the device buffers do; the canceller's own
delay search only has to find the way through the room. `EchoProbe` measures at start whether it
works well enough for full duplex.
"""

import logging
import threading
from dataclasses import dataclass

import numpy as np
from livekit import rtc

from app.live.buffers import RATE
from app.live.vad import level_db

log = logging.getLogger(__name__)

STEP = RATE // 100
"""Samples per processing step: WebRTC takes exactly 10 ms."""
_KEPT = 4 * RATE
_FULL_SCALE = 32767.0


class EchoReference:
    """The last 4 s of played sound (16 kHz), addressed by time. Written by the playback thread."""

    def __init__(self) -> None:
        self._ring = np.zeros(_KEPT, np.float32)
        self._end: int | None = None
        self._lock = threading.Lock()

    def write(self, pcm: np.ndarray, t: float) -> None:
        """`pcm` becomes audible from `t` seconds on; a gap to the last block is silence.

        Blocks whose stamp is off by less than 30 ms are joined: device stamps jitter.
        """
        with self._lock:
            at = round(t * RATE)
            if self._end is None or abs(at - self._end) > 0.03 * RATE:
                self._jump(at)
            end = self._end or 0
            self._ring[(end + np.arange(len(pcm))) % _KEPT] = pcm[-_KEPT:]
            self._end = end + len(pcm)

    def _jump(self, at: int) -> None:
        """Move the write position; what lies between is silence."""
        if self._end is None or abs(at - self._end) >= _KEPT:
            self._ring[:] = 0
        elif at > self._end:
            self._ring[(self._end + np.arange(at - self._end)) % _KEPT] = 0
        self._end = at

    def read(self, t: float, count: int) -> np.ndarray:
        """What was audible during `count` samples from `t` on; silence where nothing was played."""
        with self._lock:
            at = round(t * RATE)
            index = at + np.arange(count)
            if self._end is None:
                return np.zeros(count, np.float32)
            held = (index < self._end) & (index >= self._end - _KEPT)
            return np.where(held, self._ring[index % _KEPT], 0).astype(np.float32)


class EchoCanceller:
    """WebRTC AEC3 with noise suppression and high-pass filter, 10 ms at a time."""

    def __init__(self, *, noise_suppression: bool = True) -> None:
        self._module = rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=noise_suppression, high_pass_filter=True
        )
        self._module.set_stream_delay_ms(0)

    def process(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """The microphone without the echo.

        Args:
            near: captured sound, float32 [160] at 16 kHz.
            far: what the loudspeaker played at that time, same shape.
        """
        reverse, forward = _frame(far), _frame(near)
        self._module.process_reverse_stream(reverse)
        self._module.process_stream(forward)
        return np.frombuffer(forward.data, dtype=np.int16).astype(np.float32) / _FULL_SCALE


def _frame(pcm: np.ndarray) -> rtc.AudioFrame:
    data = (np.clip(pcm, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
    return rtc.AudioFrame(bytearray(data.tobytes()), RATE, 1, STEP)


@dataclass(frozen=True, slots=True)
class EchoReport:
    """Levels in dB: the room's noise, the probe's echo, what was left of it."""

    noise_db: float
    echo_db: float
    residual_db: float

    @property
    def audible(self) -> bool:
        """The loudspeaker reaches the microphone (no headphones)."""
        return self.echo_db > self.noise_db + 6.0

    @property
    def removed_db(self) -> float:
        """How much of the echo the canceller took away."""
        return self.echo_db - self.residual_db

    @property
    def full_duplex(self) -> bool:
        """Good enough to listen while speaking: no echo, or 20 dB of it removed or inaudible."""
        cleared = self.removed_db >= 20.0 or self.residual_db <= self.noise_db + 4.0
        return not self.audible or cleared


class EchoProbe:
    """Collects levels before, while and after cancelling our own sound.

    It is fed with every 10 ms step of the first assistant speech (or of a start-up chime): steps
    without far-end sound give the noise, steps with it give echo and residual after the canceller
    had `settle_s` to adapt.
    """

    def __init__(self, settle_s: float = 0.4, needed_s: float = 0.5) -> None:
        self._settle = int(settle_s * 100)
        self._needed = int(needed_s * 100)
        self._noise: list[float] = []
        self._echo: list[float] = []
        self._residual: list[float] = []
        self._loud_steps = 0

    def step(self, near: np.ndarray, far: np.ndarray, clean: np.ndarray) -> EchoReport | None:
        """Take one 10 ms step; gives the report once, when enough was heard."""
        if self._loud_steps < 0:
            return None
        if level_db(far) < -50.0:
            if self._loud_steps == 0:
                self._noise = [*self._noise[-199:], level_db(near)]
            return None
        self._loud_steps += 1
        if self._loud_steps > self._settle:
            self._echo.append(level_db(near))
            self._residual.append(level_db(clean))
        if len(self._echo) < self._needed:
            return None
        self._loud_steps = -1
        return self._report()

    def _report(self) -> EchoReport:
        noise = float(np.percentile(self._noise, 20)) if self._noise else -70.0
        echo = float(np.percentile(self._echo, 75))
        return EchoReport(noise, echo, float(np.percentile(self._residual, 75)))
