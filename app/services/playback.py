"""The loudspeaker: renders the mixer through PortAudio and tells the echo canceller what it played.

Also a WAV file as loudspeaker, for the command line and tests.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import sounddevice
import soundfile

from app.live.access import Access
from app.live.buffers import RATE
from app.live.clock import Clock
from app.live.echo import EchoReference
from app.live.mixer import Mixer
from app.live.resample import StreamResampler
from app.services.microphone import MicrophoneError, SoundDevice, find_device

log = logging.getLogger(__name__)

_BLOCK_S = 0.01
_STALLED_S = 2.0


class Speaker(Protocol):
    """Something that plays what the mixer renders. device: which one, "" the system's choice."""

    mixer: Mixer
    device: str

    def start(self) -> None:
        """Begin to play.

        Raises:
            MicrophoneError: the device cannot be used.
        """
        ...

    def stop(self) -> None:
        """Be silent and close."""
        ...

    def problem(self) -> Access | None:
        """LOST after the device went away."""
        ...


class Playback:
    """A sound device that plays the mixer.

    Args:
        clock, reference: where the time and the echo canceller's far end come from.
        device: name or part of it, "" for the system's choice; may be changed before `start`.

    Raises:
        MicrophoneError: there is no such device.
    """

    def __init__(self, clock: Clock, reference: EchoReference, device: str = "") -> None:
        self.device = device
        self._device: SoundDevice = find_device(device, output=True)
        self.mixer = Mixer(self._device.rate)
        self._clock, self._reference = clock, reference
        self._resampler = StreamResampler(self._device.rate, RATE)
        self._stream: sounddevice.OutputStream | None = None
        self._finished = False
        self._last_block = 0.0

    def start(self) -> None:
        """Open the device; its number may be another one since the last rescan."""
        self._device = find_device(self.device, output=True)
        if self._device.rate != self.mixer.rate:
            self.mixer.set_rate(self._device.rate)
        self._resampler = StreamResampler(self._device.rate, RATE)
        self._finished = False
        self._last_block = self._clock.now()
        try:
            self._stream = sounddevice.OutputStream(
                device=self._device.index,
                samplerate=self._device.rate,
                channels=1,
                dtype="float32",
                blocksize=int(self._device.rate * _BLOCK_S),
                latency="low",
                callback=self._on_block,
                finished_callback=self._on_finished,
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            log.warning("loudspeaker %s: %s", self._device.name, error)
            message = f"“{self._device.name}” cannot play sound now. Choose another loudspeaker."
            raise MicrophoneError(Access.BUSY, message) from error

    def stop(self) -> None:
        """Close the device."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()
            stream.close()

    def problem(self) -> Access | None:
        """LOST if the stream ended by itself or asked for no sound for 2 s."""
        stalled = self._clock.now() - self._last_block > _STALLED_S
        lost = self._stream is not None and (self._finished or stalled)
        return Access.LOST if lost else None

    def _on_block(self, out: np.ndarray, frames: int, times: Any, _status: Any) -> None:
        self._last_block = self._clock.now()
        pcm = self.mixer.render(frames)
        out[:, 0] = pcm
        ahead = times.outputBufferDacTime - times.currentTime
        audible = self._clock.now() + (ahead if 0 <= ahead < 1 else _BLOCK_S)
        self._reference.write(self._resampler.push(pcm), audible)

    def _on_finished(self) -> None:
        self._finished = True


class FileSpeaker:
    """Plays into a WAV file, in real time (16 bit, 24 kHz mono)."""

    def __init__(self, clock: Clock, reference: EchoReference, path: Path | None) -> None:
        self.mixer, self.device = Mixer(24_000), ""
        self._clock, self._reference, self._path = clock, reference, path
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="file-speaker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the file."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=2)

    def problem(self) -> Access | None:
        """A file never goes away."""
        return None

    def _run(self) -> None:
        resampler = StreamResampler(self.mixer.rate, RATE)
        step = int(self.mixer.rate * _BLOCK_S)
        start, done = self._clock.now(), 0
        file = None
        if self._path is not None:
            file = soundfile.SoundFile(self._path, "w", self.mixer.rate, 1, subtype="PCM_16")
        try:
            while not self._stop.wait(max(0.0, start + done * _BLOCK_S - self._clock.now())):
                pcm = self.mixer.render(step)
                if file is not None:
                    file.write(pcm)
                self._reference.write(resampler.push(pcm), start + done * _BLOCK_S)
                done += 1
        finally:
            if file is not None:
                file.close()
