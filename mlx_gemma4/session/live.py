"""Sound and camera frames of a running turn: encoded on arrival, placed in time order.

The turn layout: a sound clip is one unbroken run of soft tokens and is never cut by a frame. Frames
that arrive while a clip is open are encoded at once and wait; they are placed when the clip is
closed and the turn goes on. At the end of a turn only the newest waiting frame is placed.

This module decides *what* goes on the tape; the session decides *when* (a reply that is decoding
must not be disturbed).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import mlx.core as mx
import numpy as np

from mlx_gemma4.audio import AudioTower
from mlx_gemma4.audio_processing import MAX_CLIP_SAMPLES, check_samples
from mlx_gemma4.audio_stream import ClipMark, ClipStream
from mlx_gemma4.errors import MediaError
from mlx_gemma4.inputs import AUDIO, IMAGE
from mlx_gemma4.session.soft import SoftTokens

if TYPE_CHECKING:
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.processor import Processor
    from mlx_gemma4.session.stores import FeatureStore

_GRID = 16
"""Frames are compared as 16 × 16 mean colours, so that sensor noise averages out."""
SAME_FRAME = 6.0
"""Largest change of any of those cells, of 255, at which two frames count as the same view."""
MAX_WAITING = 16
"""Frames that may wait behind one open clip; 30 s at one frame a second, halved."""

_NO_ROWS = SoftTokens()


class Tokens(NamedTuple):
    """Text tokens to place."""

    ids: tuple[int, ...]


class Soft(NamedTuple):
    """Soft tokens to place: the next ``amount`` of the medium ``key``; see ``Tape.append_soft``."""

    placeholder: int
    kind: int
    key: str
    amount: int
    branch: int = 0


class Renamed(NamedTuple):
    """The clip placed last has ended; this is its final key."""

    key: str


Placement = Tokens | Soft | Renamed


@dataclass(frozen=True, slots=True)
class FrameNote:
    """What happened to a camera frame, for the "what was sent" log.

    Attributes:
        t: when it was taken, seconds.
        key: content key.
        fate: "waiting" (encoded, not placed yet), "fed", "same" (no change since the last one) or
            "skipped" (a newer one was placed instead).
        tokens: soft tokens it takes; 0 if it was not encoded.
    """

    t: float
    key: str
    fate: Literal["waiting", "fed", "same", "skipped"]
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class LiveState:
    """A moment of :class:`LiveInput`; never changed, so a mark is a reference."""

    clip: ClipStream | None = None
    clip_key: str = ""
    clip_rows: SoftTokens = _NO_ROWS
    clips: int = 0
    waiting: tuple[FrameNote, ...] = ()
    view: np.ndarray | None = None
    closing: ClipMark | None = None


class LiveInput:
    """Encodes what microphone and camera deliver.

    Args:
        model: encodes on the calling thread.
        processor: of the model.
        features: where encoded media are kept.
    """

    def __init__(self, model: Gemma4, processor: Processor, features: FeatureStore) -> None:
        self._model = model
        self._processor = processor
        self._features = features
        self._state = LiveState()
        self._branch = 0  # grows with every rollback, so that no two sounds look alike on a tape
        config = model.config
        self._audio = (config.boa_token_id, config.audio_token_id, config.eoa_token_id)
        self._image = (config.boi_token_id, config.image_token_id, config.eoi_token_id)

    @property
    def clip_seconds(self) -> float:
        """Length of the open clip."""
        return self._state.clip.front.seconds if self._state.clip else 0.0

    @property
    def waiting(self) -> tuple[FrameNote, ...]:
        """Frames that are encoded and not placed."""
        return self._state.waiting

    def rows(self, key: str) -> SoftTokens | None:
        """The open clip's soft tokens so far, if ``key`` is its key."""
        return self._state.clip_rows if key == self._state.clip_key else None

    def push_audio(self, pcm: np.ndarray) -> tuple[list[Placement], int]:
        """Take sound; a clip that reaches 30 seconds is closed and the next one begun.

        Args:
            pcm: mono samples [n] at 16 kHz, float32 in −1..1 or int16.

        Returns:
            What to place, and how many clips reached their limit.

        Raises:
            MediaError: the model does not hear, or the samples are damaged.
        """
        placed: list[Placement] = []
        full = 0
        pcm = check_samples(pcm)
        while pcm.size:
            clip = self._open_clip(placed)
            room = MAX_CLIP_SAMPLES - clip.front.samples
            placed += self._hear(clip.push(pcm[:room]))
            pcm = pcm[room:]
            if pcm.size:
                placed += self.end_clip()
                full += 1
        return placed, full

    def end_clip(self) -> list[Placement]:
        """Close the open clip, if there is one."""
        state = self._state
        if state.clip is None:
            return []
        before = state.clip.mark()
        placed = self._hear(state.clip.finish())
        rows = self._state.clip_rows
        if len(rows):
            key = state.clip.front.key
            self._features.put(key, rows)
            placed += [Renamed(key), Tokens((self._audio[2],))]
        state.clip.rollback(before)  # a mark taken earlier may still go on from here
        self._state = replace(self._state, clip=None, clip_key="", clip_rows=_NO_ROWS)
        return placed

    def push_frame(self, rgb: np.ndarray, t: float) -> FrameNote:
        """Encode a frame uint8 [h, w, 3], unless the camera still shows the same.

        Raises:
            MediaError: the model does not see, or this is no picture.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise MediaError(
                f"A camera frame must be uint8 [height, width, 3], not {rgb.dtype} "
                f"{list(rgb.shape)}; convert it first."
            )
        view = _coarse(rgb)
        if self._state.view is not None and np.abs(view - self._state.view).max() <= SAME_FRAME:
            return FrameNote(t, "", "same", 0)
        image = self._processor.frame(rgb)
        if self._features.get(image.key) is None:
            self._features.put(image.key, _evaluated(self._model.encode_image(image)))
        note = FrameNote(t, image.key, "waiting", image.soft_tokens)
        waiting = (*self._state.waiting, note)[-MAX_WAITING:]
        self._state = replace(self._state, waiting=waiting, view=view)
        return note

    def place_frames(self, *, newest_only: bool) -> tuple[list[Placement], list[FrameNote]]:
        """Place waiting frames in time order and forget them; returns their notes as well."""
        fed = self._state.waiting[-1:] if newest_only else self._state.waiting
        skipped = self._state.waiting[: len(self._state.waiting) - len(fed)]
        self._state = replace(self._state, waiting=())
        start, placeholder, end = self._image
        placed: list[Placement] = []
        for note in fed:
            placed.append(Tokens((start,)))
            placed.append(Soft(placeholder, IMAGE, note.key, note.tokens))
            placed.append(Tokens((end,)))
        notes = [replace(n, fate="skipped") for n in skipped]
        return placed, notes + [replace(n, fate="fed") for n in fed]

    def forget_view(self) -> None:
        """The last frame is no longer in the context: feed the next one whatever it shows."""
        self._state = replace(self._state, view=None)

    def drop(self) -> None:
        """Forget the open clip and all waiting frames."""
        self._state = LiveState(clips=self._state.clips)

    def mark(self) -> LiveState:
        """Remember this moment, the inside of an open clip included."""
        clip = self._state.clip
        return replace(self._state, closing=clip.mark() if clip else None)

    def rollback(self, mark: LiveState) -> None:
        """Return to a moment remembered by :meth:`mark`; a clip closed since is open again."""
        self._state = mark
        self._branch += 1
        if mark.clip is not None and mark.closing is not None:
            mark.clip.rollback(mark.closing)

    def _open_clip(self, placed: list[Placement]) -> ClipStream:
        state = self._state
        if state.clip is not None:
            return state.clip
        tower = self._model.audio_tower
        front = self._processor.mel_stream()  # refuses, and then the waiting frames still wait
        frames, _ = self.place_frames(newest_only=False)
        placed += frames
        number = self._state.clips + 1
        project = self._model.embed_audio
        assert project is not None  # the front end has refused models that do not hear
        encoder = tower.stream() if isinstance(tower, AudioTower) else None
        clip = ClipStream(front, encoder, project)
        self._state = replace(self._state, clip=clip, clip_key=f"clip {number}", clips=number)
        return clip

    def _hear(self, rows: mx.array) -> list[Placement]:
        """Keep newly final soft tokens [k, hidden]; the clip's start mark comes with the first."""
        if not rows.shape[0]:
            return []
        state = self._state
        start, placeholder, _ = self._audio
        placed: list[Placement] = [] if len(state.clip_rows) else [Tokens((start,))]
        self._state = replace(state, clip_rows=state.clip_rows.plus(_evaluated(rows)))
        heard = Soft(placeholder, AUDIO, state.clip_key, rows.shape[0], self._branch)
        return [*placed, heard]


def _evaluated(rows: mx.array) -> mx.array:
    mx.eval(rows)
    return rows


def _coarse(rgb: np.ndarray) -> np.ndarray:
    """Mean colour of each cell of a 16 × 16 grid: float32 [16, 16, 3] in 0..255."""
    rows = np.linspace(0, rgb.shape[0], _GRID, endpoint=False).astype(int)
    columns = np.linspace(0, rgb.shape[1], _GRID, endpoint=False).astype(int)
    sums = np.add.reduceat(rgb, rows, axis=0, dtype=np.float32)
    sums = np.add.reduceat(sums, columns, axis=1)
    heights = np.diff([*rows, rgb.shape[0]]).clip(1)
    widths = np.diff([*columns, rgb.shape[1]]).clip(1)
    return sums / (heights[:, None, None] * widths[None, :, None])
