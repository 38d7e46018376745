"""espeak-ng as a library: speech together with the moment of every word and phoneme.

One call takes about a millisecond per second of sound, so training can speak on the fly, and the
times give every frame of the audio tower a true label.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr

RATE = 16_000
_SYNCHRONOUS = 2
_PHONEME_EVENTS = 1
_CHARS_UTF8 = 1
_END, _WORD, _PHONEME = 0, 1, 7
_SPEED, _PITCH, _GAP = 1, 3, 7
# The library finds voices by file, the program also by language.
_FILES = {"en-gb": "en"}
_SILENCES = ("_", "_:", "")


class _Id(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, slots=True)
class Span:
    """A word, words spoken as one, or a phoneme (espeak's mnemonic); `start`, `end` in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """pcm: float32 mono at 16 kHz, silence at both ends trimmed; times count from its start."""

    pcm: np.ndarray
    words: tuple[Span, ...]
    phonemes: tuple[Span, ...]


class Espeak:
    """The library, which exists once per process; use `espeak()`."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 500, None, _PHONEME_EVENTS)
        if self._rate <= 0:
            raise OSError("espeak-ng cannot be started; install the package espeak-ng.")
        self._sound = bytearray()
        self._events: list[tuple[int, int, int, float, str]] = []
        self._keep = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._keep)

    def say(self, text: str, name: str, speed: int, pitch: int, gap: int) -> Utterance:
        """Speak `text` with voice `name`, words a minute, pitch 0 to 99 and gap in 10 ms."""
        self._sound.clear()
        self._events.clear()
        accent, _, variant = name.partition("+")
        voice = f"{_FILES.get(accent, accent)}+{variant}"
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name}.")
        for parameter, value in ((_SPEED, speed), (_PITCH, pitch), (_GAP, gap)):
            self._library.espeak_SetParameter(parameter, value, 0)
        said = text.encode()
        self._library.espeak_Synth(said, len(said) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        return self._trimmed(text)

    def _take(self, wave: object, count: int, events: object) -> int:
        """Called by the library: a piece of sound and what happens in it."""
        if wave and count > 0:
            self._sound += ctypes.string_at(wave, 2 * count)  # type: ignore[arg-type]
        index = 0
        while (event := events[index]).type != _END:  # type: ignore[index]
            name = bytes(event.id.string).split(b"\0")[0].decode("utf-8", "replace")
            moment = event.audio_position / 1000
            self._events.append((event.type, event.text_position, event.length, moment, name))
            index += 1
        return 0

    def _trimmed(self, text: str) -> Utterance:
        wave = np.frombuffer(bytes(self._sound), dtype=np.int16).astype(np.float32) / 32768
        pcm = soxr.resample(wave, self._rate, RATE).astype(np.float32)
        loud = np.flatnonzero(np.abs(pcm) > 0.01)
        first, last = (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, pcm.size)
        lead, end = first / RATE, (last - first) / RATE

        def at(moment: float) -> float:
            return min(max(moment - lead, 0.0), end)

        events = self._events
        phonemes = _spans([(e[4], at(e[3])) for e in events if e[0] == _PHONEME], end)
        begun = [(e[1] - 1, at(e[3])) for e in events if e[0] == _WORD]
        borders = [place for place, _ in begun[1:]] + [len(text)]
        # What is spoken as one ("on the") comes as one, so a name reaches up to the next begin.
        starts = [
            (text[place:border].strip(), moment)
            for (place, moment), border in zip(begun, borders, strict=True)
        ]
        words = _without_pauses(_spans(starts, end), phonemes)
        spoken = tuple(p for p in phonemes if p.name not in _SILENCES)
        return Utterance(pcm[first:last], tuple(words), spoken)


def _spans(starts: list[tuple[str, float]], end: float) -> list[Span]:
    ends = [start for _, start in starts[1:]] + [end]
    return [Span(name, start, until) for (name, start), until in zip(starts, ends, strict=True)]


def _without_pauses(words: list[Span], phonemes: list[Span]) -> list[Span]:
    """Words from their first to their last sounding phoneme."""
    found = []
    for word in words:
        own = [
            p
            for p in phonemes
            if p.name not in _SILENCES and word.start - 1e-3 <= p.start < word.end - 1e-3
        ]
        found.append(Span(word.name, own[0].start, own[-1].end) if own else word)
    return found


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The one instance of this process."""
    return Espeak()
