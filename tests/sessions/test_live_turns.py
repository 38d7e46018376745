"""A turn that is pushed while it happens: sound, frames, marks, cuts."""

import itertools

import mlx.core as mx
import numpy as np
import pytest
from session_checks import agrees, greedy, next_logits, picture, say, sound

from mlx_gemma4 import cache as cache_module
from mlx_gemma4.audio_processing import FrontEndStream, MelStream, make_clip
from mlx_gemma4.errors import MediaError, SessionError
from mlx_gemma4.generate import Finish
from mlx_gemma4.inputs import AUDIO, IMAGE
from mlx_gemma4.messages import Message, message
from mlx_gemma4.reply import Delta
from mlx_gemma4.session import Session
from mlx_gemma4.session.runner import Runner
from mlx_gemma4.session.soft import SoftTokens

HEARING = ("e2b", "e4b", "12b")


def kinds(session) -> list[int]:
    return [run.kind for run in session._runner.tape.runs]


def push(session, pcm, step=1600):
    for start in range(0, len(pcm), step):
        session.push_audio(pcm[start : start + step])


@pytest.mark.parametrize("arch", HEARING)
def test_sound_is_run_while_it_comes_and_equals_the_whole_clip(arch, tiny):
    model, processor = tiny(arch)
    session = Session(model, processor)
    pcm = sound(1, 2.3)
    push(session, pcm, 1111)
    assert session._runner.cache.offset > 40  # most of 58 tokens are in the cache already
    assert session.clip_seconds == pytest.approx(2.3)
    session.end_clip()
    clip = processor.clip(pcm)
    run = session._runner.tape.runs[-1]
    assert (run.length, run.key) == (clip.soft_tokens, clip.key)
    whole, streamed = model.encode_audio(clip), session._soft_tokens(run)[:]
    assert float(abs(whole - streamed).max()) <= 1e-5 * float(abs(whole).max())
    assert agrees(session, model)


def test_one_sample_pushes_and_odd_ends(tiny):
    model, processor = tiny("e2b")
    session, pcm = Session(model, processor), sound(2, 0.11)
    push(session, pcm[:-3], 1)
    push(session, pcm[-3:], 3)
    session.end_clip()
    assert session._runner.tape.runs[-1].key == processor.clip(pcm).key
    assert agrees(session, model)


def test_a_clip_of_thirty_seconds_is_closed_and_the_next_one_begun(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    full = sum(session.push_audio(sound(i, 10.0)) for i in range(4))
    session.end_clip()
    assert full == 1
    lengths = [run.length for run in session._runner.tape.runs]
    assert lengths == [750, 250]


def test_frames_wait_behind_a_clip_and_only_the_newest_ends_a_turn(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    session.push_frame(picture(1), 0.0)
    push(session, sound(1, 0.4))
    session.push_frame(picture(2), 1.0)
    session.push_frame(picture(3), 2.0)
    assert kinds(session) == [IMAGE, AUDIO]
    session.end_clip()
    push(session, sound(2, 0.4))
    assert kinds(session) == [IMAGE, AUDIO, IMAGE, IMAGE, AUDIO]  # the turn goes on: all are fed
    session.push_frame(picture(4), 3.0)
    session.push_frame(picture(5), 4.0)
    say(session, 3)
    assert kinds(session) == [IMAGE, AUDIO, IMAGE, IMAGE, AUDIO, IMAGE]
    last = processor.frame(picture(5))
    assert session._runner.tape.runs[-1].key == last.key
    assert last.soft_tokens <= 70
    assert agrees(session, model)


def test_a_view_that_does_not_change_is_fed_once(tiny, counter):
    model, processor = tiny("e4b")
    session, count = Session(model, processor), counter(model)
    noise = np.random.default_rng(0)
    view = np.full((480, 640, 3), 90, dtype=np.uint8)
    view[100:300, 200:400] = (200, 30, 30)
    fates = []
    for t in range(4):
        noisy = view.astype(int) + noise.normal(0, 6, view.shape)
        fates.append(session.push_frame(noisy.clip(0, 255).astype(np.uint8), t).fate)
    moved = np.roll(view, 150, axis=1)
    fates.append(session.push_frame(moved, 5.0).fate)
    assert fates == ["waiting", "same", "same", "same", "waiting"]
    assert count.pictures == 2


@pytest.mark.parametrize("arch", HEARING)
def test_a_speculative_end_can_be_taken_back_exactly(arch, tiny):
    model, processor = tiny(arch)
    session, straight = Session(model, processor), Session(model, processor)
    first, second = sound(1, 0.83), sound(2, 0.57)
    for each in (session, straight):
        each.push_frame(picture(1))
        push(each, first, 999)
    mark = session.mark()
    say(session, 9)  # a false end: the reply began
    session.rollback(mark)
    assert session.clip_seconds == straight.clip_seconds
    for each in (session, straight):
        push(each, second, 1234)
        each.end_clip()
    assert session.ids.tolist() == straight.ids.tolist()
    ours, theirs = next_logits(session, model), next_logits(straight, model)
    assert float(abs(ours - theirs).max()) <= 1e-4 * float(abs(theirs).max())
    assert agrees(session, model)


@pytest.mark.parametrize("arch", HEARING)
def test_a_false_end_in_a_long_clip_runs_nothing_again(arch, tiny, counter):
    model, processor = tiny(arch)
    session = Session(model, processor)
    push(session, sound(1, 12.0))
    mark, count = session.mark(), counter(model)
    length = session.tokens
    say(session, 100)  # longer than what a window can be trimmed by
    session.rollback(mark)
    assert session.tokens == length
    assert not session._runner.pending  # what waited at the mark was run on the way
    before = count.rows
    push(session, sound(2, 2.0))
    session.end_clip()
    assert count.rows - before + session._runner.pending == session.tokens - length
    assert agrees(session, model)


def test_marks_may_be_visited_in_any_order(tiny):
    """Two sounds that began at the same moment are never taken for each other."""
    model, processor = tiny("e2b")
    session, straight = Session(model, processor), Session(model, processor)
    start = session.mark()
    push(session, sound(1, 1.3))
    heard = session.mark()
    session.rollback(start)
    push(session, sound(2, 1.3))
    session.rollback(heard)
    push(straight, sound(1, 1.3))
    for each in (session, straight):
        push(each, sound(3, 0.4))
        each.end_clip()
    ours, theirs = next_logits(session, model), next_logits(straight, model)
    assert float(abs(ours - theirs).max()) <= 1e-4 * float(abs(theirs).max())
    assert agrees(session, model)


def test_turns_taken_back_are_forgotten_with_their_sound(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    for number in range(4):
        push(session, sound(number, 0.6))
        mark = session.mark()
        say(session, 3)
        session.rollback(mark)
    say(session, 3)
    assert len(list(session._talk.held_keys())) == 1


def test_frames_wait_on_when_sound_is_refused(tiny):
    for arch, pcm in (("26b", sound(1, 0.5)), ("e2b", np.full(1600, np.nan, np.float32))):
        session = Session(*tiny(arch))
        session.push_frame(picture(1), 0.0)
        with pytest.raises(MediaError):
            session.push_audio(pcm)
        session.push_text("What is this?")
        assert IMAGE in kinds(session)


def test_a_clip_that_ends_during_a_reply_outlives_the_feature_store(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor, feature_bytes=1)
    push(session, sound(1, 0.5))
    events = session.reply(greedy(8))
    next(events)
    push(session, sound(2, 0.7))
    session.end_clip()
    session.push_frame(picture(2), 1.0)
    events.close()
    push(session, sound(3, 0.4))
    say(session, 3)
    assert agrees(session, model)


def test_sound_and_frames_during_a_reply_wait_for_the_next_turn(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    push(session, sound(1, 0.5))
    events = session.reply(greedy(8))
    next(events)
    at = session.tokens
    push(session, sound(2, 0.5))
    session.push_frame(picture(2))
    mark = session.mark()
    assert session.tokens == at
    for _ in events:
        pass
    assert agrees(session, model)
    push(session, sound(3, 0.2))
    assert kinds(session) == [AUDIO, AUDIO]
    assert session.clip_seconds == pytest.approx(0.7)
    assert mark.feed.live.clip is not None
    say(session, 3)
    assert agrees(session, model)


def test_an_interrupted_reply_keeps_only_what_was_heard(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    push(session, sound(1, 0.5))
    text = say(session, 30, reply_id="m1", turn_id="u1")
    kept = session.cut_reply(len(text) // 2)
    assert text.startswith(kept)
    assert 0 < len(kept) <= len(text) // 2
    assert agrees(session, model)
    before = session.tokens
    report = session.sync(
        [Message("u1", "user", ()), message("model", kept, id="m1"), message("user", "Go on.")]
    )
    assert report.reused == before  # what was kept is not run again
    assert agrees(session, model)


def test_a_live_turn_is_known_again_by_its_id(tiny, counter):
    model, processor = tiny("12b")
    session = Session(model, processor)
    session.push_frame(picture(1))
    push(session, sound(1, 0.5))
    text = say(session, 5, reply_id="m1", turn_id="u1")
    count, before = counter(model), session.tokens
    chat = [Message("u1", "user", ()), message("model", text, id="m1")]
    report = session.sync([*chat, message("user", "And then?")])
    assert report.reused >= before - 1
    assert count.clips == count.pictures == 0


def test_compaction_replaces_old_turns_by_words_and_reports(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    for turn in range(4):
        session.push_frame(picture(turn), turn)
        push(session, sound(turn, 1.0))
        say(session, 3, turn_id=f"u{turn}")
    before = session.tokens
    report = session.compact({f"u{i}": f"[earlier: question {i}]" for i in range(4)})
    assert report.turns == ("u0", "u1", "u2")
    assert (report.before, report.after) == (before, session.tokens)
    assert report.after < before - 3 * 60
    assert kinds(session) == [IMAGE, AUDIO]
    assert agrees(session, model)
    assert session.push_frame(picture(3), 9.0).fate == "waiting"


def test_compaction_in_the_middle_of_a_turn_loses_nothing_of_it(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor, feature_bytes=1)
    for turn in range(3):
        session.push_frame(picture(turn), turn)
        push(session, sound(turn, 0.5))
        say(session, 3, turn_id=f"u{turn}")
    session.push_frame(picture(7), 7.0)
    push(session, sound(7, 1.0))
    session.push_frame(picture(8), 8.0)
    texts = {f"u{turn}": "words" for turn in range(3)}
    assert session.compact(texts, keep=0).turns == ("u0", "u1", "u2")
    push(session, sound(9, 0.5))
    session.end_clip()
    frame, clip = session._runner.tape.runs
    assert frame.key == processor.frame(picture(7)).key
    assert clip.key == processor.clip(np.concatenate([sound(7, 1.0), sound(9, 0.5)])).key
    assert clip.length == 38
    say(session, 3)
    assert session._runner.tape.runs[-1].key == processor.frame(picture(8)).key
    assert agrees(session, model)
    events = session.reply(greedy(5))
    next(events)
    with pytest.raises(SessionError, match="stop it before you compact"):
        session.compact(texts)
    events.close()


def test_a_long_talk_stays_within_its_budget(tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor, context=2000)
    for turn in range(12):
        session.push_frame(picture(turn), turn)
        push(session, sound(turn, 1.0))
        say(session, 3, turn_id=f"u{turn}")
        if session.tokens > 600:
            session.compact({f"u{i}": f"[{i}]" for i in range(turn + 1)})
        assert session.tokens < 800
    assert agrees(session, model)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda s: s.push_audio(np.full(400, np.nan, np.float32)), "not numbers"),
        (lambda s: s.push_audio(np.zeros((2, 400), np.float32)), "mono at 16 kHz"),
        (lambda s: s.push_audio(np.zeros(400, np.int64)), "float32 or int16"),
        (lambda s: s.push_frame(np.zeros((20, 20), np.uint8)), "uint8"),
        (lambda s: s.push_frame(np.zeros((0, 20, 3), np.uint8)), "uint8"),
    ],
)
def test_damaged_input_is_refused_and_the_session_goes_on(action, words, tiny):
    model, processor = tiny("e2b")
    session = Session(model, processor)
    push(session, sound(1, 0.3))
    with pytest.raises(MediaError, match=words):
        action(session)
    push(session, sound(2, 0.3))
    say(session, 3)
    assert agrees(session, model)


def test_models_that_do_not_hear_say_so(tiny):
    model, processor = tiny("31b")
    session = Session(model, processor)
    with pytest.raises(MediaError, match="(?i)sound|hear"):
        session.push_audio(sound(1, 0.1))
    session.push_frame(picture(1))
    session.push_text("What is this?")
    assert any(isinstance(e, Finish) for e in session.reply(greedy(3)))
    assert agrees(session, model)


def test_the_end_of_speech_costs_the_same_after_a_long_clip(tiny, counter, monkeypatch):
    """Rows run, rows joined and samples hashed after the last sample do not grow with the clip."""
    model, processor = tiny("e2b")
    costs = []
    for seconds in (1.0, 20.0):
        session = Session(model, processor)
        session.sync([message("system", "Be brief.")])
        pcm = sound(3, seconds)
        for start in range(0, len(pcm), 1600):
            session.push_audio(pcm[start : start + 1600])
        count, joined, hashed = counter(model), [], []
        concatenate, frames = mx.concatenate, FrontEndStream._finished

        def counted(arrays, axis=0, joined=joined, concatenate=concatenate):
            joined.append(sum(a.shape[0] for a in arrays if a.ndim == 2))
            return concatenate(arrays, axis=axis)

        def all_frames(stream, hashed=hashed, frames=frames):
            hashed.append(stream.samples)
            return frames(stream)

        with monkeypatch.context() as patched:
            patched.setattr(mx, "concatenate", counted)
            patched.setattr(FrontEndStream, "_finished", all_frames)
            next(iter(session.reply(greedy(1))))
        assert not hashed
        costs.append((count.rows, max(joined, default=0)))
        assert agrees(session, model)
    (short_rows, short_joined), (long_rows, long_joined) = costs
    assert long_rows <= short_rows + 16  # a batch of live tokens may have been waiting
    assert long_joined <= max(short_joined, 32)


@pytest.mark.parametrize("tail", [0.0, 0.2, 0.6])
def test_one_pass_stands_between_the_end_of_speech_and_the_first_token(tail, tiny, monkeypatch):
    """As the live pipeline does it: mark, a tail of silence, close the clip, mark, answer.

    The silence may fill a batch, which is a second pass. Both marks can be gone back to.
    """
    model, processor = tiny("e2b")
    session, passes, forward = Session(model, processor), [], Runner._forward

    def counted(runner, *args, **kwargs):
        passes.append(runner.pending)
        return forward(runner, *args, **kwargs)

    monkeypatch.setattr(Runner, "_forward", counted)
    session.sync([message("system", "Be brief.")])
    push(session, sound(1, 2.0))
    waiting = session._runner.pending
    assert waiting
    passes.clear()
    speaking = session.mark()
    if tail:
        session.push_audio(np.zeros(round(tail * 16_000), np.float32))
    fills = len(passes)
    session.end_clip()
    ended = session.mark()
    events = session.reply(greedy(80))
    next(events)
    assert len(passes) == fills + 1
    assert fills <= (tail > 0)
    assert list(events)
    for mark in (ended, speaking):
        session.rollback(mark)
        assert not session._runner.pending  # both were remembered in the midst of that pass
        assert agrees(session, model)


@pytest.mark.parametrize("kv_bits", [None, 8])
@pytest.mark.parametrize("ahead", [True, False])
def test_no_buffer_is_copied_between_the_end_of_speech_and_the_first_token(
    ahead, kv_bits, tiny, monkeypatch
):
    """Ends of speech on both sides of the place where 256 rows are full."""
    model, processor = tiny("e2b")
    session, copies = Session(model, processor, kv_bits=kv_bits), []
    if not ahead:  # the check itself must notice
        monkeypatch.setattr(Runner, "reserve", lambda *_: None)
    for name in ("_grown", "_rebuilt"):
        make = getattr(cache_module, name)
        counted = lambda *rows, name=name, make=make: copies.append(name) or make(*rows)  # noqa: E731
        monkeypatch.setattr(cache_module, name, counted)
    session.sync([message("system", "Be brief."), message("user", "x" * 20)])
    say(session, 2)
    at_the_end = []
    for second in range(9):
        push(session, sound(second, 1.0))
        session.push_frame(picture(second), second)
        mark = session.mark()
        copies.clear()
        events = session.reply(greedy(9))
        assert isinstance(next(events), Delta)  # room for the next turn is made when it has ended
        at_the_end.append(len(copies))
        events.close()
        session.rollback(mark)
    assert session.tokens > 256 + 20
    assert (sum(at_the_end) == 0) is ahead
    assert kv_bits or agrees(session, model)


def test_the_key_of_a_clip_is_hashed_as_it_comes():
    pcm = sound(4, 2.0)
    whole, pieces = MelStream(), MelStream()
    whole.push(pcm)
    mark = None
    for start in range(0, len(pcm), 700):
        if start == 14_000:
            mark, key = pieces.mark(), pieces.key
        pieces.push(pcm[start : start + 700])
    assert pieces.key == whole.key == make_clip(pcm, raw=False).key
    pieces.rollback(mark)
    assert pieces.key == key != whole.key
    pieces.push(pcm[14_000:])
    assert pieces.key == whole.key


def test_pieces_of_soft_tokens_slice_like_the_whole():
    rows = mx.random.normal((23, 5))
    soft = SoftTokens()
    for start, stop in ((0, 4), (4, 5), (5, 17), (17, 23)):
        soft = soft.plus(rows[start:stop])
    assert len(soft) == 23
    assert soft.nbytes == rows.nbytes
    for low, high in itertools.product(range(24), range(24)):
        assert mx.array_equal(soft[low:high], rows[low:high])
