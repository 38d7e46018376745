"""The audio front end: 16 kHz samples to log-mel frames (E2B, E4B) or raw frames (12B).

Numpy only. The whole clip and the stream run the same code: a frame is computed from its own 320
samples and nothing else, so pushing sample by sample gives the frames of the whole clip.
"""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlx_gemma4.errors import MediaError
from mlx_gemma4.inputs import AudioClip

SAMPLE_RATE = 16_000
MAX_CLIP_SECONDS = 30
MAX_CLIP_SAMPLES = MAX_CLIP_SECONDS * SAMPLE_RATE
MAX_CLIP_TOKENS = 750

HOP = 160  # samples: 10 ms
WINDOW = 320  # samples: 20 ms
LEFT_PAD = WINDOW // 2  # zeros before the clip, so that the first frame is centred on its start
FFT = 512
MEL_BANDS = 128
MEL_TOP_HZ = 8_000.0
MEL_FLOOR = 0.001  # added before the logarithm
# Two convolutions of stride 2 in the tower: four mel frames make one token of 40 ms.
FRAMES_PER_TOKEN = 4
SAMPLES_PER_RAW_FRAME = 640  # 12B: one token is 40 ms of samples


def mel_frames(samples: int) -> int:
    """Valid log-mel frames of a clip: `floor((S - 1) / 160)`.

    Frame i is valid when the sample after its window, `160i + 320` of the stream with 160 zeros
    in front, is real: `160i + 160 < S`. The reference reads 321 samples a frame and drops one.
    """
    return max(0, samples - 1) // HOP


@functools.cache
def _hann() -> np.ndarray:
    """Periodic Hann window, float32 [320]: `0.5 - 0.5 · cos(2πn / 320)`."""
    n = np.arange(WINDOW)
    return (0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW)).astype(np.float32)


@functools.cache
def mel_filters() -> np.ndarray:
    """Triangular HTK filters, float64 [257, 128], 0 to 8 kHz, without area normalisation.

    Corner frequencies are equally spaced in `mel = 2595 · log10(1 + f / 700)`; the triangles are
    linear in hertz. The highest filters fall between FFT bins and may be all zero.
    """
    top = 2595.0 * np.log10(1.0 + MEL_TOP_HZ / 700.0)
    corners = 700.0 * (np.power(10, np.linspace(0.0, top, MEL_BANDS + 2) / 2595.0) - 1.0)
    bins = np.linspace(0, SAMPLE_RATE // 2, FFT // 2 + 1)
    widths = np.diff(corners)
    distance = corners[None, :] - bins[:, None]
    rising = -distance[:, :-2] / widths[:-1]
    falling = distance[:, 2:] / widths[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


def _log_mel(padded: np.ndarray, frames: int) -> np.ndarray:
    """Log-mel frames float32 [frames, 128]; `padded` begins at the first frame's first sample.

    Types follow the reference: samples and spectrum in float32, filters and logarithm in float64.
    """
    if frames <= 0:
        return np.zeros((0, MEL_BANDS), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: frames * HOP : HOP]
    magnitude = np.abs(np.fft.rfft(windows * _hann(), n=FFT, axis=-1))
    return np.log(magnitude @ mel_filters() + MEL_FLOOR).astype(np.float32)


def check_samples(pcm: np.ndarray) -> np.ndarray:
    """Samples as float32 [n].

    Raises:
        MediaError: not one channel of real numbers, or with NaN or infinite values.
    """
    pcm = np.asarray(pcm)
    if pcm.ndim != 1 or pcm.dtype.kind not in "fiu":
        raise MediaError(
            "Sound must be one row of samples, mono at 16 kHz; mix and resample it first."
        )
    if pcm.dtype.kind in "iu":
        if pcm.dtype != np.int16:
            raise MediaError(f"Sound must be float32 or int16 samples, not {pcm.dtype}.")
        return pcm.astype(np.float32) / 32768.0
    pcm = pcm.astype(np.float32, copy=False)
    if not np.isfinite(pcm).all():
        raise MediaError(
            "The sound contains values that are not numbers, so the recording is damaged; "
            "record or export it again."
        )
    return pcm


@dataclass(frozen=True, eq=False)
class StreamState:
    """One moment of a front-end stream; never changed, so a mark is just a reference to it.

    Attributes:
        buffer: samples that frames still to come begin with.
        samples: samples pushed so far.
        frames: frames finished so far.
        history: (earlier history, frames finished), one link a push.
        digest: hash of all samples pushed so far; only copies of it are fed.
    """

    buffer: np.ndarray
    digest: hashlib.blake2b
    samples: int = 0
    frames: int = 0
    history: tuple[Any, np.ndarray] | None = None


class FrontEndStream(ABC):
    """What both front ends share: checks, the 30-second limit, keeping of frames, marks."""

    kind: str
    left_pad: int
    width: int

    def __init__(self) -> None:
        digest = hashlib.blake2b(self.kind.encode(), digest_size=16)
        self._state = StreamState(np.zeros(self.left_pad, dtype=np.float32), digest)

    @property
    def samples(self) -> int:
        """Samples pushed so far."""
        return self._state.samples

    @property
    def seconds(self) -> float:
        """Length of the sound pushed so far."""
        return self._state.samples / SAMPLE_RATE

    @property
    def key(self) -> str:
        """Content key of the sound pushed so far, hashed as it came."""
        return self._state.digest.hexdigest()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take samples [n] at 16 kHz and return the frames that became final, float32 [k, width].

        Raises:
            MediaError: bad samples, or the clip would grow beyond 30 seconds.
        """
        pcm = check_samples(pcm)
        total = self._state.samples + pcm.size
        if total > MAX_CLIP_SAMPLES:
            raise MediaError(
                "A sound clip holds at most 30 seconds; close this clip and go on in a new one."
            )
        buffer = np.concatenate([self._state.buffer, pcm])
        frames, rest = self._advance(buffer, total)
        digest = self._state.digest.copy()
        digest.update(np.ascontiguousarray(pcm).data)
        link = (self._state.history, frames)
        finished = self._state.frames + len(frames)
        self._state = StreamState(rest, digest, total, finished, link)
        return frames

    def finish(self) -> np.ndarray:
        """Return the frames that only the end of the clip makes final, [k, width]."""
        return self._last(self._state.buffer)

    def clip(self) -> AudioClip:
        """Everything pushed so far as one finished clip.

        Raises:
            MediaError: too short for a single token.
        """
        frames = np.concatenate([self._finished(), self.finish()])
        if not len(frames):
            raise MediaError(
                "The sound is shorter than a hundredth of a second, so there is nothing to hear; "
                "record it again."
            )
        tokens = self._tokens(len(frames))
        return AudioClip(frames, len(frames), tokens, self.key, self.seconds)

    def mark(self) -> StreamState:
        """Remember this moment; free of charge."""
        return self._state

    def rollback(self, mark: StreamState) -> None:
        """Return to a moment remembered by `mark`, exactly."""
        self._state = mark

    def _finished(self) -> np.ndarray:
        """All finished frames [k, width] so far."""
        frames = [np.zeros((0, self.width), np.float32)]
        link = self._state.history
        while link is not None:
            link, finished = link
            frames.append(finished)
        return np.concatenate(frames[::-1])

    @abstractmethod
    def _advance(self, buffer: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames that `total` samples make final, and the samples to keep."""

    @abstractmethod
    def _last(self, buffer: np.ndarray) -> np.ndarray:
        """The frames that the end of the clip makes final."""

    @abstractmethod
    def _tokens(self, frames: int) -> int:
        """Soft tokens of a clip of this many frames."""


class MelStream(FrontEndStream):
    """Log-mel front end of E2B and E4B, sample by sample if need be.

    A frame is final when the sample after its window has come; the end of a clip completes none,
    as the reference counts only frames made of real sound.
    """

    kind = "mel"
    left_pad = LEFT_PAD
    width = MEL_BANDS

    def _advance(self, buffer: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        ready = mel_frames(total) - self._state.frames
        return _log_mel(buffer, ready), buffer[ready * HOP :].copy()

    def _last(self, buffer: np.ndarray) -> np.ndarray:
        return _log_mel(buffer, 0)

    def _tokens(self, frames: int) -> int:
        return -(-frames // FRAMES_PER_TOKEN)


class RawStream(FrontEndStream):
    """Front end of the 12B: frames of 640 samples, the last one filled with zeros."""

    kind = "raw"
    left_pad = 0
    width = SAMPLES_PER_RAW_FRAME

    def _advance(self, buffer: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
        used = buffer.size - buffer.size % SAMPLES_PER_RAW_FRAME
        return buffer[:used].reshape(-1, SAMPLES_PER_RAW_FRAME), buffer[used:].copy()

    def _last(self, buffer: np.ndarray) -> np.ndarray:
        filled = np.pad(buffer, (0, -buffer.size % SAMPLES_PER_RAW_FRAME))
        return filled.reshape(-1, SAMPLES_PER_RAW_FRAME)

    def _tokens(self, frames: int) -> int:
        return frames


def make_clip(pcm: np.ndarray, *, raw: bool) -> AudioClip:
    """One clip of float32 (or int16) samples [n] at 16 kHz.

    Args:
        pcm: mono samples, at most 30 seconds.
        raw: True for the 12B's raw frames, False for log-mel frames.

    Raises:
        MediaError: bad samples, too short, or too long (split it first).
    """
    stream = RawStream() if raw else MelStream()
    stream.push(pcm)
    return stream.clip()
