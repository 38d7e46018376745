"""An interruption measured from outside: PulseAudio's monitors of what is said and what is played.

`facet live` runs as a process of its own on two null sinks. Both monitors are read by the same
program with the same latency, so the difference of arrival times is the answer's reaction as a
listener would hear it: onset of speech at the microphone → silence at the loudspeaker.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time

import numpy as np

from tests.live.rooms import say, silence
from tests.live.virtual_sound import VirtualSound

_RATE = 16_000
_CHUNK = _RATE // 100
_SPEECH_DB, _SILENT_DB = -45.0, -55.0
_SILENT_FOR = 30
"""Chunks of 10 ms without sound that count as silence, longer than any pause of the answer."""
_REPEAT = 40
STORY = "Every night its lamp turns slowly and ships see it from far away and know where they are, "
QUESTION = np.concatenate([silence(0.3), say("What is the shape on the screen?"), silence(0.3)])


class Monitor:
    """One monitor, read in chunks of 10 ms with their times of arrival."""

    def __init__(self, sound, device):
        self.levels = []
        self._process = subprocess.Popen(
            ["parec", f"--device={device}", f"--rate={_RATE}", "--channels=1", "--format=s16le",
             "--latency-msec=10", "--raw"],
            env={**os.environ, **sound.environment}, stdout=subprocess.PIPE,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while block := self._process.stdout.read(2 * _CHUNK):
            pcm = np.frombuffer(block, np.int16).astype(np.float32) / 32768
            level = 20 * np.log10(np.sqrt(np.mean(pcm**2)) + 1e-6)
            self.levels.append((time.monotonic(), float(level)))

    def onset(self, after):
        """When sound began."""
        return next(
            (t for t, level in list(self.levels) if t >= after and level > _SPEECH_DB), None
        )

    def silent(self, after):
        """When the last sound before a lasting silence ended."""
        since, count = None, 0
        for t, level in list(self.levels):
            if t < after:
                continue
            if level > _SILENT_DB:
                since, count = None, 0
                continue
            since, count = since or t, count + 1
            if count >= _SILENT_FOR:
                return since
        return None

    def stop(self):
        """End the reader."""
        self._process.terminate()
        self._process.wait(timeout=5)


class LiveProcess:
    """A running `facet live` and its events with their times of arrival."""

    def __init__(self, sound, *words):
        environment = {**os.environ, **sound.environment, "QT_QPA_PLATFORM": "offscreen"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "live", *words],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.seen, self._queue = [], queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put((time.monotonic(), json.loads(line)))

    def until(self, event, seconds=30.0, **fields):
        """Wait for an event with these fields; gives (time, event)."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                when, got = self._queue.get(timeout=left)
            except queue.Empty:
                break
            self.seen.append(got)
            if got["event"] == event and all(got.get(k) == v for k, v in fields.items()):
                return when, got
        kinds = [e.get("kind", e["event"]) for e in self.seen if e["event"] != "caption_moved"]
        raise AssertionError(f"no {event} {fields} after {kinds[-40:]}")

    def rest(self):
        """What came since and was not waited for."""
        while not self._queue.empty():
            yield self._queue.get()

    def end(self):
        """End the process."""
        self.process.terminate()
        self.process.wait(timeout=10)


def measure(folder, phrases, count):
    """Interrupt `count` long answers; [(ducked, silent)] in seconds after the onset, None: missed.

    Args:
        folder: for the virtual sound card and the script.
        phrases: float32 16 kHz interruptions, used in turn.
        count: how many.
    """
    script = folder / "script.json"
    answer = STORY * _REPEAT
    script.write_text(json.dumps({"rules": [{"match": "", "answer": answer}], "word_s": 0.001}))
    sound = VirtualSound(folder)
    live = LiveProcess(sound, "--script", str(script), "--mic", "facet", "--say", "facet")
    said, played = Monitor(sound, "mouth.monitor"), Monitor(sound, "speaker.monitor")
    try:
        live.until("state_changed", user="listening")
        time.sleep(0.5)
        sound.speak(QUESTION).wait()
        live.until("state_changed", agent="speaking")
        live.until("echo_measured")
        return [
            _interrupt(sound, live, said, played, phrases[i % len(phrases)]) for i in range(count)
        ]
    finally:
        for each in (said, played):
            each.stop()
        live.end()
        sound.stop()


def _interrupt(sound, live, said, played, phrase):
    time.sleep(1.5)
    asked = time.monotonic()
    speaker = sound.speak(phrase)
    try:
        ducked, _ = live.until("ducked", seconds=10.0, on=True)
        live.until("interrupted", seconds=10.0, by="voice")
    except AssertionError as missed:
        sys.stderr.write(f"{missed}\n")
        return None, None
    speaker.wait(timeout=10)
    live.until("turn_closed")
    time.sleep(0.2)
    onset = said.onset(asked)
    silent = played.silent(onset)
    live.until("state_changed", agent="speaking")
    return ducked - onset, silent - onset if silent else None
