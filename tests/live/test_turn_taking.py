"""Turn taking on scripted sound with sample time: every rule of the state machine."""

import itertools

import numpy as np
import pytest

from app.live.buffers import RATE
from app.live.resample import StreamResampler
from app.live.signals import (
    ClipClosed,
    EndReason,
    LikelyEnd,
    Resumed,
    Send,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from app.live.turn_taker import TurnTaker
from app.live.vad import WINDOW, VoiceDetector, VoiceWindow
from tests.live.rooms import cough, fan, say, silence


class Script:
    """Feeds a turn taker with windows whose speech is given as (seconds, speech) spans."""

    def __init__(self, taker=None):
        self.taker = taker or TurnTaker()
        self.at = 0
        self.signals = []

    def run(self, *spans):
        got = []
        for seconds, speech in spans:
            for _ in range(round(seconds * RATE / WINDOW)):
                window = VoiceWindow(self.at, bool(speech), float(speech), -30.0, -60.0)
                self.at += WINDOW
                got += self.taker.feed(window)
        self.signals += got
        return got


def kinds(signals):
    return [type(s).__name__ for s in signals if not isinstance(s, Send)]


def sent(signals):
    """Every sample sent, in order, with counts."""
    counts = {}
    for s in signals:
        if isinstance(s, Send):
            for block in range(s.start, s.stop, 64):
                counts[block] = counts.get(block, 0) + 1
    return counts


def only(kind, signals):
    found = [s for s in signals if isinstance(s, kind)]
    assert len(found) == 1, found
    return found[0]


def listen(pcm, taker=None):
    taker = taker or TurnTaker()
    signals = []
    for window in VoiceDetector().feed(pcm):
        signals += taker.feed(window)
    return signals


def test_a_question_is_one_turn_with_lead_in_and_tail():
    script = Script()
    signals = script.run((1.0, 0), (2.0, 1), (2.0, 0))
    assert kinds(signals) == ["TurnStarted", "LikelyEnd", "TurnEnded"]
    start = only(TurnStarted, signals).start / RATE
    assert 1.0 - 0.45 <= start <= 1.0 - 0.3
    end = only(LikelyEnd, signals)
    speech_end = 3.0
    assert end.stop / RATE == pytest.approx(speech_end + 0.2, abs=0.04)
    assert (end.stop + end.tail) / RATE == pytest.approx(speech_end + 0.4, abs=0.04)
    assert only(TurnEnded, signals).speculated


def test_sound_goes_out_while_it_is_spoken_once_and_without_gap():
    script = Script()
    signals = script.run((1.0, 0), (5.0, 1))
    sends = [s for s in signals if isinstance(s, Send)]
    assert all(a.stop == b.start for a, b in itertools.pairwise(sends))
    assert sends[-1].stop == script.at
    assert len(sends) > 100


def test_a_short_pause_reopens_the_same_clip_and_makes_a_newer_revision():
    signals = Script().run((1.0, 0), (1.0, 1), (0.25, 0), (1.0, 1), (2.0, 0))
    resumed = only(Resumed, signals)
    assert resumed.same_clip
    assert resumed.revision == 1
    assert only(TurnEnded, signals).revision == 1
    assert set(sent(signals).values()) == {1}


def test_a_longer_pause_closes_the_clip_and_opens_another():
    signals = Script().run((1.0, 0), (1.0, 1), (0.35, 0), (1.0, 1), (2.0, 0))
    assert not only(Resumed, signals).same_clip
    assert set(sent(signals).values()) == {1}
    assert [s.clip for s in signals if isinstance(s, LikelyEnd)] == [1, 2]


def test_speech_while_thinking_revises_the_turn():
    script = Script()
    assert kinds(script.run((1.0, 0), (1.0, 1), (1.5, 0)))[-1] == "TurnEnded"
    signals = script.run((1.0, 1), (2.0, 0))
    assert kinds(signals) == ["Resumed", "LikelyEnd", "TurnEnded"]
    assert only(TurnEnded, signals).turn == 1
    assert only(TurnEnded, signals).revision == 1


def test_speech_over_the_answer_waits_for_the_interruption_rule():
    script = Script()
    script.run((1.0, 0), (1.0, 1), (1.5, 0))
    script.taker.answer_audible()
    assert kinds(script.run((2.0, 1))) == []
    onset = script.at - int(0.3 * RATE)
    started = script.taker.interrupt(onset)
    assert only(TurnStarted, started).turn == 2
    assert only(TurnStarted, started).start <= onset - int(0.29 * RATE)
    assert only(Send, started).stop == script.at


def test_speech_that_goes_on_when_the_answer_ends_becomes_a_turn():
    script = Script()
    script.run((1.0, 0), (1.0, 1), (1.5, 0))
    script.taker.answer_audible()
    script.run((2.0, 0), (0.3, 1))
    script.taker.answer_over()
    assert kinds(script.run((1.0, 1)))[0] == "TurnStarted"


def test_one_weak_window_is_nobody_speaking():
    assert kinds(Script().run((1.0, 0), (0.1, 1), (2.0, 0), (0.1, 1), (2.0, 0))) == []


def test_a_false_start_is_dropped():
    assert kinds(Script().run((1.0, 0), (0.2, 1), (2.0, 0))) == ["TurnStarted", "TurnDropped"]


def test_a_clip_is_closed_at_a_pause_between_28_and_30_seconds_without_overlap():
    spans = [(1.0, 0), (28.2, 1), (0.17, 0), (3.0, 1)]
    signals = Script().run(*spans)
    closed = only(ClipClosed, signals)
    assert closed.overlap == 0
    assert 28.0 <= (closed.stop - closed.start) / RATE <= 30.0
    assert set(sent(signals).values()) == {1}


def test_without_a_pause_half_a_second_is_sent_twice_and_marked():
    signals = Script().run((1.0, 0), (40.0, 1))
    closed = only(ClipClosed, signals)
    assert closed.overlap == RATE // 2
    assert (closed.stop - closed.start) / RATE <= 30.0
    twice = [block for block, count in sent(signals).items() if count == 2]
    assert len(twice) * 64 == pytest.approx(RATE // 2, abs=WINDOW)


def test_a_turn_without_end_is_ended():
    signals = Script().run((1.0, 0), (300.0, 1))
    ended = only(
        TurnEnded, signals[: next(i for i, s in enumerate(signals) if isinstance(s, TurnEnded)) + 1]
    )
    assert ended.reason is EndReason.LONG


def test_slow_speakers_get_more_time():
    script = Script()
    waits = []
    for _ in range(6):
        script.run((2.0, 1), (0.55, 0))
        waits.append(script.taker.endpointer.wait())
    assert waits[-1] > waits[0]
    assert "TurnEnded" not in kinds(script.run((2.0, 1), (0.65, 0)))


def test_push_to_talk_holds_through_pauses_and_ends_on_release():
    script = Script()
    script.run((1.0, 0))
    signals = script.taker.press()
    signals += script.run((0.5, 0), (1.0, 1), (3.0, 0), (1.0, 1), (0.1, 0))
    assert "TurnEnded" not in kinds(signals)
    assert not any(isinstance(s, LikelyEnd) for s in signals)
    script.taker.release()
    signals = script.run((1.0, 0))
    assert only(TurnEnded, signals).reason is EndReason.RELEASED


def test_release_while_still_speaking_waits_half_a_second_at_most():
    script = Script()
    script.run((1.0, 0))
    script.taker.press()
    script.run((1.0, 1))
    script.taker.release()
    signals = script.run((1.0, 1))
    assert kinds(signals)[:2] == ["ClipClosed", "TurnEnded"]
    ended = next(i for i, s in enumerate(signals) if isinstance(s, TurnEnded))
    last = [s for s in signals[:ended] if isinstance(s, Send)][-1]
    assert 0.2 <= last.stop / RATE - 2.0 <= 0.6
    assert "Resumed" in kinds(signals[ended:]), "what is said after the release is not lost"


def test_an_empty_press_is_nothing():
    script = Script()
    script.run((1.0, 0))
    script.taker.press()
    script.run((1.0, 0))
    script.taker.release()
    assert kinds(script.run((1.0, 0))) == ["TurnDropped"]


def test_spoken_words_with_silero():
    pcm = np.concatenate([silence(1.0), say("What is the shape on the screen?"), silence(2.0)])
    signals = listen(pcm)
    assert kinds(signals) == ["TurnStarted", "LikelyEnd", "TurnEnded"]


def test_one_word_is_enough():
    for word in ("Yes.", "No.", "Stop!"):
        assert kinds(listen(np.concatenate([silence(1.0), say(word), silence(2.0)])))[-1:] == [
            "TurnEnded"
        ]


def test_coughs_clicks_and_a_fan_start_nothing():
    click = np.zeros(int(0.5 * RATE), np.float32)
    click[100:130] = 0.9
    noises = [cough(s) for s in range(3)]
    pcm = np.concatenate(
        [silence(1.0), *(np.concatenate([n, silence(0.7)]) for n in noises), click, fan(8.0)]
    )
    assert [k for k in kinds(listen(pcm)) if k == "TurnEnded"] == []


def test_a_voice_detector_that_is_fooled_by_a_fan_does_not_hold_the_turn_open():
    """Silero says "speech" for ever: the noise floor climbs and closes the turn."""
    detector = VoiceDetector(probability=lambda _window: 0.9)
    taker = TurnTaker()
    signals = []
    speech = say("Please tell me what you can see on the table.")
    sound = np.concatenate([fan(6.0, -40), speech + fan(len(speech) / RATE, -40), fan(6.0, -40)])
    for window in detector.feed(sound):
        signals += taker.feed(window)
    ended = [s for s in signals if isinstance(s, TurnEnded)]
    assert ended


def test_turns_after_a_dropped_one_are_not_lost():
    pcm = np.concatenate([silence(1), cough(), silence(0.4), say("Hello there"), silence(2)])
    assert kinds(listen(pcm))[-1] == "TurnEnded"
    assert TurnDropped not in [type(s) for s in listen(pcm)][-1:]


def test_a_headset_in_telephone_quality_is_understood():
    """8 kHz in, 16 kHz to the model: nothing above 4 kHz, the turn is found all the same."""
    spoken = np.concatenate([silence(1.0), say("What is the shape on the screen?"), silence(2.0)])
    narrow = StreamResampler(RATE, 8000)
    back = StreamResampler(8000, RATE)
    pcm = back.push(np.concatenate([narrow.push(spoken), narrow.flush()]))
    assert kinds(listen(pcm)) == ["TurnStarted", "LikelyEnd", "TurnEnded"]
