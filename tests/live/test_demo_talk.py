"""Everything at once, nothing replaced: window, microphone, camera, demo model, voice."""

import pytest

from tests.live.demo_talk import talk

pytestmark = pytest.mark.timed


@pytest.mark.gui
def test_a_spoken_question_about_the_shown_shape_is_answered_in_text_and_voice(tmp_path):
    got = talk(tmp_path, "what colour is it", "red", "circle")
    assert got, "no answer came"
    assert got["text"] == "Red."
    assert got["caption"].startswith("Red."), "the caption keeps step with the voice"
    assert got["frames"] >= 1
    assert got["voice_match"] >= 0.6, "the loudspeaker said it"
