"""Real videos made by ffmpeg: sampling, times, rotation, lying headers, bad files."""

import struct
import subprocess

import numpy as np
import pytest

from mlx_gemma4.errors import MediaError
from mlx_gemma4.media import video
from mlx_gemma4.media.video import frame_indices, sample_video, timestamp


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def turned(mp4: bytes) -> bytes:
    """The same video with a quarter turn in its track header, as phones write it.

    Written by hand because every version of ffmpeg has another option for it.
    """
    one = 1 << 16
    upright = struct.pack(">9i", one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    quarter = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    header = mp4.index(b"tkhd")
    place = mp4.index(upright, header)
    return mp4[:place] + quarter + mp4[place + len(upright) :]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A video of 50 frames at 10 a second whose brightness is its frame number."""
    folder = tmp_path_factory.mktemp("videos")
    counting = "nullsrc=s=192x96:r=10:d=5,format=gray,geq=lum='16+4*N'"
    coded = ["-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"]
    ffmpeg("-f", "lavfi", "-i", counting, *coded, str(folder / "counting.mp4"))
    (folder / "turned.mp4").write_bytes(turned((folder / "counting.mp4").read_bytes()))
    ffmpeg("-i", str(folder / "counting.mp4"), "-c", "copy", str(folder / "raw.h264"))
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(folder / "sound.mp4"))
    return folder


def number(frame: np.ndarray) -> int:
    """The frame number a counting frame shows."""
    return round((float(frame.mean()) - 16) / 4)


def test_indices_of_the_specification():
    assert frame_indices(100, 4) == [0, 25, 50, 75]
    assert frame_indices(50, 32)[-1] == 48
    assert frame_indices(5, 32) == [0, 1, 2, 3, 4]  # the reference raises; a user wants the frames


def test_timestamps():
    assert [timestamp(s) for s in (0, 3.99, 59.999, 61, 3665)] == [
        "00:00",
        "00:03",
        "00:59",
        "01:01",
        "61:05",
    ]


def test_frames_are_the_wanted_ones(clips):
    got = sample_video(clips / "counting.mp4", num_frames=10)
    assert got.indices == tuple(range(0, 50, 5))
    assert [number(frame) for frame in got.frames] == pytest.approx(got.indices, abs=0.6)
    assert got.seconds == pytest.approx([k * 0.5 for k in range(10)])
    assert got.duration == pytest.approx(5.0)
    assert got.size == (96, 192)


def test_frames_come_resized_to_the_budget(clips):
    got = sample_video(clips / "counting.mp4", num_frames=2)
    assert {frame.shape for frame in got.frames} == {(240, 528, 3)}  # 55 of 70 tokens


def test_default_and_rate(clips):
    assert len(sample_video(clips / "counting.mp4").frames) == 32
    assert sample_video(clips / "counting.mp4", fps=1).indices == (0, 10, 20, 30, 40)
    assert len(sample_video(clips / "counting.mp4", fps=0.01).frames) == 1


def test_a_short_video_gives_all_its_frames(clips):
    got = sample_video(clips / "counting.mp4", num_frames=1000)
    assert len(got.frames) == 50


def test_seeking_gives_the_same_frames(clips, monkeypatch):
    walked = sample_video(clips / "counting.mp4", num_frames=5)
    monkeypatch.setattr(video, "_SEEK_GAP", 3)
    sought = sample_video(clips / "counting.mp4", num_frames=5)
    for a, b in zip(walked.frames, sought.frames, strict=True):
        assert np.array_equal(a, b)


def test_rotation_is_honoured(clips):
    assert sample_video(clips / "turned.mp4", num_frames=1).size == (192, 96)


def test_a_file_that_does_not_say_how_many_frames_it_has(clips):
    got = sample_video(clips / "raw.h264", num_frames=5)
    assert [number(frame) for frame in got.frames] == pytest.approx([0, 10, 20, 30, 40], abs=0.6)


def test_a_file_that_says_too_many_frames(clips, monkeypatch):
    real = video._Reader.__enter__

    def lying(self):
        reader = real(self)
        reader.reported = 500
        return reader

    monkeypatch.setattr(video._Reader, "__enter__", lying)
    got = sample_video(clips / "counting.mp4", num_frames=5)
    assert got.indices == (0, 10, 20, 30, 40)
    assert got.total == 50


def test_unknown_rate_means_24(clips, monkeypatch):
    monkeypatch.setattr(video, "_PLAUSIBLE_FPS", 5.0)  # ten a second counts as nonsense
    got = sample_video(clips / "counting.mp4", num_frames=2)
    assert got.fps == 24
    assert got.seconds == (0, 25 / 24)


def test_variable_frame_rate(clips, tmp_path):
    """Times follow the frame number, as the reference does; every frame is really there."""
    source = str(clips / "counting.mp4")
    dropped = "select='not(eq(mod(n,7),3))'"
    ffmpeg("-i", source, "-vf", dropped, "-fps_mode", "vfr", str(tmp_path / "vfr.mp4"))
    got = sample_video(tmp_path / "vfr.mp4", num_frames=8)
    shown = [number(frame) for frame in got.frames]
    assert len(shown) == 8
    assert shown == sorted(shown)


def says(match: str):
    return pytest.raises(MediaError, match=match)


def test_missing_empty_and_foreign_files(clips, tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("no video here" * 50)
    with says("not there any more"):
        sample_video(tmp_path / "gone.mp4")
    with says(r"0 bytes"):
        sample_video(tmp_path / "empty.mp4")
    with says("not a video this program can read"):
        sample_video(tmp_path / "notes.mp4")
    with says("is a folder"):
        sample_video(tmp_path)
    with says("not a video|no frame"):
        sample_video(clips / "sound.mp4")


def test_truncated_video(clips, tmp_path):
    data = (clips / "counting.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 3])
    with says("not a video|no frame"):
        sample_video(tmp_path / "cut.mp4")


def test_truncated_stream_gives_the_frames_there_are(clips, tmp_path):
    data = (clips / "raw.h264").read_bytes()
    (tmp_path / "cut.h264").write_bytes(data[: len(data) // 2])
    got = sample_video(tmp_path / "cut.h264", num_frames=4)
    assert 0 < got.total < 50
    assert len(got.frames) == 4


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_frames": 3, "fps": 1}, "not both"),
        ({"num_frames": 0}, "1 to 1024"),
        ({"num_frames": 5000}, "1 to 1024"),
        ({"fps": 0}, "above zero"),
        ({"fps": float("nan")}, "above zero"),
        ({"fps": 1e6}, "1 to 1024"),
        ({"budget": 99}, "70, 140"),
    ],
)
def test_bad_requests(clips, options, match):
    with says(match):
        sample_video(clips / "counting.mp4", **options)
