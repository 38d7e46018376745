"""What goes wrong in the best known live demo, and must not here.

Elsewhere: mute after an interruption, decoding on, the unspoken reply kept, speech lost while
thinking, model text as markup (`test_conversation`, `test_page`), unbounded history, sound over
30 s (`test_ear`, `test_turn_taking`), a device's failure told only to a log (`test_page`).
"""

import os
import subprocess
import sys

import numpy as np
import soundfile

from app.live import reports
from app.live.buffers import RATE
from tests.live.rooms import say
from tests.live.world import World

QUESTION = "What is the shape on the screen?"
LONG = (
    "The lighthouse stands on the cliff above the bay, and it was built two hundred years ago. "
    "Every night its lamp turns slowly, and ships see it from far away."
)


def asked(**options):
    world = World(**options)
    world.wait(0.5)
    world.hear(say(QUESTION))
    return world


def test_words_are_shown_and_spoken_while_the_reply_is_still_decoded():
    world = asked(replies=[LONG], brain_options={"token_s": 0.12})
    world.wait(6.0, lambda: bool(world.of(reports.ReplyText)))
    assert world.brain.decoding is not None
    world.wait(6.0, world.speaking)
    assert world.brain.decoding is not None, "the first clause is heard before the last is decoded"


def test_the_model_sees_more_than_one_picture_of_a_longer_question():
    world = World()
    world.wait(0.5)
    question = np.concatenate([say(QUESTION), say("and what is its colour"), say(QUESTION)])
    picture = np.zeros((72, 128, 3), np.uint8)
    for at in range(0, len(question), 1600):
        world.pipeline.frames.put(picture, world.clock.now())
        world.hear(question[at : at + 1600])
    world.wait(3.0, lambda: world.answered() == 1)
    frames = [i for i, entry in enumerate(world.brain.log) if entry == "frame"]
    assert len(frames) >= 3
    assert frames[0] < world.brain.log.index("audio"), "it looks from the start, not after the end"


def test_the_answer_after_three_interruptions_is_heard():
    interruptions = 3
    world = asked(replies=[LONG] * interruptions + ["It is a circle."])
    for number in range(interruptions):
        world.wait(8.0, world.speaking)
        world.wait(1.0)
        world.hear(say("Stop please, something else.", "en+f3"))
        assert len(world.of(reports.Interrupted)) == number + 1
    world.wait(10.0, lambda: world.answered() == interruptions + 1)
    done = world.of(reports.ReplyDone)[-1]
    assert (done.reason, done.heard_chars) == ("stop", len("It is a circle."))


def test_no_process_of_live_mode_makes_an_internet_socket(tmp_path):
    soundfile.write(tmp_path / "question.wav", say(QUESTION), RATE)
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    command = [sys.executable, "-m", "app", "live", "--script", "instant", "--silent",
               "--mic", str(tmp_path / "question.wav")]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=guarded(tmp_path), check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"reply_done"' in done.stdout
    assert not (tmp_path / "internet").exists()
    one = "import socket; socket.socket()"
    subprocess.run([sys.executable, "-c", one], env=guarded(tmp_path), check=True, timeout=60)
    assert (tmp_path / "internet").exists(), "the guard sees a socket"


GUARD = """
import pathlib, socket
_made = socket.socket.__init__
def made(self, family=-1, *args, **kwargs):
    if family in (socket.AF_INET, socket.AF_INET6, -1):
        pathlib.Path(__file__).with_name("internet").touch()
    _made(self, family, *args, **kwargs)
socket.socket.__init__ = made
"""


def guarded(folder):
    """An environment in which Python reports every internet socket."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": path}
