"""Long recordings: where to cut them, how to put the words together, how to write them down."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.live.buffers import RATE
from app.live.vad import WINDOW, VoiceDetector

_LONGEST_S = 28.0
_PAUSES_S = ((12.0, 0.25), (4.0, 0.6), (1.0, 1.0))
"""A clip at least so long ends at the first pause of so long: few clips, but no line over several
sentences of somebody who speaks slowly."""
_SHORTEST_S = _PAUSES_S[0][0]
_MARGIN_S = 0.2
_OVERLAP_S = 0.5
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples [start, stop) of a recording; the first `overlap` were in the one before as well."""

    start: int
    stop: int
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """Words spoken between two times, in seconds."""

    start: float
    stop: float
    text: str


def cut_at_pauses(
    pcm: np.ndarray, probability: Callable[[np.ndarray], float] | None = None
) -> list[Segment]:
    """Cut a recording (float32 16 kHz) of any length into clips of at most 28 s.

    Silence at both ends is left out. A clip ends at the first pause that is long enough for its
    length (`_PAUSES_S`), else at the last shorter one, else it is cut with 0.5 s of overlap.
    """
    return list(segments(pcm, probability))


def segments(
    pcm: np.ndarray, probability: Callable[[np.ndarray], float] | None = None
) -> Iterator[Segment]:
    """The same one by one: an hour is listened to only as far as the clips that were taken."""
    windows = _Speech(pcm, probability)
    at = overlap = last_stop = 0
    while (first := _next_speech(windows, at)) is not None:
        start = first if not overlap else at
        stop, clean = _end_of_clip(windows, start)
        segment = _with_margin(start, stop, overlap, len(pcm), last_stop)
        last_stop = segment.stop
        yield segment
        overlap = 0 if clean else int(_OVERLAP_S * RATE)
        at = stop if clean else stop - overlap // WINDOW


class _Speech(Sequence[bool]):
    """Whether each window of a recording holds speech, judged when first asked for."""

    def __init__(self, pcm: np.ndarray, probability: Callable[[np.ndarray], float] | None) -> None:
        self._pcm = pcm
        self._detector = VoiceDetector(probability)
        self._known: list[bool] = []

    def __len__(self) -> int:
        return len(self._pcm) // WINDOW

    def __getitem__(self, index: int) -> bool:  # type: ignore[override]  # never sliced
        while index >= len(self._known):
            at = len(self._known) * WINDOW
            block = self._pcm[at : at + _BLOCK * WINDOW]
            self._known += [window.speech for window in self._detector.feed(block)]
        return self._known[index]


def _next_speech(windows: Sequence[bool], at: int) -> int | None:
    return next((i for i in range(at, len(windows)) if windows[i]), None)


def _end_of_clip(windows: Sequence[bool], start: int) -> tuple[int, bool]:
    """Window after the clip that begins at window `start`, and whether it ends at a pause."""
    shortest, longest = (int(s * RATE / WINDOW) for s in (_SHORTEST_S, _LONGEST_S))
    quiet, last_pause, last_speech = 0, None, start
    for i in range(start, min(len(windows), start + longest)):
        quiet = 0 if windows[i] else quiet + 1
        last_speech = i if windows[i] else last_speech
        if _is_end(i - start, quiet):
            return last_speech + 1, True
        if quiet >= 2 and i - start >= shortest // 2:
            last_pause = i
    if start + longest >= len(windows):
        return last_speech + 1, True
    return (last_pause, True) if last_pause else (start + longest, False)


def _is_end(length: int, quiet: int) -> bool:
    seconds, pause = length * WINDOW / RATE, quiet * WINDOW / RATE
    return any(seconds >= least and pause >= enough for least, enough in _PAUSES_S)


def _with_margin(start: int, stop: int, overlap: int, total: int, earliest: int) -> Segment:
    margin = int(_MARGIN_S * RATE)
    if overlap:
        return Segment(start * WINDOW, min(total, stop * WINDOW + margin), overlap)
    return Segment(max(earliest, start * WINDOW - margin), min(total, stop * WINDOW + margin), 0)


def join_overlapping(before: str, after: str) -> str:
    """`after` without the words it repeats from the end of `before` (six at most)."""
    ending, beginning = _words(before)[-6:], _words(after)[:6]
    for count in range(min(len(ending), len(beginning)), 0, -1):
        if ending[-count:] == beginning[:count]:
            return " ".join(after.split()[count:])
    return after


def _words(text: str) -> list[str]:
    return [re.sub(r"\W", "", word).lower() for word in text.split()]


def transcribe(pcm: np.ndarray, write_down: Callable[[np.ndarray], str]) -> Iterator[Line]:
    """The lines of a recording, one clip after the other."""
    said = ""
    for segment in segments(pcm):
        text = " ".join(write_down(pcm[segment.start : segment.stop]).split())
        if segment.overlap:
            text = join_overlapping(said, text)
        said = text or said
        if text:
            yield Line(segment.start / RATE, segment.stop / RATE, text)


def as_text(lines: Sequence[Line]) -> str:
    """Plain text, one clip a line, with the time in front."""
    return "".join(f"[{_clock(line.start, '.')[:-4]}] {line.text}\n" for line in lines)


def as_srt(lines: Sequence[Line]) -> str:
    """SubRip."""
    parts = [
        f"{number}\n{_clock(line.start, ',')} --> {_clock(line.stop, ',')}\n{line.text}\n"
        for number, line in enumerate(lines, start=1)
    ]
    return "\n".join(parts)


def as_vtt(lines: Sequence[Line]) -> str:
    """WebVTT; angle brackets and ampersands are escaped as the format asks."""
    parts = ["WEBVTT\n"]
    for line in lines:
        text = line.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f"{_clock(line.start, '.')} --> {_clock(line.stop, '.')}\n{text}\n")
    return "\n".join(parts)


def _clock(seconds: float, point: str) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, rest = divmod(rest, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{rest:03}"


WRITERS: dict[str, Callable[[Sequence[Line]], str]] = {
    "txt": as_text,
    "srt": as_srt,
    "vtt": as_vtt,
}
