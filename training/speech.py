"""Speech from espeak-ng, spoilt like a microphone does, and the published log-mel front end."""

from __future__ import annotations

import io
import random
import subprocess
from functools import lru_cache

import numpy as np
import soundfile
import soxr
from transformers.models.gemma4 import Gemma4AudioFeatureExtractor

from training import phrases
from training.espeak import Span

RATE = 16_000
TOKEN_SECONDS = 0.04
UNKNOWN = -100
ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-029",
    "en-gb-x-gbcwmd",
    "en-gb-x-gbclan",
    "en-us-nyc",
)
TRAIN_VARIANTS = (
    "m1",
    "m2",
    "m3",
    "m5",
    "m7",
    "m8",
    "f1",
    "f2",
    "f3",
    "f5",
    "Alex",
    "Andy",
    "Annie",
    "Andrea",
    "Denis",
    "Gene",
    "Jacky",
    "Michael",
    "Mario",
    "Marco",
    "antonio",
    "benjamin",
    "caleb",
    "david",
    "edward",
    "ed",
    "john",
    "linda",
    "max",
    "paul",
    "pablo",
    "quincy",
    "rob",
    "robert",
    "steph",
    "steph2",
    "zac",
    "anika",
    "norbert",
    "sandro",
    "shelby",
    "victor",
    "klatt",
    "klatt2",
    "klatt4",
    "Diogo",
    "Hugo",
    "boris",
)
HELD_OUT_VARIANTS = (
    "m4",
    "m6",
    "f4",
    "Alicia",
    "belinda",
    "Lee",
    "michel",
    "travis",
    "steph3",
    "iven",
)
TRAIN_SPEEDS = tuple(range(110, 211, 10))
HELD_OUT_SPEEDS = (125, 145, 165, 185)


def voice(rng: random.Random, held_out: bool) -> tuple[str, int, int, int]:
    """A random (voice+variant, words a minute, pitch, word gap in 10 ms) of one side."""
    variants = HELD_OUT_VARIANTS if held_out else TRAIN_VARIANTS
    speeds = HELD_OUT_SPEEDS if held_out else TRAIN_SPEEDS
    name = f"{rng.choice(ACCENTS)}+{rng.choice(variants)}"
    return name, rng.choice(speeds), rng.randint(25, 75), rng.choice([0, 0, 0, 1, 3, 6])


def synthesise(text: str, name: str, speed: int, pitch: int, gap: int) -> np.ndarray:
    """Speak `text`: float32 mono at 16 kHz, silence at both ends trimmed."""
    command = ["espeak-ng", "--stdout", "-v", name, "-s", str(speed), "-p", str(pitch)]
    wav = subprocess.run([*command, "-g", str(gap), text], capture_output=True, check=True).stdout
    pcm, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    pcm = soxr.resample(pcm, rate, RATE).astype(np.float32)
    loud = np.flatnonzero(np.abs(pcm) > 0.01)
    return pcm[loud[0] : loud[-1] + 1] if loud.size else pcm


def _noise(generator: np.random.Generator, size: int) -> np.ndarray:
    """White to brown noise of unit power."""
    spectrum = np.fft.rfft(generator.standard_normal(size))
    tilt = generator.uniform(0, 1.2)
    spectrum /= np.maximum(1, np.arange(spectrum.size)) ** (tilt / 2)
    sound = np.fft.irfft(spectrum, size)
    return (sound / max(1e-9, float(np.sqrt(np.mean(sound**2))))).astype(np.float32)


def spoil(
    rng: random.Random, pcm: np.ndarray, strength: float = 1.0
) -> tuple[np.ndarray, tuple[float, float]]:
    """Silence around, level, a little room and noise of 10 to 40 dB below the voice.

    Also gives where the voice lies: (start, end) in seconds.
    """
    generator = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.3 * strength:
        tail = int(RATE * rng.uniform(0.02, 0.12))
        echo = generator.standard_normal(tail) * np.exp(-5 * np.arange(tail) / tail)
        echo[0] = rng.uniform(3, 8)
        wet = np.fft.irfft(
            np.fft.rfft(pcm, 2 * pcm.size + tail) * np.fft.rfft(echo, 2 * pcm.size + tail)
        )
        pcm = wet[: pcm.size + tail // 2]
    pcm = pcm / max(1e-6, float(np.abs(pcm).max())) * 10 ** (rng.uniform(-22, -1) / 20)
    before, after = (int(RATE * rng.uniform(0.03, 0.5)) for _ in range(2))
    spoken = (before / RATE, (before + pcm.size) / RATE)
    pcm = np.pad(pcm, (before, after))
    power = float(np.sqrt(np.mean(pcm**2)))
    if rng.random() < 0.8:
        down = rng.uniform(10 + 15 * (1 - strength), 40)
        pcm = pcm + _noise(generator, pcm.size) * power * 10 ** (-down / 20)
    return np.clip(pcm, -1, 1).astype(np.float32), spoken


Place = tuple[str, int, int]


def word_places(words: tuple[Span, ...], begun: float, frames: int) -> tuple[Place, ...]:
    """The words in order, each with the soft tokens [first, last) that tell it.

    A word is told over its second half and the token after it, when enough of it was heard; words
    that espeak gives as one share its time evenly. `begun` is when the voice begins, in seconds.
    """
    count, found = token_count(frames), []
    for span in words:
        parts = span.name.split()
        step = (span.end - span.start) / max(1, len(parts))
        for index, word in enumerate(parts):
            middle = begun + span.start + (index + 0.5) * step
            first = min(count - 1, int(middle / TOKEN_SECONDS))
            last = int((middle + 0.5 * step) / TOKEN_SECONDS) + 2
            found.append((word, first, min(count, last)))
    return tuple(found)


def word_labels(places: tuple[Place, ...], frames: int) -> np.ndarray:
    """int64 [soft tokens]: the word over each, from 1 in `phrases.vocabulary()`, 0 for none."""
    numbers = {word: index + 1 for index, word in enumerate(phrases.vocabulary())}
    labels = np.zeros(token_count(frames), dtype=np.int64)
    for word, first, last in places:
        labels[first:last] = numbers.get(word, UNKNOWN)
    return labels


@lru_cache(maxsize=1)
def _extractor() -> Gemma4AudioFeatureExtractor:
    return Gemma4AudioFeatureExtractor()


def mel(pcm: np.ndarray) -> np.ndarray:
    """Log-mel features [F, 128] of the valid frames of one clip (at most 30 s)."""
    out = _extractor()([pcm], return_tensors="np")
    return out["input_features"][0][out["input_features_mask"][0]]


def token_count(frames: int) -> int:
    """Soft tokens of a clip with `frames` valid mel frames: two halvings, rounded up."""
    return ((frames + 1) // 2 + 1) // 2


def utterance(rng: random.Random, kind: str, held_out: bool) -> str:
    """What is said, written as the model shall transcribe it."""
    if kind == "digits":
        return phrases.digit_string(rng, held_out)
    if kind == "question":
        return rng.choice(phrases.all_questions())
    return phrases.command(rng) if kind == "command" else rng.choice(phrases.GREETINGS)
