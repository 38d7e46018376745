"""The demo model answers spoken questions about a shape the camera sees (no window, no clock)."""

import cv2
import numpy as np
import pytest

from app.core import commands
from app.core.conversation import SamplingPreset
from app.core.paths import demo_model_dir
from app.engine.live_session import GemmaLive
from mlx_gemma4 import load
from mlx_gemma4.session import Session
from tests.live.demo_talk import film
from tests.live.rooms import say, silence

OPTIONS = commands.ReplyOptions(SamplingPreset("Precise", temperature=0.0), max_tokens=12)


@pytest.fixture(scope="module")
def demo():
    return load(demo_model_dir())


@pytest.mark.parametrize(
    ("question", "colour", "shape", "answer"),
    [
        ("what colour is it", "red", "circle", "Red."),
        ("which colour is this", "blue", "square", "Blue."),
        ("what shape is this", "blue", "square", "A square."),
        ("what colour is the shape", "yellow", "circle", "Yellow."),
    ],
)
def test_a_spoken_question_about_a_shown_shape(demo, tmp_path, question, colour, shape, answer):
    film(tmp_path / "camera.avi", colour, shape)
    _, bgr = cv2.VideoCapture(str(tmp_path / "camera.avi")).read()
    live = GemmaLive(*demo, Session(*demo))
    live.push_frame(bgr[:, :, ::-1].copy(), 0.0)
    live.push_audio(np.concatenate([silence(0.4), say(question, "en-us"), silence(0.4)]), 0.0)
    live.end_clip()
    assert "".join(piece.text for piece in live.reply(OPTIONS)) == answer
