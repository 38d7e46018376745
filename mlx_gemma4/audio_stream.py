"""Encodes a clip while it is being spoken: exact state, no second look at old sound.

`AudioStream` runs the tower on finished mel frames; `ClipStream` joins front end, encoder and
projector, so that microphone samples go in and soft tokens come out, for the tower models and for
the 12B alike. Marks are references to immutable state: taking and restoring one costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import mlx.core as mx
import numpy as np

from mlx_gemma4.audio_processing import (
    FRAMES_PER_TOKEN,
    MAX_CLIP_TOKENS,
    FrontEndStream,
    StreamState,
)
from mlx_gemma4.errors import MediaError

if TYPE_CHECKING:
    from mlx_gemma4.audio import AudioState, AudioTower

# A token reads the three mel frames before its own four.
_TAIL = FRAMES_PER_TOKEN - 1


class StreamMark(NamedTuple):
    """Everything an `AudioStream` knows; all parts are immutable."""

    state: AudioState
    tail: mx.array | None
    pending: mx.array | None
    finished: bool


class AudioStream:
    """One clip through the audio tower, piece by piece.

    A token is final once the four mel frames it begins with are there, so `push` returns exactly
    what the whole-clip encoding would give for them. `finish` adds the last token, if frames are
    left that do not fill one.
    """

    def __init__(self, tower: AudioTower) -> None:
        self._tower = tower
        self._relative = tower.relative_keys()
        self._mark = StreamMark(tower.initial_state(), None, None, finished=False)

    @property
    def tokens(self) -> int:
        """Tokens returned so far."""
        return self._mark.state.tokens

    def push(self, mel: mx.array) -> mx.array:
        """Take log-mel frames [F, bands], F ≥ 0, and return the newly final features [k, dims].

        Raises:
            MediaError: the clip is finished, or would grow beyond 30 seconds (750 tokens).
        """
        if self._mark.finished:
            raise MediaError("This sound clip is closed; start a new one for more sound.")
        mel = mx.array(mel)
        pending = self._mark.pending
        frames = mel if pending is None else mx.concatenate([pending, mel], axis=0)
        ready = frames.shape[0] // FRAMES_PER_TOKEN
        total = self.tokens + -(-frames.shape[0] // FRAMES_PER_TOKEN)
        if total > MAX_CLIP_TOKENS:
            raise MediaError(
                "A sound clip holds at most 30 seconds; close this clip and go on in a new one."
            )
        used = ready * FRAMES_PER_TOKEN
        return self._encode(frames[:used], frames[used:])

    def finish(self) -> mx.array:
        """Close the clip and return the features still missing: [0 or 1, dims]."""
        pending = self._mark.pending
        frames = mx.zeros((0, 1)) if pending is None else pending
        last = self._encode(frames, frames[:0])
        self._mark = self._mark._replace(finished=True)
        return last

    def mark(self) -> StreamMark:
        """Remember this moment; free of charge."""
        return self._mark

    def rollback(self, mark: StreamMark) -> None:
        """Return to a moment remembered by `mark`, exactly."""
        self._mark = mark

    def _encode(self, frames: mx.array, rest: mx.array) -> mx.array:
        state, tail = self._mark.state, self._mark.tail
        if not frames.shape[0]:
            self._mark = self._mark._replace(pending=rest)
            return mx.zeros((0, self._tower.config.output_proj_dims), dtype=self._tower.dtype)
        hidden = self._tower.subsample(tail, frames)
        features, after = self._tower.encode(hidden, self._relative, state)
        self._mark = StreamMark(after, frames[-_TAIL:], rest, finished=False)
        return features


class ClipMark(NamedTuple):
    """A moment of a `ClipStream`."""

    front: StreamState
    encoder: StreamMark | None


class ClipStream:
    """One open clip: microphone samples in, soft tokens of the language model's width out.

    Args:
        front: the model's front end (`MelStream` or `RawStream`).
        encoder: the tower's stream; None on the 12B, which has none.
        project: the model's sound projector, features [k, dims] to soft tokens [k, hidden].
    """

    def __init__(
        self,
        front: FrontEndStream,
        encoder: AudioStream | None,
        project: Callable[[mx.array], mx.array],
    ) -> None:
        self.front = front
        self._encoder = encoder
        self._project = project

    def push(self, pcm: np.ndarray) -> mx.array:
        """Take mono samples [n] at 16 kHz and return the newly final soft tokens [k, hidden].

        Raises:
            MediaError: bad samples, or the clip would grow beyond 30 seconds.
        """
        frames = mx.array(self.front.push(pcm))
        return self._project(frames if self._encoder is None else self._encoder.push(frames))

    def finish(self) -> mx.array:
        """Close the clip and return the soft tokens still missing; `front.clip()` has the rest."""
        last = mx.array(self.front.finish())
        return self._project(last if self._encoder is None else self._encoder.finish())

    def mark(self) -> ClipMark:
        """Remember this moment; free of charge, also just before a speculative `finish`."""
        return ClipMark(self.front.mark(), self._encoder.mark() if self._encoder else None)

    def rollback(self, mark: ClipMark) -> None:
        """Return to a moment remembered by `mark`, exactly."""
        self.front.rollback(mark.front)
        if self._encoder is not None and mark.encoder is not None:
            self._encoder.rollback(mark.encoder)
