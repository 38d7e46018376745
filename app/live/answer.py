"""One answer on its way from the model to the loudspeaker: held while speculative, then spoken."""

from dataclasses import dataclass, field

import numpy as np

from app.live.language import guess_language
from app.live.mixer import Mixer
from app.live.ports import Voice
from app.live.spoken_text import Piece, SpeechSplitter


@dataclass(slots=True)
class Stages:
    """Clock times of a turn's stages, None where not reached; engine figures in seconds."""

    speech_end: float = 0.0
    committed: float | None = None
    first_token: float | None = None
    first_sound: float | None = None
    encode_s: float = 0.0
    prefill_s: float = 0.0


@dataclass(slots=True)
class Answer:
    """The reply numbered `number` to revision `revision` of turn `turn`.

    While it is speculative its text is already cut into pieces and made into sound, so that the
    first sound follows the end of the turn at once; nothing of it is shown or played before
    `commit`.
    """

    number: int
    turn: int
    revision: int
    voice: Voice | None
    mixer: Mixer
    stages: Stages = field(default_factory=Stages)
    text: str = ""
    committed: bool = False
    decoded: bool = False
    audible: bool = False
    reason: str = "stop"
    _splitter: SpeechSplitter = field(default_factory=SpeechSplitter)
    _waiting: int = 0
    _held: list[tuple[Piece, np.ndarray, int]] = field(default_factory=list)
    _language: str = "en"

    def add(self, delta: str) -> None:
        """Text from the model."""
        self.text += delta
        self._speak(self._splitter.feed(delta))

    def finish(self, reason: str) -> None:
        """The model is done."""
        self.decoded, self.reason = True, reason
        self._speak(self._splitter.finish())

    def spoken(self, piece: Piece, pcm: np.ndarray, rate: int) -> None:
        """Sound for a piece has been made (empty where it failed)."""
        self._waiting -= 1
        if self.committed:
            self.mixer.play(piece, pcm, rate)
        else:
            self._held.append((piece, pcm, rate))

    def commit(self) -> None:
        """The turn is over: what was held may be heard."""
        if self.committed:
            return
        self.committed = True
        self.mixer.begin_reply()
        for item in self._held:
            self.mixer.play(*item)
        self._held.clear()

    @property
    def over(self) -> bool:
        """Decoded, made into sound and played to the end."""
        return self.committed and self.decoded and self._waiting == 0 and not self.mixer.active

    def _speak(self, pieces: list[Piece]) -> None:
        if self.voice is None:
            return
        for piece in pieces:
            self._language = guess_language(piece.text, self._language)
            self._waiting += 1
            self.voice.speak(self.number, piece, self._language)
