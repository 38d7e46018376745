"""The microphone: PortAudio at the device's own rate, delivered as 16 kHz mono with capture times.

Also a recording that plays as microphone, for the command line and tests. Sinks are called on the
device's thread (or the file's) and must only queue.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sounddevice
import soundfile

from app.live.access import Access
from app.live.buffers import RATE
from app.live.clock import Clock
from app.live.resample import StreamResampler, resample, to_mono

log = logging.getLogger(__name__)

Sink = Callable[[np.ndarray, float], None]
_BLOCK_S = 0.01
_LOST_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A PortAudio device: `index` until the next rescan, `name` for people and settings."""

    index: int
    name: str
    channels: int
    rate: int
    default: bool


class MicrophoneError(Exception):
    """The microphone cannot be used: `access` says why, the message is for the user."""

    def __init__(self, access: Access, message: str) -> None:
        super().__init__(message)
        self.access = access


class MicrophoneSource(Protocol):
    """Something that delivers sound."""

    @property
    def narrow(self) -> bool:
        """It records in telephone quality (8 kHz)."""
        ...

    def start(self, sink: Sink) -> None:
        """Begin to deliver.

        Raises:
            MicrophoneError: it cannot.
        """
        ...

    def stop(self) -> None:
        """Deliver nothing more once this returns."""
        ...

    def problem(self) -> Access | None:
        """LOST after the device went away; asked regularly."""
        ...


def sound_devices(*, output: bool = False) -> list[SoundDevice]:
    """Devices that can record (or play)."""
    side = "max_output_channels" if output else "max_input_channels"
    default = sounddevice.default.device[1 if output else 0]
    return [
        SoundDevice(
            index, str(d["name"]), int(d[side]), int(d["default_samplerate"]), index == default
        )
        for index, d in enumerate(sounddevice.query_devices())
        if d[side] > 0
    ]


def rescan_devices() -> None:
    """Let PortAudio see plugged and unplugged devices. No stream may be open."""
    sounddevice._terminate()  # noqa: SLF001 - PortAudio has no public rescan
    sounddevice._initialize()  # noqa: SLF001


def find_device(name: str, *, output: bool = False) -> SoundDevice:
    """The device called `name` ("" or "default": the system's choice; a part of a name will do).

    Raises:
        MicrophoneError: there is none.
    """
    devices = sound_devices(output=output)
    if name in ("", "default"):
        chosen = [d for d in devices if d.default] or devices
    else:
        chosen = [d for d in devices if d.name == name] or [
            d for d in devices if name.lower() in d.name.lower()
        ]
    if not chosen:
        kind = "loudspeaker" if output else "microphone"
        wanted = "" if name in ("", "default") else f" called “{name}”"
        message = f"No {kind}{wanted} was found. Connect one or choose another."
        raise MicrophoneError(Access.NO_DEVICE, message)
    return chosen[0]


class Microphone:
    """A sound device as source.

    Args:
        clock: stamps blocks; the same scale as everything else.
        device: name or part of it, "" for the system's choice.
    """

    def __init__(self, clock: Clock, device: str = "") -> None:
        self.device = device
        self.rate = 0
        self._clock = clock
        self._stream: sounddevice.InputStream | None = None
        self._resampler: StreamResampler | None = None
        self._sink: Sink = lambda _pcm, _t: None
        self._last_block = 0.0
        self._finished = False

    def start(self, sink: Sink) -> None:
        """Open the device at its own rate."""
        chosen = find_device(self.device)
        self.rate = chosen.rate
        self._sink, self._finished = sink, False
        self._resampler = StreamResampler(chosen.rate, RATE)
        self._last_block = self._clock.now()
        try:
            self._stream = sounddevice.InputStream(
                device=chosen.index,
                samplerate=chosen.rate,
                channels=1,
                dtype="float32",
                blocksize=int(chosen.rate * _BLOCK_S),
                latency="low",
                callback=self._on_block,
                finished_callback=self._on_finished,
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self.stop()
            raise _explained(error, chosen.name) from error

    def stop(self) -> None:
        """Close the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def problem(self) -> Access | None:
        """LOST if the stream ended by itself or no block came for 2 s."""
        if self._stream is None:
            return None
        silent = self._clock.now() - self._last_block > _LOST_AFTER_S
        return Access.LOST if self._finished or silent else None

    @property
    def narrow(self) -> bool:
        """A headset in telephone quality (8 kHz): words are harder to understand."""
        return 0 < self.rate < RATE

    def _on_block(self, block: np.ndarray, _frames: int, times: Any, status: Any) -> None:
        now = self._clock.now()
        self._last_block = now
        if status:
            log.debug("microphone: %s", status)
        late = times.currentTime - times.inputBufferAdcTime
        captured = now - (late if 0 <= late < 1 else _BLOCK_S)
        assert self._resampler is not None
        pcm = self._resampler.push(to_mono(block.copy()))
        if len(pcm):
            self._sink(pcm, captured)

    def _on_finished(self) -> None:
        self._finished = True


def _explained(error: sounddevice.PortAudioError, name: str) -> MicrophoneError:
    log.warning("sound device %s: %s", name, error)
    text = str(error).lower()
    if "unavailable" in text or "busy" in text or "-9985" in text:
        message = f"“{name}” is held by another app. Close it there, then try again."
        return MicrophoneError(Access.BUSY, message)
    message = f"“{name}” could not be opened. Choose another device or connect it again."
    return MicrophoneError(Access.LOST, message)


class FileMicrophone:
    """A recording as microphone, in real time, followed by silence.

    Args:
        clock: stamps blocks.
        path: anything soundfile reads.
        ended: called once when the recording is over.

    Raises:
        MicrophoneError: it cannot be read.
    """

    rate = RATE
    narrow = False

    def __init__(self, clock: Clock, path: Path, ended: Callable[[], None] = lambda: None) -> None:
        self._clock, self._ended = clock, ended
        self._pcm = _read_sound(path)
        # A device that sends exact zeros is broken; a quiet one has at least this noise.
        self._hiss = np.random.default_rng(0).normal(0, 1e-4, RATE).astype(np.float32)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sink: Sink) -> None:
        """Begin to play from the start."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(sink,), name="file-microphone")
        self._thread.daemon = True
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=2)

    def problem(self) -> Access | None:
        """A file never goes away."""
        return None

    def _run(self, sink: Sink) -> None:
        step = int(RATE * 0.02)
        start = self._clock.now()
        at, told = 0, False
        while not self._stop.wait(max(0.0, start + (at + step) / RATE - self._clock.now())):
            block = self._pcm[at : at + step]
            if len(block) < step:
                block = np.pad(block, (0, step - len(block))) + self._hiss[:step]
            sink(block, start + at / RATE)
            at += step
            if at >= len(self._pcm) and not told:
                told = True
                self._ended()


def _read_sound(path: Path) -> np.ndarray:
    try:
        pcm, rate = soundfile.read(path, dtype="float32")
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        message = f"“{path.name}” cannot be read as sound; use a WAV, FLAC or MP3 file."
        raise MicrophoneError(Access.NO_DEVICE, message) from error
    return resample(to_mono(pcm), int(rate), RATE)
