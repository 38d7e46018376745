"""Figures of interruptions: rooms with echo on the virtual clock, and the sound card's monitors."""

import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from app.live import reports
from app.live.echo import STEP
from tests.live.rooms import Room, rms_of_speech, say
from tests.live.world import World

QUESTION = "What is the shape on the screen?"
INTERRUPTIONS = (
    ("Stop please, I have another question.", "en+f3"),
    ("Wait a moment, that is enough.", "en+m3"),
    ("Excuse me, what about the weather?", "en-us+f2"),
    ("Hold on, tell me something else.", "en-gb+m7"),
    ("No no, I meant the other one.", "en+f4"),
)
OTHER_VOICES = (
    ("Thanks, I have heard enough.", "en-us+m1"),
    ("Moment, das habe ich anders gemeint.", "de+f5"),
    ("Listen, could you say that again?", "en-gb-scotland+m2"),
    ("Attends, je voulais autre chose.", "fr+f1"),
    ("Um, which one do you mean?", "en+croak"),
    ("Four is wrong, try five.", "en-us+m6"),
)
NEW_VOICES = (
    ("Sorry, may I ask something?", "en-gb+f5"),
    ("Können wir das noch einmal ansehen?", "de+m4"),
    ("Hey, go back a bit.", "en-us+linda"),
    ("Puedes repetirlo, por favor?", "es+f2"),
    ("Fermati, ho una domanda.", "it+m2"),
    ("My turn now, please listen.", "en-gb-x-rp+david"),
    ("Actually, never mind that.", "en-us-nyc+steph"),
    ("Okay, and how far is it?", "en+m8"),
)
FRESH_VOICES = (
    ("Just a second, who built it?", "en-us+m8"),
    ("Darf ich kurz etwas fragen?", "de+f1"),
    ("And what about the garden?", "en-gb+f4"),
    ("Please stop, that will do.", "en-gb-scotland+f3"),
    ("Un momento, no lo entiendo.", "es+m5"),
    ("Sorry, that is the wrong place.", "en-us+f1"),
    ("Why is that so?", "en+m5"),
    ("Pardon, tu peux répéter?", "fr+f4"),
)
ANSWERING_VOICES = ("en", "en-us+f4", "en-gb+m3", "de+f2")
FRESH_ANSWERING = ("en-us+m5", "en-gb+f3", "fr+m1", "en+f2")
STORY = (
    "The lighthouse stands on the cliff above the bay. It was built two hundred years ago by "
    "people from the village. Every night its lamp turns slowly, and ships see it from far away. "
    "In winter the storms throw the waves against the rocks. The keeper writes down the weather "
    "each morning. He has a small garden behind the house, where he grows beans and potatoes. "
)


def figure(name, goal, reached, **measured):
    return {"figure": name, "goal": goal, "reached": bool(reached), **measured}


def started(replies, room=None, **options):
    world = World(room=room, replies=replies, **options)
    world.wait(0.5)
    return world


def _answering(world, seconds=1.0, give_up=10.0):
    """Ask and let the answer run for a while."""
    world.hear(say(QUESTION))
    world.wait(give_up, world.speaking)
    world.wait(seconds)


def _near(number, level_db, echo_level, phrases=INTERRUPTIONS):
    text, voice = phrases[number % len(phrases)]
    pcm = say(text, voice)
    return pcm * np.float32(echo_level / rms_of_speech(pcm) * 10 ** (level_db / 20))


def _echo_level(room_gain, played):
    return room_gain * rms_of_speech(played)


def _onset(pcm):
    """Seconds until speech is within 20 dB of its loudest 10 ms (a leading /s/ is not heard)."""
    blocks = pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP)
    levels = 20 * np.log10(np.sqrt((blocks**2).mean(axis=1)) + 1e-6)
    return float(np.argmax(levels > levels.max() - 20)) * 0.01


def _interrupt(world, near):
    """Speak over the answer; seconds from the onset to ducking and to silence, None if missed.

    An answer that is ducked already (something else was heard right before) counts as 0.
    """
    before = len(world.of(reports.Interrupted))
    seen = world.of(reports.Ducked)
    already = bool(seen) and seen[-1].on
    onset = world.clock.now() + _onset(near)
    world.hear(near)
    world.wait(0.6)
    ducked = [max(0.0, r.t - onset) for r in world.of(reports.Ducked)[len(seen) :] if r.on]
    stopped = [r.t - onset for r in world.of(reports.Interrupted)[before:]]
    first = 0.0 if already else ducked[0] if ducked else None
    return (first, stopped[0] + 0.01 if stopped else None)


def interruption(count=5, level_db=0.0):
    """Onset of speech over the answer → ducked, → silent, in the rooms of the first trials."""
    return _reactions("interruption", [Room(seed=i) for i in range(count)], INTERRUPTIONS, level_db)


def other_rooms(count=5, level_db=0.0):
    """The same with other delays, decays, loudness, voices, words."""
    rooms = _random_rooms(42, 1000, count, (0.005, 0.12), (0.08, 0.4), (0.2, 0.8))
    return _reactions("other_rooms", rooms, OTHER_VOICES, level_db)


def new_rooms(count=5, level_db=0.0):
    """The same in rooms, against answering voices and with words of a third set."""
    rooms = _random_rooms(77, 5000, count, (0.005, 0.1), (0.1, 0.45), (0.15, 0.9))
    return _reactions("new_rooms", rooms, NEW_VOICES, level_db, ANSWERING_VOICES)


def fresh_rooms(count=5, level_db=0.0):
    """The same in rooms and with voices drawn when the rule was finished; looked at once."""
    rooms = _random_rooms(2026, 20000, count, (0.005, 0.1), (0.1, 0.45), (0.15, 0.9))
    return _reactions("fresh_rooms", rooms, FRESH_VOICES, level_db, FRESH_ANSWERING)


def _random_rooms(seed, first, count, delay_s, decay_s, gain):
    """Rooms between these bounds; the order of the draws is part of the figure."""
    rng = np.random.default_rng(seed)
    return [
        Room(
            delay_s=float(rng.uniform(*delay_s)),
            decay_s=float(rng.uniform(*decay_s)),
            gain=float(rng.uniform(*gain)),
            seed=first + i,
        )
        for i in range(count)
    ]


def _reactions(name, rooms, phrases, level_db, answering=("en",)):
    ducked, silent, false_ducks, false_turns, echo_s = [], [], 0, 0, 0.0
    for trial, room in enumerate(rooms):
        world = started([STORY * 2, "Fine."], room)
        world.voice.name = answering[trial % len(answering)]
        _answering(world, 1.5 + 0.1 * (trial % 7))
        echo_s += 1.5 + 0.1 * (trial % 7)
        false_ducks += sum(r.on for r in world.of(reports.Ducked))
        false_turns += len(world.of(reports.Interrupted))
        level = _echo_level(room.gain, np.concatenate(world.played[-150:]))
        first, last = _interrupt(world, _near(trial, level_db, level, phrases))
        ducked.append(first if first is not None else 9.0)
        silent.append(last if last is not None else 9.0)
    p95 = [float(np.percentile(v, 95)) for v in (ducked, silent)]
    return figure(
        name, "ducked <= 0.12 s, silent <= 0.45 s (p95)", p95[0] <= 0.12 and p95[1] <= 0.45,
        trials=len(rooms), ducked_median=round(float(np.median(ducked)), 3),
        ducked_p95=round(p95[0], 3), silent_median=round(float(np.median(silent)), 3),
        silent_p95=round(p95[1], 3), missed=silent.count(9.0),
        ducked_without_cause=false_ducks, stopped_without_cause=false_turns,
        seconds_of_echo_alone=round(echo_s, 1),
    )  # fmt: skip


def room_changes(count=5):
    """The echo grows by 3 to 6 dB or takes another way while we speak: how long we duck."""
    rng, spans, false_turns = np.random.default_rng(5), [], 0
    rooms = _random_rooms(5, 30000, 2 * count, (0.005, 0.1), (0.1, 0.45), (0.15, 0.6))
    for trial in range(count):
        world = started([STORY * 2, "Fine."], rooms[2 * trial])
        _answering(world, 2.5)
        if trial % 2:
            world.room = rooms[2 * trial + 1]
        else:
            world.room.louder(float(rng.uniform(1.4, 2.0)))
        changed = world.clock.now()
        world.wait(4.0)
        world.pipeline.interrupt("end")
        turns = [r.t for r in world.of(reports.Interrupted) if r.by == "voice"]
        false_turns += sum(t > changed for t in turns)
        ducks = [r for r in world.of(reports.Ducked) if r.t > changed]
        spans.append(sum(off.t - on.t for on, off in pairwise(ducks) if on.on))
    return figure(
        "room_changes", "ducked <= 1 s (p95), 0 false turns",
        np.percentile(spans, 95) <= 1.0 and false_turns == 0, trials=count,
        ducked_median=round(float(np.median(spans)), 2),
        ducked_p95=round(float(np.percentile(spans, 95)), 2), false_turns=false_turns,
    )  # fmt: skip


def sink_monitor(count=20):
    """The same from outside: real processes, PulseAudio null sinks, measured at their monitors."""
    from tests.live.sink_monitor import measure

    phrases = [say(text, voice) for text, voice in INTERRUPTIONS]
    with tempfile.TemporaryDirectory() as folder:
        reactions = measure(Path(folder), phrases, count)
    offsets = [_onset(phrases[i % len(phrases)]) for i in range(count)]
    ducked = [d - o for (d, _), o in zip(reactions, offsets, strict=True) if d is not None]
    silent = [s - o for (_, s), o in zip(reactions, offsets, strict=True) if s is not None]
    p95 = [float(np.percentile(v, 95)) for v in (ducked, silent)]
    return figure(
        "sink_monitor", "ducked <= 0.12 s, silent <= 0.45 s (p95)",
        p95[0] <= 0.12 and p95[1] <= 0.45 and len(silent) == count,
        trials=count, missed=count - len(silent),
        ducked_median=round(float(np.median(ducked)), 3), ducked_p95=round(p95[0], 3),
        silent_median=round(float(np.median(silent)), 3), silent_p95=round(p95[1], 3),
        load=round(os.getloadavg()[0], 1),
    )  # fmt: skip


def next_audible(count=5):
    """After an interruption the next answer is heard to its end."""
    audible = 0
    for trial in range(count):
        world = started([STORY, "The capital of France is Paris."], Room(seed=trial))
        _answering(world, 1.0 + 0.2 * (trial % 9))
        world.hear(say(*INTERRUPTIONS[trial % len(INTERRUPTIONS)]))
        world.wait(8.0, lambda w=world: w.answered() >= 2)
        done = world.of(reports.ReplyDone)[-1]
        audible += done.reason == "stop" and done.heard_chars == len(done.text)
    return figure("next_audible", "all", audible == count, trials=count, audible=audible)


def double_talk(minutes=10.0, count=50):
    """Assistant speech through a room with real interruptions at -6, 0 and +6 dB."""
    world = started([STORY * 3], Room(seed=3))
    caught, false_turns, done = {-6: [], 0: [], 6: []}, 0, 0
    gap = minutes * 60 / count
    while done < count:
        if not world.speaking():
            world.wait(1.2)
            world.pipeline.ask("Go on.")
            world.wait(5.0, world.speaking)
        opened, ducks = len(world.of(reports.Interrupted)), done
        until = world.clock.now() + gap
        while world.clock.now() < until - 3.0 and world.speaking():
            world.wait(0.5)
        false_turns += len(world.of(reports.Interrupted)) - opened
        if not world.speaking():
            continue
        level_db = (-6, 0, 6)[done % 3]
        level = _echo_level(0.5, np.concatenate(world.played[-300:]))
        _, stopped = _interrupt(world, _near(done, level_db, level))
        caught[level_db].append(stopped is not None)
        done = ducks + 1
        world.wait(6.0, lambda w=world: w.speaking())
    shares = {f"caught_at_{k}_db": round(float(np.mean(v)), 3) for k, v in caught.items() if v}
    every = float(np.mean([x for v in caught.values() for x in v]))
    return figure(
        "double_talk", ">= 95 % caught, 0 false turns", every >= 0.95 and false_turns == 0,
        minutes=round(world.clock.now() / 60, 1), interruptions=count, caught=round(every, 3),
        false_turns=false_turns, **shares,
    )  # fmt: skip
