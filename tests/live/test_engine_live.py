"""The live job: order of commands, marks, stops, transcripts; on a script and a real session."""

from collections import OrderedDict

import numpy as np
import pytest

from app.core import commands
from app.core.conversation import SamplingPreset
from app.core.events import (
    FinishReason,
    FrameSeen,
    JobFinished,
    LiveReady,
    LiveReplyFinished,
    LiveReplyStarted,
    LiveTiming,
    ModelInfo,
    TextDelta,
    TurnTranscribed,
)
from app.engine.chat import LoadedModel
from app.engine.jobs import JobContext
from app.engine.live import LiveJob, Piece
from app.services.live_session import LiveSession, LiveSetup
from tests.live.fakes import FakeSpeaker

JOB = "live"
PCM = np.zeros(1600, "<f4").tobytes()
FRAME = np.zeros((8, 8, 3), np.uint8).tobytes()


class FakeSession:
    hears = sees = True
    ear = turn_key = ""
    tokens, context_tokens = 10, 100

    def __init__(self, words=("One ", "two ", "three.")):
        self.words, self.log = words, []

    def push_audio(self, pcm, t):
        self.log.append(f"audio {len(pcm)}")

    def push_frame(self, rgb, t):
        self.log.append(f"frame {t}")
        return True

    def push_text(self, text):
        self.log.append(f"text {text}")

    def end_clip(self):
        self.log.append("end")

    def mark(self):
        self.log.append("mark")
        return len(self.log)

    def rollback(self, mark):
        self.log.append(f"rollback {mark}")

    def reply(self, options):
        try:
            for word in self.words:
                self.log.append("step")
                yield Piece(word)
            yield Piece(reason=FinishReason.STOP)
        finally:
            self.log.append("closed")

    def cut_reply(self, chars):
        self.log.append(f"cut {chars}")

    def transcribe(self, turn_key, clips):
        self.log.append("write")
        yield "hello "
        yield "there"

    def prepare_tidy(self):
        self.log.append("prepare")
        yield

    def tidy(self):
        self.log.append("tidy")
        return ""

    def drop_ear(self):
        self.ear, self.hears = "", False


def run(session, *given, late=None):
    """Run a job on commands; `late` maps a number of events seen to commands that arrive then."""
    context = JobContext(JOB)
    for command in given:
        context.inbox.put(command)
    late = dict(late or {})
    if not late:
        context.inbox.put(commands.LiveEnd(JOB))
    events = []
    for event in LiveJob(session, commands.LiveStart(JOB, "c", ()), context).run():
        events.append(event)
        for command in late.pop(len(events), ()):
            context.inbox.put(command)
    return events


def test_commands_are_obeyed_in_order_and_the_reply_is_streamed():
    session = FakeSession()
    end = {6: [commands.LiveEnd(JOB)]}
    events = run(
        session,
        commands.PushFrame(JOB, FRAME, 8, 8, 1.0),
        commands.PushAudio(JOB, PCM, 1.0),
        commands.EndClip(JOB),
        commands.LiveReply(JOB, 7, "and this?"),
        late=end | {8: [commands.LiveEnd(JOB)]},
    )
    assert session.log[:5] == ["frame 1.0", "audio 1600", "end", "text and this?", "step"]
    kinds = [type(e) for e in events]
    assert kinds[:4] == [LiveReady, FrameSeen, LiveReplyStarted, LiveTiming]
    timing = events[3]
    assert timing.prefill_s == timing.first_token_s > 0  # this session does not tell its prefill
    assert "".join(e.text for e in events if isinstance(e, TextDelta)).startswith("One ")


def test_only_the_newest_waiting_frame_is_encoded():
    session = FakeSession()
    frames = [commands.PushFrame(JOB, FRAME, 8, 8, float(i)) for i in range(4)]
    events = run(session, *frames)
    assert session.log == ["frame 3.0"]
    assert [e.skipped for e in events if isinstance(e, FrameSeen)] == [True, True, True, False]


def test_sound_that_jammed_is_encoded_in_one_go():
    session = FakeSession()
    sounds = [commands.PushAudio(JOB, PCM, float(i)) for i in range(5)]
    run(session, *sounds, commands.EndClip(JOB), commands.PushAudio(JOB, PCM, 9.0))
    assert session.log == ["audio 8000", "end", "audio 1600"]


def test_stop_ends_the_reply_at_once_and_sound_may_come_in_between():
    session = FakeSession(words=["w "] * 50)
    late = {
        5: [commands.PushAudio(JOB, PCM, 2.0)],
        8: [commands.StopReply(JOB), commands.CutReply(JOB, 3), commands.LiveEnd(JOB)],
    }
    events = run(session, commands.LiveReply(JOB, 1), late=late)
    finished = [e for e in events if isinstance(e, LiveReplyFinished)]
    assert [f.reason for f in finished] == [FinishReason.CANCELLED]
    assert session.log.count("step") < 10
    assert "audio 1600" in session.log
    assert session.log[-2:] == ["closed", "cut 3"]


def test_rollback_stops_the_reply_first():
    session = FakeSession(words=["w "] * 50)
    late = {6: [commands.Rollback(JOB, 4), commands.LiveEnd(JOB)]}
    run(session, commands.Mark(JOB, 4), commands.LiveReply(JOB, 1), late=late)
    assert session.log[-2:] == ["closed", "rollback 1"]


def test_the_transcript_never_stands_in_front_of_a_reply():
    session = FakeSession()
    given = [commands.TranscribeTurn(JOB, 3, (PCM,)), commands.LiveReply(JOB, 1)]
    events = run(session, *given, late={8: [commands.LiveEnd(JOB)]})
    assert session.log.index("write") > session.log.index("closed")
    assert TurnTranscribed(JOB, 3, "hello there") in events


def test_cancel_closes_a_running_reply():
    session, context = FakeSession(words=["w "] * 50), JobContext(JOB)
    context.inbox.put(commands.LiveReply(JOB, 1))
    for seen, _ in enumerate(LiveJob(session, commands.LiveStart(JOB, "c", ()), context).run()):
        if seen == 5:
            context.cancel()
    assert session.log[-1] == "closed"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from mlx_gemma4 import load, testing

    folder = testing.random_checkpoint(tmp_path_factory.mktemp("tiny"), "e2b")
    return LoadedModel(*load(folder), ModelInfo(str(folder), "tiny"), 0, OrderedDict())


OPTIONS = commands.ReplyOptions(SamplingPreset("Precise", temperature=0.0), max_tokens=6)


def live(tiny, *given, ends_after):
    """Run given commands on a real session until `ends_after` replies are finished."""
    from app.engine.live_session import run_live

    context = JobContext(JOB)
    for command in given:
        context.inbox.put(command)
    events = []
    for event in run_live(tiny, [], commands.LiveStart(JOB, "c", (), OPTIONS), context):
        events.append(event)
        if sum(isinstance(e, LiveReplyFinished) for e in events) == ends_after:
            context.inbox.put(commands.LiveEnd(JOB))
    return events


def sound(seconds, seed=0):
    noise = np.random.default_rng(seed).standard_normal(int(seconds * 16000)) * 0.1
    return commands.PushAudio(JOB, noise.astype("<f4").tobytes(), 0.0)


def texts(events):
    joined = {}
    for event in events:
        if isinstance(event, TextDelta):
            joined[event.reply] = joined.get(event.reply, "") + event.text
    return joined


def test_a_real_session_answers_sound_and_frames(tiny):
    picture = np.full((96, 96, 3), 90, np.uint8)
    given = [
        commands.Mark(JOB, 1),
        commands.PushFrame(JOB, picture.tobytes(), 96, 96, 0.0),
        sound(0.7),
        commands.EndClip(JOB),
        commands.LiveReply(JOB, 1, "", OPTIONS),
        commands.TranscribeTurn(JOB, 1, (sound(0.7).pcm,)),
    ]
    events = live(tiny, *given, ends_after=1)
    assert events[0] == LiveReady(JOB, True, True)
    assert [e.reply for e in events if isinstance(e, LiveReplyFinished)] == [1]


def test_taking_a_speculative_reply_back_leaves_no_trace(tiny):
    """Marks, a reply, rollback, more sound: the same answer as without the try."""
    whole = sound(1.0)
    first = commands.PushAudio(JOB, whole.pcm[: 4 * 9000], 0.0)
    rest = commands.PushAudio(JOB, whole.pcm[4 * 9000 :], 0.5)
    tried = [
        commands.Mark(JOB, 1), first, commands.Mark(JOB, 2), commands.EndClip(JOB),
        commands.Mark(JOB, 3), commands.LiveReply(JOB, 1, "", OPTIONS), commands.Rollback(JOB, 2),
        rest, commands.EndClip(JOB), commands.LiveReply(JOB, 2, "", OPTIONS),
    ]  # fmt: skip
    plain = [whole, commands.EndClip(JOB), commands.LiveReply(JOB, 2, "", OPTIONS)]
    with_try = texts(live(tiny, *tried, ends_after=2))
    without = texts(live(tiny, *plain, ends_after=1))
    assert with_try[2] == without[2]


def test_an_interrupted_real_reply_is_cut_and_the_next_one_works(tiny):
    given = [
        sound(0.6), commands.EndClip(JOB), commands.LiveReply(JOB, 1, "", OPTIONS),
        commands.StopReply(JOB), commands.CutReply(JOB, 0), sound(0.6, 1), commands.EndClip(JOB),
        commands.LiveReply(JOB, 2, "", OPTIONS),
    ]  # fmt: skip
    events = live(tiny, *given, ends_after=2)
    finished = [e.reason for e in events if isinstance(e, LiveReplyFinished)]
    assert finished == ["cancelled", "length"]
    assert texts(events).get(2) is not None


def test_a_live_job_that_still_reads_its_chat_can_be_stopped(tiny):
    """The first look between two pieces of the prompt finds the cancel."""
    from app.engine.live_session import run_live
    from mlx_gemma4.messages import Text, message

    chat = [message("user", Text("word " * 600))]
    looks, context = [], JobContext(JOB)
    asked = context.cancelled

    def cancelled():
        looks.append(1)
        context.cancel()
        return asked()

    context.cancelled = cancelled
    events = list(run_live(tiny, chat, commands.LiveStart(JOB, "c", (), OPTIONS), context))
    assert events == [JobFinished(JOB, FinishReason.CANCELLED)]
    assert len(looks) == 1, "nothing was read after that"


@pytest.mark.parametrize("ready", [False, True])
def test_a_conversation_that_ends_before_the_engine_is_ready_cancels_its_start(ready):
    sent = []
    setup = LiveSetup(JOB, lambda _clock, _reference: FakeSpeaker(), echo=False)
    session = LiveSession(setup, sent.append, lambda _report: None)
    session.start()
    if ready:
        session.on_event(LiveReady(JOB, True, True))
    session.stop()
    after = [] if ready else [commands.Cancel(JOB)]
    assert sent == [commands.LiveStart(JOB, "", ()), commands.LiveEnd(JOB), *after]
