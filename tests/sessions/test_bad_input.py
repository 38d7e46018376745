"""Whatever a session is given: one clear sentence, and it goes on as if nothing had happened."""

import itertools

import mlx.core as mx
import numpy as np
import pytest
from session_checks import agrees, greedy, picture, say, sound

from mlx_gemma4 import load
from mlx_gemma4.constrain import Constraint
from mlx_gemma4.errors import ConfigError, MediaError, PromptError, ToolError
from mlx_gemma4.generate import Finish, GenerateOptions
from mlx_gemma4.messages import Audio, Image, Video, message
from mlx_gemma4.sampling import Sampler
from mlx_gemma4.session import ReplyOptions, Session
from mlx_gemma4.tools import Tool, ToolOutcome


@pytest.fixture
def session(tiny):
    return Session(*tiny("e2b"))


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_sound_at_another_rate_is_refused(rate, session):
    session.push_audio(sound(1, 0.3))
    before = session.clip_seconds
    with pytest.raises(MediaError, match=f"{rate:,} samples a second.*16,000"):
        session.push_audio(sound(2, 0.3), rate=rate)
    assert session.clip_seconds == before
    session.push_audio(sound(3, 0.3), rate=16_000)
    say(session, 3)
    assert agrees(session, session._model)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_leave_no_trace(bad, tiny):
    model, processor = tiny("e2b")
    session, straight = Session(model, processor), Session(model, processor)
    damaged = sound(2, 0.2)
    damaged[-1] = bad
    session.push_audio(sound(1, 0.3))
    with pytest.raises(MediaError, match="not numbers"):
        session.push_audio(damaged)
    straight.push_audio(sound(1, 0.3))
    for each in (session, straight):
        each.push_audio(sound(3, 0.4))
        each.end_clip()
    assert session.ids.tolist() == straight.ids.tolist()
    keys = [each._runner.tape.runs[-1].key for each in (session, straight)]
    assert keys[0] == keys[1]  # the key is a hash of what was heard


def test_frames_may_change_their_size_within_a_turn(session):
    """A camera is turned or replaced while it runs; what cannot be a picture is refused."""
    fates = []
    for height, width in ((90, 140), (140, 90), (48, 48), (700, 60), (1080, 1920)):
        fates.append(session.push_frame(picture(height, height, width)).fate)
        session.push_audio(sound(height, 0.1))
        session.end_clip()
    assert fates == ["waiting"] * 5
    for shape, dtype in (((90, 140), np.uint8), ((90, 140, 4), np.uint8), ((9, 9, 3), np.float32)):
        with pytest.raises(MediaError, match="must be uint8"):
            session.push_frame(np.zeros(shape, dtype))
    session.push_audio(sound(1, 0.3))
    say(session, 3)
    assert agrees(session, session._model)


@pytest.mark.parametrize(
    "refused",
    [
        Constraint("json_schema", '{"type": "nonsense"}'),
        Constraint("json_schema", '{"$ref": "http://example.invalid/schema"}'),
        Constraint.regex("(["),
        Constraint.lark("start: nothing_of_the_kind"),
    ],
)
def test_a_refused_schema_does_not_end_the_running_turn(refused, session):
    session.push_audio(sound(1, 0.5))
    session.push_frame(picture(1))
    before = session.tokens
    options = ReplyOptions(GenerateOptions(5, constraint=refused))
    with pytest.raises(ToolError, match="cannot be used to hold the answer"):
        list(session.reply(options))
    assert session.tokens == before
    assert session.clip_seconds == pytest.approx(0.5)  # the clip is still open
    session.push_audio(sound(2, 0.5))
    assert session.clip_seconds == pytest.approx(1.0)
    say(session, 3)
    assert agrees(session, session._model)


def broken():
    """Breaks."""
    raise RuntimeError("the printer is on fire")


def endless():
    """Says a lot."""
    return "x" * 10_000_000


@pytest.mark.parametrize(("function", "said"), [(broken, "on fire"), (endless, "more characters")])
def test_a_tool_that_fails_or_floods_leaves_a_session_that_goes_on(
    function, said, tiny, monkeypatch
):
    model, processor = tiny("e2b")
    encode = processor.tokenizer.encode
    ask = encode(f"<|tool_call>call:{function.__name__}{{}}<tool_call|>", control=True)
    ask.append(processor.tokenizer.special("tool_response"))
    answer = [*encode("So be it."), processor.tokenizer.special("turn_end")]
    ahead = answer[:1]  # picked while the call is read, and dropped
    script = itertools.chain(ask, ahead, itertools.cycle(answer))
    monkeypatch.setattr("mlx_gemma4.tools.MAX_RESULT_CHARS", 400)
    with monkeypatch.context() as scripted:
        scripted.setattr(Sampler, "__call__", lambda *_, **__: mx.array([next(script)]))
        session = Session(model, processor)
        chat = [message("user", "Print it.")]
        tools = [Tool.from_function(function)]
        events = list(session.reply_with_tools(chat, tools, greedy(200)))
    (outcome,) = [event for event in events if isinstance(event, ToolOutcome)]
    assert said in str(outcome.result.content)
    assert len(str(outcome.result.content)) < 600
    assert isinstance(events[-1], Finish)
    assert "".join(e.text for e in events if getattr(e, "channel", "") == "answer") == "So be it."
    session.sync([*chat, message("model", "Well."), message("user", "And now?")])
    say(session, 3)
    assert agrees(session, model)


def test_a_conversation_never_outgrows_its_context(tiny):
    """A reply ends where the room ends, and the next turn makes room or says that there is none."""
    session = Session(*tiny("e2b"), context=60)
    session.sync([message("user", "Hello, what can you do?")])
    *_, last = session.reply(ReplyOptions(GenerateOptions(500, stop=(), loop_guard=False)))
    assert isinstance(last, Finish)
    assert session.tokens <= 60
    if last.reason == "length":
        assert session.tokens == 60
        assert last.notice


def test_values_that_nothing_can_be_made_of(tiny, tmp_path):
    with pytest.raises(PromptError, match='the role "assistant"'):
        message("assistant", "hello")
    with pytest.raises(PromptError, match="context of -5 tokens"):
        Session(*tiny("e2b"), context=-5)
    with pytest.raises(ConfigError, match='"maybe"; it is auto, on or off'):
        load(tmp_path, ple_on_disk="maybe")
    session = Session(*tiny("e2b"))
    for part, what in ((Image(123), "picture"), (Audio(123), "recording"), (Video(123), "video")):
        with pytest.raises(MediaError, match=f"A {what} cannot be made of int"):
            session.sync([message("user", part)])
    say(session, 3)
    assert agrees(session, session._model)
