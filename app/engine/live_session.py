"""The library's session as the live job uses it, and sound written down. Runs on the MLX thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from app.core.commands import LiveStart, ReplyOptions
from app.core.events import Event, FinishReason, JobFinished, Notice
from app.engine.chat import LoadedModel, sampling_options
from app.engine.jobs import JobContext
from app.engine.live import LiveJob, Piece
from app.engine.live_ear import Ear, EarRefused, load_ear
from app.engine.memory import MemoryWatch, free_unused
from mlx_gemma4.errors import PromptError, SessionError
from mlx_gemma4.generate import Finish, GenerateOptions, stream
from mlx_gemma4.messages import Audio, Image, Message, Part, Text, message
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import Cancelled, Session, Watch
from mlx_gemma4.session import ReplyOptions as SessionReply

log = logging.getLogger(__name__)

TRANSCRIBE = (
    "Transcribe the following speech segment in its original language. Only output the "
    "transcription, with no newlines. Write numbers as digits."
)
TRANSCRIBE_DEMO = "Transcribe the recording."
"""What the demo checkpoint was taught; it knows no longer instructions."""
TRANSLATE = (
    "Translate the following speech segment into {}. Only output the translation, with no newlines."
)
CAPTION = "Say in one short line what this picture shows."
CAPTION_DEMO = "What do you see?"
SPOKEN_MOST_TOKENS = 512
TRANSCRIPT_MOST_TOKENS = 400
CAPTION_MOST_TOKENS = 40
_FRAME_BUDGET = 70
_FRAME_SIDE = 512
"""Longest side of a kept frame: more than its 70 soft tokens can show."""
_FRAMES_KEPT = 64
_TURN_ROOM, _TURN_SHARE = 4500, 0.6
"""Room kept free for the next turn: a minute of speech with its frames, at most 60 %."""
_FRAME_ROOM_SHARE = 0.2
"""Share of the context that is left to sound and the answer: no more frames are taken then."""
TOO_LONG = (
    "This was longer than the model can keep in mind at once; its sound was let go. Say it again "
    "in shorter parts, or choose a longer chat memory in Settings."
)
_LET_GO = "(A question that was too long to keep.)"
_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH, "tool": FinishReason.TOOL}


def run_live(
    loaded: LoadedModel, messages: Sequence[Message], job: LiveStart, context: JobContext
) -> Iterator[Event]:
    """The events of a live job on the loaded model, and on an ear where that cannot hear."""
    ear = None
    if loaded.model.config.audio is None and job.ear:
        try:
            ear = load_ear(
                Path(loaded.info.path),
                Path(job.ear),
                loaded.context_tokens,
                kv_bits=loaded.kv_bits,
                ple_on_disk=loaded.table_on_disk,
            )
        except EarRefused as problem:
            yield Notice(job.job_id, str(problem))
    limit = job.options.context_tokens or loaded.context_tokens or None
    session = Session(loaded.model, loaded.processor, context=limit, kv_bits=loaded.kv_bits)
    if loaded.model.config.label:
        # The demo was taught questions and answers, no instructions: they would confuse it.
        messages = [m for m in messages if m.role != "system"]
    try:
        session.sync(messages, watch=Watch(cancelled=context.cancelled))
    except Cancelled:
        yield JobFinished(job.job_id, FinishReason.CANCELLED)
        return
    live = GemmaLive(loaded.model, loaded.processor, session, ear)
    watch = MemoryWatch()
    yield from LiveJob(live, job, context, lambda: watch.check()[0]).run()


class _Writer:
    """Answers one question about one medium with one model, apart from the conversation."""

    def __init__(self, model: Gemma4, processor: Processor, prompts: tuple[str, str]) -> None:
        self._model, self._processor = model, processor
        self._prompt = prompts[1] if model.config.label else prompts[0]

    def _steps(self, medium: Part, most_tokens: int) -> Iterator[str]:
        inputs = self._processor.inputs([message("user", medium, Text(self._prompt))])
        options = GenerateOptions(max_tokens=most_tokens, sampling=SamplingOptions(greedy=True))
        for event in stream(self._model, self._processor, inputs, options):
            if isinstance(event, Delta) and event.channel == "answer":
                yield event.text


class Transcriber(_Writer):
    """Writes sound down with one model, clip by clip, a token at a time."""

    def __init__(self, model: Gemma4, processor: Processor, prompt: str = TRANSCRIBE) -> None:
        super().__init__(model, processor, (prompt, TRANSCRIBE_DEMO))

    def steps(self, pcm: np.ndarray) -> Iterator[str]:
        """Pieces of text for one clip (float32 16 kHz, at most 30 s)."""
        yield from self._steps(Audio(pcm), TRANSCRIPT_MOST_TOKENS)

    def text(self, pcm: np.ndarray) -> str:
        """The whole transcript of one clip."""
        return "".join(self.steps(pcm)).strip()


class Describer(_Writer):
    """Says in one line what a frame shows."""

    def __init__(self, model: Gemma4, processor: Processor) -> None:
        super().__init__(model, processor, (CAPTION, CAPTION_DEMO))

    def steps(self, rgb: np.ndarray) -> Iterator[str]:
        """Pieces of text for one picture (uint8 [height, width, 3])."""
        yield from self._steps(Image(rgb, _FRAME_BUDGET), CAPTION_MOST_TOKENS)


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What stands for a turn once its sound and pictures are dropped.

    typed: words fed as text; heard: words of the ear; transcript: written down afterwards; frame:
    the newest picture, small, until `caption` says what it shows.
    """

    typed: str = ""
    heard: tuple[str, ...] = ()
    transcript: str = ""
    frame: np.ndarray | None = None
    caption: str = ""

    @property
    def text(self) -> str:
        """The turn in words, "" where nothing is known of it."""
        said = " ".join(w for w in (*self.heard, self.transcript, self.typed) if w)
        seen = f"(Shown: {self.caption})" if self.caption else ""
        return " ".join(part for part in (seen, said) if part)


@dataclass(frozen=True, slots=True)
class LiveMark:
    """A moment: the session's, the sound that waits for the ear, the open turn, turns answered."""

    session: object
    clip: tuple[np.ndarray, ...]
    turn: TurnRecord
    answered: int


class GemmaLive:
    """`StreamingSession` over `mlx_gemma4.Session`.

    A model that does not hear gets what the ear writes down of each clip as words.
    """

    def __init__(
        self, model: Gemma4, processor: Processor, session: Session, ear: Ear | None = None
    ) -> None:
        self._own_ears = model.config.audio is not None
        self.sees = model.config.vision is not None
        self._session = session
        self._ear = None if self._own_ears else ear
        self._transcriber = Transcriber(model, processor) if self._own_ears else None
        self._describer = Describer(model, processor) if self.sees else None
        self._clip: list[np.ndarray] = []
        self._open = TurnRecord()
        self._turns: dict[str, TurnRecord] = {}
        self._replies = 0

    @property
    def hears(self) -> bool:
        """Sound may be pushed."""
        return self._own_ears or self._ear is not None

    @property
    def ear(self) -> str:
        """Name of the second model, "" where there is none."""
        return self._ear.label if self._ear else ""

    @property
    def turn_key(self) -> str:
        """Id of the newest answered turn."""
        return next(reversed(self._turns), "")

    @property
    def tokens(self) -> int:
        """Tokens in the context."""
        return self._session.tokens

    @property
    def context_tokens(self) -> int:
        """Room for tokens."""
        return self._session.context

    # -- the open turn ------------------------------------------------------------------------

    def push_audio(self, pcm: np.ndarray, t: float) -> None:
        """Sound of the open clip; without own ears it is kept until the clip is closed."""
        if self._own_ears:
            self._session.push_audio(pcm, t)
        elif self._ear is not None:
            self._clip.append(pcm)

    def end_clip(self) -> None:
        """Close the open clip."""
        if self._own_ears:
            self._session.end_clip()
        elif self._ear is not None and self._clip:
            pcm, self._clip = np.concatenate(self._clip), []
            if words := self._ear.transcriber.text(pcm):
                self._session.push_text(words)
                self._open = replace(self._open, heard=(*self._open.heard, words))

    def push_frame(self, rgb: np.ndarray, t: float) -> bool:
        """A camera frame; False if it shows nothing new or there is no room for it."""
        if self.tokens > (1 - _FRAME_ROOM_SHARE) * self.context_tokens:
            return False
        fed = self._session.push_frame(rgb, t).fate != "same"
        if fed:
            self._open = replace(self._open, frame=_small(rgb))
        return fed

    def push_text(self, text: str) -> None:
        """Typed words of the open turn."""
        self._session.push_text(text)
        self._open = replace(self._open, typed=f"{self._open.typed} {text}".strip())

    def mark(self) -> LiveMark:
        """Remember this moment."""
        return LiveMark(self._session.mark(), tuple(self._clip), self._open, len(self._turns))

    def rollback(self, mark: LiveMark) -> None:
        """Return to a moment."""
        self._session.rollback(mark.session)  # type: ignore[arg-type]  # opaque to everybody else
        self._clip, self._open = list(mark.clip), mark.turn
        while len(self._turns) > mark.answered:
            self._turns.popitem()

    # -- answers ------------------------------------------------------------------------------

    def reply(self, options: ReplyOptions) -> Iterator[Piece]:
        """Answer the open turn."""
        self._replies += 1
        turn_id = f"live-turn-{self._replies}"
        self._turns[turn_id], self._open = self._open, TurnRecord()
        wanted = GenerateOptions(
            max_tokens=options.max_tokens or SPOKEN_MOST_TOKENS,
            sampling=sampling_options(options.preset),
        )
        events = self._session.reply(SessionReply(wanted, turn_id=turn_id))
        try:
            for event in events:
                if isinstance(event, Delta):
                    yield Piece(event.text, thought=event.channel == "thought")
                elif isinstance(event, Finish):
                    reason = _REASONS.get(event.reason, FinishReason.STOP)
                    yield Piece(reason=reason, prefill_s=event.usage.prefill_s)
        except PromptError:
            self._let_go(turn_id)
            yield Piece(reason=FinishReason.LENGTH, notice=TOO_LONG)
        finally:
            events.close()  # type: ignore[attr-defined]  # a generator: closing stops the decode

    def _let_go(self, turn_id: str) -> None:
        """The turn alone fills the context: only its words stay, if there are any."""
        texts = {key: turn.text for key, turn in self._turns.items() if turn.text}
        self._session.compact({turn_id: _LET_GO, **texts}, keep=0)
        self._turns.clear()

    def cut_reply(self, chars: int) -> None:
        """Keep what was heard; nothing to do where the reply was stopped before it began."""
        try:
            self._session.cut_reply(chars)
        except SessionError:
            log.info("no reply to cut")

    # -- in spare time ------------------------------------------------------------------------

    def transcribe(self, turn_key: str, clips: list[np.ndarray]) -> Iterator[str]:
        """Write an answered turn down; what the ear heard is written already."""
        record = self._turns.get(turn_key, TurnRecord())
        if self._transcriber is None:
            yield " ".join(record.heard)
            return
        words = []
        for number, clip in enumerate(clips):
            if number:
                words.append(" ")
                yield " "
            for text in self._transcriber.steps(clip):
                words.append(text)
                yield text
        self._change(turn_key, transcript="".join(words).strip())

    def prepare_tidy(self) -> Iterator[None]:
        """Where room runs short: captions of the pictures of all but the last turn."""
        if not self._full or self._describer is None:
            return
        for key in list(self._turns)[:-1]:
            record = self._turns.get(key)
            if record is None or record.frame is None:
                continue
            words = []
            for text in self._describer.steps(record.frame):
                words.append(text)
                yield
            self._change(key, caption=" ".join("".join(words).split()), frame=None)

    def tidy(self) -> str:
        """Replace old sound and frames by their words where the next turn may not have room."""
        for key in list(self._turns)[:-_FRAMES_KEPT]:
            self._change(key, frame=None)
        if not self._full:
            return ""
        texts = {key: turn.text for key, turn in self._turns.items() if turn.text}
        report = self._session.compact(texts)
        for turn in report.turns:
            self._turns.pop(turn, None)
        if not report.turns:
            return ""
        return (
            f"The sound and pictures of {len(report.turns)} older questions were replaced by their "
            "words to make room."
        )

    def drop_ear(self) -> None:
        """Free the second model and its caches."""
        self._ear = None
        self._clip = []
        free_unused()

    @property
    def _full(self) -> bool:
        room = min(_TURN_ROOM, _TURN_SHARE * self.context_tokens)
        return self.tokens > self.context_tokens - room

    def _change(self, key: str, **words: object) -> None:
        if key in self._turns:
            self._turns[key] = replace(self._turns[key], **words)  # type: ignore[arg-type]


def _small(rgb: np.ndarray) -> np.ndarray:
    """A copy with at most 512 pixels on the longer side."""
    picture = Pictures.fromarray(rgb)
    picture.thumbnail((_FRAME_SIDE, _FRAME_SIDE))
    return np.asarray(picture).copy()
