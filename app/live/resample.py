"""Sample-rate conversion of a running stream, exact at block borders."""

import numpy as np
import soxr


class StreamResampler:
    """Mono float32 in at `rate_in`, out at `rate_out`; any block size, no seams.

    libsoxr at HQ holds about 20 ms back; `flush` delivers the rest.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self.rate_in, self.rate_out = rate_in, rate_out
        self._stream = self._new()

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Convert one block; the answer may be shorter or longer than the ratio says."""
        pcm = np.ascontiguousarray(pcm, dtype=np.float32)
        return pcm if self._stream is None else self._stream.resample_chunk(pcm)

    def flush(self) -> np.ndarray:
        """The samples still held back; the resampler then starts afresh."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream = self._new()
        return rest

    def _new(self) -> soxr.ResampleStream | None:
        if self.rate_in == self.rate_out:
            return None
        return soxr.ResampleStream(self.rate_in, self.rate_out, 1, dtype="float32", quality="HQ")


def resample(pcm: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Convert a whole recording (float32 mono)."""
    if rate_in == rate_out:
        return np.asarray(pcm, np.float32)
    return soxr.resample(pcm, rate_in, rate_out, quality="HQ").astype(np.float32)


def to_mono(block: np.ndarray) -> np.ndarray:
    """Average the channels of [samples, channels]; a mono array passes through."""
    return block if block.ndim == 1 else block.mean(axis=1, dtype=np.float32)
