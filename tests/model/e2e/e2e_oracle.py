"""transformers' own processors and models over the same tiny checkpoint and the same files.

Two gaps of the reference are filled here, with its own parts:
torchvision is not installed, so its video processor (and the 12B's picture processor) cannot be
built; frames come from its OpenCV reader and sampler, pass its Pillow picture processor at the
video budget, and for the 12B its `patches_merge`.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4_unified import modeling_gemma4_unified
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import (
    Gemma4UnifiedAudioFeatureExtractor,
)
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor
from transformers.video_utils import default_sample_indices_fn, read_video_opencv

# Tensors are tiny: two threads that wait for each other take ten times as long on a busy machine.
torch.set_num_threads(1)


def load_model(folder: Path):
    """The reference's model in float32 with plain attention."""
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager")
    return model.float().eval()


def causal_full_layers(monkeypatch) -> None:
    """Let the 12B's plain forward use the masks its own `generate` helper makes.

    transformers 5.23 contradicts itself for the 12B: `forward` lets picture blocks look ahead on
    full-attention layers too, while the helper of its static-cache path keeps those layers causal,
    as Google's JAX code does. The second is right, so it is the oracle.
    """
    plain = modeling_gemma4_unified.create_masks_for_generate

    def masks(**kwargs):
        if "block_sequence_ids" in kwargs:
            return modeling_gemma4_unified.create_masks_for_vision_model(**kwargs)
        return plain(**kwargs)

    monkeypatch.setattr(modeling_gemma4_unified, "create_masks_for_generate", masks)


def load_merge():
    """The 12B's `patches_merge`; its module imports torchvision, which the function needs not."""
    stub = SimpleNamespace(functional=SimpleNamespace(InterpolationMode=object))
    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2")
    sys.modules.update(dict.fromkeys(names, stub))
    name = "transformers.models.gemma4_unified.image_processing_gemma4_unified"
    try:
        return importlib.import_module(name).patches_merge
    finally:
        for loaded in (*names, name):
            sys.modules.pop(loaded, None)


class Pictures:
    """The Pillow picture processor, with the 12B's merge behind it where asked for."""

    def __init__(self, budget: int, merge=None) -> None:
        self.max_soft_tokens, self._merge = budget, merge
        self._pil = Gemma4ImageProcessorPil(max_soft_tokens=budget)
        self.model_input_names = self._pil.model_input_names

    def fetch_images(self, images):
        return images

    def __call__(self, images, **_):
        flat = [
            image for group in images for image in (group if isinstance(group, list) else [group])
        ]
        out = self._pil(flat, return_tensors="pt")
        if self._merge is not None:
            merged = [
                self._merged(*item)
                for item in zip(
                    out["pixel_values"],
                    out["image_position_ids"],
                    out["num_soft_tokens_per_image"],
                    strict=True,
                )
            ]
            out["pixel_values"] = torch.stack([patches for patches, _ in merged])
            out["image_position_ids"] = torch.stack([places for _, places in merged])
        return out

    def _merged(self, patches, places, count):
        count = int(count)
        patches, places = self._merge(patches[None, : 9 * count], places[None, : 9 * count], count)
        extra = self.max_soft_tokens - count
        return (
            torch.nn.functional.pad(patches[0], (0, 0, 0, extra)),
            torch.nn.functional.pad(places[0], (0, 0, 0, extra), value=-1),
        )


class Videos:
    """Frames read and sampled by the reference's functions, then taken as pictures."""

    model_input_names = ("pixel_values_videos", "video_position_ids", "num_frames_per_video")

    def __init__(self, num_frames: int, merge=None) -> None:
        self._sample = partial(default_sample_indices_fn, num_frames=num_frames)
        self._pictures = Pictures(70, merge)

    def fetch_videos(self, videos, **_):
        return videos

    def __call__(self, videos, **_):
        patches, places, counts, tokens, metadata = [], [], [], [], []
        for path in videos:
            frames, facts = read_video_opencv(str(path), self._sample)
            out = self._pictures([[Image.fromarray(frame) for frame in frames]])
            patches.append(out["pixel_values"])
            places.append(out["image_position_ids"])
            counts.append(len(frames))
            tokens.append(int(out["num_soft_tokens_per_image"][0]))
            metadata.append(facts)
        return {
            "pixel_values_videos": torch.cat(patches),
            "video_position_ids": torch.cat(places),
            "num_frames_per_video": torch.tensor(counts),
            "num_soft_tokens_per_video": tokens,
            "video_metadata": metadata,
        }


class Oracle:
    """The reference's processor: expansion of placeholders, token types, tensors."""

    def __init__(self, folder: Path, *, unified: bool, budget: int, num_frames: int) -> None:
        merge = load_merge() if unified else None
        kind = Gemma4UnifiedProcessor if unified else Gemma4Processor
        checked = type("Checked", (kind,), {"check_argument_for_proper_class": lambda *_: None})
        listen = Gemma4UnifiedAudioFeatureExtractor if unified else Gemma4AudioFeatureExtractor
        self._pictures = Pictures(budget, merge)
        self._videos = Videos(num_frames, merge)
        self._listen = listen()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._expand = checked(self._listen, self._pictures, self._tokenizer, self._videos)

    def __call__(self, text, images=(), audio=(), videos=()) -> dict[str, torch.Tensor]:
        """Keyword arguments of the reference's `generate` for one prompt."""
        expand, tensors = self._expand, {}
        parts: dict[str, list[str]] = {"<|image|>": [], "<|audio|>": [], "<|video|>": []}
        if images:
            tensors |= self._pictures([[Image.open(path) for path in images]])
            parts["<|image|>"] = [
                expand.replace_image_token(tensors, i) for i in range(len(images))
            ]
        if audio:
            tensors |= self._listen(list(audio), return_tensors="pt")
            parts["<|audio|>"] = [expand.replace_audio_token(tensors, i) for i in range(len(audio))]
        if videos:
            tensors |= self._videos(videos)
            parts["<|video|>"] = [
                expand.replace_video_token(tensors, i) for i in range(len(videos))
            ]
        for placeholder, expansions in parts.items():
            pieces = text.split(placeholder)
            assert len(pieces) == len(expansions) + 1
            pairs = zip(expansions, pieces[1:], strict=True)
            text = pieces[0] + "".join(expansion + piece for expansion, piece in pairs)
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        tensors["input_ids"] = torch.tensor([ids])
        tensors["mm_token_type_ids"] = torch.from_numpy(self._types(ids))[None]
        unused = ("num_soft_tokens_per_image", "num_soft_tokens_per_video", "video_metadata")
        return {name: value for name, value in tensors.items() if name not in unused}

    def _types(self, ids: list[int]) -> np.ndarray:
        kinds = {
            self._expand.image_token_id: 1,
            self._expand.video_token_id: 2,
            self._expand.audio_token_id: 3,
        }
        return np.array([kinds.get(token, 0) for token in ids])
