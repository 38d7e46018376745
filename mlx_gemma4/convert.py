"""Write a checkpoint in MLX layout: quantised by a preset, or a bfloat16 copy.

The result has mlx-vlm's names (projections unfused, experts under ``switch_glu``, convolutions
channels-last) and per-module quantisation in ``config.json``, so that mlx-lm and mlx-vlm load it
too. Tensors are read, packed and written one by one; memory holds one shard and one tensor.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlx.core as mx

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.errors import WeightsError
from mlx_gemma4.key_table import without_absent_towers
from mlx_gemma4.layers import Quantization
from mlx_gemma4.quantization import PRESETS, Packed, choose, quantise, quantise_q4_0
from mlx_gemma4.tensors import TensorSpec, checkpoint_tensors
from mlx_gemma4.weights import Progress, checked, read_tensors

logger = logging.getLogger(__name__)

_SHARD_BYTES = 2 << 30
_COPIED = (
    "tokenizer*",
    "*.jinja",
    "chat_template.json",
    "special_tokens_map.json",
    "generation_config.json",
    "*processor_config.json",
    "LICENSE*",
)
# Written out even where the source relies on a default: mlx-lm's defaults are E2B's.
_EXPLICIT = (
    "head_dim",
    "num_attention_heads",
    "num_key_value_heads",
    "num_kv_shared_layers",
    "use_double_wide_mlp",
    "hidden_size_per_layer_input",
    "sliding_window",
    "attention_k_eq_v",
    "final_logit_softcapping",
)
_FREE_RESERVE = 1 << 28


def convert(
    source: str | Path,
    target: str | Path,
    preset: str = "4bit",
    *,
    progress: Progress | None = None,
) -> Path:
    """Convert the unquantised checkpoint in ``source`` and write it to the new folder ``target``.

    Args:
        source: a folder in any layout :func:`mlx_gemma4.load` reads.
        target: must not exist or be empty; appears only when complete, a failure leaves nothing.
        preset: a key of ``quantization.PRESETS``.
        progress: called with source bytes done, bytes in all and ``"convert"``.

    Returns:
        The written folder.

    Raises:
        ConfigError, WeightsError: the source cannot be read, is quantised already, the target is
            taken, or the disk is too full.
    """
    source, target = Path(source), Path(target)
    if preset not in PRESETS:
        raise WeightsError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    if target.exists() and any(target.iterdir()):
        raise WeightsError(f"The folder {target} is not empty; choose a new one.")
    config = Gemma4Config.from_path(source)
    raw = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = read_tensors(source, config)
    config, _ = without_absent_towers(config, tensors)
    matrices, plain = checked(tensors, config)
    tensors.clear()
    if any(matrix.quantization for matrix in matrices.values()):
        raise WeightsError("This checkpoint is quantised already; convert the original instead.")
    arrays = plain | {name: matrix.weight for name, matrix in matrices.items()}
    matrices.clear()
    plain.clear()
    _check_space(target, sum(array.nbytes for array in arrays.values()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as private:
        partial = Path(private) / "partial"  # the private folder may be read by its owner alone
        partial.mkdir()
        writer = _Writer(partial)
        how = _write_all(writer, arrays, config, preset, progress)
        writer.finish()
        _copy_companions(source, partial)
        _write_config(partial, raw, config, PRESETS[preset], how)
        if target.exists():
            target.rmdir()
        partial.rename(target)
    return target


def _check_space(target: Path, needed: int) -> None:
    """Quantised output is smaller than the source; the source's size is the safe bound."""
    parent = next(p for p in target.absolute().parents if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed + _FREE_RESERVE:
        raise WeightsError(
            f"Converting needs up to {needed / 1e9:.1f} GB in {parent}, but only "
            f"{free / 1e9:.1f} GB are free; make room or choose another disk."
        )


def _write_all(
    writer: _Writer,
    arrays: dict[str, mx.array],
    config: Gemma4Config,
    preset: str,
    progress: Progress | None,
) -> dict[str, Quantization]:
    """Write every tensor; returns how each quantised module was packed, by written path."""
    prefix = "model" if config.model_type.endswith("_text") else "language_model.model"
    total, done = sum(array.nbytes for array in arrays.values()), 0
    how: dict[str, Quantization] = {}
    for name, spec in _present(checkpoint_tensors(config), arrays):
        key = name if name in arrays else name.removesuffix(".weight")
        array = arrays.pop(key)
        size = array.nbytes
        for written, piece in _pieces(name, spec, array, prefix):
            packed = _packed(name, spec, piece, preset, config)
            if packed is None:
                writer.add(written, _stored(piece, preset))
                continue
            path = written.removesuffix(".weight")
            how[path] = packed.quantization
            writer.add(written, packed.weight)
            writer.add(f"{path}.scales", packed.scales)
            if packed.biases is not None:
                writer.add(f"{path}.biases", packed.biases)
        done += size
        if progress:
            progress(done, total, "convert")
    return how


def _present(
    table: dict[str, TensorSpec], arrays: dict[str, mx.array]
) -> Iterator[tuple[str, TensorSpec]]:
    """The table's entries the source holds, with experts as the source holds them."""
    for name, spec in table.items():
        stem = name.removesuffix("gate_up_proj")
        if name in arrays or name.removesuffix(".weight") in arrays:
            yield name, spec
        elif stem != name:
            for part in ("gate_proj", "up_proj"):
                count, rows, columns = spec.shape
                yield stem + part, TensorSpec((count, rows // 2, columns), "experts")


def _pieces(
    name: str, spec: TensorSpec, array: mx.array, prefix: str
) -> Iterator[tuple[str, mx.array]]:
    """What one canonical tensor becomes in the written layout."""
    name = name.replace("language_model", prefix, 1) if name.startswith("language") else name
    if name.startswith("lm_head") and prefix != "model":
        name = f"language_model.{name}"
    if spec.role != "experts":
        yield name, array
        return
    stem, _, part = name.rpartition("experts.")
    path = f"{stem}experts.switch_glu."
    if part == "gate_up_proj":
        gate, up = mx.split(array, 2, axis=1)
        yield f"{path}gate_proj.weight", gate
        yield f"{path}up_proj.weight", up
    else:
        yield f"{path}{part}.weight", array


def _packed(
    name: str, spec: TensorSpec, piece: mx.array, preset: str, config: Gemma4Config
) -> Packed | None:
    wanted = PRESETS[preset]
    if preset == "q4_0" and choose(name, spec, Quantization(64, 8), config) is not None:
        exact = quantise_q4_0(piece)
        if exact is not None:
            return exact
        logger.info("%s does not lie on the Q4_0 lattice; kept at 8 bits", name)
        wanted = PRESETS["8bit"]
    how = choose(name, spec, wanted, config)
    return None if how is None else quantise(piece, how)


def _stored(array: mx.array, preset: str) -> mx.array:
    return array.astype(mx.bfloat16) if preset == "bf16" else array


class _Writer:
    """Collects tensors into shards of bounded size and keeps the index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard: dict[str, mx.array] = {}
        self._size = self._total = 0
        self._names: list[list[str]] = []

    def add(self, name: str, array: mx.array) -> None:
        """Compute a tensor and queue it for the present shard."""
        array = mx.contiguous(array)
        mx.eval(array)
        if self._shard and self._size + array.nbytes > _SHARD_BYTES:
            self._flush()
        self._shard[name] = array
        self._size += array.nbytes

    def _flush(self) -> None:
        path = self._folder / f"part-{len(self._names)}.safetensors"
        mx.save_safetensors(str(path), self._shard, {"format": "mlx"})
        self._names.append(list(self._shard))
        self._total += self._size
        self._shard, self._size = {}, 0

    def finish(self) -> None:
        """Write the last shard, give the files their final names and write the index."""
        if self._shard:
            self._flush()
        count = len(self._names)
        weight_map = {}
        for i, names in enumerate(self._names):
            final = f"model-{i + 1:05d}-of-{count:05d}.safetensors"
            final = "model.safetensors" if count == 1 else final
            (self._folder / f"part-{i}.safetensors").rename(self._folder / final)
            weight_map |= dict.fromkeys(names, final)
        index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        path = self._folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _copy_companions(source: Path, target: Path) -> None:
    for pattern in _COPIED:
        for file in sorted(source.glob(pattern)):
            if file.is_file():
                shutil.copyfile(file, target / file.name)


def _write_config(
    folder: Path,
    raw: dict[str, Any],
    config: Gemma4Config,
    preset: Quantization | None,
    how: dict[str, Quantization],
) -> None:
    """The source's config, made explicit, with the quantisation of every module."""
    raw = {k: v for k, v in raw.items() if k not in ("quantization", "quantization_config")}
    text = raw if config.model_type.endswith("_text") else raw["text_config"]
    full = next(spec for spec in reversed(config.text.layers) if not spec.is_sliding)
    resolved = {name: getattr(config.text, name) for name in _EXPLICIT}
    resolved["layer_types"] = list(config.text.layer_types)
    resolved["global_head_dim"] = full.head_dim
    if full.k_eq_v:
        resolved["num_global_key_value_heads"] = full.kv_heads
    text |= {key: value for key, value in resolved.items() if text.get(key) is None}
    raw.setdefault("vocab_size", config.text.vocab_size)  # mlx-lm reads it at the top only
    if preset is not None:
        block: dict[str, Any] = _json(preset)
        block |= {path: _json(q) for path, q in how.items() if q != preset}
        raw["quantization"] = raw["quantization_config"] = block
    path = folder / "config.json"
    path.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _json(how: Quantization) -> dict[str, Any]:
    return {"group_size": how.group_size, "bits": how.bits, "mode": how.mode}
