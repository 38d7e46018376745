"""Sounds and rooms for the tests: spoken text, noises, and a room with echo."""

import functools
import io
import subprocess

import numpy as np
import soundfile

from app.live.buffers import RATE
from app.live.resample import resample


@functools.cache
def _spoken(text: str, voice: str, speed: int) -> np.ndarray:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    pcm, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    loud = np.flatnonzero(np.abs(pcm) > 0.01)
    return resample(pcm[loud[0] : loud[-1] + 1], rate, RATE)


def say(text: str, voice: str = "en", speed: int = 160, level: float = 0.3) -> np.ndarray:
    """espeak-ng's voice without the silence around it, float32 at 16 kHz, peak `level`."""
    pcm = _spoken(text, voice, speed)
    return pcm * np.float32(level / np.abs(pcm).max())


def silence(seconds: float, noise_db: float = -70.0, seed: int = 0) -> np.ndarray:
    """A quiet room: white noise at `noise_db`."""
    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return (samples * 10 ** (noise_db / 20)).astype(np.float32)


def cough(seed: int = 0) -> np.ndarray:
    """A 180 ms burst of noise that falls off quickly."""
    count = int(0.18 * RATE)
    shape = np.exp(-np.arange(count) / (0.04 * RATE))
    return (np.random.default_rng(seed).standard_normal(count) * shape * 0.3).astype(np.float32)


def fan(seconds: float, level_db: float = -35.0, seed: int = 1) -> np.ndarray:
    """Steady low-pass noise with a hum."""
    count = int(seconds * RATE)
    noise = np.cumsum(np.random.default_rng(seed).standard_normal(count))
    noise -= np.convolve(noise, np.ones(400) / 400, mode="same")
    hum = np.sin(2 * np.pi * 120 * np.arange(count) / RATE)
    mixed = noise / np.std(noise) + 0.5 * hum
    return (mixed / np.std(mixed) * 10 ** (level_db / 20)).astype(np.float32)


def rms_of_speech(pcm: np.ndarray) -> float:
    """Level of the parts that are not silent."""
    loud = pcm[np.abs(pcm) > 1e-3]
    return float(np.sqrt(np.mean(loud**2))) if len(loud) else 1e-6


class Room:
    """A loudspeaker and a microphone in one room: delay, then a decaying tail; runs in blocks.

    Args:
        delay_s: way through the air and the device buffers.
        decay_s: time in which the reverberation falls by 60 dB.
        gain: level of the echo against what was played.
    """

    def __init__(self, delay_s=0.04, decay_s=0.15, gain=0.5, seed=0):
        self.gain = gain
        count = int(decay_s * RATE)
        tail = np.random.default_rng(seed).standard_normal(count)
        tail = tail * 10 ** (-3 * np.arange(count) / count)
        tail[0] = 3.0
        tail *= gain / np.sqrt((tail**2).sum())
        self._response = np.concatenate([np.zeros(int(delay_s * RATE)), tail]).astype(np.float32)
        self._tail = np.zeros(len(self._response) - 1, np.float32)
        self._size = 8192 * (1 + (len(self._response) + RATE // 10) // 8192)
        self._spectrum = np.fft.rfft(self._response, self._size)

    def louder(self, factor: float) -> None:
        """Somebody turns the volume up."""
        self._spectrum = self._spectrum * np.float32(factor)

    def echo(self, far: np.ndarray) -> np.ndarray:
        """What the microphone hears of one played block."""
        if not np.any(far) and not np.any(self._tail):
            return far
        full = np.fft.irfft(np.fft.rfft(far, self._size) * self._spectrum, self._size)
        full = full[: len(far) + len(self._tail)]
        full[: len(self._tail)] += self._tail
        self._tail = full[len(far) :].astype(np.float32)
        return full[: len(far)].astype(np.float32)


def best_match(heard, wanted):
    """Correlation of `wanted` with its best place in `heard`."""
    size = len(heard) + len(wanted)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))
    part = heard[at : at + len(wanted)]
    return float(
        np.dot(part, wanted[: len(part)]) / (np.linalg.norm(part) * np.linalg.norm(wanted))
    )
