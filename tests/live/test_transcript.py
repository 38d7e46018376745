"""Long recordings: cutting, stitching and the three formats."""

import itertools

import numpy as np

from app.live.buffers import RATE
from app.live.transcript import (
    Line,
    as_srt,
    as_text,
    as_vtt,
    cut_at_pauses,
    join_overlapping,
    transcribe,
)


def loud(window):
    return 0.9 if np.abs(window).max() > 0.05 else 0.01


def talk(*spans):
    """Noise and silence: (seconds, spoken)."""
    rng = np.random.default_rng(0)
    parts = []
    for seconds, spoken in spans:
        noise = rng.standard_normal(int(seconds * RATE)).astype(np.float32)
        wave = np.repeat(np.abs(np.sin(np.arange(0, seconds, 0.02) * 20)), int(0.02 * RATE))
        level = np.resize(wave, len(noise)) * 0.2 + 0.03 if spoken else 1e-4
        parts.append(noise * level)
    return np.concatenate(parts)


def test_an_hour_would_be_cut_into_clips_below_30_seconds_at_pauses():
    pcm = talk(*[(9.0, True), (0.6, False)] * 12)
    segments = cut_at_pauses(pcm, loud)
    assert all((s.stop - s.start) / RATE <= 30 for s in segments)
    assert all(s.overlap == 0 for s in segments)
    assert all(a.stop <= b.start + 1 for a, b in itertools.pairwise(segments))
    spoken = sum(s.stop - s.start for s in segments) / RATE
    assert spoken >= 12 * 9.0


def test_without_a_pause_clips_overlap_by_half_a_second():
    segments = cut_at_pauses(talk((70.0, True)), lambda _window: 0.9)
    assert len(segments) >= 3
    assert all(s.overlap == RATE // 2 for s in segments[1:])


def test_silence_gives_nothing():
    assert cut_at_pauses(np.zeros(RATE * 5, np.float32), loud) == []
    assert cut_at_pauses(np.zeros(0, np.float32), loud) == []


def test_repeated_words_are_taken_out_once():
    assert join_overlapping("we went to the old house", "The old house, was empty") == "was empty"
    assert join_overlapping("one two", "three four") == "three four"


def test_lines_carry_times_and_words():
    from tests.live.rooms import say, silence

    pcm = np.concatenate([silence(1.0), say("hello there my friend"), silence(1.0)])
    lines = list(transcribe(pcm, lambda _pcm: "hello\nthere"))
    assert [line.text for line in lines] == ["hello there"]
    assert 0.6 <= lines[0].start <= 1.1


def test_formats():
    lines = [Line(0.5, 3.25, "Hello <b>"), Line(3661.0, 3662.5, "Bye")]
    assert as_text(lines) == "[00:00:00] Hello <b>\n[01:01:01] Bye\n"
    assert as_srt(lines).startswith(
        "1\n00:00:00,500 --> 00:00:03,250\nHello <b>\n\n2\n01:01:01,000"
    )
    assert "WEBVTT\n\n00:00:00.500 --> 00:00:03.250\nHello &lt;b&gt;\n" in as_vtt(lines)


def test_sentences_of_a_slow_speaker_are_lines_of_their_own():
    pcm = talk(*[(1.5, True), (1.2, False)] * 3, *[(2.4, True), (0.3, False)] * 4)
    lengths = [(s.stop - s.start) / RATE for s in cut_at_pauses(pcm, loud)]
    assert len(lengths) == 4, "short pauses do not end a short clip"
    assert max(lengths[:3]) < 2.5
