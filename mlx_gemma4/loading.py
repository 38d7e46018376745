"""``load``: from a folder or a repository name to a model and its processor."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import mlx.core as mx

from mlx_gemma4.adapters import apply_adapter
from mlx_gemma4.errors import ConfigError, Gemma4Error
from mlx_gemma4.kernels.check import use_known_kernels
from mlx_gemma4.model import Gemma4
from mlx_gemma4.plan import OnDisk, plan
from mlx_gemma4.processor import Processor
from mlx_gemma4.weights import Progress, load_model


def load(
    path_or_repo: str | Path,
    *,
    dtype: mx.Dtype | None = None,
    adapter: str | Path | None = None,
    progress: Progress | None = None,
    ple_on_disk: OnDisk = "auto",
) -> tuple[Gemma4, Processor]:
    """Load a checkpoint for use.

    Args:
        path_or_repo: a checkpoint folder, or a repository name such as
            ``mlx-community/gemma-4-e2b-it-4bit`` whose files were downloaded before.
        dtype: type of everything not quantised; default: the checkpoint's on a GPU, float32 on
            the CPU backend.
        adapter: a LoRA adapter folder in mlx-lm's format.
        progress: called with bytes done, bytes in all and the stage's name.
        ple_on_disk: whether the per-layer embedding table of E2B and E4B stays in its file and is
            read by row: "on" saves its memory (half of a 4-bit E2B) at the cost of a wait per
            token, "off" loads it, "auto" leaves it on disk where memory would be tight with it.

    Raises:
        HubError: the name is no folder and has not been downloaded.
        ConfigError: the folder holds no Gemma 4 configuration, or an option has no such value.
        WeightsError: weights are missing, unexpected, mis-shaped or damaged.
    """
    if ple_on_disk not in get_args(OnDisk):
        raise ConfigError(f'ple_on_disk cannot be "{ple_on_disk}"; it is auto, on or off.')
    folder = resolve(path_or_repo)
    on_disk = _table_on_disk(folder, ple_on_disk)
    model = load_model(folder, dtype, progress, ple_on_disk=on_disk)
    if adapter is not None:
        apply_adapter(model, adapter)
    use_known_kernels(model)
    return model, Processor.from_path(folder, model.config)


def _table_on_disk(folder: Path, choice: OnDisk) -> bool:
    if choice != "auto":
        return choice == "on"
    try:
        planned, table = (plan(folder, ple_on_disk=where).on_disk for where in ("auto", "on"))
    except Gemma4Error:
        return False  # loading says what is wrong
    # In bfloat16 the table takes 4.7 GB or more: some GPUs hold no buffer of that size.
    largest = int(mx.device_info().get("max_buffer_length", table))
    return planned > 0 or table > largest


def resolve(path_or_repo: str | Path) -> Path:
    """The folder of a checkpoint given by path or by repository name.

    Raises:
        HubError: it is neither a folder nor a downloaded repository.
    """
    folder = Path(path_or_repo).expanduser()
    if folder.is_dir():
        return folder
    from mlx_gemma4.hub import find  # only names need the hub

    return find(path_or_repo)
