"""Tiny checkpoints and real media files for the end-to-end comparisons."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

from mlx_gemma4.published import ARCHITECTURES
from mlx_gemma4.testing import random_checkpoint


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("e2e")
    return {arch: random_checkpoint(root / arch, arch, seed=21) for arch in ARCHITECTURES}


@dataclass(frozen=True)
class Files:
    """Real files: two pictures of different shape, two recordings of odd length, a video."""

    photo: Path
    banner: Path
    voice: Path
    word: Path
    video: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(5)
    photo = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    photo = photo.resize((320, 240), Image.Resampling.BICUBIC)
    ImageDraw.Draw(photo).ellipse((40, 30, 200, 180), fill=(250, 240, 10))
    photo.save(folder / "photo.jpg", quality=92)
    banner = Image.linear_gradient("L").resize((900, 120)).convert("RGB")
    ImageDraw.Draw(banner).text((20, 30), "FACET", fill=(200, 0, 0), font_size=60)
    banner.save(folder / "banner.png")
    for name, samples in (("voice", 16_161), ("word", 7_321)):
        time = np.arange(samples) / 16_000
        sound = 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time)
        sound += 0.02 * rng.standard_normal(samples)
        soundfile.write(folder / f"{name}.wav", sound, 16_000)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=160x120:r=5:d=9"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(folder / "video.mp4")], check=True)
    names = ("photo.jpg", "banner.png", "voice.wav", "word.wav", "video.mp4")
    return Files(*(folder / name for name in names))
