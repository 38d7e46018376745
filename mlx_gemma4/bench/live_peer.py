"""mlx-vlm with its towers, on our arrays and our soft-token layout."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from mlx_gemma4.bench.peers import available, shared_tensors
from mlx_gemma4.inputs import AudioClip, ImagePatches
from mlx_gemma4.model import Gemma4

_PREFIX = "language_model."


def ready() -> bool:
    """Whether mlx-vlm is installed."""
    return available("mlx-vlm")


class LivePeer:
    """mlx-vlm's whole model.

    Args:
        config_json: of the model, towers included.
        model: ours; its arrays are used.
    """

    def __init__(self, config_json: dict[str, Any], model: Gemma4) -> None:
        from mlx_vlm.models.gemma4 import Model  # pyright: ignore[reportMissingImports]

        self._model = Model(_config(config_json))
        named = [
            (_PREFIX + "model." + name.removeprefix(_PREFIX), array)
            if name.startswith(_PREFIX)
            else (name, array)
            for name, array in shared_tensors(model).items()
        ]
        self._model.load_weights(named, strict=True)
        self._model.eval()
        mx.eval(self._model.parameters())

    def first_token(
        self, ids: np.ndarray, clips: Sequence[AudioClip], frames: Sequence[ImagePatches]
    ) -> float:
        """Seconds from the whole prompt to its first token; the clips must be equally long."""
        from mlx_vlm.generate.ar import generate_step  # pyright: ignore[reportMissingImports]

        features = mx.array(np.stack([clip.features[: clip.valid] for clip in clips]))
        patches = [mx.array(frame.patches) for frame in frames]
        positions = [mx.array(frame.positions) for frame in frames]
        prompt = mx.array(ids)[None]
        mx.eval(features, patches, positions, prompt)
        start = time.perf_counter()
        steps = generate_step(
            prompt,
            self._model,
            patches,
            None,
            max_tokens=1,
            temperature=0.0,
            image_position_ids=positions,
            input_features=features,
            input_features_mask=mx.ones(features.shape[:2], dtype=mx.bool_),
        )
        token, _ = next(steps)
        mx.eval(token)
        wait = time.perf_counter() - start
        steps.close()
        return wait


def _config(config_json: dict[str, Any]) -> Any:
    from mlx_vlm.models.gemma4 import ModelConfig  # pyright: ignore[reportMissingImports]
    from mlx_vlm.models.gemma4.config import (  # pyright: ignore[reportMissingImports]
        AudioConfig,
        TextConfig,
        VisionConfig,
    )

    ids = {
        name: config_json[name]
        for name in ("image_token_id", "audio_token_id", "boi_token_id", "eoi_token_id")
    }
    return ModelConfig(
        text_config=TextConfig.from_dict(config_json["text_config"]),
        vision_config=VisionConfig.from_dict(config_json["vision_config"]),
        audio_config=AudioConfig.from_dict(config_json["audio_config"]),
        hidden_size=config_json["text_config"]["hidden_size"],
        **ids,
    )
