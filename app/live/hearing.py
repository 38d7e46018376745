"""From microphone blocks to judged windows: echo taken out, near-end sound found, health watched.

Everything downstream counts in samples of the cleaned 16 kHz stream, held in `ring`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from app.live.barge_in import NearEndDetector
from app.live.buffers import RATE, PcmRing
from app.live.echo import STEP, EchoCanceller, EchoProbe, EchoReference, EchoReport
from app.live.linear_echo import LinearEcho, Surprise
from app.live.vad import VadOptions, VoiceDetector, VoiceWindow

_SILENT_STEPS = 200
"""10 ms steps of exact zeros before a microphone that never gave a sound is called silent."""
_SILENT_AGAIN_STEPS = 3_000
"""The same for one that did: it may be gated to zero between two sentences."""
_CLIPPED_SHARE = 0.02
"""Share of samples at full scale within a second that is called clipped."""
_BESIDE = VadOptions(amplified=4.0)
"""Over our own voice nobody has set the level for the judge: WebRTC's canceller is not asked."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One 10 ms step ending at sample `position`, and the windows it completed.

    own: what is near may be all our own echo in a changed room.
    windows judge the cleaned sound; beside: what the linear canceller leaves while we are audible,
    None while it has nothing to do.
    """

    position: int
    near: bool
    own: bool
    windows: tuple[VoiceWindow, ...]
    beside: tuple[VoiceWindow, ...] | None
    echo: EchoReport | None = None
    complaint: str = ""


class Hearing:
    """Cleans and judges the microphone stream.

    Args:
        reference: what the loudspeaker played.
        canceller: removes the echo; None passes the sound through (headphones, tests).
        probability: judge of a window; Silero if not given.
    """

    def __init__(
        self,
        reference: EchoReference,
        canceller: EchoCanceller | None = None,
        probability: Callable[[np.ndarray], float] | None = None,
    ) -> None:
        self.ring = PcmRing(capacity_s=6.0)
        self.deaf = False
        """Muted, or half duplex while we speak: the stream goes on as silence."""
        self._reference = reference
        self._canceller = canceller
        self._probe: EchoProbe | None = None
        self._linear = LinearEcho() if canceller else None
        self._near_end, self._surprise = NearEndDetector(), Surprise()
        self._detector = VoiceDetector(probability)
        self._beside = VoiceDetector(probability, _BESIDE)
        self._rest = np.zeros(0, np.float32)
        self._health = MicrophoneHealth()
        self._origin = 0.0

    def start_probe(self) -> None:
        """Measure the echo during the next sound we play."""
        self._probe = EchoProbe()

    def relearn_echo(self) -> None:
        """What sounded like somebody was our own voice on another way."""
        if self._linear:
            self._linear.relearn()
            self._surprise.calm()

    def time_of(self, position: int) -> float:
        """Clock time at which sample `position` was captured."""
        return self._origin + position / RATE

    def feed(self, pcm: np.ndarray, t: float) -> Iterator[Heard]:
        """Take captured sound (float32 16 kHz) whose first sample was captured at `t` seconds."""
        self._origin = t - (self.ring.end + len(self._rest)) / RATE
        data = np.concatenate([self._rest, pcm])
        whole = len(data) // STEP * STEP
        self._rest = data[whole:]
        for at in range(0, whole, STEP):
            yield self._step(data[at : at + STEP])

    def _step(self, near: np.ndarray) -> Heard:
        far = self._reference.read(self.time_of(self.ring.end), STEP)
        clean = self._canceller.process(near, far) if self._canceller else near
        report = self._probe.step(near, far, clean) if self._probe else None
        if report:
            self._probe = None
        complaint = "" if self.deaf else self._health.step(near)
        if self.deaf:
            clean = np.zeros(STEP, np.float32)
        is_near, own, beside = self._somebody(near, clean, far)
        self.ring.append(clean)
        windows = tuple(self._detector.feed(clean))
        is_near = is_near and not self.deaf
        return Heard(self.ring.end, is_near, own, windows, beside, report, complaint)

    def _somebody(
        self, near: np.ndarray, clean: np.ndarray, far: np.ndarray
    ) -> tuple[bool, bool, tuple[VoiceWindow, ...] | None]:
        if self._linear is None:
            return self._near_end.step(clean, far), False, None
        rest = self._linear.process(near, far)
        idle = self.deaf or self._linear.idle
        windows = None if idle else tuple(self._beside.feed(rest.sound))
        return self._surprise.step(rest), rest.own, windows


class MicrophoneHealth:
    """Notices a microphone that sends only zeros, and one that is far too loud."""

    def __init__(self) -> None:
        self._zeros = 0
        self._heard = False
        self._clipped = np.zeros(100, np.int32)
        self._step = 0
        self._told: set[str] = set()

    def step(self, pcm: np.ndarray) -> str:
        """Take 10 ms; gives "silent", "clipped" or "sound" (again) once each, else nothing."""
        self._step += 1
        self._zeros = 0 if np.any(pcm) else self._zeros + 1
        self._heard = self._heard or self._zeros == 0
        self._clipped[self._step % 100] = int(np.count_nonzero(np.abs(pcm) >= 0.999))
        if self._zeros >= (_SILENT_AGAIN_STEPS if self._heard else _SILENT_STEPS):
            return self._tell("silent")
        if "silent" in self._told and self._zeros == 0:
            self._told.discard("silent")
            return "sound"
        if self._clipped.sum() > _CLIPPED_SHARE * RATE:
            return self._tell("clipped")
        return ""

    def _tell(self, what: str) -> str:
        if what in self._told:
            return ""
        self._told.add(what)
        return what
