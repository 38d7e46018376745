"""Gemma 4's multi-token drafters: small assistants that read the model's own keys and values.

    x = pre([scaled model embedding of the last token; hidden])
    x = decoder layers with queries only, against the model's last full and last sliding layer
    logits = E norm(x)          hidden' = post norm(x)

The first hidden state is the model's after its final norm, where the last token was picked; then
the assistant goes on with its own. The query position stays that of the last token (spec 7.5).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.cache import KV, Cache
from mlx_gemma4.drafter_config import AssistantConfig, assistant_tensors
from mlx_gemma4.errors import ConfigError, WeightsError
from mlx_gemma4.fusion import Fusion
from mlx_gemma4.layers import Embedding, Linear, RMSNorm
from mlx_gemma4.masks import Band, StepPlan
from mlx_gemma4.model import Gemma4
from mlx_gemma4.rope import Rope
from mlx_gemma4.sampling import Sampler, SamplingOptions
from mlx_gemma4.speculation import Drafts
from mlx_gemma4.step import Step
from mlx_gemma4.text import DecoderLayer, Stream
from mlx_gemma4.weights import assign, checkpoint_files, default_dtype, held_against, materialise

logger = logging.getLogger(__name__)

_ORDERING = "token_ordering"
_MOST = 4  # drafts in one block; published speed-ups peak at 3 to 4
_PRICE = 0.08  # of a step of the model: bytes of the four small layers, with their launches


class Assistant(nn.Module):
    """The drafter of one model size. Attributes mirror the checkpoint."""

    def __init__(self, config: AssistantConfig) -> None:
        super().__init__()
        text, hidden = config.text, config.text.hidden_size
        self.config = config
        self.pre_projection = Linear(2 * config.backbone, hidden)
        self.post_projection = Linear(hidden, config.backbone)
        self.embed_tokens = Embedding(text.vocab_size, hidden)
        self.layers = [DecoderLayer(text, spec) for spec in config.layers]
        self.norm = RMSNorm(hidden, text.rms_norm_eps)
        if config.centroids:
            self.centroids = Linear(hidden, config.centroids)
            self._ordering = mx.zeros((config.centroids, 1), dtype=mx.int32)
        self._ropes = {spec.kind: Rope(spec.rope, spec.head_dim) for spec in text.layers}

    def set_ordering(self, ordering: mx.array) -> None:
        """Token ids in the order of their groups, int [vocabulary]."""
        self._ordering = ordering.astype(mx.int32).reshape(self.config.centroids, -1)

    def __call__(
        self, embedded: mx.array, hidden: mx.array, position: int, kv: dict[str, KV], fusion: Fusion
    ) -> tuple[mx.array, mx.array]:
        """Draft one token.

        Args:
            embedded: the model's scaled embedding of the last token [1, 1, backbone].
            hidden: state it was picked from [1, 1, backbone].
            position: absolute position of the last token.
            kv: the model's keys and values before it, by kind of layer.
            fusion: how chains are computed.

        Returns:
            The state to score tokens with [1, 1, hidden], and the next ``hidden``.
        """
        x = self.pre_projection(mx.concatenate([embedded, hidden], axis=-1))
        bands = {kind: (_all_of(rows),) for kind, rows in kv.items()}
        plan = StepPlan(position, 1, bands["full_attention"], bands["sliding_attention"])
        turns = {kind: rope.turns(position, 1) for kind, rope in self._ropes.items()}
        step = Step(plan, turns, fusion)
        stream = Stream(x, self.layers[0].input_layernorm(x))
        after = [layer.input_layernorm.weight for layer in self.layers[1:]] + [self.norm.weight]
        for layer, following in zip(self.layers, after, strict=True):
            stream, _ = layer(stream, None, step, following, None, kv[layer.spec.kind])
        return stream.normed, self.post_projection(stream.normed)

    def scores(self, state: mx.array) -> tuple[mx.array | None, mx.array]:
        """Logits of the tokens that may come next.

        With centroids only the tokens of the best groups are scored.

        Returns:
            Their ids int32 [n], or ``None`` for the whole vocabulary, and the logits [n].
        """
        if not self.config.centroids:
            return None, self.embed_tokens.as_linear(state).reshape(-1)
        count, top = self.config.centroids, self.config.top_centroids
        groups = mx.argpartition(self.centroids(state).reshape(-1), kth=count - top)[count - top :]
        ids = self._ordering[groups].reshape(-1)
        return ids, self.embed_tokens(ids) @ state.reshape(-1)

    def start(
        self, model: Gemma4, prompt: np.ndarray, sampling: SamplingOptions
    ) -> AssistantDrafter:
        """The drafter of one reply.

        Raises:
            ConfigError: this assistant was made for another model.
        """
        del prompt
        self.check(model)
        return AssistantDrafter(self, model, sampling)

    def check(self, model: Gemma4) -> None:
        """Refuse a model this assistant was not made for.

        Raises:
            ConfigError: naming the difference.
        """
        ours, theirs = self.config, model.config.text
        if ours.backbone != theirs.hidden_size:
            raise ConfigError(
                f"This assistant was made for a model of width {ours.backbone:,}, but the model's "
                f"is {theirs.hidden_size:,}; load the assistant of the same size."
            )
        for spec in ours.layers:
            donor = theirs.last_own_layer(spec.kind)
            heads = ours.text.num_attention_heads
            other = None if donor is None else theirs.layer(donor)
            if other is None or other.head_dim != spec.head_dim or heads % other.kv_heads:
                raise ConfigError(
                    "This assistant's attention heads do not fit the model's; load the assistant "
                    "made for this model."
                )
        if ours.text.vocab_size != theirs.vocab_size:
            raise ConfigError(
                "This assistant's vocabulary is not the model's; load the assistant of this model."
            )


class AssistantDrafter:
    """Drafts one reply; see :class:`Assistant`."""

    most, price = _MOST, _PRICE

    def __init__(self, assistant: Assistant, model: Gemma4, sampling: SamplingOptions) -> None:
        self._assistant = assistant
        self._model = model
        self._greedy = sampling.is_greedy
        # No soft-cap: an assistant's logits come without one. Any distribution keeps the reply
        # exact; the reply's own filters make it likely to be accepted.
        self._sampler = Sampler(replace(sampling, repetition_penalty=1.0))
        self._last = 0

    def feed(self, token: int) -> None:
        """One more token is known."""
        self._last = token

    def ready(self) -> bool:
        """There is always something to propose."""
        return True

    def propose(self, hidden: mx.array, cache: Cache, count: int) -> Drafts | None:
        """Draft ``count`` tokens one after the other, none of them evaluated here."""
        text = self._model.language_model
        kv = text.shared_kv(cache)
        token, tokens = mx.array([self._last]), []
        sources: list[tuple[mx.array, mx.array]] = []
        for _ in range(count):
            embedded = text.embed(token[None])
            state, hidden = self._assistant(embedded, hidden, cache.offset, kv, text.fusion)
            token, source = self._pick(*self._assistant.scores(state))
            tokens.append(token)
            sources.append(source)
        return Drafts(mx.concatenate(tokens), None if self._greedy else sources)

    def _pick(
        self, ids: mx.array | None, logits: mx.array
    ) -> tuple[mx.array, tuple[mx.array, mx.array]]:
        """A token [1], and the ids and log-probabilities it was drawn from."""
        if self._greedy:
            place = mx.argmax(logits, keepdims=True)
            return (place if ids is None else ids[place]), (place, place)
        place, among, logs = self._sampler.draw(logits)
        if ids is None:
            return place, (among, logs)
        return ids[place], (ids[among], logs)


def load_assistant(folder: str | Path, dtype: mx.Dtype | None = None) -> Assistant:
    """Load an assistant checkpoint, dense or quantised.

    Args:
        folder: holds ``config.json`` and ``*.safetensors``.
        dtype: of everything not quantised; default: the checkpoint's on a GPU, else float32.

    Raises:
        ConfigError: no assistant. WeightsError: tensors are missing, unknown or damaged.
    """
    folder = Path(folder)
    config = AssistantConfig.from_path(folder)
    tensors = _read(folder)
    ordering = tensors.pop(_ORDERING, None)
    matrices, plain = held_against(assistant_tensors(config), tensors)
    assistant = Assistant(config)
    if config.centroids:
        if ordering is None or ordering.size != config.text.vocab_size:
            raise WeightsError("The assistant's token ordering is missing; download it again.")
        assistant.set_ordering(ordering)
    dtype = dtype or default_dtype(plain["norm.weight"].dtype)
    assign(assistant, matrices, plain, dtype)
    assistant.embed_tokens.dtype = dtype
    assistant.eval()
    materialise(assistant)
    return assistant


def _read(folder: Path) -> dict[str, mx.array]:
    """All tensors by canonical name; a copy of the tied head is left out."""
    tensors: dict[str, mx.array] = {}
    for file in checkpoint_files(folder):
        try:
            loaded = mx.load(str(file))
        except (RuntimeError, ValueError, OSError) as error:
            logger.info("cannot read %s: %s", file, error)
            raise WeightsError(f"{file} is damaged; download it again.") from error
        assert isinstance(loaded, dict)
        for name, array in loaded.items():
            for prefix in ("model.", "language_model.", "model.", "masked_embedding."):
                name = name.removeprefix(prefix)
            if not name.startswith("lm_head."):
                tensors[name] = array
    return tensors


def _all_of(kv: KV) -> Band:
    return Band(0, 1, kv.start, kv.start + kv.keys.shape[2], None)
