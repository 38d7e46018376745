"""Everything the engine can say, and what its supervisor adds; frozen, `job_id` on job events.

Promise: after `JobStarted` comes exactly one `JobFinished` or `JobFailed` of that job, and nothing
of it afterwards; the texts of its `TextDelta`s, joined per channel, are the final text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.core.conversation import MediaKind, ToolCall, Usage
from app.core.errors import ErrorKind


class Channel(StrEnum):
    """Which voice a piece of text belongs to."""

    ANSWER = "answer"
    THOUGHT = "thought"


class FinishReason(StrEnum):
    """Why a job ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    TOOL = "tool"


class Fit(StrEnum):
    """Does it run on this machine?"""

    FITS = "fits"
    TIGHT = "tight"
    WONT = "wont"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a checkpoint takes in, read from its own files; `chat` is False for base checkpoints."""

    image: bool = False
    audio: bool = False
    video: bool = False
    tools: bool = False
    chat: bool = True


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A checkpoint, loaded or on disk. size in bytes; context in tokens; path is its folder.

    source: "demo", "huggingface", "lmstudio" or "folder". problem: why it cannot be used, or empty.
    """

    path: str
    label: str
    architecture: str = ""
    quantisation: str = ""
    size: int = 0
    context_tokens: int = 0
    capabilities: Capabilities = Capabilities()
    source: str = "folder"
    repo: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlanResult:
    """Memory in bytes and the verdict; `advice`: one sentence naming the change that would help.

    on_disk: bytes of weights that stay in their file.
    """

    fit: Fit
    weights: int
    kv_cache: int
    activations: int
    prefill_peak: int
    reserve: int
    total: int
    available: int
    advice: str = ""
    on_disk: int = 0


# --- the engine itself ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EngineStarted:
    """The handshake. memory: bytes of the machine; device: "Metal", "CPU", "CUDA" or "scripted"."""

    pid: int
    device: str
    chip: str
    memory: int
    versions: tuple[tuple[str, str], ...] = ()
    protocol: int = 1


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `Ping`; memory figures in bytes."""

    number: int
    active_memory: int = 0
    cache_memory: int = 0
    peak_memory: int = 0
    process_memory: int = 0


@dataclass(frozen=True, slots=True)
class MemoryPressure:
    """The machine runs short. level: "warning" (caches dropped) or "critical" (job stopped)."""

    level: str
    available: int


# --- jobs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobStarted:
    """The engine took the job up."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobFinished:
    """The job ended well, or was cancelled."""

    job_id: str
    reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The job ended badly; what was delivered before stays valid."""

    job_id: str
    kind: ErrorKind
    message: str
    remedy: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelLoadProgress:
    """fraction 0 to 1; stage in a plain word ("reading", "preparing", "checking")."""

    job_id: str
    fraction: float
    stage: str


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model answers now; seconds it took to load."""

    job_id: str
    info: ModelInfo
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelUnloaded:
    """No model is loaded any more."""

    job_id: str


@dataclass(frozen=True, slots=True)
class EngineChecked:
    """Findings of `CheckEngine`: (name, whether it is right, one phrase)."""

    job_id: str
    items: tuple[tuple[str, bool, str], ...]


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """Reading the prompt: done of total tokens; cached ones were not computed again."""

    job_id: str
    done: int
    total: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer. page: of a document job, reply: of a live session, else -1."""

    job_id: str
    text: str
    channel: Channel = Channel.ANSWER
    page: int = -1
    reply: int = -1


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model asked for a tool; the job ends with reason TOOL, a new turn brings the result."""

    job_id: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth one quiet line ("Only the first 32 frames were looked at")."""

    job_id: str
    text: str


# --- answers to questions ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """Answer to `Plan`; result None with the reason in `problem`."""

    query_id: str
    source: str
    result: PlanResult | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """Answer to `Describe`.

    thumbnail: RGBA, 8 bits, rows top down. text: the words of a text-bearing file. problem: why
    the file cannot be taken. remedy: what would work instead.
    """

    query_id: str
    path: str
    kind: MediaKind
    media_type: str = ""
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    pages: int = 0
    has_sound: bool = False
    text: str = ""
    thumbnail: bytes = b""
    thumbnail_width: int = 0
    thumbnail_height: int = 0
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class SchemaChecked:
    """Answer to `CheckSchema`; problem: one sentence, empty for a schema that can be used."""

    query_id: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TokensCounted:
    """Answer to `CountTokens`. context: how many fit; exact False: no tokenizer yet, a guess."""

    query_id: str
    tokens: int
    context: int
    exact: bool
    per_message: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalModels:
    """Answer to `ListLocal`."""

    query_id: str
    models: tuple[ModelInfo, ...]


# --- live ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveReady:
    """The session is open; push sound and frames. ear: name of the model that hears for it."""

    job_id: str
    hears: bool
    sees: bool
    ear: str = ""


@dataclass(frozen=True, slots=True)
class EarLost:
    """The ear model was freed to make room: from here on questions are typed."""

    job_id: str
    label: str


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """The model has the frame taken at `t` before it; skipped True: a newer one replaced it."""

    job_id: str
    t: float
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class LiveReplyStarted:
    """The engine began reply `reply`; waiting times in seconds since the command arrived."""

    job_id: str
    reply: int


@dataclass(frozen=True, slots=True)
class LiveReplyFinished:
    """Reply `reply` is complete (or was stopped)."""

    job_id: str
    reply: int
    reason: FinishReason
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class LiveTiming:
    """Stages of a turn in seconds: encode, prefill, first token."""

    job_id: str
    reply: int
    encode_s: float = 0.0
    prefill_s: float = 0.0
    first_token_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TurnTranscribed:
    """What was said in a turn, as the model writes it down after its answer."""

    job_id: str
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class LiveContext:
    """How full the session is, in tokens; `note` says what was shortened between turns, if so."""

    job_id: str
    tokens: int
    context: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class TranscriptStarted:
    """The recording of a `TranscribeFile` is open and this long."""

    job_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """Words spoken between two times of the recording, in seconds."""

    job_id: str
    start: float
    stop: float
    text: str


# --- documents -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DocumentOpened:
    """What the file of a `ReadDocument` job is.

    kind: "pages" or "text"; format: "pdf", "docx", as its content says.
    """

    job_id: str
    pages: int
    kind: str = "pages"
    format: str = ""
    title: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageStarted:
    """Page number `page` (from 0), the `index`-th of `total` wanted ones, read with `detail`."""

    job_id: str
    page: int
    index: int
    total: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line of text and its place on the page, as fractions of its width and height."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class PageDifference:
    """Characters `start` to `end` of a page's text, and what the PDF's own text has there."""

    start: int
    end: int
    layer: str


@dataclass(frozen=True, slots=True)
class PageFinished:
    """A page is read: `text` as the task asked.

    detail: the one that was used. source: "model", "layer" (the PDF's own text) or "file" (a file
    of text). notices: sentences about what is unusual; incomplete: the text breaks off or runs in
    circles. lines: where the text stands on the page, as far as known.
    """

    job_id: str
    page: int
    text: str
    tokens: int = 0
    seconds: float = 0.0
    notices: tuple[str, ...] = ()
    detail: str = ""
    source: str = "model"
    incomplete: bool = False
    differences: tuple[PageDifference, ...] = ()
    lines: tuple[PageLine, ...] = ()


@dataclass(frozen=True, slots=True)
class PageFailed:
    """A page could not be read; the others go on."""

    job_id: str
    page: int
    message: str
    remedy: str = ""


# --- added by the supervisor in the window's process ---------------------------------------------


class EngineState(StrEnum):
    """The engine process as seen from the window."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EngineStopped:
    """The engine process ended by itself; `kind` tells memory from other causes."""

    exit_code: int | None
    will_restart: bool
    reason: str
    kind: ErrorKind = ErrorKind.ENGINE_STOPPED


JobEvent = (
    JobStarted
    | JobFinished
    | JobFailed
    | ModelLoadProgress
    | ModelReady
    | ModelUnloaded
    | EngineChecked
    | PromptProgress
    | TextDelta
    | ToolCalled
    | Notice
    | LiveReady
    | EarLost
    | FrameSeen
    | LiveReplyStarted
    | LiveReplyFinished
    | LiveTiming
    | TurnTranscribed
    | LiveContext
    | TranscriptStarted
    | TranscriptLine
    | DocumentOpened
    | PageStarted
    | PageFinished
    | PageFailed
)
Answer = Planned | Described | TokensCounted | LocalModels | SchemaChecked
Event = EngineStarted | Pong | MemoryPressure | JobEvent | Answer | EngineStopped
