"""What live mode tells its window (or prints as JSON lines): frozen records, newest state wins.

Times `t` are seconds of the pipeline's clock.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from app.live.signals import AgentState, UserState


class Duplex(StrEnum):
    """Whether the microphone stays open while the assistant speaks."""

    FULL = "full"
    HALF = "half"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Who does what."""

    t: float
    user: UserState
    agent: AgentState
    muted: bool
    duplex: Duplex


@dataclass(frozen=True, slots=True)
class Level:
    """Microphone level and speech threshold in dB, and the length of the open clip in seconds."""

    t: float
    level_db: float
    threshold_db: float
    speech: bool
    clip_s: float


@dataclass(frozen=True, slots=True)
class TurnOpened:
    """Somebody began to speak (or typed)."""

    t: float
    turn: int
    typed: str = ""


@dataclass(frozen=True, slots=True)
class TurnRevised:
    """Speech went on: answers to older revisions are void."""

    t: float
    turn: int
    revision: int


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The turn is over after `wait_s` of silence; `seconds` of sound in `clips` clips.

    typed: what was typed meanwhile, "" if nothing.
    """

    t: float
    turn: int
    revision: int
    reason: str
    seconds: float
    clips: int
    wait_s: float
    typed: str = ""


@dataclass(frozen=True, slots=True)
class TurnForgotten:
    """A false start."""

    t: float
    turn: int


@dataclass(frozen=True, slots=True)
class ClipSplit:
    """A long clip was closed at 28 to 30 s; `overlap_s` of it are heard twice."""

    t: float
    turn: int
    clip: int
    seconds: float
    overlap_s: float


@dataclass(frozen=True, slots=True)
class ReplyText:
    """The answer so far, only of committed turns."""

    t: float
    turn: int
    revision: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The answer is complete: as decoded, and what was spoken of it."""

    t: float
    turn: int
    text: str
    reason: str
    heard_chars: int


@dataclass(frozen=True, slots=True)
class CaptionMoved:
    """The words being spoken, and how many characters of them are out."""

    t: float
    turn: int
    text: str
    characters: int


@dataclass(frozen=True, slots=True)
class Ducked:
    """Step one of an interruption (or its end)."""

    t: float
    on: bool


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The answer was stopped; `by`: "voice", "key"; `chars` of it were heard."""

    t: float
    turn: int
    by: str
    chars: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the user said, written down after the answer."""

    t: float
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class FrameSent:
    """A camera frame went to the model; `thumbnail` uint8 [h, w, 3] is left out of JSON."""

    t: float
    taken: float
    width: int
    height: int
    thumbnail: Any = None


@dataclass(frozen=True, slots=True)
class FrameUsed:
    """The model has (or skipped) the frame taken at `taken`."""

    t: float
    taken: float
    skipped: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """Stages of a turn in seconds after the end of speech; the engine's own in `encode_s` etc."""

    t: float
    turn: int
    endpoint_s: float
    encode_s: float
    prefill_s: float
    first_token_s: float
    first_sound_s: float


@dataclass(frozen=True, slots=True)
class EchoMeasured:
    """Result of the echo probe, in dB."""

    t: float
    noise_db: float
    echo_db: float
    removed_db: float
    duplex: Duplex


@dataclass(frozen=True, slots=True)
class LiveNotice:
    """One quiet line. `kind` is stable for tests and cards, `text` for people."""

    t: float
    kind: str
    text: str


Report = (
    StateChanged
    | Level
    | TurnOpened
    | TurnRevised
    | TurnClosed
    | TurnForgotten
    | ClipSplit
    | ReplyText
    | ReplyDone
    | CaptionMoved
    | Ducked
    | Interrupted
    | Transcript
    | FrameSent
    | FrameUsed
    | Timing
    | EchoMeasured
    | LiveNotice
)


def as_json(report: Report) -> dict[str, Any]:
    """A report as plain data with its name under "event"; floats are rounded to 0.1 ms."""
    data = {k: v for k, v in asdict(report).items() if k != "thumbnail"}
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in data.items()}
    return {"event": _snake(type(report).__name__), **rounded}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
