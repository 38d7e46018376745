"""What the turn taker decides, as small frozen records. Positions are absolute sample numbers."""

from dataclasses import dataclass
from enum import StrEnum


class UserState(StrEnum):
    """What the person is doing, as far as the microphone tells."""

    AWAY = "away"
    LISTENING = "listening"
    SPEAKING = "speaking"


class AgentState(StrEnum):
    """What the assistant is doing."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


class EndReason(StrEnum):
    """Why a turn ended."""

    SILENCE = "silence"
    RELEASED = "released"
    ASKED = "asked"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """Somebody speaks: the turn's sound begins at `start` (lead-in included)."""

    turn: int
    start: int


@dataclass(frozen=True, slots=True)
class Send:
    """Samples [start, stop) belong to the open clip and go to the model now."""

    turn: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ClipClosed:
    """The open clip ends at `stop`; `overlap` samples of it are sent again with the next clip."""

    turn: int
    clip: int
    start: int
    stop: int
    tail: int
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class LikelyEnd:
    """Silence long enough to try an answer: revision `revision` of the turn may be decoded."""

    turn: int
    revision: int
    clip: int
    start: int
    stop: int
    tail: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech went on after a likely or certain end: what was answered so far is stale.

    `same_clip`: the clip that was closed for the try is open again (its closing is undone).
    """

    turn: int
    revision: int
    same_clip: bool


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over; `speculated`: the answer to this revision was already begun."""

    turn: int
    revision: int
    reason: EndReason
    speculated: bool
    silence_s: float


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """A false start (cough, click, empty press): nothing of the turn counts."""

    turn: int


Signal = TurnStarted | Send | ClipClosed | LikelyEnd | Resumed | TurnEnded | TurnDropped
