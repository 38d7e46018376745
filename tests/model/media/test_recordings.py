"""Real sound files of every kind, resampling, cutting at pauses, and bad files."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_gemma4.errors import MediaError
from mlx_gemma4.media import sound
from mlx_gemma4.media.sound import load_sound, resample, split_at_pauses


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def peak_hertz(pcm: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm))) * 16_000 / pcm.size)


def test_stereo_wav_at_44100(tmp_path):
    left, right = tone(1.5, 44_100, 440), tone(1.5, 44_100, 440) * 0.5
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 44_100)
    got = load_sound(tmp_path / "a.wav")
    assert got.pcm.dtype == np.float32
    assert got.seconds == pytest.approx(1.5, abs=1e-3)
    want = 0.75 * tone(1.5, 16_000, 440)
    middle = slice(2000, 20_000)
    assert np.abs(got.pcm[: want.size] - want[: got.pcm.size])[middle].max() < 2e-3


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "aiff"])
def test_formats_of_libsndfile(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone(1.0, 22_050, 700), 22_050)
    got = load_sound(tmp_path / f"a.{suffix}")
    assert got.seconds == pytest.approx(1.0, abs=0.08)
    assert peak_hertz(got.pcm) == pytest.approx(700, abs=3)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW"])
def test_every_depth_of_wav(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 16_000), 16_000, subtype=subtype)
    got = load_sound(tmp_path / "a.wav").pcm
    assert np.abs(got - tone(0.5, 16_000)).max() < 0.02


def test_sixteen_kilohertz_is_passed_through(tmp_path):
    pcm = (tone(0.3, 16_000) * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", pcm, 16_000)
    assert np.array_equal(load_sound(tmp_path / "a.wav").pcm, pcm.astype(np.float32) / 32768)


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "mov", "webm"])
def test_files_that_need_another_decoder(tmp_path, suffix):
    source = "sine=frequency=600:duration=1.2:sample_rate=48000"
    ffmpeg("-f", "lavfi", "-i", source, str(tmp_path / f"a.{suffix}"))
    got = load_sound(tmp_path / f"a.{suffix}")
    assert got.seconds == pytest.approx(1.2, abs=0.1)
    assert peak_hertz(got.pcm) == pytest.approx(600, abs=3)


def test_a_name_like_an_option_is_a_name(tmp_path, monkeypatch):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.5", str(tmp_path / "a.m4a"))
    shutil.move(tmp_path / "a.m4a", tmp_path / "-i http.m4a")
    monkeypatch.chdir(tmp_path)
    assert load_sound("-i http.m4a").pcm.size > 6000


def test_blocks_join_without_a_seam(tmp_path, monkeypatch):
    pcm = np.random.default_rng(0).standard_normal(96_000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", pcm, 48_000, subtype="FLOAT")
    whole = load_sound(tmp_path / "a.wav").pcm
    monkeypatch.setattr(sound, "_BLOCK_SECONDS", 0.0137)
    assert np.abs(load_sound(tmp_path / "a.wav").pcm - whole).max() < 1e-6


def test_resampling_agrees_with_the_fourier_method():
    """Google advises the Fourier method; inside the pass band soxr gives the same to -80 dB."""
    rng = np.random.default_rng(1)
    spectrum = np.zeros(48_001, dtype=complex)
    spectrum[100:12_000] = rng.standard_normal(11_900) + 1j * rng.standard_normal(11_900)
    source = np.fft.irfft(spectrum, 96_000) * np.hanning(96_000)  # two seconds below 6 kHz
    source = (source / np.abs(source).max()).astype(np.float32)
    fourier = np.fft.irfft(np.fft.rfft(source)[:16_001], 32_000) / 3
    ours = resample(source, 48_000)
    assert ours.size == 32_000
    error = np.abs(ours - fourier).max() / np.abs(fourier).max()
    assert error < 1e-4


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_the_length(rate):
    assert resample(tone(0.7, rate), rate).size == pytest.approx(11_200, abs=2)


# Long recordings


def talk(seconds: float, pauses: list[float], seed: int = 0) -> np.ndarray:
    """Noise with quiet gaps of 0.4 s around the given times."""
    pcm = np.random.default_rng(seed).standard_normal(int(seconds * 16_000)).astype(np.float32)
    for pause in pauses:
        pcm[int((pause - 0.2) * 16_000) : int((pause + 0.2) * 16_000)] *= 0.01
    return pcm * 0.1


def test_cuts_lie_in_pauses():
    clips = split_at_pauses(talk(70, [12, 24.5, 47, 60]))
    borders = np.cumsum([clip.size for clip in clips])[:-1] / 16_000
    assert borders == pytest.approx([24.5, 47], abs=0.2)


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(0, 5000), longest=st.integers(20, 900), seed=st.integers(0, 9))
def test_no_sample_is_lost_and_no_clip_is_too_long(samples, longest, seed):
    pcm = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    clips = split_at_pauses(pcm, max_seconds=longest, rate=1)
    assert all(0 < clip.size <= longest for clip in clips)
    joined = np.concatenate([np.zeros(0, np.float32), *clips])
    assert np.array_equal(joined, pcm)


@pytest.mark.parametrize("extra", [1, 100, 161, 8_000, 20_000])
def test_the_last_clip_is_no_splinter(extra):
    clips = split_at_pauses(talk(30, []), max_seconds=30)
    assert len(clips) == 1
    clips = split_at_pauses(np.concatenate([talk(30, []), np.zeros(extra, np.float32)]))
    assert clips[-1].size >= 16_000


def test_ten_minutes_of_silence():
    clips = split_at_pauses(np.zeros(9_600_000, np.float32))
    assert sum(clip.size for clip in clips) == 9_600_000
    assert len(clips) <= 21


# Bad files


def says(match: str):
    return pytest.raises(MediaError, match=match)


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "notes.mp3").write_text("no sound here")
    with says("not there any more"):
        load_sound(tmp_path / "gone.wav")
    with says(r'"empty.wav" is empty \(0 bytes\)'):
        load_sound(tmp_path / "empty.wav")
    with says("no sound that can be decoded"):
        load_sound(tmp_path / "notes.mp3")
    with says("is a folder"):
        load_sound(tmp_path)


def test_without_any_decoder_the_message_says_what_to_do(tmp_path, monkeypatch):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", str(tmp_path / "a.m4a"))
    monkeypatch.setattr(sound.shutil, "which", lambda _: None)
    with says("WAV, FLAC or MP3, or install ffmpeg"):
        load_sound(tmp_path / "a.m4a")


def test_zero_seconds(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000)
    with says("0 seconds"):
        load_sound(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    pcm = tone(0.5, 16_000)
    pcm[100] = value
    soundfile.write(tmp_path / "a.wav", pcm, 16_000, subtype="FLOAT")
    with says("not numbers"):
        load_sound(tmp_path / "a.wav")


def test_a_truncated_wav_plays_what_is_there(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 16_000), 16_000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2])
    assert load_sound(tmp_path / "cut.wav").seconds == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_too_long_is_refused_within_bounds(tmp_path, suffix):
    ffmpeg(
        "-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "20", str(tmp_path / f"a.{suffix}")
    )
    with says("longer than 0.2 minutes"):
        load_sound(tmp_path / f"a.{suffix}", max_seconds=12)


def test_ten_minutes_load_and_stay_small(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4_800_000, np.int16), 8_000)
    got = load_sound(tmp_path / "a.wav")
    assert got.seconds == pytest.approx(600, abs=0.01)
