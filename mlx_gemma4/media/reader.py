"""Who opens the files of a prompt: this process, or somebody else on its behalf.

Files are foreign and their decoders are large; a program that must not die of one hands
`Processor.reading_with` a reader that opens them in another process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from mlx_gemma4.image_processing import VIDEO_BUDGET
from mlx_gemma4.media.images import ImageSource, load_image
from mlx_gemma4.media.sound import Sound, load_sound
from mlx_gemma4.media.video import VideoFrames, sample_video


class MediaReader(Protocol):
    """Opens media. All methods raise MediaError with one sentence for the user."""

    def image(self, source: ImageSource) -> np.ndarray:
        """RGB uint8 [height, width, 3]; see `media.images.load_image`."""
        ...

    def sound(self, path: str | Path) -> Sound:
        """Mono float32 at 16 kHz; see `media.sound.load_sound`."""
        ...

    def video(
        self,
        path: str | Path,
        num_frames: int | None = None,
        fps: float | None = None,
        budget: int = VIDEO_BUDGET,
    ) -> VideoFrames:
        """Sampled frames; see `media.video.sample_video`."""
        ...


class DirectReader:
    """Opens media in this process."""

    def image(self, source: ImageSource) -> np.ndarray:
        """See `MediaReader`."""
        return load_image(source)

    def sound(self, path: str | Path) -> Sound:
        """See `MediaReader`."""
        return load_sound(path)

    def video(
        self,
        path: str | Path,
        num_frames: int | None = None,
        fps: float | None = None,
        budget: int = VIDEO_BUDGET,
    ) -> VideoFrames:
        """See `MediaReader`."""
        return sample_video(path, num_frames, fps, budget)
