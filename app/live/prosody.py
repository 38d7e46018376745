"""Does the phrase sound finished? A rule over pitch and loudness of its last half second.

Statements, orders and most questions with a question word end on a falling pitch and fading
loudness (declination and final lowering: Pierrehumbert 1980; as turn-yielding cues: Gravano and
Hirschberg 2011). A level or slightly rising pitch with full loudness means that more is coming; a
steep rise is a yes/no question and again an end. The score only stretches or shortens the wait
of the endpointer, it never decides alone.
"""

import numpy as np

from app.live.buffers import RATE

_FRAME = int(0.040 * RATE)
_HOP = int(0.010 * RATE)
_LOWEST_HZ, _HIGHEST_HZ = 75.0, 400.0
_VOICED = 0.45
"""Least normalised autocorrelation of a voiced frame."""


def pitch_track(pcm: np.ndarray) -> np.ndarray:
    """Fundamental frequency every 10 ms: float32 [frames] in Hz, 0 where unvoiced.

    Normalised autocorrelation of 40 ms Hann frames, peak within 75 to 400 Hz (Boersma 1993
    without the octave-cost refinement).
    """
    count = 1 + (len(pcm) - _FRAME) // _HOP if len(pcm) >= _FRAME else 0
    if count <= 0:
        return np.zeros(0, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _FRAME)[::_HOP][:count]
    window = np.hanning(_FRAME).astype(np.float32)
    correlation = _autocorrelation((frames - frames.mean(axis=1, keepdims=True)) * window)
    correlation = correlation / np.maximum(_autocorrelation(window[None]), 1e-3)
    low, high = int(RATE / _HIGHEST_HZ), int(RATE / _LOWEST_HZ)
    best = _first_peak(correlation[:, low:high]) + low
    strength = correlation[np.arange(count), best]
    return np.where(strength > _VOICED, RATE / best, 0.0).astype(np.float32)


def _first_peak(correlation: np.ndarray) -> np.ndarray:
    """Index of each row's first peak within a tenth of its highest (later ones are octaves)."""
    inner = correlation[:, 1:-1]
    peak = (inner >= correlation[:, :-2]) & (inner >= correlation[:, 2:])
    peak &= inner >= 0.9 * correlation.max(axis=1, keepdims=True)
    return np.where(peak.any(axis=1), peak.argmax(axis=1) + 1, correlation.argmax(axis=1))


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    size = 2 * frames.shape[1]
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    raw = np.fft.irfft(power)[:, : frames.shape[1]]
    return raw / np.maximum(raw[:, :1], 1e-9)


def finished_score(pcm: np.ndarray) -> float:
    """How finished the end of this speech sounds: 0 (more to come) to 1 (done), 0.5 if unknown.

    Args:
        pcm: the last 0.8 s or so up to the end of speech, float32 at 16 kHz.
    """
    pitch = pitch_track(pcm[-int(0.8 * RATE) :])
    voiced = np.flatnonzero(pitch > 0)
    if len(voiced) < 12:
        return 0.5
    semitones = 12 * np.log2(pitch[voiced])
    tail = max(6, len(voiced) // 3)
    fall = float(np.median(semitones[:-tail]) - np.median(semitones[-tail:]))
    score = 0.5 + 0.12 * fall if fall > -3.0 else 0.75
    return float(np.clip(score + _fading(pcm), 0.0, 1.0))


def _fading(pcm: np.ndarray) -> float:
    """Bonus 0..0.2 for loudness that dies away over the last 0.4 s."""
    last = pcm[-int(0.4 * RATE) :]
    half = len(last) // 2
    before, after = (float(np.sqrt(np.mean(part**2)) + 1e-6) for part in (last[:half], last[half:]))
    return float(np.clip(20 * np.log10(before / after) / 60.0, 0.0, 0.2))
