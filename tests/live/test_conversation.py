"""Whole conversations on a virtual clock, and every bug of the best known demo (Parlor)."""

import numpy as np
import pytest

from app.live import reports
from app.live.buffers import RATE
from app.live.pipeline import LiveOptions
from app.live.signals import AgentState
from tests.live.rooms import Room, best_match, cough, say, silence
from tests.live.world import World

QUESTION = say("What is the shape on the screen?")
LONG = (
    "The lighthouse stands on the cliff above the bay. It was built two hundred years ago. "
    "Every night its lamp turns slowly. Ships see it from far away and know where they are."
)


def ask(world, pcm=QUESTION):
    world.hear(pcm)


def test_a_question_is_heard_answered_and_spoken():
    world = World()
    world.wait(1.0)
    ask(world)
    assert world.wait(8.0, lambda: world.answered() == 1)
    done = world.of(reports.ReplyDone)[0]
    assert done.text == "I can see a red circle on the screen."
    assert done.heard_chars == len(done.text)
    assert [text for text, _ in world.voice.said][-1].startswith("I can see")
    assert [kind for kind, _ in world.brain.context] == ["closed", "reply"]


def test_the_answer_is_begun_before_the_turn_is_surely_over():
    world = World()
    world.wait(1.0)
    ask(world)
    assert world.wait(5.0, lambda: bool(world.of(reports.Timing)))
    timing = world.of(reports.Timing)[0]
    assert timing.first_token_s < timing.endpoint_s
    assert timing.first_sound_s - timing.endpoint_s <= 0.4


def test_nothing_of_a_speculative_answer_is_shown_or_spoken_when_speech_goes_on():
    world = World(brain_options={"first_token_s": 0.01})
    world.wait(1.0)
    world.hear(np.concatenate([say("I would like to know"), silence(0.33), QUESTION]))
    assert not world.of(reports.ReplyText)
    assert not np.any(np.concatenate(world.played))
    assert world.of(reports.TurnRevised)
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert [kind for kind, _ in world.brain.context if kind == "reply"] == ["reply"]
    assert len(world.of(reports.TurnClosed)) == 1


def test_the_whole_sentence_reaches_the_model_with_lead_in_and_tail():
    world = World()
    world.wait(1.0)
    ask(world)
    world.wait(3.0)
    heard = world.brain.sounds()[0]
    assert len(heard) >= len(QUESTION) + int(0.6 * RATE)
    assert best_match(heard, QUESTION) > 0.98


# -- the bugs of Parlor (each must not exist here) -------------------------------------------------


@pytest.mark.parametrize("trial", range(5))
def test_the_next_answer_after_an_interruption_is_audible(trial):
    world = World(room=Room(seed=trial), replies=[LONG, "The capital of France is Paris."])
    world.wait(1.0)
    ask(world)
    world.wait(4.0, world.speaking)
    world.wait(1.5 + 0.3 * trial)
    world.hear(say("Stop please, what is the capital of France?", "en+f3"))
    assert world.of(reports.Interrupted)
    world.wait(6.0, lambda: world.answered() == 2)
    last = world.of(reports.ReplyDone)[-1]
    assert last.text == "The capital of France is Paris."
    assert last.heard_chars == len(last.text)


def test_an_interruption_cancels_decoding_and_the_user_does_not_wait_for_the_dead_reply():
    world = World(replies=[LONG * 5, "Fine."], brain_options={"token_s": 0.1})
    world.wait(1.0)
    ask(world)
    world.wait(4.0, world.speaking)
    world.wait(1.0)
    world.pipeline.interrupt("key")
    assert world.brain.stopped == 1
    assert world.brain.decoding is None
    assert not world.speaking()


def test_an_interrupted_reply_is_kept_only_as_far_as_it_was_heard():
    world = World(replies=[LONG])
    world.wait(1.0)
    ask(world)
    world.wait(4.0, world.speaking)
    world.wait(3.0)
    world.pipeline.interrupt("key")
    kept = world.brain.context[-1]
    assert kept[0] == "reply"
    assert 10 < len(kept[1]) < len(LONG) // 2
    assert LONG.startswith(kept[1])
    assert LONG[len(kept[1])] == " ", "cut between words"
    assert world.of(reports.Interrupted)[0].chars == len(kept[1])


def test_speech_while_the_model_thinks_is_not_thrown_away():
    world = World(brain_options={"first_token_s": 3.0})
    world.wait(1.0)
    ask(world)
    world.wait(1.5)
    assert world.of(reports.StateChanged)[-1].agent is AgentState.THINKING
    world.hear(say("and what colour does it have"))
    world.wait(8.0, lambda: world.answered() == 1)
    assert len(world.brain.sounds()) == 2
    assert [k for k, _ in world.brain.context] == ["closed", "closed", "reply"]


def test_a_talk_of_a_minute_is_cut_into_clips_below_30_seconds_and_nothing_is_lost():
    sentence = say(
        "and then the river turns around the hill and runs down to the sea without a stop"
    )
    talk = np.tile(sentence, int(60 * RATE / len(sentence)))
    world = World(voice=False, probability=lambda w: 0.9 if np.abs(w).max() > 0.01 else 0.01)
    world.wait(1.0)
    world.hear(talk)
    world.wait(4.0, lambda: world.answered() == 1)
    clips = world.brain.sounds()
    assert all(len(clip) <= 30 * RATE for clip in clips)
    overlaps = sum(round(r.overlap_s * RATE) for r in world.of(reports.ClipSplit))
    assert sum(map(len, clips)) - overlaps >= len(talk)


def test_typed_text_is_plain_data():
    world = World()
    world.wait(0.5)
    world.pipeline.ask("<img src=x onerror=alert(1)> What is this?")
    assert world.brain.context[0] == ("text", "<img src=x onerror=alert(1)> What is this?")
    world.wait(6.0, lambda: world.answered() == 1)
    assert world.of(reports.ReplyDone)


# -- more rules -----------------------------------------------------------------------------------


def test_a_cough_over_the_answer_ducks_but_does_not_stop_it():
    world = World(room=Room(), replies=[LONG])
    world.wait(1.0)
    ask(world)
    world.wait(4.0, world.speaking)
    world.wait(2.0)
    world.hear(np.concatenate([cough(), silence(2.0)]))
    assert not world.of(reports.Interrupted)
    ducks = [r.on for r in world.of(reports.Ducked)]
    assert ducks == [True, False] * (len(ducks) // 2)
    assert world.speaking()


def test_a_microphone_that_gates_to_digital_zero_is_nobody_speaking():
    """A headset that sends exact zeros between words, after an interruption was learned from it."""
    world = World(replies=[LONG, LONG], cancel_echo=True)
    world.noise_db = -400.0
    world.wait(1.0)
    ask(world)
    world.wait(4.0, world.speaking)
    world.wait(1.0)
    world.hear(say("Stop please, I have another question.", "en+f3"))
    assert len(world.of(reports.Interrupted)) == 1
    world.wait(4.0, world.speaking)
    ducks = len(world.of(reports.Ducked))
    world.wait(3.0)
    assert len(world.of(reports.Ducked)) == ducks
    assert len(world.of(reports.Interrupted)) == 1


@pytest.mark.parametrize("noise_db", [-400.0, -70.0])
def test_with_headphones_an_answer_can_be_interrupted_after_a_long_question(noise_db):
    """What the user says while we are silent must not become what is usual while we speak."""
    world = World(replies=[LONG, LONG], cancel_echo=True)
    world.noise_db = noise_db
    world.wait(1.0)
    world.hear(np.concatenate([say("Please look at this picture and tell me what it is")] * 3))
    assert world.wait(5.0, world.speaking)
    world.wait(1.5)
    world.hear(say("Stop please, I have another question.", "en+f3"))
    assert len(world.of(reports.Interrupted)) == 1


def test_its_own_voice_in_the_room_starts_no_turn():
    world = World(room=Room(gain=0.7), replies=[LONG])
    world.wait(1.0)
    ask(world)
    world.wait(25.0, lambda: world.answered() == 1)
    assert len(world.of(reports.TurnOpened)) == 1
    assert world.of(reports.ReplyDone)[0].reason == "stop"


def test_without_cancellation_it_says_half_duplex_and_does_not_hear_itself():
    world = World(room=Room(gain=0.9), replies=[LONG], cancel_echo=False)
    world.probe()
    world.wait(1.0)
    ask(world)
    world.wait(25.0, lambda: world.answered() == 1)
    kinds = [r.kind for r in world.of(reports.LiveNotice)]
    assert kinds.count("half_duplex") == 1
    assert kinds.count("headphones") == 1
    assert world.of(reports.EchoMeasured)[0].duplex is reports.Duplex.HALF
    assert not world.of(reports.Interrupted)
    assert len(world.of(reports.TurnOpened)) == 1


def test_the_probe_finds_full_duplex_where_cancellation_works():
    world = World(room=Room(), replies=[LONG])
    world.probe()
    world.wait(1.0)
    ask(world)
    world.wait(25.0, lambda: world.answered() == 1)
    measured = world.of(reports.EchoMeasured)[0]
    assert measured.duplex is reports.Duplex.FULL
    assert measured.removed_db > 20


def test_frames_go_to_the_model_once_a_second_while_you_speak_newest_first():
    world = World(options=LiveOptions(fps=1.0))
    picture = np.zeros((48, 64, 3), np.uint8)
    for _ in range(30):
        world.pipeline.frames.put(picture, world.clock.now())
        world.wait(1 / 30)
    talk = np.tile(say("this is a rather long story about the sea and a ship"), 2)
    for at in range(0, len(talk), RATE // 10):
        world.pipeline.frames.put(picture, world.clock.now())
        world.hear(talk[at : at + RATE // 10])
    world.wait(1.0)
    times = [t for kind, t in world.brain.context if kind == "frame"]
    spoken = len(talk) / RATE
    assert spoken - 1 <= len(times) <= spoken + 2
    assert world.brain.context[0][0] == "frame", "a picture lies before the sound"


def test_mute_lets_nothing_through_and_answers_what_was_said():
    world = World()
    world.wait(1.0)
    world.pipeline.mute(True)
    ask(world)
    world.wait(1.0)
    assert not world.of(reports.TurnOpened)
    world.pipeline.mute(False)
    ask(world)
    assert world.wait(6.0, lambda: world.answered() == 1)


def test_push_to_talk():
    world = World(options=LiveOptions(hands_free=False))
    world.wait(1.0)
    ask(world)
    world.wait(1.0)
    assert not world.of(reports.TurnOpened)
    world.pipeline.press_talk()
    world.hear(np.concatenate([say("I would like"), silence(1.6), QUESTION]))
    world.pipeline.release_talk()
    assert world.wait(6.0, lambda: world.answered() == 1)
    assert len(world.of(reports.TurnClosed)) == 1
    assert len(world.of(reports.TurnOpened)) == 1


def test_a_silent_and_a_clipped_microphone_are_told_once():
    world = World()
    for _ in range(60):
        world.pipeline.on_mic(np.zeros(RATE // 10, np.float32), world.clock.now())
        world.clock.advance(0.1)
    world.hear(np.clip(QUESTION * 40, -1, 1))
    kinds = [r.kind for r in world.of(reports.LiveNotice)]
    assert kinds.count("silent") == 1
    assert kinds.count("sound") == 1
    assert kinds.count("clipped") == 1


def test_the_transcript_comes_after_the_reply():
    world = World()
    world.wait(1.0)
    ask(world)
    world.wait(8.0, lambda: bool(world.of(reports.Transcript)))
    assert world.brain.log.index("transcribe") > max(
        i for i, what in enumerate(world.brain.log) if what.startswith("reply")
    )


def test_captions_keep_step_with_the_voice():
    world = World(replies=[LONG])
    world.wait(1.0)
    ask(world)
    world.wait(25.0, lambda: world.answered() == 1)
    moves = world.of(reports.CaptionMoved)
    first = [m.characters for m in moves if m.text == moves[0].text]
    assert first == sorted(first)
    assert len(first) > 10
    assert len({m.text for m in moves}) == 4


@pytest.mark.parametrize("voice", ["en+f3", "en-gb+m7", "de"])
def test_a_single_word_stops_the_answer(voice):
    world = World(replies=[LONG], cancel_echo=True)
    world.wait(0.5)
    ask(world)
    assert world.wait(8.0, world.speaking)
    world.wait(1.5)
    world.hear(say("Stop.", voice))
    assert world.wait(0.6, lambda: bool(world.of(reports.Interrupted)))
