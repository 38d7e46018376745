"""Opens videos: evenly spaced frames, upright and already resized, each with its time.

Only the sampled frames are kept, and those at the size the model reads, so memory does not depend
on the video. The sound track is another matter: `media.sound.load_sound` opens it from the same
file.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlx_gemma4.errors import MediaError
from mlx_gemma4.image_processing import VIDEO_BUDGET, resize
from mlx_gemma4.media.files import check_file, path_of
from mlx_gemma4.media.images import MAX_PIXELS

if TYPE_CHECKING:
    import cv2

log = logging.getLogger(__name__)

DEFAULT_FRAMES = 32
MAX_FRAMES = 1024  # 70 000 tokens; more fits no prompt
FALLBACK_FPS = 24.0  # the reference's value for videos that do not say
_PLAUSIBLE_FPS = 1000.0
# Frames further apart than this are sought; nearer ones are decoded one after another.
_SEEK_GAP = 240


@dataclass(frozen=True, eq=False)
class VideoFrames:
    """Sampled frames of a video.

    Attributes:
        frames: RGB uint8 [h, w, 3], already resized to `budget`.
        indices: number of each frame in the video.
        fps: frames a second of the video.
        total: frames in the video.
        budget: soft tokens a frame was resized for.
        size: (height, width) of the video, upright.
    """

    frames: tuple[np.ndarray, ...]
    indices: tuple[int, ...]
    fps: float
    total: int
    budget: int
    size: tuple[int, int]

    @property
    def seconds(self) -> tuple[float, ...]:
        """Time of each frame: its number divided by the frame rate."""
        return tuple(index / self.fps for index in self.indices)

    @property
    def duration(self) -> float:
        """Length of the video in seconds."""
        return self.total / self.fps


def _opencv() -> Any:
    """OpenCV, told to keep its decoders' complaints to itself: errors are sentences of ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, at the first video
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def timestamp(seconds: float) -> str:
    """Time as the model reads it: minutes and whole seconds, `MM:SS`; hours are minutes too."""
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"


def frame_indices(total: int, count: int) -> list[int]:
    """Numbers of `count` evenly spaced frames: `floor(k · total / count)`, clamped to `total`."""
    count = min(count, total)
    return [k * total // count for k in range(count)]


def sample_video(
    path: str | Path,
    num_frames: int | None = None,
    fps: float | None = None,
    budget: int = VIDEO_BUDGET,
) -> VideoFrames:
    """Sample frames evenly over the whole video.

    Args:
        path: a video file.
        num_frames: how many frames, at most `MAX_FRAMES`; 32 if neither this nor `fps` is given.
        fps: frames a second of video instead.
        budget: soft tokens of each frame.

    Raises:
        MediaError: missing, empty, damaged, no video, or too many frames asked for.
    """
    if num_frames is not None and fps is not None:
        raise MediaError("Give either a number of frames or frames a second for a video, not both.")
    path = path_of(path, "video")
    name = check_file(path, "video")
    try:
        return _read(path, name, num_frames, fps, budget)
    except _opencv().error as error:
        log.info("OpenCV gave up: %s", error)
        raise MediaError(
            f"{name} is damaged and cannot be played; copy or download it again."
        ) from error


def _read(
    path: Path, name: str, num_frames: int | None, fps: float | None, budget: int
) -> VideoFrames:
    with _Reader(path, name) as reader:
        total = reader.reported
        rate = reader.fps
        if total < 1:
            total = reader.count()
        frames = _sample(reader, total, _wanted(total, rate, num_frames, fps), budget)
        if frames is None:  # fewer frames than the file says: count them and sample again
            total = reader.count()
            frames = _sample(reader, total, _wanted(total, rate, num_frames, fps), budget)
    if not frames:
        raise MediaError(f"{name} has no frame that can be decoded; convert it to MP4 (H.264).")
    pictures = tuple(frames.values())
    return VideoFrames(pictures, tuple(frames), rate, total, budget, reader.size)


def _wanted(total: int, rate: float, num_frames: int | None, fps: float | None) -> list[int]:
    if total < 1:
        return []
    if fps is not None:
        if not (math.isfinite(fps) and fps > 0):
            raise MediaError("Frames a second must be a number above zero.")
        num_frames = max(1, int(total / rate * fps))
    num_frames = DEFAULT_FRAMES if num_frames is None else num_frames
    if not 1 <= num_frames <= MAX_FRAMES:
        raise MediaError(
            f"A video can be sampled at 1 to {MAX_FRAMES} frames, not {num_frames}; "
            "ask for fewer frames."
        )
    return frame_indices(total, num_frames)


def _sample(
    reader: _Reader, total: int, wanted: Sequence[int], budget: int
) -> dict[int, np.ndarray] | None:
    """Resized frames by number; None if the video ends before the last wanted one."""
    frames = {index: resize(frame, budget) for index, frame in reader.frames(wanted)}
    missing = len(wanted) - len(frames)
    if missing:
        log.info("video says %d frames but %d of %d could not be read", total, missing, len(wanted))
        return None if frames else {}
    return frames


class _Reader:
    """One open video file; frames come out upright, as RGB."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._capture: cv2.VideoCapture | None = None
        self.size = (0, 0)

    def __enter__(self) -> _Reader:
        cv2 = _opencv()
        self._open()
        reported = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.reported = int(reported) if 0 < reported < 2**31 else 0
        fps = self.capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(fps) if 0 < fps <= _PLAUSIBLE_FPS else FALLBACK_FPS
        return self

    def __exit__(self, *_: object) -> None:
        self.capture.release()

    @property
    def capture(self) -> cv2.VideoCapture:
        """The open decoder."""
        assert self._capture is not None
        return self._capture

    def _open(self) -> None:
        """Open at the first frame; rotation metadata is honoured by the decoder."""
        cv2 = _opencv()
        if self._capture is not None:
            self._capture.release()
        capture = self._capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            capture.release()
            raise MediaError(
                f"{self._name} is not a video this program can read; convert it to MP4 (H.264)."
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)

    def count(self) -> int:
        """Frames that really decode, by going through all of them."""
        self._open()
        number = 0
        while self.capture.grab():
            number += 1
        return number

    def frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The wanted frames, in rising order; stops where the video does."""
        self._open()
        position = 0
        for index in wanted:
            if not self._advance(position, index):
                return
            got, frame = self.capture.read()
            if not got or frame is None:
                return
            position = index + 1
            yield index, self._rgb(frame)

    def _advance(self, position: int, index: int) -> bool:
        """Bring frame `index` next, by seeking over wide gaps and decoding over narrow ones."""
        import cv2

        if index - position > _SEEK_GAP:
            self.capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            if round(self.capture.get(cv2.CAP_PROP_POS_FRAMES)) == index:
                return True
            self._open()  # the container cannot seek to a frame: start over and walk
            position = 0
        return all(self.capture.grab() for _ in range(index - position))

    def _rgb(self, frame: np.ndarray) -> np.ndarray:
        import cv2

        height, width = frame.shape[:2]
        if height * width > MAX_PIXELS:
            raise MediaError(f"{self._name} has frames too large to decode; make it smaller first.")
        self.size = (height, width)
        colour = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(frame, colour)
