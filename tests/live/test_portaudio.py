"""`facet live` on a real PortAudio path: PulseAudio null sinks are microphone and loudspeaker."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.live.rooms import say, silence
from tests.live.sink_monitor import LiveProcess
from tests.live.virtual_sound import VirtualSound

pytestmark = pytest.mark.timed

QUESTION = np.concatenate([silence(0.3), say("What is the shape on the screen?"), silence(0.3)])
STOP = np.concatenate([silence(0.1), say("Stop please, I have another question.", "en+f3")])
SCRIPT = {
    "rules": [
        {
            "match": "",
            "answer": "The lighthouse stands on the cliff above the bay. It was built two hundred "
            "years ago. Every night its lamp turns slowly. Ships see it from far away.",
        }
    ],
    "word_s": 0.01,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    server = VirtualSound(tmp_path_factory.mktemp("pulse"))
    yield server
    server.stop()


def test_a_spoken_question_is_answered_aloud_and_can_be_interrupted(sound, tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    recording = tmp_path / "speaker.raw"
    recorder = sound.record_speaker(recording)
    live = LiveProcess(sound, "--script", str(script), "--mic", "facet", "--say", "facet")
    try:
        live.until("state_changed", user="listening")
        time.sleep(0.5)
        speaker = sound.speak(QUESTION)
        live.until("turn_closed")
        live.until("state_changed", agent="speaking")
        live.until("echo_measured", duplex="full")
        speaker = sound.speak(STOP)
        _, cut = live.until("interrupted", by="voice")
        assert 0 < cut["chars"] < len(SCRIPT["rules"][0]["answer"])
        speaker.wait(timeout=5)
        live.until("state_changed", agent="speaking")
        _, done = live.until("reply_done", reason="stop")
        assert done["heard_chars"] == len(done["text"]), "the next answer is heard to its end"
    finally:
        live.end()
        recorder.terminate()
        recorder.wait(timeout=5)
    heard = np.fromfile(recording, np.int16).astype(np.float32) / 32768
    assert np.abs(heard).max() > 0.05, "the answer came out of the loudspeaker"


def test_a_missing_microphone_is_told_in_one_sentence(sound):
    live = LiveProcess(sound, "--script", "instant", "--mic", "no such device", "--say", "facet")
    _, notice = live.until("live_notice", kind="microphone_problem")
    assert "no such device" in notice["text"]
    assert live.process.wait(timeout=15) == 2


def test_files_as_microphone_camera_and_loudspeaker(tmp_path):
    import soundfile

    from app.live.buffers import RATE

    soundfile.write(tmp_path / "question.wav", QUESTION, RATE)
    picture = np.full((90, 160, 3), 120, np.uint8)
    import cv2

    cv2.imwrite(str(tmp_path / "scene.png"), picture)
    done = subprocess.run(
        [
            sys.executable, "-m", "app", "live", "--script", "instant",
            "--mic", str(tmp_path / "question.wav"), "--say", str(tmp_path / "answer.wav"),
            "--camera", str(tmp_path / "scene.png"),
        ],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [e["event"] for e in events]
    assert names.index("frame_sent") < names.index("reply_done")
    assert "frame_used" in names
    pcm, _rate = soundfile.read(tmp_path / "answer.wav")
    assert np.abs(pcm).max() > 0.1
