"""What a checkpoint is: the published ``config.json`` as frozen dataclasses.

Attribute names equal the published keys. Every known spelling is accepted: ``null`` is the same as
an absent key, per-layer settings may come as ``global_head_dim`` and ``num_global_key_value_heads``
or as a ``per_layer_config`` map, and a text-only file may be flat. Anything that is not Gemma 4 is
refused with a :class:`~mlx_gemma4.errors.ConfigError`. This module imports no MLX.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from mlx_gemma4.errors import ConfigError
from mlx_gemma4.tower_config import (
    AudioConfig,
    UnifiedAudioConfig,
    UnifiedVisionConfig,
    VisionConfig,
)

Kind = Literal["sliding_attention", "full_attention"]
SLIDING: Kind = "sliding_attention"
FULL: Kind = "full_attention"

_TOWER_TYPES = ("gemma4",)
_UNIFIED_TYPES = ("gemma4_unified",)
_TEXT_TYPES = ("gemma4_text", "gemma4_unified_text")
_DEFAULT_PATTERN = 6  # every sixth layer is full when a file does not list them (transformers)
_MAX_LAYERS = 1024
_MAX_WIDTH = 1 << 20
_END_OF_TURN = 106  # <turn|>
_TOOL_RESPONSE = 50  # <|tool_response>: the model stops after a tool call

_T = TypeVar("_T")


@dataclass(frozen=True)
class RopeSpec:
    """Rotary settings of one layer kind.

    ``rotated_pairs`` of the ``head_dim / 2`` pairs turn; frequency ``i`` is
    ``theta ** (-2 i / head_dim) / factor`` (proportional RoPE divides by the full head dim).
    """

    theta: float
    rotated_pairs: int
    factor: float = 1.0


@dataclass(frozen=True)
class LayerSpec:
    """Everything that differs from layer to layer, resolved."""

    index: int
    kind: Kind
    head_dim: int
    kv_heads: int
    k_eq_v: bool
    intermediate_size: int
    rope: RopeSpec
    donor: int | None
    """Index of the layer whose keys and values this layer reads; ``None`` if it has its own."""

    @property
    def is_sliding(self) -> bool:
        """Whether attention is limited to the sliding window."""
        return self.kind == SLIDING

    @property
    def rope_theta(self) -> float:
        """Base of the rotary frequencies."""
        return self.rope.theta


@dataclass(frozen=True)
class TextConfig:
    """The decoder. See ``layer(i)`` for the settings that differ per layer."""

    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    layer_types: tuple[Kind, ...]
    head_dim: int = 256
    global_head_dim: int = 512
    num_global_key_value_heads: int | None = None
    attention_k_eq_v: bool = False
    sliding_window: int = 512
    num_kv_shared_layers: int = 0
    use_double_wide_mlp: bool = False
    vocab_size: int = 262_144
    hidden_size_per_layer_input: int = 0
    vocab_size_per_layer_input: int = 262_144
    enable_moe_block: bool = False
    num_experts: int = 0
    top_k_experts: int = 0
    moe_intermediate_size: int = 0
    use_bidirectional_attention: Literal["vision"] | None = None
    max_position_embeddings: int = 131_072
    rms_norm_eps: float = 1e-6
    final_logit_softcapping: float | None = None
    rope_parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    per_layer_config: Mapping[int, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    pad_token_id: int = 0
    bos_token_id: int = 2
    eos_token_id: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        _check_text(self)

    @property
    def kv_shared_from(self) -> int:
        """Index M of the first layer without own keys and values (= number of layers if none)."""
        return self.num_hidden_layers - self.num_kv_shared_layers

    def donor_layer(self, index: int) -> int | None:
        """The last layer below M of the same kind, for a layer at or above M; else ``None``."""
        if index < self.kv_shared_from:
            return None
        return self.last_own_layer(self.layer_types[index])

    def last_own_layer(self, kind: Kind) -> int | None:
        """The last layer of ``kind`` with keys and values of its own (drafters read it too)."""
        own = [i for i in range(self.kv_shared_from) if self.layer_types[i] == kind]
        return own[-1] if own else None

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        """One resolved :class:`LayerSpec` per decoder layer."""
        return tuple(self._resolve(i) for i in range(self.num_hidden_layers))

    def layer(self, index: int) -> LayerSpec:
        """The resolved settings of one layer."""
        return self.layers[index]

    def _resolve(self, index: int) -> LayerSpec:
        kind = self.layer_types[index]
        k_eq_v = self.attention_k_eq_v and kind == FULL
        head_dim, kv_heads = self.head_dim, self.num_key_value_heads
        if self.per_layer_config:  # the newer spelling replaces the two global keys
            override = self.per_layer_config.get(index, {})
            head_dim = override.get("head_dim", head_dim)
            kv_heads = override.get("num_key_value_heads", kv_heads)
        elif kind == FULL:
            head_dim = self.global_head_dim
            kv_heads = (k_eq_v and self.num_global_key_value_heads) or kv_heads
        wide = self.use_double_wide_mlp and index >= self.kv_shared_from
        return LayerSpec(
            index=index,
            kind=kind,
            head_dim=head_dim,
            kv_heads=kv_heads,
            k_eq_v=k_eq_v,
            intermediate_size=self.intermediate_size * (2 if wide else 1),
            rope=_rope_spec(self.rope_parameters.get(kind, {}), kind, head_dim),
            donor=self.donor_layer(index),
        )


@dataclass(frozen=True)
class Gemma4Config:
    """A whole checkpoint's configuration."""

    architecture: str
    model_type: str
    text: TextConfig
    vision: VisionConfig | UnifiedVisionConfig | None = None
    audio: AudioConfig | UnifiedAudioConfig | None = None
    image_token_id: int = 258_880
    video_token_id: int = 258_884
    audio_token_id: int = 258_881
    boi_token_id: int = 255_999
    eoi_token_id: int = 258_882
    boa_token_id: int = 256_000
    eoa_token_id: int = 258_883
    eos_token_ids: tuple[int, ...] = (1, 106, 50)
    suppress_token_ids: tuple[int, ...] = ()
    tie_word_embeddings: bool = True
    label: str | None = None
    quantization: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def unified(self) -> bool:
        """Whether this is the encoder-free 12B family."""
        return self.model_type.startswith("gemma4_unified")

    @property
    def family(self) -> Literal["edge", "large"]:
        """``edge`` for E2B and E4B (per-layer embeddings), ``large`` for the rest."""
        return "edge" if self.text.hidden_size_per_layer_input else "large"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The kinds of input the checkpoint takes, out of text, image, video, audio."""
        seen = ("image", "video") if self.vision else ()
        return ("text", *seen, *(("audio",) if self.audio else ()))

    @property
    def pad_token_id(self) -> int:
        """The id looked up at soft-token positions."""
        return self.text.pad_token_id

    @property
    def bos_token_id(self) -> int:
        """The id every prompt starts with."""
        return self.text.bos_token_id

    @property
    def soft_token_ids(self) -> frozenset[int]:
        """Placeholder ids of pictures, video frames and sound."""
        return frozenset((self.image_token_id, self.video_token_id, self.audio_token_id))

    @classmethod
    def from_path(cls, folder: str | Path) -> Gemma4Config:
        """Read ``config.json`` (and the stop ids of ``generation_config.json``) of a checkpoint.

        Raises:
            ConfigError: the file is missing, not JSON, or not a Gemma 4 configuration.
        """
        folder = Path(folder)
        raw = _read_json(folder / "config.json")
        generation = folder / "generation_config.json"
        return cls.from_json(raw, _read_json(generation) if generation.is_file() else None)

    @classmethod
    def from_json(
        cls, raw: Mapping[str, Any], generation: Mapping[str, Any] | None = None
    ) -> Gemma4Config:
        """Build from the parsed ``config.json``; ``generation`` adds stop and suppressed ids.

        Raises:
            ConfigError: not Gemma 4, or values that contradict each other.
        """
        if not isinstance(raw, Mapping):
            raise ConfigError("config.json does not hold a JSON object, so it is no checkpoint.")
        try:
            return cls._parsed(_present(raw), _present(generation or {}))
        except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            raise ConfigError(
                f"config.json holds a value of the wrong kind ({error}); download it again."
            ) from error

    @classmethod
    def _parsed(cls, raw: dict[str, Any], generation: dict[str, Any]) -> Gemma4Config:
        model_type = str(raw.get("model_type", ""))
        if model_type not in (*_TOWER_TYPES, *_UNIFIED_TYPES, *_TEXT_TYPES):
            raise ConfigError(
                f"This checkpoint is of type {model_type or 'unknown'!r}, not Gemma 4; choose a "
                "Gemma 4 checkpoint (E2B, E4B, 12B, 26B-A4B or 31B)."
            )
        flat = model_type in _TEXT_TYPES
        unified = model_type.startswith("gemma4_unified")
        text_raw = _present(raw if flat else raw.get("text_config") or {})
        facet = raw.get("facet") or {}
        return cls(
            architecture=str((raw.get("architectures") or [model_type])[0]),
            model_type=model_type,
            text=_text(text_raw, raw, unified),
            vision=None if flat else _vision(raw, unified),
            audio=None if flat else _audio(raw, unified),
            eoa_token_id=raw.get("eoa_token_index", raw.get("eoa_token_id", 258_883)),
            eos_token_ids=_stop_ids(raw, text_raw, generation),
            suppress_token_ids=tuple(generation.get("suppress_tokens", ())),
            tie_word_embeddings=raw.get(
                "tie_word_embeddings", text_raw.get("tie_word_embeddings", True)
            ),
            label=facet.get("label"),
            quantization=raw.get("quantization") or raw.get("quantization_config"),
            **_known(
                raw,
                "image_token_id video_token_id audio_token_id boi_token_id eoi_token_id "
                "boa_token_id",
            ),
        )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no {path.name} in {path.parent}, so this folder is no model checkpoint; "
            "choose a folder that holds config.json and *.safetensors."
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}); download it again.") from error


def _present(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Drop keys whose value is ``null``: published files use it for "absent"."""
    return {key: value for key, value in raw.items() if value is not None}


def _known(raw: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: raw[name] for name in names.split() if name in raw}


def _build(kind: type[_T], raw: Mapping[str, Any], **resolved: Any) -> _T:
    """A dataclass from the keys it knows; unknown keys are ignored, as published files add many."""
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {k: v for k, v in _present(raw).items() if k in names} | resolved
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"config.json is incomplete: {error}.") from error


def _text(raw: Mapping[str, Any], top: Mapping[str, Any], unified: bool) -> TextConfig:
    count = raw.get("num_hidden_layers")
    if not isinstance(count, int) or not 0 < count <= _MAX_LAYERS:
        raise ConfigError(f"config.json gives num_hidden_layers as {count!r}, not a layer count.")
    _refuse_foreign(raw)
    kinds = list(raw.get("layer_types") or _default_layer_types(count))
    if len(kinds) != count or not set(kinds) <= {SLIDING, FULL}:
        raise ConfigError("config.json lists layer_types that do not fit num_hidden_layers.")
    kinds[-1] = FULL
    # Where a file is silent the reference's own defaults apply (transformers 5.23).
    silent = {
        "num_key_value_heads": 4,
        "hidden_size_per_layer_input": 0 if unified else 256,
        "sliding_window": 1024 if unified else 512,
        "vocab_size": top.get("vocab_size", 262_144),
    }
    if unified:
        silent["use_bidirectional_attention"] = "vision"
        silent["max_position_embeddings"] = 262_144
    return _build(
        TextConfig,
        silent | dict(raw),
        layer_types=tuple(kinds),
        rope_parameters=_frozen(raw.get("rope_parameters") or {}),
        per_layer_config=_layer_overrides(raw.get("per_layer_config") or {}),
        eos_token_id=_ids(raw.get("eos_token_id", 1)),
    )


def _refuse_foreign(raw: Mapping[str, Any]) -> None:
    """Settings no released Gemma 4 uses and this implementation would silently get wrong."""
    act = raw.get("hidden_activation", raw.get("hidden_act", "gelu_pytorch_tanh"))
    if act != "gelu_pytorch_tanh":
        raise ConfigError(f"config.json asks for the activation {act!r}, which Gemma 4 never uses.")
    if raw.get("attention_bias"):
        raise ConfigError("config.json asks for attention biases, which Gemma 4 never has.")
    if raw.get("use_bidirectional_attention") not in (None, "vision", False):
        raise ConfigError(
            "This is an encoder-style (fully bidirectional) model; it cannot generate text."
        )


def _default_layer_types(count: int) -> list[Kind]:
    return [FULL if (i + 1) % _DEFAULT_PATTERN == 0 else SLIDING for i in range(count)]


def _frozen(raw: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({k: MappingProxyType(_present(v)) for k, v in raw.items() if v})


def _layer_overrides(raw: Mapping[str, Any]) -> Mapping[int, Mapping[str, Any]]:
    """``per_layer_config`` with integer keys; layer-kind keys are not layer numbers."""
    return MappingProxyType({int(k): _present(v) for k, v in raw.items() if str(k).isdigit()})


def _rope_spec(raw: Mapping[str, Any], kind: Kind, head_dim: int) -> RopeSpec:
    full = kind == FULL
    rope_type = raw.get("rope_type", "proportional" if full else "default")
    if rope_type not in ("default", "proportional"):
        raise ConfigError(f"config.json asks for RoPE type {rope_type!r}, unknown for Gemma 4.")
    pairs = head_dim // 2
    if rope_type == "proportional":
        pairs = int(raw.get("partial_rotary_factor", 0.25 if full else 1.0) * head_dim // 2)
    theta = raw.get("rope_theta", 1_000_000.0 if full else 10_000.0)
    factor = raw.get("factor", 1.0) if rope_type == "proportional" else 1.0
    return RopeSpec(float(theta), pairs, float(factor))


def _vision(raw: Mapping[str, Any], unified: bool) -> VisionConfig | UnifiedVisionConfig | None:
    sub = raw.get("vision_config")
    if sub is None:
        return None
    if unified:
        return _build(UnifiedVisionConfig, sub)
    theta = (sub.get("rope_parameters") or {}).get("rope_theta", 100.0)
    return _checked_tower(_build(VisionConfig, sub, rope_theta=float(theta)))


def _audio(raw: Mapping[str, Any], unified: bool) -> AudioConfig | UnifiedAudioConfig | None:
    sub = raw.get("audio_config")
    if sub is None:
        return None
    if unified:
        return _build(UnifiedAudioConfig, sub)
    channels = tuple(sub.get("subsampling_conv_channels") or (128, 32))
    return _checked_tower(_build(AudioConfig, sub, subsampling_conv_channels=channels))


def _checked_tower(tower: _T) -> _T:
    """Refuse counts that cannot be a tower, before anything is allocated for them."""
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        count = getattr(tower, name)
        limit = _MAX_LAYERS if name == "num_hidden_layers" else _MAX_WIDTH
        if not isinstance(count, int) or not 0 < count <= limit:
            raise ConfigError(f"config.json gives a tower's {name} as {count!r}, not a count.")
    return tower


def _ids(value: int | list[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _stop_ids(
    raw: Mapping[str, Any], text: Mapping[str, Any], generation: Mapping[str, Any]
) -> tuple[int, ...]:
    """All ids that end a reply; the two turn-ending ids of the chat format always belong to them.

    A checkpoint with another vocabulary (the demo) names its own ids in ``generation_config.json``.
    """
    given = generation.get("eos_token_id", raw.get("eos_token_id", text.get("eos_token_id", 1)))
    ids = dict.fromkeys(_ids(given))
    if text.get("vocab_size", raw.get("vocab_size", 262_144)) == 262_144:
        ids |= dict.fromkeys((_END_OF_TURN, _TOOL_RESPONSE))
    return tuple(ids)


def _check_text(text: TextConfig) -> None:
    """Refuse dimensions that cannot be a model, before anything is allocated for them."""
    sizes = "hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim"
    for name in (*sizes.split(), "global_head_dim", "sliding_window", "vocab_size"):
        value = getattr(text, name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_WIDTH * 8:
            raise ConfigError(
                f"config.json gives {name} as {value!r}; it must be a positive count."
            )
    if not 0 <= text.num_kv_shared_layers < text.num_hidden_layers:
        raise ConfigError("config.json lets every layer share keys and values with an earlier one.")
    if text.enable_moe_block and not 0 < text.top_k_experts <= text.num_experts:
        raise ConfigError("config.json gives expert counts that do not fit together.")
    for spec in text.layers:
        if spec.index >= text.kv_shared_from and spec.donor is None:
            raise ConfigError(f"config.json gives layer {spec.index} no layer to share keys with.")
        if spec.head_dim % 2 or text.num_attention_heads % spec.kv_heads:
            raise ConfigError(f"config.json gives head sizes that do not fit (layer {spec.index}).")
