"""Comparisons and prompts shared by the core tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx
import numpy as np
import torch

from mlx_gemma4.inputs import AudioClip, ImagePatches, ModelInputs

TOLERANCE = 3e-5


def assert_close(ours, theirs, tolerance: float = TOLERANCE) -> None:
    """Largest absolute difference within ``tolerance`` of the reference's largest value."""
    a, b = np.array(ours, dtype=np.float32), np.asarray(theirs, dtype=np.float32)
    assert a.shape == b.shape
    assert np.isfinite(b).all()
    worst = np.abs(a - b).max() / np.abs(b).max()
    assert worst <= tolerance, f"off by {worst:.2e} of scale"


def text_ids(count: int, seed: int = 0) -> np.ndarray:
    """Ordinary token ids of the tiny vocabulary."""
    return np.random.default_rng(seed).integers(30, 300, count).astype(np.int32)


def torch_ids(ids) -> torch.Tensor:
    return torch.tensor(np.asarray(ids), dtype=torch.long)[None]


def logits_of(model, ids, **options) -> mx.array:
    """Logits [rows, vocab] of a text prompt."""
    return model.logits(model.prefill(model.embed(ids), None, **options))[0]


@contextmanager
def using(model, fusion) -> Iterator[object]:
    """``model`` with its chains computed by ``fusion``."""
    before = model.fusion
    model.use(fusion)
    try:
        yield model
    finally:
        model.use(before)


class Prompt:
    """A mixed prompt as our ``ModelInputs`` and as the reference's keyword arguments."""

    def __init__(self, config, seed: int = 3) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.ids: list[int] = []
        self.types: list[int] = []
        self.media: list[ImagePatches | AudioClip] = []

    def text(self, count: int) -> Prompt:
        self.ids += self.rng.integers(30, 300, count).tolist()
        self.types += [0] * count
        return self

    def picture(self, rows: int, columns: int, video: bool = False) -> Prompt:
        """A picture of ``rows`` x ``columns`` soft tokens between its begin and end marks."""
        scale, wide = (1, 6912) if self.config.unified else (3, 768)
        shape = (rows * scale, columns * scale)
        x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
        patches = self.rng.uniform(0, 1, (shape[0] * shape[1], wide)).astype(np.float32)
        positions = np.stack([x, y], -1).reshape(-1, 2).astype(np.int32)
        size = (rows * 48, columns * 48)
        item = ImagePatches(patches, positions, rows * columns, str(len(self.ids)), size, size)
        marks = self.config.boi_token_id, self.config.eoi_token_id
        soft = self.config.video_token_id if video else self.config.image_token_id
        return self._item(item, marks, soft, 2 if video else 1)

    def sound(self, frames: int) -> Prompt:
        """``frames`` mel frames (or raw frames on the 12B)."""
        wide = 640 if self.config.unified else 128
        features = self.rng.normal(0, 1, (frames, wide)).astype(np.float32)
        count = frames if self.config.unified else (frames + 3) // 4
        item = AudioClip(features, frames, count, str(len(self.ids)), frames / 100)
        marks = self.config.boa_token_id, self.config.eoa_token_id
        return self._item(item, marks, self.config.audio_token_id, 3)

    def _item(self, item, marks, soft, kind) -> Prompt:
        self.ids += [marks[0], *[soft] * item.soft_tokens, marks[1]]
        self.types += [0, *[kind] * item.soft_tokens, 0]
        self.media.append(item)
        return self

    @property
    def inputs(self) -> ModelInputs:
        ids, types = np.array(self.ids, np.int32), np.array(self.types, np.uint8)
        return ModelInputs(ids, types, tuple(self.media))

    def reference(self) -> dict:
        """Keyword arguments of the reference's forward; padded as its processors do."""
        kinds = [kind for _, _, kind in self.inputs.runs()]
        by_kind = {
            k: [m for m, kind in zip(self.media, kinds, strict=True) if kind == k]
            for k in (1, 2, 3)
        }
        arguments = {
            "input_ids": torch_ids(self.ids),
            "mm_token_type_ids": torch_ids(self.types),
        }
        if by_kind[1]:
            arguments["pixel_values"], arguments["image_position_ids"] = _padded(by_kind[1])
        if by_kind[2]:
            pixels, positions = _padded(by_kind[2])
            arguments |= {"pixel_values_videos": pixels, "video_position_ids": positions}
            arguments["num_frames_per_video"] = torch.tensor([len(by_kind[2])])
        if by_kind[3]:
            longest = max(len(clip.features) for clip in by_kind[3])
            features = [np.pad(c.features, ((0, longest - c.valid), (0, 0))) for c in by_kind[3]]
            arguments["input_features"] = torch.tensor(np.stack(features))
            valid = [np.arange(longest) < clip.valid for clip in by_kind[3]]
            arguments["input_features_mask"] = torch.tensor(np.stack(valid))
        return arguments


def _padded(items) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(item.patches) for item in items)
    patches = [np.pad(i.patches, ((0, longest - len(i.patches)), (0, 0))) for i in items]
    places = [
        np.pad(i.positions, ((0, longest - len(i.positions)), (0, 0)), constant_values=-1)
        for i in items
    ]
    return torch.tensor(np.stack(patches)), torch.tensor(np.stack(places)).long()
