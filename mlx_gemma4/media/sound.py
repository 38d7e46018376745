"""Opens recordings and sound tracks as mono float32 at 16 kHz, and cuts long ones at pauses.

Decoders in order: libsndfile (WAV, FLAC, OGG, MP3, AIFF), macOS' afconvert, ffmpeg if installed.
Files are read in blocks and resampled as they come, so memory holds the 16 kHz result only.

Resampling is soxr (high quality). Google advises the Fourier method; on speech the two agree to
about -90 dB inside the pass band (tested), but the Fourier method needs the whole recording at its
original rate in memory and wraps its end around into its beginning.
"""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlx_gemma4.audio_processing import MAX_CLIP_SECONDS, SAMPLE_RATE
from mlx_gemma4.errors import MediaError
from mlx_gemma4.media.files import check_file, path_of

log = logging.getLogger(__name__)

MAX_SECONDS = 3600.0  # one hour is 230 MB at 16 kHz
_BLOCK_SECONDS = 10
_DECODER_TIMEOUT = 600.0  # seconds for an external decoder; it reads at hundreds of times real time

# Cutting: the quietest fifth of a second in the last ten seconds of what fits a clip.
_SEARCH_SECONDS = 10.0
_PAUSE_SECONDS = 0.2
_STEP_SECONDS = 0.02
_SHORTEST_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording: `pcm` float32 [n] mono at 16 kHz, `seconds` its length."""

    pcm: np.ndarray
    seconds: float


def load_sound(path: str | Path, *, max_seconds: float = MAX_SECONDS) -> Sound:
    """Open a recording, or the sound track of a video.

    Args:
        path: WAV, FLAC, OGG, MP3, AIFF everywhere; m4a, mp4 and others where the system has a
            decoder for them.
        max_seconds: longest recording to take in.

    Raises:
        MediaError: missing, empty, silent of samples, damaged, too long, or no decoder.
    """
    path = path_of(path, "recording")
    name = check_file(path, "recording")
    pcm = _from_libsndfile(path, name, max_seconds)
    if pcm is None:
        pcm = _from_other_decoders(path, name, max_seconds)
    if not pcm.size:
        raise MediaError(f"{name} holds no sound (0 seconds); record or export it again.")
    if not np.isfinite(pcm).all():
        raise MediaError(
            f"{name} contains samples that are not numbers, so it is damaged; export it again."
        )
    return Sound(pcm, pcm.size / SAMPLE_RATE)


def _too_long(name: str, max_seconds: float) -> MediaError:
    return MediaError(
        f"{name} is longer than {max_seconds / 60:g} minutes; cut out the part you need first."
    )


def _from_libsndfile(path: Path, name: str, max_seconds: float) -> np.ndarray | None:
    """Samples through libsndfile; None if it does not know the format."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            if file.samplerate < 1 or file.channels < 1:
                raise MediaError(f"{name} has no usable sample rate; export it again as WAV.")
            size = int(file.samplerate * _BLOCK_SECONDS)
            blocks = file.blocks(blocksize=size, dtype="float32", always_2d=True)
            mono = (block.mean(axis=1, dtype=np.float32) for block in blocks)
            return _resample(mono, file.samplerate, name, max_seconds)
    except soundfile.LibsndfileError as error:
        log.info("libsndfile cannot read the file: %s", error)
        return None


def resample(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Mono float32 samples [n] at `rate` to 16 kHz."""
    return _resample(iter([pcm]), rate, "The sound", math.inf)


def _resample(blocks: Iterable[np.ndarray], rate: int, name: str, max_seconds: float) -> np.ndarray:
    """Blocks of mono samples at `rate`, joined at 16 kHz, never more than `max_seconds`."""
    import soxr

    convert = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1)
    parts, taken = [np.zeros(0, np.float32)], 0
    for block in blocks:
        taken += block.size
        if taken > max_seconds * rate:
            raise _too_long(name, max_seconds)
        block = np.ascontiguousarray(block, dtype=np.float32)
        parts.append(block if convert is None else convert.resample_chunk(block))
    if convert is not None:
        parts.append(convert.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts)


def _from_other_decoders(path: Path, name: str, max_seconds: float) -> np.ndarray:
    for decode in (_afconvert, _ffmpeg):
        pcm = decode(path, name, max_seconds)
        if pcm is not None:
            return pcm
    raise MediaError(
        f"{name} has no sound that can be decoded on this computer; "
        "convert it to WAV, FLAC or MP3, or install ffmpeg."
    )


def _afconvert(path: Path, name: str, max_seconds: float) -> np.ndarray | None:
    """Decode with the converter of macOS; None elsewhere or if it fails."""
    tool = shutil.which("afconvert") if sys.platform == "darwin" else None
    if tool is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        command = [tool, "-f", "WAVE", "-d", "LEF32@16000", "-c", "1", "--mix"]
        try:
            subprocess.run(
                [*command, str(path.resolve()), str(wav)],
                check=True,
                capture_output=True,
                timeout=_DECODER_TIMEOUT,
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.info("afconvert cannot read the file: %s", error)
            return None
        return _from_libsndfile(wav, name, max_seconds)


def _ffmpeg(path: Path, name: str, max_seconds: float) -> np.ndarray | None:
    """Decode the first sound track with ffmpeg; None if not installed or not a file it knows.

    Raises:
        MediaError: a film or picture without a sound track.
    """
    tool = shutil.which("ffmpeg")
    if tool is None:
        return None
    command = [tool, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path.resolve()}", "-map", "0:a:0", "-t", f"{max_seconds + 1:.0f}"]
    command += ["-ac", "1", "-f", "f32le", "-ar", str(SAMPLE_RATE), "pipe:1"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_DECODER_TIMEOUT, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        log.info("ffmpeg failed: %s", error)
        return None
    if done.returncode:
        complaint = done.stderr.decode(errors="replace")
        log.info("ffmpeg cannot read the file: %s", complaint[-500:])
        if "matches no streams" in complaint:
            raise MediaError(f"{name} has no sound track.")
        return None
    pcm = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], dtype="<f4")
    if pcm.size > max_seconds * SAMPLE_RATE:
        raise _too_long(name, max_seconds)
    return pcm.astype(np.float32)


def split_at_pauses(
    pcm: np.ndarray, max_seconds: float = MAX_CLIP_SECONDS, rate: int = SAMPLE_RATE
) -> list[np.ndarray]:
    """Cut a recording into clips, each at the quietest moment of the last third that fits.

    The clips joined are the recording, sample for sample.

    Args:
        pcm: mono samples [n].
        max_seconds: longest clip.
        rate: samples a second.

    Returns:
        One clip if it fits, else several; none for an empty recording.
    """
    return list(_clips(pcm, int(max_seconds * rate), rate)) if pcm.size else []


def _clips(pcm: np.ndarray, longest: int, rate: int) -> Iterator[np.ndarray]:
    while pcm.size > longest:
        # What stays must not be a splinter: the model makes nothing of a few milliseconds.
        latest = min(longest, max(pcm.size - int(_SHORTEST_SECONDS * rate), 1))
        earliest = max(1, latest - min(int(_SEARCH_SECONDS * rate), latest // 2))
        cut = earliest + _quietest(pcm[earliest:latest], rate)
        yield pcm[:cut]
        pcm = pcm[cut:]
    yield pcm


def _quietest(stretch: np.ndarray, rate: int) -> int:
    """Offset of the middle of the quietest pause; of several equal ones the latest."""
    window = max(1, min(int(_PAUSE_SECONDS * rate), stretch.size))
    step = max(1, int(_STEP_SECONDS * rate))
    energy = np.concatenate([[0.0], np.cumsum(np.square(stretch, dtype=np.float64))])
    starts = np.arange(0, stretch.size - window + 1, step)
    loudness = energy[starts + window] - energy[starts]
    best = starts.size - 1 - int(np.argmin(loudness[::-1]))
    return int(starts[best]) + window // 2
