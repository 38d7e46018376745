"""One live conversation put together: devices, speech, engine commands and the pipeline.

No window: the live page, `facet live` and the tests all use this object. Reports come from the live
thread; the caller moves them to wherever it draws.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.core import commands
from app.core.commands import Command, PromptMessage, ReplyOptions
from app.core.events import (
    Channel,
    Event,
    FrameSeen,
    JobFailed,
    LiveReady,
    LiveReplyFinished,
    LiveTiming,
    TextDelta,
    TurnTranscribed,
)
from app.live.clock import Clock, SystemClock
from app.live.echo import EchoCanceller, EchoReference
from app.live.hearing import Hearing
from app.live.mixer import Mixer
from app.live.pipeline import LiveOptions, LivePipeline
from app.live.ports import SpeechSynth
from app.live.reports import Duplex, LiveNotice, Report
from app.live.runner import LiveRunner
from app.services.camera import CameraSource
from app.services.microphone import MicrophoneSource
from app.services.playback import Speaker
from app.services.speech import SpeechWorker

log = logging.getLogger(__name__)


class EngineBrain:
    """`Brain` of the pipeline as commands to the engine.

    Args:
        job_id: of the live job.
        send: carries a command; called on the live thread.
    """

    def __init__(self, job_id: str, send: Callable[[Command], None], options: ReplyOptions) -> None:
        self._job, self._send, self._options = job_id, send, options

    def audio(self, pcm: np.ndarray, t: float) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.PushAudio(self._job, pcm.astype("<f4").tobytes(), t))

    def frame(self, rgb: np.ndarray, t: float) -> None:
        """See `app.live.ports.Brain`."""
        height, width = rgb.shape[:2]
        self._send(commands.PushFrame(self._job, rgb.tobytes(), width, height, t))

    def end_clip(self) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.EndClip(self._job))

    def mark(self, number: int) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.Mark(self._job, number))

    def rollback(self, number: int) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.Rollback(self._job, number))

    def reply(self, number: int, text: str) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.LiveReply(self._job, number, text, self._options))

    def stop_reply(self) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.StopReply(self._job))

    def cut_reply(self, chars: int) -> None:
        """See `app.live.ports.Brain`."""
        self._send(commands.CutReply(self._job, chars))

    def transcribe(self, turn: int, clips: Sequence[np.ndarray]) -> None:
        """See `app.live.ports.Brain`."""
        data = tuple(clip.astype("<f4").tobytes() for clip in clips)
        self._send(commands.TranscribeTurn(self._job, turn, data))


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """What a conversation uses. Sources that are None are switched off.

    make_speaker: builds the loudspeaker on the given reference (its device decides the rate).
    echo: take our own voice out of the microphone; off for headphones and file microphones.
    half_duplex: do not listen while we speak (interruption by voice switched off).
    ear: folder of a model that hears for the loaded one.
    """

    job_id: str
    make_speaker: Callable[[Clock, EchoReference], Speaker]
    synth: SpeechSynth | None = None
    options: LiveOptions = field(default_factory=LiveOptions)
    reply: ReplyOptions = field(default_factory=ReplyOptions)
    echo: bool = True
    half_duplex: bool = False
    volume: float = 1.0
    ear: str = ""


class LiveSession:
    """A running conversation.

    Args:
        setup: what it uses.
        send: carries commands to the engine (from the live thread).
        emit: takes reports (from the live thread).
    """

    def __init__(
        self,
        setup: LiveSetup,
        send: Callable[[Command], None],
        emit: Callable[[Report], None],
        clock: Clock | None = None,
    ) -> None:
        self.setup, self._send, self._emit = setup, send, emit
        self.clock = clock or SystemClock()
        self.reference = EchoReference()
        self.speaker = setup.make_speaker(self.clock, self.reference)
        self.mixer: Mixer = self.speaker.mixer
        self.mixer.volume = setup.volume
        self._microphone: MicrophoneSource | None = None
        self._camera: CameraSource | None = None
        self._voice: SpeechWorker | None = None
        self._hearing = Hearing(self.reference, EchoCanceller() if setup.echo else None)
        if setup.echo and not setup.half_duplex:
            self._hearing.start_probe()
        self._ready = False
        self._runner = LiveRunner(self._tick, self._on_crash)
        if setup.synth is not None:
            self._voice = SpeechWorker(setup.synth, self._on_spoken, self._on_not_spoken)
        self.pipeline = LivePipeline(
            self.clock,
            EngineBrain(setup.job_id, send, setup.reply),
            self._voice,
            self.mixer,
            self._hearing,
            emit,
            setup.options,
        )
        if setup.half_duplex:
            self.pipeline.duplex = Duplex.HALF
        elif not setup.echo:
            self.pipeline.duplex = Duplex.FULL
        self.mixer.on_start = lambda piece: self.post(self.pipeline.on_piece_started, piece)

    # -- life ---------------------------------------------------------------------------------

    def start(self, conversation_id: str = "", messages: tuple[PromptMessage, ...] = ()) -> None:
        """Open the engine's session and the loudspeaker; devices are added afterwards."""
        self._runner.start()
        self.open_engine(conversation_id, messages)
        if self._voice:
            self._voice.warm_up()
        self.speaker.start()

    def open_engine(self, conversation_id: str, messages: tuple[PromptMessage, ...]) -> None:
        """Start the live job (again after the engine was restarted)."""
        self._ready = False
        setup = self.setup
        self._send(
            commands.LiveStart(setup.job_id, conversation_id, messages, setup.reply, setup.ear)
        )

    def stop(self) -> None:
        """End the conversation; nothing is left running."""
        self.use_microphone(None)
        self.use_camera(None)
        self.post(self.pipeline.close)
        self.post(self._send, commands.LiveEnd(self.setup.job_id))
        if not self._ready:  # the engine still reads the chat and obeys nothing else meanwhile
            self.post(self._send, commands.Cancel(self.setup.job_id))
        self._runner.stop()
        self.speaker.stop()
        if self._voice:
            self._voice.stop()

    def post(self, call: Callable[..., None], *args: object) -> None:
        """Have something happen on the live thread."""
        self._runner.post(call, *args)

    # -- devices ------------------------------------------------------------------------------

    def use_microphone(self, source: MicrophoneSource | None) -> None:
        """Switch to another microphone, or to none.

        Raises:
            MicrophoneError: it cannot be opened; none is used then.
        """
        old, self._microphone = self._microphone, None
        if old is not None:
            old.stop()
        if source is not None:
            source.start(lambda pcm, t: self.post(self.pipeline.on_mic, pcm, t))
            self._microphone = source

    def use_camera(self, source: CameraSource | None) -> None:
        """Switch to another camera, or to none.

        Raises:
            CameraError: it cannot be opened; none is used then.
        """
        old, self._camera = self._camera, None
        if old is not None:
            old.stop()
        self.pipeline.frames.clear()
        if source is not None:
            source.start(self.pipeline.frames.put)
            self._camera = source

    @property
    def microphone(self) -> MicrophoneSource | None:
        """What is listened to."""
        return self._microphone

    @property
    def camera(self) -> CameraSource | None:
        """What is looked through."""
        return self._camera

    # -- the engine's events ------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """An event of the engine; those of other jobs are ignored. Any thread."""
        if getattr(event, "job_id", self.setup.job_id) != self.setup.job_id:
            return
        pipeline = self.pipeline
        match event:
            case TextDelta(channel=Channel.ANSWER):
                self.post(pipeline.on_delta, event.reply, event.text)
            case LiveReplyFinished():
                self.post(pipeline.on_reply_finished, event.reply, str(event.reason))
            case LiveTiming():
                self.post(pipeline.on_timing, event.reply, event.encode_s, event.prefill_s)
            case TurnTranscribed():
                self.post(pipeline.on_transcript, event.turn, event.text)
            case FrameSeen():
                self.post(pipeline.on_frame_used, event.t, event.skipped)
            case LiveReady():
                self._ready = True
                self.post(pipeline.on_brain_ready)
            case JobFailed():
                self.post(pipeline.on_brain_lost)

    # -- threads ------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.pipeline.tick()

    def _on_spoken(self, *spoken: object) -> None:
        self.post(self.pipeline.on_speech, *spoken)

    def _on_not_spoken(self, *failed: object) -> None:
        self.post(self.pipeline.on_speech_failed, *failed)

    def _on_crash(self, problem: Exception) -> None:
        text = "Something went wrong in live mode; it goes on, but the last sentence may be lost."
        self._emit(LiveNotice(self.clock.now(), "internal", f"{text} ({type(problem).__name__})"))
