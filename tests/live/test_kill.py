"""The engine process is killed in the middle of a spoken question: nothing said is lost."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import soundfile

from app.live.buffers import RATE
from tests.live.rooms import say, silence

pytestmark = pytest.mark.timed

QUESTION = np.concatenate(
    [
        silence(0.4),
        say("Please look at the picture and tell me what is the shape on the screen?"),
        silence(0.4),
    ]
)
RULES = [{"match": "", "answer": "It is a red circle."}]


def _engine_of(process):
    """The engine among the children of `facet live` (the other one is its resource tracker)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                return child.pid
        time.sleep(0.05)
    raise AssertionError("there is no engine process")


def test_a_killed_engine_is_replaced_and_hears_the_whole_question(tmp_path):
    soundfile.write(tmp_path / "question.wav", QUESTION, RATE)
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": RULES}))
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "live", "--script", str(script), "--silent",
         "--mic", str(tmp_path / "question.wav")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    limit = threading.Timer(90, process.kill)
    limit.start()
    events, killed = [], 0
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "turn_opened" and not killed:
            killed = _engine_of(process)
            os.kill(killed, signal.SIGKILL)
    assert process.wait(timeout=30) == 0, process.stderr.read()
    limit.cancel()
    notices = [e["kind"] for e in events if e["event"] == "live_notice"]
    assert "engine" in notices, "one sentence says so"
    done = [e for e in events if e["event"] == "reply_done"]
    assert [e["text"] for e in done] == ["It is a red circle."]
    closed = next(e for e in events if e["event"] == "turn_closed")
    assert closed["seconds"] >= len(QUESTION) / RATE - 1.0
