"""A model that cannot hear, its ear, and a long talk kept within its context; on real sessions."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.core import commands
from app.core.conversation import SamplingPreset
from app.core.events import (
    EarLost,
    LiveContext,
    LiveReady,
    LiveReplyFinished,
    ModelInfo,
    Notice,
    TurnTranscribed,
)
from app.core.paths import demo_model_dir, samples_dir
from app.engine.chat import LoadedModel
from app.engine.jobs import JobContext
from app.engine.live import LiveJob
from app.engine.live_ear import EarRefused, load_ear, plan_with_ear
from app.engine.live_session import GemmaLive, Transcriber, run_live
from mlx_gemma4 import load, plan, testing
from mlx_gemma4.messages import message
from mlx_gemma4.session import Session
from tests.live.test_engine_live import FakeSession

JOB = "live"
OPTIONS = commands.ReplyOptions(SamplingPreset("Precise", temperature=0.0), max_tokens=4)
SILENCE = np.zeros(1600, "<f4").tobytes()


@pytest.fixture(scope="module")
def deaf(tmp_path_factory):
    folder = testing.random_checkpoint(tmp_path_factory.mktemp("deaf"), "31b")
    return LoadedModel(*load(folder), ModelInfo(str(folder), "31B"), 1024, OrderedDict())


@pytest.fixture(scope="module")
def spoken():
    pcm, rate = soundfile.read(samples_dir() / "command.flac", dtype="float32")
    assert rate == 16000
    return pcm


def machine(bytes_):
    return plan.Machine("", bytes_, bytes_, True)


def talk(loaded, *given, ear="", after=None, replies=1):
    """Run commands, then `after` (event type → commands), until `replies` are finished."""
    context, after = JobContext(JOB), dict(after or {})
    for command in given:
        context.inbox.put(command)
    events = []
    start = commands.LiveStart(JOB, "c", (), OPTIONS, ear)
    for event in run_live(loaded, [], start, context):
        events.append(event)
        for command in after.pop(type(event), ()):
            context.inbox.put(command)
        finished = sum(isinstance(e, LiveReplyFinished) for e in events)
        if finished == replies and not after:
            context.inbox.put(commands.LiveEnd(JOB))
            replies = -1
    return events


def test_the_planner_counts_the_model_and_its_ear(deaf):
    main, ear = Path(deaf.info.path), demo_model_dir()
    alone = [plan.plan(p, context=1024, machine=machine(64 << 30)) for p in (main, ear)]
    both = plan_with_ear(main, ear, context=1024, machine=machine(64 << 30))
    assert both.verdict == "fits"
    assert both.weights == sum(each.weights for each in alone)
    assert both.reserve == alone[0].reserve, "one window, one reserve"
    tight = int(both.total * 1.5) - 1024
    assert plan_with_ear(main, ear, context=1024, machine=machine(tight)).verdict == "wont"


def test_the_ear_writes_down_what_is_said_and_the_main_model_answers(deaf, spoken):
    heard = Transcriber(*load(demo_model_dir())).text(spoken)
    events = talk(
        deaf,
        commands.Mark(JOB, 1),
        commands.PushAudio(JOB, spoken.astype("<f4").tobytes(), 0.0),
        commands.EndClip(JOB),
        commands.LiveReply(JOB, 1, "", OPTIONS),
        ear=str(demo_model_dir()),
        after={LiveReplyFinished: [commands.TranscribeTurn(JOB, 1, (SILENCE,))], LiveContext: []},
    )
    ready = next(e for e in events if isinstance(e, LiveReady))
    assert (ready.hears, ready.ear) == (True, "Demo (tiny)")
    assert any(isinstance(e, LiveReplyFinished) for e in events)
    assert next(e for e in events if isinstance(e, LiveContext)).tokens > len(heard.split())
    written = next(e for e in events if isinstance(e, TurnTranscribed))
    assert written.text == heard, "it is not written down twice"
    assert len(heard) > 3


def test_taking_back_a_try_takes_back_what_the_ear_wrote(deaf, spoken):
    session = Session(deaf.model, deaf.processor, context=1024)
    live = GemmaLive(
        deaf.model, deaf.processor, session, load_ear(Path(deaf.info.path), demo_model_dir(), 1024)
    )
    live.push_audio(spoken, 0.0)
    before = live.mark()
    live.end_clip()
    assert live.tokens > 0
    live.rollback(before)
    assert live.tokens == 0
    live.end_clip()
    assert live.tokens > 0, "the sound was open again"


def test_an_ear_that_does_not_fit_is_refused_and_typing_still_works(deaf, monkeypatch):
    monkeypatch.setattr(plan, "this_machine", lambda: machine(1 << 30))
    events = talk(
        deaf, commands.LiveReply(JOB, 1, "What is this?", OPTIONS), ear=str(demo_model_dir())
    )
    ready = next(e for e in events if isinstance(e, LiveReady))
    assert (ready.hears, ready.ear) == (False, "")
    assert "not enough memory" in next(e for e in events if isinstance(e, Notice)).text
    assert any(isinstance(e, LiveReplyFinished) for e in events)
    with pytest.raises(EarRefused, match="cannot hear"):
        load_ear(Path(deaf.info.path), Path(deaf.info.path), 1024)


def test_memory_pressure_takes_the_ear_first_and_the_talk_goes_on(deaf, monkeypatch):
    levels = iter(["", "critical"])
    watch = type("Watch", (), {"check": lambda self: (next(levels, ""), 0)})
    monkeypatch.setattr("app.engine.live_session.MemoryWatch", watch)
    events = talk(
        deaf,
        commands.PushAudio(JOB, SILENCE, 0.0),
        commands.LiveReply(JOB, 1, "Still there?", OPTIONS),
        ear=str(demo_model_dir()),
    )
    assert [e.label for e in events if isinstance(e, EarLost)] == ["Demo (tiny)"]
    assert any(isinstance(e, LiveReplyFinished) for e in events)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    folder = testing.random_checkpoint(tmp_path_factory.mktemp("hearing"), "e2b")
    return load(folder)


def answer(live, seconds, color):
    """One spoken question about a picture, and its answer."""
    live.push_frame(np.full((96, 96, 3), color, np.uint8), 0.0)
    live.push_audio(np.random.default_rng(color).normal(0, 0.1, int(seconds * 16000)), 0.0)
    live.end_clip()
    for _ in live.reply(OPTIONS):
        pass


def test_old_sound_and_pictures_become_words_and_the_instructions_stay(hearing):
    session = Session(*hearing, context=600)
    session.sync([message("system", "Answer in one sentence.")])
    pinned = session.tokens
    live = GemmaLive(*hearing, session)
    live._transcriber.steps = lambda pcm: iter(["what is ", "this"])
    live._describer.steps = lambda rgb: iter(["a grey\n", "wall"])
    most, notes = 0, []
    for turn in range(8):
        answer(live, 2.0, 20 * turn + 40)
        list(live.transcribe(live.turn_key, [np.zeros(1600, np.float32)]))
        most = max(most, live.tokens)
        list(live.prepare_tidy())
        notes.append(live.tidy())
    assert any("replaced by their words" in note for note in notes)
    assert most <= live.context_tokens
    tokenizer = hearing[1].tokenizer
    words = tokenizer.decode([int(i) for i in session._runner.tape.ids])
    assert words.count("(Shown: a grey wall) what is this") >= 2
    assert "Answer in one sentence." in words[: 8 * pinned]


def test_a_question_longer_than_the_context_is_let_go_and_the_talk_goes_on(hearing):
    session = Session(*hearing, context=200)
    live = GemmaLive(*hearing, session)
    for seconds in (9.0, 1.0):
        live.push_audio(np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)), 0.0)
        live.end_clip()
        pieces = list(live.reply(OPTIONS))
        if seconds > 8:
            assert "longer than the model can keep in mind" in pieces[-1].notice
            assert live.tokens < 60
        else:
            assert pieces[-1].notice == ""


def test_room_is_made_between_turns_only():
    """The next turn begins while the last one is being written down, and is a false start."""
    session, context = FakeSession(), JobContext(JOB)
    for command in (
        commands.LiveReply(JOB, 1),
        commands.TranscribeTurn(JOB, 1, (SILENCE,)),
        commands.Mark(JOB, 5),
        commands.PushAudio(JOB, SILENCE, 1.0),
    ):
        context.inbox.put(command)
    for event in LiveJob(session, commands.LiveStart(JOB, "c", ()), context).run():
        if isinstance(event, TurnTranscribed):
            assert "tidy" not in session.log
            context.inbox.put(commands.Rollback(JOB, 5))
        if isinstance(event, LiveContext):
            context.inbox.put(commands.LiveEnd(JOB))
    names = [word.split()[0] for word in session.log]
    assert names.index("rollback") < names.index("tidy")
