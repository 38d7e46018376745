"""Speech as PCM: macOS's `say`, espeak-ng on Linux, behind one worker thread.

PySide6 does not wrap QTextToSpeech's `synthesize` (a C++ template), so Qt's engine could only
speak past our own output and its echo could not be taken out of the microphone. `say` uses the same
system voices and writes PCM.
"""

from __future__ import annotations

import io
import logging
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from app.live.ports import SpeechError, SpeechSynth, SpokenSound
from app.live.spoken_text import Piece

log = logging.getLogger(__name__)

_TIMEOUT_S = 20.0
_WORDS_PER_MINUTE = 175
_NOT_SPOKEN = "This sentence could not be spoken; it is shown instead."
_NO_TICKET = 0
"""Replies are numbered from 1."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How to speak.

    voice: a name of the engine's own, "" lets the language choose; rate: 0.5 to 2;
    volume 0 to 1.
    """

    voice: str = ""
    rate: float = 1.0
    volume: float = 1.0


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice that can be chosen; `language` is an ISO 639-1 code."""

    name: str
    language: str


class EspeakSynth:
    """espeak-ng: small, quick, many languages, sounds like a robot."""

    name = "espeak-ng"

    def __init__(self, options: SpeechOptions | None = None) -> None:
        self.options = options or SpeechOptions()

    def synthesize(self, text: str, language: str) -> SpokenSound:
        """Run espeak-ng once; the text travels over its standard input."""
        voice = self.options.voice or language
        speed = str(round(_WORDS_PER_MINUTE * self.options.rate))
        command = ["espeak-ng", "-v", voice, "-s", speed, "--stdout", "--stdin"]
        return _trimmed(_read_wav(_run(command, text.encode())))

    def voices(self) -> list[VoiceInfo]:
        """What `espeak-ng --voices` lists."""
        lines = _run(["espeak-ng", "--voices"], b"").decode().splitlines()[1:]
        rows = [line.split() for line in lines]
        return [VoiceInfo(row[1], row[1].split("-")[0]) for row in rows if len(row) > 3]


class SaySynth:
    """macOS's own voices through /usr/bin/say, written to a file and read back."""

    name = "say"

    def __init__(self, options: SpeechOptions | None = None) -> None:
        self.options = options or SpeechOptions()
        self._by_language: dict[str, str] | None = None

    def synthesize(self, text: str, language: str) -> SpokenSound:
        """Run say once; the text travels over its standard input."""
        voice = self.options.voice or self._voice_for(language)
        speed = str(round(_WORDS_PER_MINUTE * self.options.rate))
        with tempfile.TemporaryDirectory(prefix="facet-say-") as folder:
            path = Path(folder) / "speech.wav"
            command = ["/usr/bin/say", "-r", speed, "-o", str(path), "--file-format=WAVE"]
            command += ["--data-format=LEI16@22050", *(["-v", voice] if voice else []), "-f", "-"]
            _run(command, text.encode())
            return _trimmed(_read_wav(path.read_bytes()))

    def voices(self) -> list[VoiceInfo]:
        """What `say -v ?` lists: name, locale, a sample sentence."""
        found = []
        for line in _run(["/usr/bin/say", "-v", "?"], b"").decode().splitlines():
            name, _, rest = line.partition("#")[0].rstrip().rpartition(" ")
            if name and "_" in rest:
                found.append(VoiceInfo(name.strip(), rest.split("_")[0]))
        return found

    def _voice_for(self, language: str) -> str:
        if self._by_language is None:
            self._by_language = {}
            for voice in self.voices():
                self._by_language.setdefault(voice.language, voice.name)
        return self._by_language.get(language, "")


def system_synth(options: SpeechOptions | None = None) -> SpeechSynth | None:
    """This machine's speech engine, None where there is none."""
    if sys.platform == "darwin" and Path("/usr/bin/say").exists():
        return SaySynth(options)
    return EspeakSynth(options) if shutil.which("espeak-ng") else None


@cache
def voice_choices() -> tuple[tuple[str, str], ...]:
    """(name, words for a list) of every voice of this machine; none where nothing can speak."""
    synth = system_synth()
    try:
        voices = synth.voices() if isinstance(synth, SaySynth | EspeakSynth) else []
    except SpeechError:
        voices = []
    return tuple((voice.name, f"{voice.name} ({voice.language})") for voice in voices)


def _run(command: list[str], given: bytes) -> bytes:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("speech failed: %s", error)
        raise SpeechError(_NOT_SPOKEN) from error
    return done.stdout


def _read_wav(data: bytes) -> SpokenSound:
    try:
        pcm, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise SpeechError(_NOT_SPOKEN) from error
    return SpokenSound(pcm if pcm.ndim == 1 else pcm.mean(axis=1), int(rate))


def _trimmed(sound: SpokenSound) -> SpokenSound:
    """Without the silence in front; a quarter second of it stays at the end of the sentence."""
    loud = np.flatnonzero(np.abs(sound.pcm) > 0.005)
    if not len(loud):
        return sound
    start = max(0, loud[0] - sound.rate // 100)
    return SpokenSound(sound.pcm[start : loud[-1] + sound.rate // 4], sound.rate)


class SpeechWorker:
    """`Voice` of the pipeline: one thread that makes sound, in order, until it is told to forget.

    Args:
        synth: the engine.
        spoken: takes (ticket, piece, pcm, rate), called on the worker's thread.
        failed: takes (ticket, piece, message), called on the worker's thread.
    """

    def __init__(
        self,
        synth: SpeechSynth,
        spoken: Callable[[int, Piece, np.ndarray, int], None],
        failed: Callable[[int, Piece, str], None],
    ) -> None:
        self.synth = synth
        self._spoken, self._failed = spoken, failed
        self._queue: queue.Queue[tuple[int, Piece, str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="speech", daemon=True)
        self._thread.start()

    def speak(self, ticket: int, piece: Piece, language: str) -> None:
        """Queue a piece."""
        self._queue.put((ticket, piece, language))

    def warm_up(self) -> None:
        """Have the engine load its voice before the first answer; the sound is of no ticket."""
        self.speak(_NO_TICKET, Piece("Yes.", 0, "Yes."), "en")

    def cancel(self) -> None:
        """Forget what is queued."""
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> None:
        """End the thread."""
        self.cancel()
        self._queue.put(None)
        self._thread.join(timeout=_TIMEOUT_S)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            ticket, piece, language = item
            try:
                sound = self.synth.synthesize(piece.text, language)
            except SpeechError as error:
                self._failed(ticket, piece, str(error))
            except Exception:  # whatever it is (a full disk, say), later sentences are spoken
                log.exception("speech failed")
                self._failed(ticket, piece, _NOT_SPOKEN)
            else:
                self._spoken(ticket, piece, sound.pcm, sound.rate)
