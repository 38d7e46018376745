"""The whole model: decoder, towers and projectors, and the calls that run it.

A prompt goes ``embed`` -> ``prefill`` (or ``extend`` for its earlier chunks) -> ``logits``; a reply
goes ``step`` after ``step``. Everything is built lazily; the caller decides when to evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.cache import Cache
from mlx_gemma4.config import AudioConfig, Gemma4Config, UnifiedVisionConfig, VisionConfig
from mlx_gemma4.errors import MediaError, PromptError
from mlx_gemma4.fusion import PORTABLE, Fusion
from mlx_gemma4.inputs import IMAGE, VIDEO, AudioClip, ImagePatches, ModelInputs
from mlx_gemma4.layers import Linear, soft_cap
from mlx_gemma4.text import TextModel

Blocks = np.ndarray | Sequence[int] | None
Soft = Sequence[tuple[int, mx.array]]


class Embedded(NamedTuple):
    """What the decoder layers read: merged embeddings and, on E2B and E4B, per-layer inputs."""

    hidden: mx.array
    """[1, T, hidden]"""
    per_layer: mx.array | None
    """[1, T, layers, dims] or ``None``"""

    def rows(self, start: int, stop: int) -> Embedded:
        """The time steps ``[start, stop)``."""
        per_layer = None if self.per_layer is None else self.per_layer[:, start:stop]
        return Embedded(self.hidden[:, start:stop], per_layer)


class Gemma4(nn.Module):
    """Gemma 4 of any size. Attributes mirror the checkpoint; parts it lacks are ``None``."""

    def __init__(self, config: Gemma4Config, fusion: Fusion = PORTABLE) -> None:
        super().__init__()
        self.config = config
        self.notices: list[str] = []
        """Sentences for the user about what this checkpoint lacks; filled by loading."""
        self.language_model = TextModel(config.text, fusion)
        if not config.tie_word_embeddings:
            self.lm_head = Linear(config.text.hidden_size, config.text.vocab_size)
        self.vision_tower: nn.Module | None = None
        self.vision_embedder: nn.Module | None = None
        self.audio_tower: nn.Module | None = None
        self.embed_vision: nn.Module | None = None
        self.embed_audio: nn.Module | None = None
        if config.vision is not None:
            self._add_vision(config)
        if config.audio is not None:
            self._add_audio(config)

    def _add_vision(self, config: Gemma4Config) -> None:
        from mlx_gemma4.projector import MultimodalProjector  # text-only models never load these

        vision, hidden = config.vision, config.text.hidden_size
        if isinstance(vision, UnifiedVisionConfig):
            from mlx_gemma4.unified import UnifiedVisionEmbedder

            self.vision_embedder = UnifiedVisionEmbedder(vision)
            width = vision.mm_embed_dim
        else:
            from mlx_gemma4.vision import VisionTower

            assert isinstance(vision, VisionConfig)
            self.vision_tower = VisionTower(vision)
            width = vision.hidden_size
        self.embed_vision = MultimodalProjector(width, hidden, vision.rms_norm_eps)

    def _add_audio(self, config: Gemma4Config) -> None:
        from mlx_gemma4.projector import MultimodalProjector

        audio, hidden = config.audio, config.text.hidden_size
        if isinstance(audio, AudioConfig):
            from mlx_gemma4.audio import AudioTower

            self.audio_tower = AudioTower(audio)
            width = audio.output_proj_dims
        else:
            assert audio is not None
            width = audio.audio_embed_dim
        self.embed_audio = MultimodalProjector(width, hidden, audio.rms_norm_eps)

    @property
    def dtype(self) -> mx.Dtype:
        """Type of the hidden states."""
        return self.language_model.dtype

    @property
    def fusion(self) -> Fusion:
        """How the decoder's chains are computed."""
        return self.language_model.fusion

    def use(self, fusion: Fusion) -> None:
        """Compute the decoder's chains so from the next pass on."""
        self.language_model.fusion = fusion

    def update_modules(self, modules: dict[str, Any], strict: bool = True) -> Gemma4:
        """See ``nn.Module``; what was traced with the former modules is dropped."""
        super().update_modules(modules, strict)
        self.language_model.forget_steps()
        return self

    def make_cache(
        self, start: int = 0, slack: int | None = None, *, kv_bits: int | None = None
    ) -> Cache:
        """Empty caches; see :meth:`TextModel.make_cache`."""
        return self.language_model.make_cache(start, slack, kv_bits=kv_bits)

    def encode_image(self, image: ImagePatches) -> mx.array:
        """One picture or video frame as soft tokens [n, hidden], lazily.

        Raises:
            MediaError: this checkpoint takes no pictures.
        """
        if self.embed_vision is None:
            raise MediaError(
                "This checkpoint takes no pictures; use one converted with its vision part."
            )
        patches, positions = mx.array(image.patches), mx.array(image.positions)
        if self.vision_embedder is not None:
            features = self.vision_embedder(patches, positions)
        else:
            assert self.vision_tower is not None
            features = self.vision_tower(patches, positions)
        return self.embed_vision(features).astype(self.dtype)

    def encode_audio(self, clip: AudioClip) -> mx.array:
        """One clip of sound as soft tokens [n, hidden], lazily.

        Raises:
            MediaError: this checkpoint takes no sound.
        """
        if self.embed_audio is None:
            raise MediaError("This checkpoint takes no sound; E2B, E4B and 12B do.")
        features = mx.array(clip.features[: clip.valid])
        if self.audio_tower is not None:
            features = self.audio_tower(features)
        return self.embed_audio(features).astype(self.dtype)

    def embed(self, ids: Sequence[int] | np.ndarray | mx.array, soft: Soft = ()) -> Embedded:
        """Look up tokens and merge soft tokens.

        Soft tokens replace rows after scaling and are not scaled themselves; the tables see the
        pad id at their positions, while the per-layer context sees the merged rows.

        Args:
            ids: token ids [T]; what stands at soft positions does not matter.
            soft: (first position, soft tokens [n, hidden]) per media item.

        Raises:
            PromptError: an id outside the vocabulary, a placeholder without soft tokens, or soft
                tokens outside the prompt.
        """
        known = np.array(ids, dtype=np.int64).reshape(-1)
        for start, rows in soft:
            if not 0 <= start <= start + rows.shape[0] <= known.size:
                raise PromptError(
                    f"Soft tokens at {start} do not fit a prompt of {known.size} tokens."
                )
            known[start : start + rows.shape[0]] = self.config.pad_token_id
        self._check_ids(known)
        table_ids = mx.array(known.astype(np.int32))[None]
        hidden = self.language_model.embed(table_ids)
        for start, rows in soft:
            hidden[:, start : start + rows.shape[0]] = rows.astype(hidden.dtype)
        return Embedded(hidden, self.language_model.per_layer_inputs(table_ids, hidden))

    def _check_ids(self, ids: np.ndarray) -> None:
        if ids.size == 0:
            raise PromptError("The prompt is empty; give at least one token.")
        if ids.min() < 0 or ids.max() >= self.config.text.vocab_size:
            raise PromptError("The prompt holds a token id outside the model's vocabulary.")
        if np.isin(ids, list(self.config.soft_token_ids)).any():
            raise PromptError(
                "The prompt holds a media placeholder without media; pass the picture or sound, "
                "or remove the placeholder."
            )

    def prefill(
        self,
        embedded: Embedded,
        cache: Cache | None,
        *,
        blocks: Blocks = None,
        last_only: bool = True,
    ) -> mx.array:
        """Run new tokens through the decoder, appending to ``cache``.

        Args:
            embedded: from :meth:`embed`.
            cache: earlier tokens, or ``None`` to run without history.
            blocks: picture block id per new token, int [T], 0 outside (see :func:`block_ids`); a
                block must lie wholly inside one call.
            last_only: return only the last position and skip all work only others need.

        Returns:
            Hidden states after the final norm, [1, 1 or T, hidden]; :meth:`logits` maps them on.
        """
        return self.language_model(
            embedded.hidden,
            embedded.per_layer,
            cache,
            blocks=_host(blocks),
            last_only=last_only,
        )

    def extend(self, embedded: Embedded, cache: Cache, *, blocks: Blocks = None) -> None:
        """Append new tokens to ``cache`` and compute nothing else; evaluate ``cache.arrays()``."""
        self.language_model.extend(embedded.hidden, embedded.per_layer, cache, blocks=_host(blocks))

    def step_hidden(self, token: mx.array | int, cache: Cache) -> mx.array:
        """Run one token (id as int or array of one element) -> hidden states [1, 1, hidden]."""
        ids = mx.array(token, dtype=mx.int32) if isinstance(token, int) else token
        ids = ids.reshape(1, 1)
        hidden = self.language_model.embed(ids)
        per_layer = self.language_model.per_layer_inputs(ids, hidden)
        return self.language_model(hidden, per_layer, cache)

    def step(self, token: mx.array | int, cache: Cache) -> mx.array:
        """Run one token (id as int or array of one element) -> soft-capped logits [1, vocab]."""
        return self.logits(self.step_hidden(token, cache))[:, 0]

    def logits(self, hidden: mx.array) -> mx.array:
        """Hidden states [..., hidden] -> soft-capped float32 logits [..., vocab]."""
        return soft_cap(self.greedy_logits(hidden), self.config.text.final_logit_softcapping)

    def greedy_logits(self, hidden: mx.array) -> mx.array:
        """Logits without soft-cap, in the model's type: same order, for arg-max and top-k."""
        if "lm_head" in self:
            return self.lm_head(hidden)
        return self.language_model.embed_tokens.as_linear(hidden)

    def forward_logits(self, inputs: ModelInputs) -> mx.array:
        """Logits of every position without a cache, for scoring and tests: float32 [T, vocab]."""
        embedded = self.embed(inputs.ids, self.encode(inputs))
        blocks = block_ids(inputs.token_types)
        return self.logits(self.prefill(embedded, None, blocks=blocks, last_only=False))[0]

    def encode(self, inputs: ModelInputs) -> list[tuple[int, mx.array]]:
        """Encode all media of a prompt: (first position, soft tokens [n, hidden]) per item."""
        soft = []
        for (start, stop, _), item in zip(inputs.runs(), inputs.media, strict=True):
            rows = (
                self.encode_image(item)
                if isinstance(item, ImagePatches)
                else self.encode_audio(item)
            )
            if rows.shape[0] != stop - start:
                raise PromptError(
                    f"A media item became {rows.shape[0]} soft tokens where the prompt has "
                    f"{stop - start} placeholders; prepare it with this checkpoint's processor."
                )
            soft.append((start, rows))
        return soft


def block_ids(token_types: np.ndarray) -> np.ndarray:
    """Picture block id per token (1, 2, ... per run of type image or video; 0 elsewhere)."""
    types = np.asarray(token_types)
    picture = np.isin(types, (IMAGE, VIDEO))
    starts = picture & np.concatenate([[True], types[1:] != types[:-1]])
    return np.where(picture, np.cumsum(starts), 0).astype(np.int32)


def _host(blocks: Blocks) -> np.ndarray | None:
    return None if blocks is None else np.asarray(blocks)
