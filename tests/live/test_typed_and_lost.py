"""Typed questions among spoken ones, and an engine that dies while somebody talks."""

import numpy as np
import pytest

from app.controllers.live_talk import Talk
from app.live import reports
from app.live.echo import STEP
from app.live.pipeline import LiveOptions
from tests.live.rooms import best_match, cough, say
from tests.live.world import World

QUESTION = say("What is the shape on the screen?")
LONG = (
    "The lighthouse stands on the cliff above the bay. It was built two hundred years ago. "
    "Every night its lamp turns slowly. Ships see it from far away and know where they are."
)


def kinds(world):
    return [kind for kind, _ in world.brain.context]


def talk_of(world):
    talk = Talk()
    for report in world.reports:
        talk.take(report)
    return talk


def test_typed_words_join_the_spoken_turn_whose_answer_was_being_tried():
    world = World(brain_options={"first_token_s": 0.05})
    world.wait(1.0)
    world.hear(QUESTION)
    assert world.wait(2.0, lambda: "reply 1" in world.brain.log)
    world.pipeline.ask("And its colour?")
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert kinds(world) == ["closed", "text", "reply"]
    assert world.brain.context[1] == ("text", "And its colour?")
    assert len(world.of(reports.TurnClosed)) == 1


def test_a_question_typed_in_the_clatter_of_its_keys_is_answered():
    world = World()
    world.wait(1.0)
    world.pipeline.press_talk()
    world.pipeline.ask("What is this?")
    assert len(world.of(reports.TurnForgotten)) == 1
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert kinds(world) == ["text", "reply"]


def test_the_camera_is_not_shown_to_the_model_while_it_answers_a_typed_question():
    world = World(options=LiveOptions(fps=10.0), replies=[LONG])
    world.wait(0.5)
    picture = np.zeros((48, 64, 3), np.uint8)
    world.pipeline.frames.put(picture, world.clock.now())
    world.pipeline.ask("What is this?")
    for _ in range(20):
        world.wait(0.1)
        world.pipeline.frames.put(picture, world.clock.now())
    assert world.speaking()
    assert world.brain.log.count("frame") == 1


@pytest.mark.parametrize("first_token_s", [0.3, 1.0, 3.0])
def test_speech_over_a_typed_question_that_waits_for_its_answer_joins_it(first_token_s):
    world = World(brain_options={"first_token_s": first_token_s}, replies=["A red one.", "Blue."])
    world.wait(0.5)
    world.pipeline.ask("What is this?")
    world.wait(0.1)
    world.hear(QUESTION)
    assert world.wait(12.0, lambda: world.answered() == 1)
    assert kinds(world) == ["closed", "text", "reply"]
    assert world.brain.context[1] == ("text", "What is this?")
    world.wait(1.0)
    (turn,) = talk_of(world).finished
    assert turn.said.startswith("What is this?\n<1 clip")
    assert turn.seconds > 1.0


def test_a_cough_over_a_typed_question_costs_only_its_time():
    world = World(brain_options={"first_token_s": 1.0})
    world.wait(0.5)
    world.pipeline.ask("What is this?")
    world.wait(0.1)
    world.pipeline._obey(world.pipeline.taker._begin(0))
    world.hear(cough())
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert kinds(world) == ["text", "reply"]
    assert [turn.said for turn in talk_of(world).finished] == ["What is this?"]


def test_two_typed_questions_in_one_spoken_turn_are_both_asked():
    world = World()
    world.wait(1.0)
    world.hear(QUESTION)
    world.pipeline.ask("And its colour?")
    world.hear(QUESTION[: len(QUESTION) // 2])
    world.pipeline.ask("And its size?")
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert ("text", "And its colour?\nAnd its size?") in world.brain.context


def test_leaving_while_a_typed_question_waits_asks_nothing_more():
    world = World(brain_options={"first_token_s": 3.0})
    world.wait(0.5)
    world.pipeline.ask("What is this?")
    world.hear(QUESTION[: len(QUESTION) // 2])
    asked = sum(what.startswith("reply") for what in world.brain.log)
    world.pipeline.close()
    world.wait(2.0)
    assert sum(what.startswith("reply") for what in world.brain.log) == asked
    assert not world.speaking()


def test_the_engine_dies_in_the_middle_of_a_sentence_and_nothing_is_lost():
    world = World()
    world.wait(1.0)
    half = len(QUESTION) // 2 // STEP * STEP
    world.hear(QUESTION[:half])
    world.pipeline.on_brain_lost()
    world.brain.context.clear()
    world.brain.marks.clear()
    world.hear(QUESTION[half:])
    world.pipeline.on_brain_ready()
    world.wait(6.0, lambda: world.answered() == 1)
    assert best_match(world.brain.sounds()[0], QUESTION) > 0.98
    assert world.answered() == 1


def test_the_engine_dies_while_thinking_and_the_answer_comes_from_the_next_one():
    world = World(brain_options={"first_token_s": 1.0})
    world.wait(1.0)
    world.hear(QUESTION)
    world.wait(1.2)
    world.brain.decoding = None
    world.pipeline.on_brain_lost()
    world.brain.context.clear()
    world.wait(1.0)
    world.pipeline.on_brain_ready()
    world.wait(8.0, lambda: world.answered() == 1)
    assert world.of(reports.ReplyDone)[-1].reason == "stop"


def lose(world):
    """The engine dies; its successor knows nothing of this turn."""
    world.brain.decoding = None
    world.pipeline.on_brain_lost()
    world.brain.context.clear()
    world.brain.marks.clear()


def test_an_answer_that_is_heard_already_is_not_given_a_second_time():
    world = World(replies=[LONG])
    world.wait(1.0)
    world.hear(QUESTION)
    assert world.wait(8.0, world.speaking)
    world.wait(0.3)
    lose(world)
    done = world.of(reports.ReplyDone)
    assert [r.reason for r in done] == ["lost"]
    assert talk_of(world).finished[0].kept_reply == done[0].text
    assert world.speaking()
    world.pipeline.on_brain_ready()
    world.wait(20.0, lambda: not world.speaking())
    world.wait(1.0)
    assert world.answered() == 1
    assert world.brain.context == []


def test_an_answer_of_the_lost_engine_can_be_interrupted_and_the_next_one_answers():
    world = World(replies=[LONG, "Blue."])
    world.wait(1.0)
    world.hear(QUESTION)
    assert world.wait(8.0, world.speaking)
    world.wait(0.3)
    lose(world)
    world.pipeline.on_brain_ready()
    world.pipeline.interrupt()
    assert "cut" not in " ".join(world.brain.log)
    assert talk_of(world).turns[0].state == "interrupted"
    world.hear(QUESTION)
    assert world.wait(25.0, lambda: world.of(reports.ReplyDone)[-1].turn == 2)
    assert kinds(world) == ["closed", "reply"]


@pytest.mark.parametrize("asked_while", ["alive", "gone"])
def test_a_typed_question_outlives_the_engine(asked_while):
    world = World(brain_options={"first_token_s": 1.0})
    world.wait(0.5)
    if asked_while == "alive":
        world.pipeline.ask("What is this?")
        world.wait(0.5)
    world.brain.decoding = None
    world.pipeline.on_brain_lost()
    world.brain.context.clear()
    if asked_while == "gone":
        world.pipeline.ask("What is this?")
    world.wait(0.5)
    world.pipeline.on_brain_ready()
    assert world.wait(8.0, lambda: world.answered() == 1)
    assert kinds(world) == ["text", "reply"]
