"""Speak a few thousand training utterances once and keep them: `python -m training.speech_cache`.

The cache is two files: one long int16 stream and an index of (text, start, length).
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np

from training import config, phrases, speech


def plan(rng: random.Random, count: int) -> list[str]:
    """Texts to speak: every command, greeting and question alike often, the rest digit strings."""
    fixed = [*phrases.COMMANDS, *phrases.GREETINGS * 2, *phrases.all_questions() * 3]
    texts = []
    while len(texts) < count:
        if rng.random() < 0.35:
            texts.append(phrases.digit_string(rng, held_out=False))
        else:
            texts.append(rng.choice(fixed))
    return texts


def write(folder: Path, count: int, seed: int) -> None:
    """Append `count` utterances to the cache in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    index = []
    start = 0
    with (folder / f"speech-{seed}.pcm").open("wb") as stream:
        for number, text in enumerate(plan(rng, count)):
            pcm = speech.synthesise(phrases.spoken(text), *speech.voice(rng, held_out=False))
            samples = np.clip(pcm * 32767, -32768, 32767).astype(np.int16)
            stream.write(samples.tobytes())
            index.append((text, start, samples.size))
            start += samples.size
            if number % 500 == 499:
                stream.flush()
                _store(folder / f"speech-{seed}.json", index)
                print(f"{number + 1} utterances", flush=True)
    _store(folder / f"speech-{seed}.json", index)


def _store(path: Path, index: list) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(index))
    draft.replace(path)


class SpeechCache:
    """Random training utterances from the cache in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.by_text: dict[str, list[tuple[np.memmap, int, int]]] = {}
        self.entries: list[tuple[str, np.memmap, int, int]] = []
        for path in sorted(folder.glob("speech-*.json")):
            pcm = np.memmap(path.with_suffix(".pcm"), dtype=np.int16, mode="r")
            for text, start, size in json.loads(path.read_text()):
                self.entries.append((text, pcm, start, size))
                self.by_text.setdefault(text, []).append((pcm, start, size))
        self._digits = [text for text in self.by_text if text[0].isdigit()]
        if not self.entries:
            raise FileNotFoundError(f"No speech in {folder}; run python -m training.speech_cache.")

    def any(self, rng: random.Random) -> tuple[str, np.ndarray]:
        """A random utterance: what is said, and the samples."""
        text, pcm, start, size = rng.choice(self.entries)
        return text, pcm[start : start + size].astype(np.float32) / 32768

    def digits(self, rng: random.Random) -> str:
        """One of the digit strings in the cache."""
        return rng.choice(self._digits)

    def saying(self, rng: random.Random, text: str) -> np.ndarray:
        """`text` by one of the voices that said it."""
        pcm, start, size = rng.choice(self.by_text[text])
        return pcm[start : start + size].astype(np.float32) / 32768


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=7000)
    parser.add_argument("--seed", type=int, default=config.SEED)
    options = parser.parse_args()
    write(options.folder, options.count, options.seed)
