"""Everything the window can ask of the engine, as frozen data.

Files travel as paths, live sound and camera frames by value.

Commands with a `job_id` start a job: the engine answers `JobStarted` and then exactly one
`JobFinished` or `JobFailed`. Commands with a `query_id` are answered by one event carrying that
id, at any time: also with no model loaded and while a job runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.core.conversation import (
    PRESETS,
    ImageDetail,
    MediaKind,
    Role,
    SamplingPreset,
    ToolCall,
    ToolResult,
)


@dataclass(frozen=True, slots=True)
class PromptText:
    """Written words."""

    text: str


@dataclass(frozen=True, slots=True)
class PromptMedia:
    """A file to look at or listen to.

    key: its sha256, lets the engine reuse what it has computed. sound_path: a 16 kHz mono WAV
    beside a recording or film whose own track cannot be read directly.
    """

    kind: MediaKind
    path: str
    key: str = ""
    detail: ImageDetail = ImageDetail.AUTO
    name: str = ""
    sound_path: str = ""


PromptPart = PromptText | PromptMedia | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message as the engine needs it; old thoughts are left out, as Gemma 4 expects."""

    id: str
    role: Role
    parts: tuple[PromptPart, ...]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool offered to the model; `parameters` is a JSON schema as text."""

    name: str
    description: str
    parameters: str


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """How to answer. max_tokens 0: to the context's end. json_schema: the answer must obey it."""

    preset: SamplingPreset = PRESETS[0]
    max_tokens: int = 0
    think: bool = False
    tools: tuple[ToolSpec, ...] = ()
    json_schema: str = ""
    context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """What a model may hold; for loading and for the planner's verdict alike.

    context_tokens: how long a chat may grow, 0 for what the model allows. kv_bits: keep keys and
    values of full layers in 8 or 4 bits, 0 whole. table_on_disk: where the per-layer embedding
    table of E2B and E4B lies; "auto" leaves it in its file where memory would be tight with it.
    """

    context_tokens: int = 0
    kv_bits: int = 0
    table_on_disk: Literal["auto", "on", "off"] = "auto"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine is started.

    script: name or path of a script for the scripted engine, empty for the real one.
    memory_percent: share of the machine's memory the model may take. log_folder empty: no log.
    """

    script: str = ""
    log_folder: str = ""
    log_level: str = "info"
    memory_percent: int = 75


# --- the engine itself ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load a checkpoint folder; the one loaded before is freed first."""

    job_id: str
    path: str
    adapter: str = ""
    memory: MemoryOptions = MemoryOptions()


@dataclass(frozen=True, slots=True)
class UnloadModel:
    """Free the model and its caches."""

    job_id: str


@dataclass(frozen=True, slots=True)
class CheckEngine:
    """Check that the device computes right; `EngineChecked` follows."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a running or waiting job; it ends as `JobFinished(reason="cancelled")`."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Free everything and end the process."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Heartbeat; answered by `Pong` from the reader thread."""

    number: int


# --- questions, answered by the reader thread ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """Would this checkpoint run here? `source`: a folder, or a name of the known table.

    ear: folder of a second checkpoint that is to be held beside it and hears for it, or empty.
    """

    query_id: str
    source: str
    memory: MemoryOptions = MemoryOptions(context_tokens=8192)
    image_budget: int = 280
    ear: str = ""


@dataclass(frozen=True, slots=True)
class Describe:
    """What is this file? Opened in a worker of the engine, never in the window's process.

    `thumbnail`: longest side in pixels of the picture sent back, 0 for none.
    """

    query_id: str
    path: str
    name: str = ""
    thumbnail: int = 240


@dataclass(frozen=True, slots=True)
class CountTokens:
    """How many tokens would these messages take with the loaded model (or roughly, without one)?"""

    query_id: str
    messages: tuple[PromptMessage, ...]


@dataclass(frozen=True, slots=True)
class ListLocal:
    """Which checkpoints are on this machine? `folders`: extra places to look."""

    query_id: str
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckSchema:
    """Can an answer be held to this JSON schema?"""

    query_id: str
    schema: str


# --- chat ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """Answer the last message. The whole path travels each time; the engine reuses what it has."""

    job_id: str
    conversation_id: str
    messages: tuple[PromptMessage, ...]
    options: ReplyOptions = ReplyOptions()


# --- live: one open session, fed while the person speaks -----------------------------------------


@dataclass(frozen=True, slots=True)
class LiveStart:
    """Open a live session on the conversation so far. Its job runs until `LiveEnd` or `Cancel`.

    ear: folder of a checkpoint that writes speech down for a model that cannot hear; used only
    where the loaded one cannot.
    """

    job_id: str
    conversation_id: str
    messages: tuple[PromptMessage, ...]
    options: ReplyOptions = ReplyOptions()
    ear: str = ""


@dataclass(frozen=True, slots=True)
class PushAudio:
    """Sound as it arrives: float32 little-endian mono 16 kHz; `t` in seconds of the session."""

    job_id: str
    pcm: bytes
    t: float


@dataclass(frozen=True, slots=True)
class PushFrame:
    """A camera frame: RGB, 8 bits, rows top down; `t` in seconds of the session."""

    job_id: str
    rgb: bytes
    width: int
    height: int
    t: float


@dataclass(frozen=True, slots=True)
class EndClip:
    """The sound clip ends here (a pause, its 28 to 30 s, or the end of the turn)."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Remember this point, so that a speculative reply can be taken back."""

    job_id: str
    mark: int


@dataclass(frozen=True, slots=True)
class Rollback:
    """Return to a mark."""

    job_id: str
    mark: int


@dataclass(frozen=True, slots=True)
class LiveReply:
    """Answer what was heard and seen. Its deltas carry `reply`."""

    job_id: str
    reply: int
    text: str = ""
    options: ReplyOptions = ReplyOptions()


@dataclass(frozen=True, slots=True)
class StopReply:
    """Stop speaking (the person cut in); the session stays open."""

    job_id: str


@dataclass(frozen=True, slots=True)
class CutReply:
    """Keep only the first `chars` characters of the last answer: what was really heard."""

    job_id: str
    chars: int


@dataclass(frozen=True, slots=True)
class TranscribeTurn:
    """A turn is over: write its sound (clips, float32 mono 16 kHz) down when there is time for it.

    Without clips (a typed question) nothing is written; the engine may make room in its context.
    """

    job_id: str
    turn: int
    clips: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LiveEnd:
    """Close the live session."""

    job_id: str


@dataclass(frozen=True, slots=True)
class TranscribeFile:
    """Write a recording (or a film's sound) of any length down, clip by clip.

    ear: folder of a checkpoint that hears, for a loaded one that does not. language: translate into
    it (its English name), empty to write down what is said.
    """

    job_id: str
    path: str
    ear: str = ""
    language: str = ""


# --- documents -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """Read pages of a file. `pages`: numbers from 0, in the order wanted; empty: all.

    The engine may end the job after any page when other jobs wait; whoever asked then asks again
    for the pages that are missing.

    detail: a value of `app.documents.types.ReadingDetail`; "auto" lets each page choose. task: a
    value of `app.documents.prompts.ReadingTask`; json_schema for "fields". language: its name in
    English, empty where it is not known. text_layer: "use" a good one instead of looking at the
    page, "check" what was read against it, or "ignore" it. as_is: pages to be looked at without
    straightening them. password: of an encrypted file; it is never stored.
    """

    job_id: str
    path: str
    pages: tuple[int, ...] = ()
    detail: str = "auto"
    task: str = "page"
    language: str = ""
    json_schema: str = ""
    text_layer: str = "use"
    as_is: tuple[int, ...] = ()
    password: str = ""


Query = Plan | Describe | CountTokens | ListLocal | CheckSchema
LiveCommand = (
    LiveStart
    | PushAudio
    | PushFrame
    | EndClip
    | Mark
    | Rollback
    | LiveReply
    | StopReply
    | CutReply
    | TranscribeTurn
    | LiveEnd
)
Job = LoadModel | UnloadModel | CheckEngine | ChatTurn | LiveStart | TranscribeFile | ReadDocument
Command = Job | Cancel | Shutdown | Ping | Query | LiveCommand
