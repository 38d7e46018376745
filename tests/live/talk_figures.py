"""Figures of whole talks: speech lost, an hour of questions, first token, first sound, the demo."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import psutil
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
from tests.live.demo_talk import film
from tests.live.interruption_figures import INTERRUPTIONS, QUESTION, STORY, figure, started
from tests.live.rooms import Room, say, silence
from tests.live.sink_monitor import LiveProcess
from tests.live.virtual_sound import VirtualSound
from tests.live.world import World

_ENDS = (0.0, 0.13, 0.26, 0.38, 0.51)
"""Seconds by which clips of one length differ: spread over a batch of tokens, which has 0.64 s."""


def speech_lost(minutes=30.0, seed=0):
    """A scripted talk with pauses, interruptions and speech while thinking: samples not sent.

    Every block of speech the pipeline accepted (voice detector says speech inside a turn) must lie
    in the sound of some clip that reached the engine.
    """
    rng = np.random.default_rng(seed)
    world = started([STORY, "Yes, it does.", "I see."], Room(seed=seed))
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
    return figure(
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
            world.pipeline.frames.put(picture, world.clock.now())
            world.hear(question[at : at + RATE])
        world.wait(start + 20.0 - world.clock.now())
        _forget(world)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    settled = sizes[max(1, len(sizes) // 4) :]
    growth = max(settled) / settled[0] - 1
    left = threading.active_count() - threads
    return figure(
        "soak", "memory flat within 5 %, no thread left", growth <= 0.05 and left == 0,
        minutes=minutes, questions=len(sizes), growth=round(growth, 4), threads_left=left,
    )  # fmt: skip


def soak_real(minutes=60.0, model="assets/demo-model"):
    """The same by the real clock and with nothing replaced: sound card, camera, model, voice.

    Measured from outside in all processes of `facet live`, every 10 s from a quarter of the time
    on: memory (median of the last tenth against the first), threads; processes left at the end.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film(folder / "camera.avi", "red", "circle")
        sound = VirtualSound(folder)
        words = ("--model", str(model), "--mic", "facet", "--say", "facet")
        live = LiveProcess(sound, *words, "--camera", str(folder / "camera.avi"))
        family = [psutil.Process(live.process.pid)]
        try:
            live.until("state_changed", seconds=120.0, user="listening")
            family += family[0].children(recursive=True)
            memory, threads = _ask_for(minutes, sound, family)
        finally:
            live.end()
            sound.stop()
        _, left = psutil.wait_procs(family, timeout=20)
        events = [*live.seen, *(event for _, event in live.rest())]
    settled = slice(len(memory) // 4, None)
    tenth = max(1, len(memory[settled]) // 10)
    first, last = (np.median(memory[settled][part]) for part in (slice(tenth), slice(-tenth, None)))
    growth, more = float(last / first - 1), threads[-1] - threads[settled][0]
    full = max((e["tokens"] / e["context"] for e in events if e["event"] == "context"), default=0.0)
    answers = sum(e["event"] == "reply_done" for e in events)
    return figure(
        "soak_real", "memory flat within 5 %, no thread or process left, context within budget",
        growth <= 0.05 and more <= 0 and not left and full <= 1.0 and answers >= 2 * minutes,
        minutes=minutes, answers=answers, memory_mb=round(last / 2**20), growth=round(growth, 4),
        threads_more=more, processes_left=len(left), context_fullest=round(full, 3),
    )  # fmt: skip


def _ask_for(minutes, sound, family):
    """A question every 20 s; memory (unique bytes) and threads of all processes every 10 s."""
    end, memory, threads, question = time.monotonic() + minutes * 60, [], [], say(QUESTION)
    while time.monotonic() < end:
        if len(memory) % 2 == 0:
            sound.speak(question)
        time.sleep(10.0)
        memory.append(sum(process.memory_full_info().uss for process in family))
        threads.append(sum(process.num_threads() for process in family))
    return memory, threads


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
    """End of speech → first token of a real session, pushed as it is spoken (warm, greedy).

    How much is left to run depends on where in a batch of tokens the clip ends, so clips of either
    length end at `_ENDS` of a batch. The lengths take turns, so that a slow minute hits both.
    """
    from app.core.events import ModelInfo
    from app.engine.chat import LoadedModel
    from mlx_gemma4 import load

    loaded = LoadedModel(*load(model), ModelInfo(str(model), "demo"), 0, OrderedDict())
    _wait_after(loaded, seconds[0])
    waits: dict[float, list[float]] = {s: [] for s in seconds}
    for end in _ENDS * count:
        for length in seconds:
            waits[length].append(_wait_after(loaded, length + end))
    medians = {s: float(np.median(w)) for s, w in waits.items()}
    ratio = medians[seconds[-1]] / medians[seconds[0]]
    return figure(
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
    return figure(
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
    return figure("demo_talk", "all right", right == len(asked), right=right, answers=results)
