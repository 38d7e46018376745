"""What the live pipeline needs from outside, as protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from app.live.spoken_text import Piece


class Brain(Protocol):
    """The engine's streaming session. Calls return at once and are carried out in order.

    Answers come back as calls of `LivePipeline.on_*`. Marks and replies are numbered by the
    caller; a mark may be returned to as long as no earlier one was.
    """

    def audio(self, pcm: np.ndarray, t: float) -> None:
        """Sound of the open clip (float32 16 kHz), opening one if needed."""
        ...

    def frame(self, rgb: np.ndarray, t: float) -> None:
        """A camera picture, uint8 [height, width, 3]."""
        ...

    def end_clip(self) -> None:
        """Close the open clip."""
        ...

    def mark(self, number: int) -> None:
        """Remember the present state."""
        ...

    def rollback(self, number: int) -> None:
        """Return to a mark; a running reply is stopped first."""
        ...

    def reply(self, number: int, text: str) -> None:
        """Answer the open turn, to which typed `text` is added."""
        ...

    def stop_reply(self) -> None:
        """Stop decoding."""
        ...

    def cut_reply(self, chars: int) -> None:
        """Keep only the first `chars` characters of the last reply."""
        ...

    def transcribe(self, turn: int, clips: Sequence[np.ndarray]) -> None:
        """A turn is over: write its sound down, if any, when there is nothing better to do."""
        ...


@dataclass(frozen=True, slots=True)
class SpokenSound:
    """Speech as sound: float32 mono [samples] at `rate`."""

    pcm: np.ndarray
    rate: int


class SpeechSynth(Protocol):
    """Turns text into sound. Runs on a worker thread and may take its time."""

    name: str

    def synthesize(self, text: str, language: str) -> SpokenSound:
        """Speak `text`; `language` is an ISO 639-1 code.

        Raises:
            SpeechError: the engine failed, in one sentence.
        """
        ...


class SpeechError(Exception):
    """Speech could not be made; the message is for the user."""


class Voice(Protocol):
    """A speech synthesiser behind a queue: answers come as `LivePipeline.on_speech`."""

    def speak(self, ticket: int, piece: Piece, language: str) -> None:
        """Make sound of a piece for answer `ticket`."""
        ...

    def cancel(self) -> None:
        """Forget what is queued; late results are ignored by their ticket."""
        ...
