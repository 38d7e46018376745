"""The library's session as the live job uses it, and sound written down. Runs on the MLX thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from app.core.commands import LiveStart, ReplyOptions
from app.core.events import Event, FinishReason
from app.engine.chat import sampling_options
from app.engine.jobs import JobContext
from app.engine.live import LiveJob, Piece
from mlx_gemma4.errors import SessionError
from mlx_gemma4.generate import Finish, GenerateOptions, stream
from mlx_gemma4.messages import Audio, Message, Text, message
from mlx_gemma4.model import Gemma4
from mlx_gemma4.processor import Processor
from mlx_gemma4.reply import Delta
from mlx_gemma4.sampling import SamplingOptions
from mlx_gemma4.session import ReplyOptions as SessionReply
from mlx_gemma4.session import Session

log = logging.getLogger(__name__)

TRANSCRIBE = (
    "Transcribe the following speech segment in its original language. Only output the "
    "transcription, with no newlines. Write numbers as digits."
)
TRANSCRIBE_DEMO = "Transcribe the recording."
"""What the demo checkpoint was taught; it knows no longer instructions."""
SPOKEN_MOST_TOKENS = 512
TRANSCRIPT_MOST_TOKENS = 400
_TIDY_ABOVE = 0.7
_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH, "tool": FinishReason.TOOL}


def run_live(
    model: Gemma4,
    processor: Processor,
    messages: Sequence[Message],
    job: LiveStart,
    context: JobContext,
    ear: Transcriber | None = None,
) -> Iterator[Event]:
    """The events of a live job on the loaded model.

    Args:
        model: the main model.
        processor: of the main model.
        messages: the conversation so far.
        job: the command.
        context: its inbox.
        ear: a second model that hears, for one that does not.
    """
    limit = job.options.context_tokens or None
    session = Session(model, processor, context=limit)
    session.sync(messages)
    yield from LiveJob(GemmaLive(model, processor, session, ear), job, context).run()


class Transcriber:
    """Writes sound down with one model, clip by clip, a token at a time."""

    def __init__(self, model: Gemma4, processor: Processor) -> None:
        self._model, self._processor = model, processor
        self._prompt = TRANSCRIBE_DEMO if model.config.label else TRANSCRIBE

    def steps(self, pcm: np.ndarray) -> Iterator[str]:
        """Pieces of text for one clip (float32 16 kHz, at most 30 s)."""
        asked = message("user", Audio(pcm), Text(self._prompt))
        inputs = self._processor.inputs([asked])
        options = GenerateOptions(
            max_tokens=TRANSCRIPT_MOST_TOKENS, sampling=SamplingOptions(greedy=True)
        )
        for event in stream(self._model, self._processor, inputs, options):
            if isinstance(event, Delta) and event.channel == "answer":
                yield event.text

    def text(self, pcm: np.ndarray) -> str:
        """The whole transcript of one clip."""
        return "".join(self.steps(pcm)).strip()


class GemmaLive:
    """`StreamingSession` over `mlx_gemma4.Session`.

    A model that does not hear gets what the ear model wrote down of each clip as words.
    """

    def __init__(
        self,
        model: Gemma4,
        processor: Processor,
        session: Session,
        ear: Transcriber | None = None,
    ) -> None:
        own_ears = model.config.audio is not None
        self.hears = own_ears or ear is not None
        self.sees = model.config.vision is not None
        self._session = session
        self._ear = None if own_ears else ear
        self._transcriber = Transcriber(model, processor) if own_ears else ear
        self._clip: list[np.ndarray] = []
        self._replies = 0
        self._turn_id = ""
        self._texts: dict[str, str] = {}

    @property
    def tokens(self) -> int:
        """Tokens in the context."""
        return self._session.tokens

    @property
    def context_tokens(self) -> int:
        """Room for tokens."""
        return self._session.context

    def push_audio(self, pcm: np.ndarray, t: float) -> None:
        """Sound of the open clip; without own ears it is kept until the clip is closed."""
        if self._ear is not None:
            self._clip.append(pcm)
        else:
            self._session.push_audio(pcm, t)

    def end_clip(self) -> None:
        """Close the open clip."""
        if self._ear is None:
            self._session.end_clip()
        elif self._clip:
            pcm, self._clip = np.concatenate(self._clip), []
            if words := self._ear.text(pcm):
                self._session.push_text(words)

    def push_frame(self, rgb: np.ndarray, t: float) -> bool:
        """A camera frame; False if it shows nothing new."""
        return self._session.push_frame(rgb, t).fate != "same"

    def push_text(self, text: str) -> None:
        """Typed words of the open turn."""
        self._session.push_text(text)

    def mark(self) -> object:
        """Remember this moment, sound that still waits for the ear included."""
        return self._session.mark(), list(self._clip)

    def rollback(self, mark: object) -> None:
        """Return to a moment."""
        assert isinstance(mark, tuple)
        self._session.rollback(mark[0])
        self._clip = list(mark[1])

    def reply(self, options: ReplyOptions) -> Iterator[Piece]:
        """Answer the open turn."""
        self._replies += 1
        self._turn_id = f"live-turn-{self._replies}"
        wanted = GenerateOptions(
            max_tokens=options.max_tokens or SPOKEN_MOST_TOKENS,
            sampling=sampling_options(options.preset),
        )
        events = self._session.reply(SessionReply(wanted, turn_id=self._turn_id))
        try:
            for event in events:
                if isinstance(event, Delta):
                    yield Piece(event.text, thought=event.channel == "thought")
                elif isinstance(event, Finish):
                    reason = _REASONS.get(event.reason, FinishReason.STOP)
                    yield Piece(reason=reason, prefill_s=event.usage.prefill_s)
        finally:
            events.close()  # type: ignore[attr-defined]  # a generator: closing stops the decode

    def cut_reply(self, chars: int) -> None:
        """Keep what was heard; nothing to do where the reply was stopped before it began."""
        try:
            self._session.cut_reply(chars)
        except SessionError:
            log.info("no reply to cut")

    def transcribe(self, clips: list[np.ndarray]) -> Iterator[str]:
        """Write the last answered turn down."""
        turn_id, words = self._turn_id, []
        if self._transcriber is None:
            return
        for number, clip in enumerate(clips):
            if number:
                yield " "
            for text in self._transcriber.steps(clip):
                words.append(text)
                yield text
        self._texts[turn_id] = "".join(words).strip()

    def tidy(self) -> str:
        """Replace old sound and frames by their words once 70 % of the context is used."""
        if self.tokens < _TIDY_ABOVE * self.context_tokens:
            return ""
        report = self._session.compact({k: v for k, v in self._texts.items() if v})
        if not report.turns:
            return ""
        for turn in report.turns:
            self._texts.pop(turn, None)
        return (
            f"The sound and pictures of {len(report.turns)} older questions were replaced by their "
            "words to make room."
        )
