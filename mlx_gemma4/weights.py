"""Checkpoint folders to a ready model: find, rename, check, pack, cast, fuse, evaluate.

Every tensor is accounted for: what is missing, unknown or of the wrong shape is named in a
:class:`~mlx_gemma4.errors.WeightsError` before anything is computed. Whether a matrix is quantised,
and how, is read off the file itself (a ``.scales`` sibling and the shapes), never off the config.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten, tree_unflatten

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.disk_table import DiskTable, stored_table
from mlx_gemma4.errors import WeightsError
from mlx_gemma4.key_table import (
    PLE_TABLE,
    TOWERS,
    canonical_name,
    is_droppable,
    without_absent_towers,
)
from mlx_gemma4.layers import (
    Embedding,
    ExpertLinear,
    FusedLinear,
    Linear,
    Quantization,
    SplitExperts,
    SplitLinear,
)
from mlx_gemma4.model import Gemma4
from mlx_gemma4.tensors import CLIP_BOUNDS, QUANTISABLE, TensorSpec, checkpoint_tensors

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and the stage's name."""

_BATCH_BYTES = 256 << 20  # evaluated at once while loading
_NAMED = 6  # tensors named in one message
_FLOAT_MODES = {(32, 4): "mxfp4", (32, 8): "mxfp8", (16, 4): "nvfp4"}
_EXPERT_PARTS = ("gate_proj", "up_proj")


@dataclass(frozen=True)
class Matrix:
    """A dense or packed weight as it lies in the file."""

    weight: mx.array
    scales: mx.array | None = None
    biases: mx.array | None = None
    quantization: Quantization | None = None


def load_model(
    folder: str | Path,
    dtype: mx.Dtype | None = None,
    progress: Progress | None = None,
    *,
    lazy: bool = False,
    ple_on_disk: bool = False,
) -> Gemma4:
    """Load a checkpoint folder of any known layout.

    Args:
        folder: holds ``config.json`` and ``*.safetensors``.
        dtype: type of everything not quantised; default: the checkpoint's on a GPU, float32 on
            the CPU backend, where other types are slow.
        progress: told about bytes materialised.
        lazy: leave the weights unevaluated.
        ple_on_disk: leave the per-layer embedding table in its file and read it by row; does
            nothing for models without one.

    Raises:
        ConfigError: the folder holds no Gemma 4 configuration.
        WeightsError: files or tensors are missing, unexpected, mis-shaped or damaged.
    """
    folder = Path(folder)
    _without_compiler_compile_nothing()
    config = Gemma4Config.from_path(folder)
    tensors = read_tensors(folder, config)
    config, notices = without_absent_towers(config, tensors)
    for notice in notices:
        logger.info(notice)
    matrices, plain = checked(tensors, config)
    tensors.clear()
    dtype = dtype or default_dtype(plain["language_model.norm.weight"].dtype)
    model = Gemma4(config)
    model.notices.extend(notices)
    if ple_on_disk and PLE_TABLE in matrices:
        _leave_on_disk(model, matrices.pop(PLE_TABLE), folder, dtype)
    assign(model, matrices, plain, dtype)
    model.language_model.set_table_dtype(dtype)
    model.eval()
    if not lazy:
        materialise(model, progress)
    return model


def _leave_on_disk(model: Gemma4, table: Matrix, folder: Path, dtype: mx.Dtype) -> None:
    parts = stored_table(checkpoint_files(folder))
    disk = DiskTable(parts, table.quantization, dtype)
    model.language_model.embed_tokens_per_layer = disk
    logger.info("the per-layer embeddings stay on disk: %.2f GB", disk.nbytes / 1e9)


def checkpoint_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint; an index names them, otherwise all of the folder's.

    Raises:
        WeightsError: there are none, or one the index names is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise WeightsError(f"{index} is damaged ({error}); download it again.") from error
        files = [folder / Path(name).name for name in names]
        if missing := [file.name for file in files if not file.is_file()]:
            raise WeightsError(
                f"The checkpoint in {folder} is incomplete: {_some(missing)} is missing; "
                "download it again."
            )
        return files
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("weights*.safetensors"))
    if not files:
        raise WeightsError(f"There are no model*.safetensors in {folder}; download the weights.")
    return files


def read_tensors(folder: Path, config: Gemma4Config) -> dict[str, mx.array]:
    """All tensors a model can need, lazily, by canonical name."""
    tensors: dict[str, mx.array] = {}
    for file in checkpoint_files(folder):
        try:
            loaded = mx.load(str(file))
        except (RuntimeError, ValueError, OSError) as error:
            logger.info("cannot read %s: %s", file, error)
            raise WeightsError(
                f"{file} is damaged or cut short; delete it and download it again."
            ) from error
        assert isinstance(loaded, dict)
        for name, array in loaded.items():
            name = canonical_name(name)
            if not is_droppable(name, config.text, config.tie_word_embeddings):
                tensors[name] = array
    return tensors


def checked(
    tensors: dict[str, mx.array], config: Gemma4Config
) -> tuple[dict[str, Matrix], dict[str, mx.array]]:
    """Hold the files against the table of the config.

    Returns:
        Matrices by module path and all other tensors by name, in the model's shapes.

    Raises:
        WeightsError: naming what is missing, unknown, or of the wrong shape.
    """
    table = _with_split_experts(checkpoint_tensors(config), tensors)
    method = (config.quantization or {}).get("quant_method")
    hint = f" Weights packed by {method!r} are not supported." if method else ""
    return held_against(table, tensors, hint)


def held_against(
    table: dict[str, TensorSpec], tensors: dict[str, mx.array], hint: str = ""
) -> tuple[dict[str, Matrix], dict[str, mx.array]]:
    """As :func:`checked`, for any table of tensors; ``hint`` ends the error's sentence."""
    left = dict(tensors)
    matrices: dict[str, Matrix] = {}
    plain: dict[str, mx.array] = {}
    missing, misshaped = [], []
    for name, spec in table.items():
        try:
            if spec.role in QUANTISABLE:
                path = name.removesuffix(".weight")
                matrices[path] = _take_matrix(left, path, spec)
            elif name in left:
                plain[name] = _fitted(left.pop(name), spec)
            elif not spec.optional or _has_clip_bounds(tensors, name):
                missing.append(name)
        except KeyError as error:
            missing.append(str(error.args[0]))
        except ValueError as error:
            misshaped.append(f"{name} {error}")
    _refuse(missing, list(left), misshaped, hint)
    return matrices, plain


def _refuse(missing: list[str], extra: list[str], misshaped: list[str], hint: str) -> None:
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing ({_some(missing)})")
    if extra:
        faults.append(f"{len(extra)} unknown ({_some(extra)})")
    if misshaped:
        faults.append(f"{len(misshaped)} of the wrong shape ({_some(misshaped)})")
    if not faults:
        return
    logger.info("missing %s, unknown %s, mis-shaped %s", missing, extra, misshaped)
    raise WeightsError(
        f"The checkpoint's tensors do not fit its config.json: {'; '.join(faults)}.{hint} "
        "Download it again or choose another conversion."
    )


def _with_split_experts(
    table: dict[str, TensorSpec], left: dict[str, mx.array]
) -> dict[str, TensorSpec]:
    """Expect gate and up experts as the files hold them: one tensor, or two (MLX conversions)."""
    result: dict[str, TensorSpec] = {}
    for name, spec in table.items():
        stem = name.removesuffix("gate_up_proj")
        if spec.role == "experts" and stem != name and f"{stem}gate_proj.weight" in left:
            count, rows, columns = spec.shape
            for part in _EXPERT_PARTS:
                result[stem + part] = TensorSpec((count, rows // 2, columns), "experts")
        else:
            result[name] = spec
    return result


def _has_clip_bounds(tensors: dict[str, mx.array], name: str) -> bool:
    """Whether the tower ``name`` belongs to has any clip bounds: then all must be there."""
    tower = name.split(".", 1)[0]
    return any(t.startswith(tower) and t.endswith(CLIP_BOUNDS) for t in tensors)


def _take_matrix(left: dict[str, mx.array], path: str, spec: TensorSpec) -> Matrix:
    if f"{path}.weight" not in left:
        raise KeyError(f"{path}.weight")
    weight = left.pop(f"{path}.weight")
    scales, biases = left.pop(f"{path}.scales", None), left.pop(f"{path}.biases", None)
    if scales is None:
        if weight.shape != spec.shape or not mx.issubdtype(weight.dtype, mx.floating):
            raise ValueError(f"is {weight.dtype} {weight.shape}, not {spec.shape}")
        return Matrix(weight)
    return Matrix(weight, scales, biases, infer_quantization(weight, scales, biases, spec.shape))


def infer_quantization(
    weight: mx.array, scales: mx.array, biases: mx.array | None, shape: tuple[int, ...]
) -> Quantization:
    """How a packed matrix of logical ``shape`` [..., rows, columns] is quantised.

    ``packed columns * 32 = columns * bits`` and ``scale columns * group = columns``.

    Raises:
        ValueError: the three arrays do not fit each other or the shape.
    """
    columns = shape[-1]
    bits, odd_bits = divmod(weight.shape[-1] * 32, columns)
    group, odd_group = divmod(columns, scales.shape[-1])
    stacked = weight.shape[:-1] == scales.shape[:-1] == shape[:-1]
    if biases is not None:
        mode = "affine" if biases.shape == scales.shape and bits in (2, 3, 4, 5, 6, 8) else None
    else:
        mode = _FLOAT_MODES.get((group, bits)) if scales.dtype == mx.uint8 else None
    if odd_bits or odd_group or not stacked or mode is None or weight.dtype != mx.uint32:
        raise ValueError(f"is packed as {weight.shape} with scales {scales.shape}, not {shape}")
    return Quantization(group, bits, mode)


def _fitted(array: mx.array, spec: TensorSpec) -> mx.array:
    """The tensor in the model's shape: convolutions channels-last, scalars without axes."""
    if spec.role == "conv":
        channels_last = (spec.shape[0], *spec.shape[2:], spec.shape[1])
        if array.shape == spec.shape:
            return mx.moveaxis(array, 1, -1)
        if array.shape == channels_last:
            return array
    elif array.shape == spec.shape:
        return array
    elif spec.size == 1 and array.size == 1:
        return array.reshape(spec.shape)
    raise ValueError(f"is {array.shape}, not {spec.shape}")


def _without_compiler_compile_nothing() -> None:
    """On the CPU, MLX compiles chains with g++; where there is none they run one by one."""
    if mx.default_device() == mx.Device(mx.cpu) and shutil.which("g++") is None:
        logger.info("g++ is missing: element-wise chains are not compiled")
        mx.disable_compile()


def default_dtype(stored: mx.Dtype) -> mx.Dtype:
    """The type to compute in: the checkpoint's own on a GPU, float32 on the CPU."""
    on_gpu = mx.default_device().type == mx.DeviceType.gpu
    return stored if on_gpu else mx.float32


def assign(
    model: nn.Module, matrices: dict[str, Matrix], plain: dict[str, mx.array], dtype: mx.Dtype
) -> None:
    """Put every tensor into its module; both dictionaries are emptied."""
    replaced = []
    for path, module in list(model.named_modules()):
        if isinstance(module, FusedLinear):
            parent = path.rpartition(".")[0]
            parts = [matrices.pop(f"{parent}.{name}") for name in module.part_names]
            replaced += _replacement(path, _fuse(module, parts, _dtype_of(path, dtype)))
        elif isinstance(module, ExpertLinear) and path not in matrices:
            parent = path.rpartition(".")[0]
            parts = [matrices.pop(f"{parent}.{name}") for name in _EXPERT_PARTS]
            replaced += _replacement(path, _fuse(module, parts, _dtype_of(path, dtype)))
        elif isinstance(module, (Linear, ExpertLinear, Embedding, nn.Linear)):
            matrix = matrices.pop(path)
            replaced += _replacement(path, _fill(module, matrix, _dtype_of(path, dtype)))
    if replaced:
        model.update_modules(tree_unflatten(replaced))
    cast = [(name, array.astype(_dtype_of(name, dtype))) for name, array in plain.items()]
    model.update(tree_unflatten(cast))
    plain.clear()
    assert not matrices, f"no module takes {_some(list(matrices))}"


def _dtype_of(name: str, dtype: mx.Dtype) -> mx.Dtype:
    """Towers overflow float16 (26B and 31B pool to 7.9e4), so there they stay float32."""
    in_tower = name.startswith(TOWERS)
    return mx.float32 if in_tower and dtype == mx.float16 else dtype


def _replacement(path: str, module: nn.Module | None) -> list[tuple[str, nn.Module]]:
    return [] if module is None else [(path, module)]


def _fuse(
    module: FusedLinear | ExpertLinear, parts: list[Matrix], dtype: mx.Dtype
) -> nn.Module | None:
    """Stack the rows of all parts; returns a stand-in if their packing differs."""
    axis = parts[0].weight.ndim - 2
    if len({part.quantization for part in parts}) == 1:
        return _fill(module, _stacked(parts, axis), dtype)
    if isinstance(module, FusedLinear):
        singles = [Linear(1, 1) for _ in parts]
        stand_in = SplitLinear(list(zip(module.part_names, singles, strict=True)))
    else:
        singles = [ExpertLinear(1, 1, 1) for _ in parts]
        stand_in = SplitExperts(singles)
    for single, part in zip(singles, parts, strict=True):
        _fill(single, part, dtype)
    return stand_in


def _stacked(parts: list[Matrix], axis: int) -> Matrix:
    if len(parts) == 1:
        return parts[0]

    def joined(pieces: list[mx.array | None]) -> mx.array | None:
        present = [piece for piece in pieces if piece is not None]
        return mx.concatenate(present, axis=axis) if present else None

    weight = joined([part.weight for part in parts])
    assert weight is not None
    scales = joined([part.scales for part in parts])
    biases = joined([part.biases for part in parts])
    return Matrix(weight, scales, biases, parts[0].quantization)


def _fill(
    module: Linear | ExpertLinear | Embedding | nn.Linear, matrix: Matrix, dtype: mx.Dtype
) -> nn.Module | None:
    """Give a module its weight; a packed weight for a plain ``nn.Linear`` returns a new module."""
    if matrix.quantization is None:
        module.weight = matrix.weight.astype(dtype)
        return None
    result = None
    if isinstance(module, nn.Linear):
        result = Linear(1, 1, bias="bias" in module)  # its bias is assigned with the plain tensors
        module = result
    module.weight = matrix.weight
    module.quantization = matrix.quantization
    assert matrix.scales is not None
    module.scales = matrix.scales  # in the float modes an own 8-bit format
    if matrix.biases is not None:
        module.scales = matrix.scales.astype(dtype)
        module.biases = matrix.biases.astype(dtype)
    return result


def materialise(model: nn.Module, progress: Progress | None = None) -> None:
    """Evaluate all parameters, a bounded number of bytes at a time."""
    flat: Any = tree_flatten(model.parameters())
    named: list[tuple[str, mx.array]] = flat
    _check_buffers(named)
    arrays = [array for _, array in named]
    total, done = sum(array.nbytes for array in arrays), 0
    if progress:
        progress(0, total, "load")
    for batch in _batches(arrays):
        try:
            mx.eval(batch)
        except RuntimeError as error:
            logger.info("evaluation failed while loading: %s", error)
            raise WeightsError(
                "A weight file cannot be read to its end; check the disk and download it again."
            ) from error
        done += sum(array.nbytes for array in batch)
        if progress:
            progress(done, total, "load")


def _check_buffers(named: list[tuple[str, mx.array]]) -> None:
    """The per-layer table in bfloat16 (4.7 GB) is larger than one buffer of some GPUs."""
    limit = mx.device_info().get("max_buffer_length")
    for name, array in named:
        if limit and array.nbytes > int(limit):
            raise WeightsError(
                f"{name} takes {array.nbytes / 1e9:.1f} GB, more than this GPU can hold in one "
                f"piece ({int(limit) / 1e9:.1f} GB); use a quantised checkpoint."
            )


def _batches(arrays: list[mx.array]) -> Iterator[list[mx.array]]:
    batch: list[mx.array] = []
    size = 0
    for array in arrays:
        batch.append(array)
        size += array.nbytes
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown}, ..."
