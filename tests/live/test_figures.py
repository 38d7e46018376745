"""The figures of live mode with small counts; full counts run by name (`tests.live.figures`)."""

from tests.live import figures


def test_interruptions_are_caught_at_every_level_without_false_turns():
    result = figures.double_talk(minutes=0.6, count=5)
    assert result["caught"] == 1.0
    assert result["false_turns"] == 0


def test_ducking_and_stopping_are_quick():
    result = figures.interruption(count=5)
    assert result["ducked_median"] <= 0.12
    assert result["silent_p95"] <= 0.45


def test_no_speech_is_lost_in_a_talk_with_interruptions():
    result = figures.speech_lost(minutes=0.7)
    assert result["lost_samples"] == 0
    assert result["turns"] > 3
