"""What goes into a model, as plain numpy data: token ids, patches of pictures, frames of sound.

No mlx here, so inputs can be made, stored and sent between processes without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlx_gemma4.errors import PromptError

TEXT, IMAGE, VIDEO, AUDIO = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class ImagePatches:
    """One picture or video frame, ready for the encoder, unpadded.

    Attributes:
        patches: float32 [P, 768] (tower models, P = 9 · soft_tokens) or [n, 6912] (12B), pixels
            in 0..1, each patch as row, column, channel; patches in reading order.
        positions: int32 [P, 2], (column, row) of each patch.
        soft_tokens: tokens it takes in the prompt.
        key: equal for equal pixels, budget and patch size; for caches.
        size: (height, width) of the picture as it came.
        resized: (height, width) the patches were cut from.
    """

    patches: np.ndarray
    positions: np.ndarray
    soft_tokens: int
    key: str
    size: tuple[int, int]
    resized: tuple[int, int]


@dataclass(frozen=True, eq=False)
class AudioClip:
    """One clip of sound of at most 30 seconds, ready for the encoder, unpadded.

    Attributes:
        features: float32 [F, 128] log-mel frames (E2B, E4B) or raw samples [n, 640] (12B).
        valid: number of real frames; equal to F, as nothing is padded.
        soft_tokens: tokens it takes in the prompt.
        key: equal for equal samples and kind of features; for caches.
        seconds: length of the sound.
    """

    features: np.ndarray
    valid: int
    soft_tokens: int
    key: str
    seconds: float


Media = ImagePatches | AudioClip


def media_runs(token_types: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of equal non-zero types as (start, end, type); each run is one media item.

    Args:
        token_types: uint8 [T]; 0 text, 1 image, 2 video frame, 3 audio.
    """
    types = np.asarray(token_types)
    borders = np.flatnonzero(np.diff(types)) + 1
    starts = np.concatenate([[0], borders]) if types.size else np.zeros(0, dtype=int)
    ends = np.concatenate([borders, [types.size]])
    return [(int(s), int(e), int(types[s])) for s, e in zip(starts, ends, strict=False) if types[s]]


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """A whole prompt.

    Attributes:
        ids: int32 [T]; soft tokens hold their placeholder id.
        token_types: uint8 [T]; 0 text (also the begin and end marks of media), 1 image, 2 video
            frame, 3 audio. A run of one non-zero type is one media item.
        media: the items, in the order of their runs.
        notices: sentences for the user about what was done to the input, such as a split.

    Raises:
        PromptError: the runs do not match the media in number, kind or length.
    """

    ids: np.ndarray
    token_types: np.ndarray
    media: tuple[Media, ...] = ()
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.ids.shape != self.token_types.shape:
            raise PromptError(
                f"Token ids and token types must be two lists of one length, "
                f"got shapes {self.ids.shape} and {self.token_types.shape}."
            )
        runs = media_runs(self.token_types)
        if len(runs) != len(self.media):
            raise PromptError(
                f"The prompt has places for {len(runs)} media items but {len(self.media)} were "
                "given; pass one item for each run of placeholders."
            )
        for (start, end, kind), item in zip(runs, self.media, strict=True):
            _check_run(start, end, kind, item)

    def __len__(self) -> int:
        return self.ids.size

    def runs(self) -> list[tuple[int, int, int]]:
        """(start, end, type) of each media item, in order."""
        return media_runs(self.token_types)


def _check_run(start: int, end: int, kind: int, item: Media) -> None:
    if (kind == AUDIO) != isinstance(item, AudioClip):
        raise PromptError(
            f"The placeholders at token {start} are for {'sound' if kind == AUDIO else 'a picture'}"
            " but the item given for them is of another kind."
        )
    if end - start != item.soft_tokens:
        raise PromptError(
            f"The media item at token {start} makes {item.soft_tokens} soft tokens but the prompt "
            f"has {end - start} placeholders for it."
        )
