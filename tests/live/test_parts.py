"""Buffers, resampler, splitter, mixer, echo, prosody, language: the parts one by one."""

import numpy as np
import pytest

from app.live.barge_in import BargeIn, BargeInState
from app.live.buffers import RATE, LatestFrame, PcmRing
from app.live.echo import STEP, EchoCanceller, EchoProbe, EchoReference
from app.live.endpointing import Endpointer
from app.live.hearing import MicrophoneHealth
from app.live.language import guess_language
from app.live.linear_echo import LinearEcho, Surprise
from app.live.mixer import Mixer
from app.live.prosody import finished_score, pitch_track
from app.live.resample import StreamResampler
from app.live.spoken_text import Piece, SpeechSplitter, speakable
from app.live.vad import WINDOW, VoiceWindow, level_db
from tests.live.rooms import Room, say


def test_a_pinned_ring_forgets_nothing():
    ring = PcmRing(capacity_s=0.1)
    ring.pin(100)
    sound = np.arange(5000, dtype=np.float32)
    for at in range(0, 5000, 321):
        ring.append(sound[at : at + 321])
    np.testing.assert_array_equal(ring.read(100, 5000), sound[100:])
    ring.pin(None)
    ring.append(np.zeros(1, np.float32))
    with pytest.raises(IndexError):
        ring.read(100, 200)


def test_a_microphone_gated_to_zero_between_sentences_is_not_called_silent():
    health = MicrophoneHealth()
    sound, zeros = np.full(STEP, 0.1, np.float32), np.zeros(STEP, np.float32)
    assert {health.step(sound)} | {health.step(zeros) for _ in range(1_000)} == {""}
    assert [health.step(zeros) for _ in range(3_000)].count("silent") == 1
    assert health.step(sound) == "sound"


def test_only_the_newest_frame_is_given_and_only_once():
    slot = LatestFrame()
    for number in range(3):
        slot.put(np.full((2, 2, 3), number, np.uint8), float(number))
    assert slot.take().t == 2.0
    assert slot.take() is None


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_in_odd_blocks_equals_one_shot(rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    stream, whole = StreamResampler(rate, RATE), StreamResampler(rate, RATE)
    blocks = [stream.push(tone[at : at + 333]) for at in range(0, rate, 333)] + [stream.flush()]
    expected = np.concatenate([whole.push(tone), whole.flush()])
    got = np.concatenate(blocks)
    assert len(got) == pytest.approx(RATE, abs=2)
    np.testing.assert_allclose(got[: len(expected)], expected[: len(got)], atol=1e-5)


def pieces(text, step=3):
    splitter = SpeechSplitter()
    made = []
    for at in range(0, len(text), step):
        made += splitter.feed(text[at : at + step])
    return made + splitter.finish()


def test_first_a_clause_then_sentences():
    text = "Well, I think so, because it is red. The other one, I believe, is blue. Yes"
    assert [p.text for p in pieces(text)] == [
        "Well, I think so,",
        "because it is red.",
        "The other one, I believe, is blue.",
        "Yes",
    ]


def test_pieces_cover_the_reply_without_gap():
    text = "It costs 3.50 euro, e.g. at Dr. Smith's. See https://a.b/c for more!\nBye."
    made = pieces(text)
    assert "".join("".join(p.raw for p in made).split()) == "".join(text.split())
    assert made[-1].stop == len(text)
    assert not any("http" in p.text for p in made)


def test_markup_code_and_links_are_not_read_out():
    text = "## Title\n**Bold** and `code` [here](http://x.y).\n```python\nprint(1)\n```\nDone 😀."
    said = " ".join(p.text for p in pieces(text))
    assert "print" not in said
    assert not set("*`#[]()😀") & set(said)
    assert "Bold and code here" in said
    assert speakable("| a | b |\n|---|---|") == "a b"


def test_numbers_and_abbreviations_do_not_end_a_sentence():
    assert len(pieces("Pi is 3.14 and e.g. two is 2. That is all.")) == 1


def test_a_piece_is_cut_between_words():
    piece = Piece("one two three", 10, " one **two** three")
    assert piece.reach(0) == 10
    assert piece.raw[: piece.reach(2) - 10] == " one **two**"
    assert piece.reach(3) == piece.stop


def test_mixer_ducks_stops_and_counts():
    mixer = Mixer(RATE)
    started = []
    mixer.on_start = started.append
    text = "one two three four"
    piece = Piece(text, 0, text)
    mixer.play(piece, np.full(RATE, 0.5, np.float32), RATE)
    assert np.allclose(mixer.render(1600), 0.5)
    assert started == [piece]
    mixer.duck(True)
    mixer.render(400)
    assert np.abs(mixer.render(100)).max() == pytest.approx(0.05, rel=0.01)
    mixer.duck(False)
    mixer.render(int(0.5 * RATE))
    heard = mixer.stop()
    assert text[:heard] in ("one two", "one two three")
    tail = mixer.render(1600)
    assert np.abs(tail[200:]).max() == 0, "silent after 10 ms"
    assert np.abs(np.diff(tail)).max() < 0.02, "without a click"
    assert not mixer.active


def test_mixer_after_a_stop_plays_the_next_reply_at_full_level():
    mixer = Mixer(RATE)
    mixer.play(Piece("a b c", 0, "a b c"), np.full(RATE, 0.5, np.float32), RATE)
    mixer.duck(True)
    mixer.render(800)
    mixer.stop()
    mixer.begin_reply()
    mixer.play(Piece("next", 0, "next"), np.full(RATE, 0.5, np.float32), RATE)
    mixer.render(400)
    assert np.allclose(mixer.render(400), 0.5)


def test_reference_is_read_by_time_and_jumps_leave_silence():
    reference = EchoReference()
    reference.write(np.ones(160, np.float32), 1.0)
    reference.write(np.ones(160, np.float32), 1.012)  # jitter: joined
    assert reference.read(1.0, 320).sum() == 320
    reference.write(np.ones(160, np.float32), 1.5)
    assert reference.read(1.1, 160).sum() == 0
    assert reference.read(1.5, 160).sum() == 160
    assert reference.read(9.0, 160).sum() == 0


@pytest.mark.parametrize("delay", [0.01, 0.08])
def test_the_canceller_removes_forty_db_of_echo(delay):
    far = np.tile(say("Every night the lamp turns slowly over the sea."), 2)[: 6 * RATE]
    room, canceller, probe = Room(delay_s=delay), EchoCanceller(), EchoProbe()
    noise = np.random.default_rng(0).standard_normal(len(far)).astype(np.float32) * 3e-4
    report, echoes, cleans = None, [], []
    for at in range(0, len(far) - STEP, STEP):
        played = far[at : at + STEP]
        near = room.echo(played) + noise[at : at + STEP]
        clean = canceller.process(near, played)
        report = probe.step(near, played, clean) or report
        echoes.append(near)
        cleans.append(clean)
    late = len(echoes) // 2
    removed = level_db(np.concatenate(echoes[late:])) - level_db(np.concatenate(cleans[late:]))
    assert removed > 40
    assert report is not None
    assert report.full_duplex


def test_without_cancellation_the_probe_says_half_duplex():
    far = say("Every night the lamp turns slowly over the sea and comes back again.")
    room, probe, report = Room(), EchoProbe(), None
    for _ in range(30):
        probe.step(np.full(STEP, 1e-4, np.float32), np.zeros(STEP, np.float32), np.zeros(STEP))
    for at in range(0, len(far) - STEP, STEP):
        near = room.echo(far[at : at + STEP])
        report = probe.step(near, far[at : at + STEP], near) or report
    assert report.audible
    assert not report.full_duplex


def test_barge_in_needs_energy_and_speech():
    barge = BargeIn()
    assert barge.near(True, False, 1600) is BargeInState.DUCKED
    for step in range(60):
        barge.near(True, False, 1600 + STEP * step)
    assert barge.state is BargeInState.DUCKED, "noise alone never stops the answer"
    barge.near(False, False, 1600 + STEP * 75)
    assert barge.state is BargeInState.PLAYING
    barge.near(True, False, 20000)
    for step in range(20):
        barge.near(True, False, 20000 + STEP * step)
        window = VoiceWindow(20000 + step * WINDOW, True, 0.9, -30.0, -60.0)
        barge.window(window, window.stop)
    assert barge.state is BargeInState.STOPPED


def test_the_wait_follows_pauses_and_prosody():
    endpointer = Endpointer()
    base = endpointer.wait(0.5)
    assert endpointer.wait(1.0) < base < endpointer.wait(0.0)
    for _ in range(8):
        endpointer.observe_pause(1.0)
    assert endpointer.wait(0.5) > base
    assert endpointer.wait(0.0) <= endpointer.options.longest_s


def test_pitch_and_finished_phrases():
    time = np.arange(int(0.8 * RATE)) / RATE

    def glide(start, end, fade):
        pitch = np.linspace(start, end, len(time))
        level = np.linspace(1.0, fade, len(time))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        return (0.2 * level * sum(np.sin(phase * k) / k for k in (1, 2, 3))).astype(np.float32)

    track = pitch_track(glide(150, 150, 1.0))
    assert np.median(track[track > 0]) == pytest.approx(150, rel=0.03)
    falling, level = finished_score(glide(180, 110, 0.2)), finished_score(glide(150, 158, 1.0))
    assert falling > 0.7 > 0.5 > level
    assert finished_score(np.zeros(RATE, np.float32)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The mug is dark green and stands on the left.", "en"),
        ("Die Tasse ist grün und steht nicht auf dem Tisch.", "de"),
        ("La tasse est verte et elle est sur la table.", "fr"),
        ("カップは緑色です", "ja"),
        ("Чашка зелёная", "ru"),
        ("42", "en"),
    ],
)
def test_language(text, code):
    assert guess_language(text) == code


def test_the_linear_canceller_leaves_the_voice_in_double_talk():
    far = np.tile(say("Every night the lamp turns slowly over the sea."), 3)
    near = say("Stop please, I have another question.")
    room, linear, surprise = Room(), LinearEcho(), Surprise()
    noise = np.random.default_rng(0).standard_normal(len(far)).astype(np.float32) * 3e-4
    start = len(far) // STEP // 2
    alone, together, heard = [], [], {}
    for step in range(len(far) // STEP):
        span = slice(step * STEP, (step + 1) * STEP)
        mic = room.echo(far[span]) + noise[span]
        at = (step - start) * STEP
        if 0 <= at < len(near) - STEP:
            mic = mic + near[at : at + STEP]
        rest = linear.process(mic, far[span])
        heard[step] = surprise.step(rest)
        if start - 100 <= step < start:
            alone.append((level_db(mic), level_db(rest.sound)))
        elif 0 <= at < len(near) - STEP:
            together.append((level_db(near[at : at + STEP]), level_db(rest.sound)))
    removed = [mic - rest for mic, rest in alone if mic > -50]
    assert np.median(removed) > 10
    loud = [rest - voice for voice, rest in together if voice > -30]
    assert abs(np.median(loud)) < 2, "the voice passes untouched"
    first = next(step for step in range(start, len(heard)) if heard[step])
    assert first - start <= 8
    assert sum(heard[step] for step in range(100, start)) <= 3


@pytest.mark.parametrize("voice", [False, True])
def test_a_louder_echo_is_told_from_a_voice_by_ducking(voice):
    """Twice ducked: an echo falls with what we play, a voice is as loud as before now and then."""
    barge, changed = BargeIn(), 0
    for step in range(160):
        barge.near(True, not (voice and step % 40 == 39), 1600 + STEP * step)
        changed += barge.room_changed
    assert changed == (0 if voice else 1)


def test_a_weak_echo_hides_nobody():
    far = np.tile(say("Every night the lamp turns slowly over the sea."), 2)
    near = say("Stop please, I have another question.") * np.float32(0.15)
    room, linear, surprise = Room(gain=0.17, decay_s=0.3), LinearEcho(), Surprise()
    noise = np.random.default_rng(0).standard_normal(len(far)).astype(np.float32) * 1e-4
    start, heard = 200, []
    for step in range(len(far) // STEP):
        span = slice(step * STEP, (step + 1) * STEP)
        mic, at = room.echo(far[span]) + noise[span], (step - start) * STEP
        if 0 <= at < len(near) - STEP:
            mic = mic + near[at : at + STEP]
        heard.append(surprise.step(linear.process(mic, far[span])))
    assert not any(heard[60:start])
    assert True in heard[start : start + 12]
