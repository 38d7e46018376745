"""The live conversation itself: microphone and camera in, the model and our voice out.

`LivePipeline` is a plain object driven by calls from one thread (see `app.live.runner`): captured
sound and frames, answers of the engine, finished speech, and what the user presses. It decides by
`TurnTaker` and `BargeIn`, drives `Brain`, `Voice` and `Mixer`, and reports through `emit`.

Order of one turn, in the engine's terms (turn layout: frames, clips and text in time order):

    mark T · newest frame · audio … · [likely end] mark A · tail · end clip · mark C · reply

Speech that goes on returns to A (the pause was too short to close the clip) or to C; a false start
returns to T; over an audible answer it cuts that answer to what was heard and starts a new turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from app.live import reports
from app.live.answer import Answer, Stages
from app.live.barge_in import BargeIn, BargeInState
from app.live.buffers import RATE, LatestFrame
from app.live.clock import Clock
from app.live.echo import EchoReport
from app.live.hearing import Heard, Hearing
from app.live.mixer import Mixer
from app.live.ports import Brain, Voice
from app.live.prosody import finished_score
from app.live.reporter import Reporter
from app.live.reports import Duplex, Report
from app.live.signals import (
    ClipClosed,
    LikelyEnd,
    Resumed,
    Send,
    Signal,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from app.live.spoken_text import Piece
from app.live.turn_log import EngineLink, OpenTurn
from app.live.turn_taker import TurnTaker
from app.live.vad import VoiceWindow

_HALF_DUPLEX_TAIL_S = 0.3
COMPLAINTS = {
    "silent": "The microphone sends only silence. It may be muted by a switch on the device or "
    "in the system's settings; check it or choose another one.",
    "clipped": "The microphone is far too loud, so words may be lost. Turn its input level down "
    "or move away from it.",
    "sound": "The microphone works again.",
}
HALF_DUPLEX = (
    "Half duplex: the loudspeaker is too loud in the microphone, so I do not listen while I "
    "speak. Press Esc to interrupt me."
)
HEADPHONES = "With headphones I understand you better while I speak."


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How the conversation runs. fps: camera frames a second for the model while you speak."""

    fps: float = 1.0
    hands_free: bool = True
    speculate: bool = True
    transcribe: bool = True
    hears: bool = True


class LivePipeline:
    """See the module docstring.

    Args:
        clock: time source, the same scale as the capture stamps.
        brain, voice, mixer, hearing: the parts it drives; `voice` None: answers are only shown.
        emit: takes every report.
    """

    def __init__(
        self,
        clock: Clock,
        brain: Brain,
        voice: Voice | None,
        mixer: Mixer,
        hearing: Hearing,
        emit: Callable[[Report], None],
        options: LiveOptions | None = None,
    ) -> None:
        self.options = options or LiveOptions()
        self.frames = LatestFrame()
        """Where the camera puts its pictures; the model sees the newest now and then."""
        self.taker = TurnTaker()
        self.duplex = Duplex.UNKNOWN
        self._clock, self._voice = clock, voice
        self._mixer, self._hearing, self._emit = mixer, hearing, emit
        self._link = EngineLink(brain, hearing)
        self._reporter = Reporter(emit, clock.now())
        self._barge_in = BargeIn()
        self._answer: Answer | None = None
        self._turn: OpenTurn | None = None
        self._stages = Stages()
        self._muted = self._ducked = self._suggested_headphones = False
        self._replies = self._typed_turns = 0
        self._last_frame = self._last_voice = float("-inf")

    # -- sound and pictures in ----------------------------------------------------------------

    def on_mic(self, pcm: np.ndarray, t: float) -> None:
        """Captured sound, float32 16 kHz; its first sample was captured at `t`."""
        self._hearing.deaf = self._muted or self._half_duplex_silence()
        for heard in self._hearing.feed(pcm, t):
            self._on_heard(heard)
        self.tick()

    def tick(self) -> None:
        """What depends on time only: end of playback, captions, state. Call every 10 to 40 ms."""
        now = self._clock.now()
        if self._mixer.active:
            self._last_voice = now
        if self._answer:
            self._reporter.caption(now, self._answer.turn, self._mixer.caption())
        if self._answer and self._answer.over:
            self._answer_over()
        self._offer_frame()
        self._reporter.state(now, self.taker, self._answer, self._muted, self.duplex)

    def _half_duplex_silence(self) -> bool:
        recently = self._clock.now() - self._last_voice < _HALF_DUPLEX_TAIL_S
        return self.duplex is Duplex.HALF and (self._mixer.active or recently)

    def _on_heard(self, heard: Heard) -> None:
        if heard.complaint:
            self._notice(heard.complaint, COMPLAINTS[heard.complaint])
        if heard.echo:
            self._judge_echo(heard.echo)
        if self._may_interrupt:
            self._on_barge(self._barge_in.near(heard.near, heard.own, heard.position))
            for window in heard.windows if heard.beside is None else heard.beside:
                self._on_barge(self._barge_in.window(window, heard.position))
            if self._barge_in.room_changed:
                self._hearing.relearn_echo()
        for window in heard.windows:
            self._on_window(window)

    @property
    def _may_interrupt(self) -> bool:
        """Voices over the answer count once the probe knows that they are not our own."""
        return self.taker.guarded and self.duplex is not Duplex.UNKNOWN

    def _on_window(self, window: VoiceWindow) -> None:
        if not self.options.hands_free and not self.taker.in_turn:
            window = replace(window, speech=False)
        was_speaking = self.taker.user_speaking
        self._obey(self.taker.feed(window))
        if was_speaking and self.taker.pausing:
            end = self.taker.speech_end
            start = max(self._hearing.ring.first, end - int(0.8 * RATE))
            self.taker.finished = finished_score(self._hearing.ring.read(start, end))
        self._reporter.level(self._clock.now(), window, self.taker.clip_seconds)

    # -- the user's hands ---------------------------------------------------------------------

    def press_talk(self) -> None:
        """Push-to-talk down; stops the assistant if it speaks."""
        self.interrupt("key")
        self._obey(self.taker.press())

    def release_talk(self) -> None:
        """Push-to-talk up."""
        self._obey(self.taker.release())

    def set_fps(self, fps: float) -> None:
        """Give the model more or fewer pictures a second."""
        self.options = replace(self.options, fps=fps)

    def finish_turn(self) -> None:
        """Answer now, without waiting for silence."""
        self._obey(self.taker.finish_turn())

    def mute(self, muted: bool) -> None:
        """Close or open the microphone; an open turn is answered with what was said."""
        self._muted = muted
        if muted:
            self._obey(self.taker.finish_turn())
        self.tick()

    def interrupt(self, by: str = "key") -> None:
        """Stop the answer (Esc, click, button): it is cut to what was heard."""
        if self._answer is None or not self._answer.committed:
            return
        answer, self._answer = self._answer, None
        chars = self._mixer.stop()
        if answer.voice:
            answer.voice.cancel()
        if not answer.decoded:
            self._tell(lambda brain: brain.stop_reply())
        shown = chars if answer.voice else len(answer.text)
        if answer.reason != "lost":
            self._tell(lambda brain: brain.cut_reply(shown))
        self._unduck()
        self.taker.answer_over()
        now = self._clock.now()
        self._emit(reports.Interrupted(now, answer.turn, by, shown))
        self._emit(reports.ReplyDone(now, answer.turn, answer.text, "interrupted", shown))
        self._after_answer()

    def ask(self, text: str) -> None:
        """A typed question; joins the open turn or, where none was said, is one of its own."""
        self.interrupt("key")
        if self.taker.in_turn and self._turn:
            self._take_back_try()
            self._turn.typed = f"{self._turn.typed}\n{text}".strip()
            self.finish_turn()
        else:
            self._give_up_answer()
            self.taker.answer_over()
            self._answer_typed(text)

    def _answer_typed(self, text: str) -> None:
        """A turn without speech."""
        self._typed_turns += 1
        self._open_turn(-self._typed_turns, text).ended = True
        self._reply(revision=0)
        self._commit()

    def close(self) -> None:
        """Leave live mode: nothing more is sent or said."""
        self.interrupt("end")
        self._give_up_answer()
        if self._turn:
            self._turn.typed = ""  # nobody waits for the answer any more
        self._obey(self.taker.drop_turn())

    # -- the engine's answers -----------------------------------------------------------------

    def on_delta(self, number: int, text: str) -> None:
        """A piece of reply `number`; pieces of older replies are stale and ignored."""
        if not (answer := self._current(number)):
            return
        if answer.stages.first_token is None:
            answer.stages.first_token = self._clock.now()
        answer.add(text)
        if answer.committed:
            self._show(answer)

    def on_reply_finished(self, number: int, reason: str) -> None:
        """Reply `number` is decoded."""
        if answer := self._current(number):
            answer.finish(reason)
            self.tick()

    def on_timing(self, number: int, encode_s: float, prefill_s: float) -> None:
        """The engine's own figures for reply `number`."""
        if answer := self._current(number):
            answer.stages.encode_s, answer.stages.prefill_s = encode_s, prefill_s

    def on_transcript(self, turn: int, text: str) -> None:
        """A turn was written down."""
        self._emit(reports.Transcript(self._clock.now(), turn, text))

    def on_frame_used(self, taken: float, skipped: bool) -> None:
        """The model has seen (or passed over) a frame."""
        self._emit(reports.FrameUsed(self._clock.now(), taken, skipped))

    def on_speech(self, number: int, piece: Piece, pcm: np.ndarray, rate: int) -> None:
        """Sound for a piece of reply `number`; empty where it could not be made."""
        if answer := self._current(number):
            answer.spoken(piece, pcm, rate)

    def on_speech_failed(self, number: int, piece: Piece, message: str) -> None:
        """A piece could not be spoken: it stays readable."""
        self._notice("speech", message)
        self.on_speech(number, piece, np.zeros(0, np.float32), RATE)

    def on_piece_started(self, piece: Piece) -> None:
        """The loudspeaker begins a piece (from the mixer)."""
        answer = self._answer
        if answer is None or answer.audible or not answer.committed:
            return
        answer.audible = True
        answer.stages.first_sound = self._clock.now()
        self.taker.answer_audible()
        self._barge_in.begin()
        self._reporter.timing(self._clock.now(), answer)

    def on_brain_lost(self) -> None:
        """The engine died: what is being said is kept and sent again to the next one.

        An answer that can be heard already is spoken as far as it came; the exchange is over with
        it, so that the next engine finds it in the conversation and does not answer again.
        """
        self._link.lost = True
        if self._answer and self._answer.audible:
            self._answer.finish("lost")
            self._exchange_over(self._answer)
        else:
            self._drop_answer()
        self._notice("engine", "The engine stopped and is being restarted; keep talking.")

    def on_brain_ready(self) -> None:
        """A fresh engine has the conversation so far: send it the open turn."""
        if not self._link.lost:
            return
        self._link.lost = False
        if turn := self._turn:
            self._link.send_again(turn, self.frames.peek())
            if turn.ended:
                self._reply(self.taker.revision)
                self._commit()

    # -- signals ------------------------------------------------------------------------------

    def _obey(self, signals: list[Signal]) -> None:
        for signal in signals:
            match signal:
                case TurnStarted():
                    self._on_turn_started(signal)
                case Send():
                    self._link.sound(self._open(), signal.start, signal.stop)
                case ClipClosed():
                    self._on_clip_closed(signal)
                case LikelyEnd():
                    self._on_likely_end(signal)
                case Resumed():
                    self._on_resumed(signal)
                case TurnEnded():
                    self._on_turn_ended(signal)
                case TurnDropped():
                    self._on_turn_dropped(signal)

    def _on_turn_started(self, signal: TurnStarted) -> None:
        waiting = self._turn  # a typed question whose answer cannot be heard yet: one turn with it
        if waiting:
            self._forget_turn(waiting)
        self._open_turn(signal.turn, waiting.typed if waiting else "")
        self._hearing.ring.pin(signal.start)

    def _open_turn(self, number: int, typed: str = "") -> OpenTurn:
        self._stages = Stages(speech_end=self._clock.now())
        self._turn = turn = OpenTurn(number, self._link.mark(), typed)
        self._emit(reports.TurnOpened(self._clock.now(), number, typed))
        self._last_frame = float("-inf")
        self._offer_frame()
        return turn

    def _on_clip_closed(self, signal: ClipClosed) -> None:
        turn = self._open()
        self._link.close_clip(turn, signal.start, signal.stop, signal.tail)
        turn.overlap += signal.overlap
        if not signal.tail:
            length, overlap = (signal.stop - signal.start) / RATE, signal.overlap / RATE
            now = self._clock.now()
            self._emit(reports.ClipSplit(now, signal.turn, signal.clip, length, overlap))

    def _on_likely_end(self, signal: LikelyEnd) -> None:
        turn = self._open()
        turn.before_close = self._link.mark()
        self._link.close_clip(turn, signal.start, signal.stop, signal.tail)
        self._stages = Stages(speech_end=self._hearing.time_of(self.taker.speech_end))
        if self.options.speculate:
            self._reply(signal.revision)

    def _on_resumed(self, signal: Resumed) -> None:
        self._give_up_answer()
        self._link.reopen(self._open(), same_clip=signal.same_clip)
        self._emit(reports.TurnRevised(self._clock.now(), signal.turn, signal.revision))

    def _on_turn_ended(self, signal: TurnEnded) -> None:
        turn = self._open()
        turn.ended = True
        now = self._clock.now()
        self._stages.speech_end = self._hearing.time_of(self.taker.speech_end)
        tried = self._answer
        if tried is None or (tried.turn, tried.revision) != (signal.turn, signal.revision):
            self._reply(signal.revision)
        self._emit(
            reports.TurnClosed(
                now,
                signal.turn,
                signal.revision,
                signal.reason,
                turn.seconds,
                len(turn.clips),
                signal.silence_s,
                turn.typed,
            )
        )
        self._commit()

    def _on_turn_dropped(self, _signal: TurnDropped) -> None:
        turn = self._open()
        self._forget_turn(turn)
        self._hearing.ring.pin(None)
        if turn.typed:
            self._answer_typed(turn.typed)

    def _forget_turn(self, turn: OpenTurn) -> None:
        self._give_up_answer()
        self._tell(lambda b: b.rollback(turn.start_mark))
        self._turn = None
        self._emit(reports.TurnForgotten(self._clock.now(), turn.number))

    # -- answers ------------------------------------------------------------------------------

    def _reply(self, revision: int) -> None:
        turn = self._open()
        self._give_up_answer()
        self._replies += 1
        number = self._replies
        self._answer = Answer(number, turn.number, revision, self._voice, self._mixer, self._stages)
        self._tell(lambda b: b.reply(number, turn.typed))

    def _commit(self) -> None:
        answer = self._answer
        if answer is None:
            return
        answer.stages.committed = self._clock.now()
        answer.commit()
        if answer.text:
            self._show(answer)
        self.tick()

    def _give_up_answer(self) -> None:
        """Drop an answer that nobody saw or heard."""
        if self._answer and not self._answer.decoded:
            self._tell(lambda b: b.stop_reply())
        self._drop_answer()

    def _take_back_try(self) -> None:
        """A speculative answer to the open turn is void: the turn ends with more than was said."""
        if self._answer:
            self._give_up_answer()
            self._link.reopen(self._open(), same_clip=False)

    def _drop_answer(self) -> None:
        if self._answer:
            if self._answer.voice:
                self._answer.voice.cancel()
            self._mixer.stop()
        self._answer = None

    def _answer_over(self) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        self._unduck()
        self.taker.answer_over()
        if answer.stages.first_sound is None:
            self._reporter.timing(self._clock.now(), answer)
        if answer.reason != "lost":
            self._exchange_over(answer)

    def _exchange_over(self, answer: Answer) -> None:
        now, text = self._clock.now(), answer.text
        self._emit(reports.ReplyDone(now, answer.turn, text, answer.reason, len(text)))
        self._after_answer()

    def _after_answer(self) -> None:
        """Between turns: have the sound written down, then let go of it."""
        turn, self._turn = self._turn, None
        if turn:
            wanted = turn.ended and self.options.transcribe and self.options.hears
            clips = list(self._link.sounds(turn)) if wanted else []
            self._tell(lambda b: b.transcribe(turn.number, clips))
        self._hearing.ring.pin(None)

    def _show(self, answer: Answer) -> None:
        self._emit(reports.ReplyText(self._clock.now(), answer.turn, answer.revision, answer.text))

    def _current(self, number: int) -> Answer | None:
        return self._answer if self._answer and self._answer.number == number else None

    # -- interruption by voice ----------------------------------------------------------------

    def _on_barge(self, state: BargeInState) -> None:
        if state is BargeInState.DUCKED and not self._ducked:
            self._ducked = True
            self._mixer.duck(True)
            self._emit(reports.Ducked(self._clock.now(), on=True))
        elif state is BargeInState.PLAYING:
            self._unduck()
        elif state is BargeInState.STOPPED:
            onset = self._barge_in.onset
            self._barge_in.begin()
            self.interrupt("voice")
            self._obey(self.taker.interrupt(onset))

    def _unduck(self) -> None:
        if self._ducked:
            self._ducked = False
            self._mixer.duck(False)
            self._emit(reports.Ducked(self._clock.now(), on=False))

    def _judge_echo(self, report: EchoReport) -> None:
        self.duplex = Duplex.FULL if report.full_duplex else Duplex.HALF
        now = self._clock.now()
        self._emit(
            reports.EchoMeasured(
                now, report.noise_db, report.echo_db, report.removed_db, self.duplex
            )
        )
        if self.duplex is Duplex.HALF:
            self._notice("half_duplex", HALF_DUPLEX)
        if report.audible and not self._suggested_headphones:
            self._suggested_headphones = True
            self._notice("headphones", HEADPHONES)

    # -- the engine ---------------------------------------------------------------------------

    def _tell(self, call: Callable[[Brain], None]) -> None:
        self._link.tell(call)

    def _open(self) -> OpenTurn:
        assert self._turn is not None, "the turn taker opens a turn before it uses it"
        return self._turn

    def _offer_frame(self) -> None:
        """While somebody speaks, one frame per 1/fps seconds; the first right at the start."""
        now = self._clock.now()
        turn_open = self._turn is not None and not self._turn.ended
        if self._link.lost or not turn_open or now - self._last_frame < 1.0 / self.options.fps:
            return
        if frame := self.frames.take():
            self._last_frame = now
            self._tell(lambda brain: brain.frame(frame.rgb, frame.t))
            height, width = frame.rgb.shape[:2]
            step = max(1, height // 72)
            small = np.ascontiguousarray(frame.rgb[::step, ::step])
            self._emit(reports.FrameSent(now, frame.t, width, height, small))

    # -- reports ------------------------------------------------------------------------------

    def _notice(self, kind: str, text: str) -> None:
        self._emit(reports.LiveNotice(self._clock.now(), kind, text))
