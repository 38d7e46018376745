"""Checkpoints on this machine: find, describe, verify by their own files, delete.

Places searched: the shared Hugging Face cache, LM Studio's model folders, and folders named by the
caller. Downloads are in :mod:`mlx_gemma4.hub_download`. Imports no MLX; what a checkpoint takes in
is read from its configuration and its tensor names, never guessed from its name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.errors import Gemma4Error, HubError
from mlx_gemma4.file_headers import tensor_headers
from mlx_gemma4.hub_download import Progress, download
from mlx_gemma4.published import ARCHITECTURES, published_config

_LMSTUDIO_FOLDERS = ("~/.lmstudio/models", "~/.cache/lm-studio/models")
_SIZE_LABELS = {"e2b": "E2B", "e4b": "E4B", "12b": "12B", "26b": "26B-A4B", "31b": "31B"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder and what its own files say.

    Attributes:
        path: folder with ``config.json``.
        repo: ``owner/name`` where it is known, else empty.
        source: ``huggingface``, ``lmstudio`` or ``folder``.
        label: name to show: the checkpoint's own label, else size and quantisation.
        architecture: ``E2B``, ``E4B``, ``12B``, ``26B-A4B``, ``31B`` or empty.
        quantisation: ``bf16``, ``4-bit``, ``mxfp4`` ...
        size: bytes of all files.
        context: tokens the model was made for.
        inputs: kinds it takes in, out of ``text image video audio``; only what has weights here.
        chat: it has a chat template (instruction-tuned); otherwise it only continues text.
        tools: its template renders tools.
        problem: one sentence why it cannot be loaded, or empty.
    """

    path: Path
    repo: str = ""
    source: str = "folder"
    label: str = ""
    architecture: str = ""
    quantisation: str = ""
    size: int = 0
    context: int = 0
    inputs: tuple[str, ...] = ("text",)
    chat: bool = True
    tools: bool = False
    problem: str = ""


def cache_folder() -> Path:
    """The shared Hugging Face cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def lmstudio_folders() -> list[Path]:
    """Where LM Studio keeps models, as far as these folders exist."""
    return [path for name in _LMSTUDIO_FOLDERS if (path := Path(name).expanduser()).is_dir()]


def find(name: str | Path, folders: Sequence[str | Path] = ()) -> Path:
    """The folder of a checkpoint: a path, or ``owner/name`` already on this machine.

    Raises:
        HubError: it is not here, or not completely.
    """
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.is_dir():
        raise HubError(f"{path} has no config.json, so it is no checkpoint; choose its folder.")
    wanted = str(name).lower()
    for checkpoint in local_checkpoints(folders):
        if checkpoint.repo.lower() == wanted:
            if checkpoint.problem:
                raise HubError(checkpoint.problem)
            return checkpoint.path
    raise HubError(_not_here(str(name), path))


def _not_here(name: str, path: Path) -> str:
    if path.exists():
        return f"{name} is a file; name the folder of a checkpoint."
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return f"{name} is not on this machine; download it first."
    return f"There is no folder {name}; give the folder of a checkpoint, or owner/name."


def local_checkpoints(
    folders: Sequence[str | Path] = (), cache: Path | None = None
) -> list[Checkpoint]:
    """All Gemma 4 checkpoints on this machine, without opening any weights.

    Args:
        folders: extra places: checkpoint folders, or folders of checkpoints up to two levels deep.
        cache: the Hugging Face cache, the shared one by default.
    """
    found: dict[Path, Checkpoint] = {}
    candidates = [*_in_cache(cache or cache_folder())]
    for root in lmstudio_folders():
        candidates += [(path, repo, "lmstudio") for path, repo in _below(root)]
    for folder in folders:
        candidates += [(path, "", "folder") for path, _ in _below(Path(folder).expanduser())]
    for path, repo, source in candidates:
        key = path.resolve()
        if key not in found and is_gemma4(path):
            found[key] = describe(path, repo=repo, source=source)
    return list(found.values())


def _in_cache(cache: Path) -> Iterator[tuple[Path, str, str]]:
    """The newest snapshot of every model repo in the cache, by its refs."""
    for folder in sorted(cache.glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        snapshot = _snapshot(folder)
        if snapshot is not None:
            yield snapshot, repo, "huggingface"


def _snapshot(repo_folder: Path) -> Path | None:
    reference = repo_folder / "refs" / "main"
    if reference.is_file():
        commit = reference.read_text(encoding="utf-8").strip()
        snapshot = repo_folder / "snapshots" / commit
        if _COMMIT.fullmatch(commit) and snapshot.is_dir():
            return snapshot
    snapshots = [path for path in (repo_folder / "snapshots").glob("*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)


def _below(root: Path) -> Iterator[tuple[Path, str]]:
    """Checkpoint folders at most two levels below ``root``, with ``owner/name`` by their place."""
    for pattern in ("config.json", "*/config.json", "*/*/config.json"):
        for config in sorted(root.glob(pattern)):
            folder = config.parent
            yield folder, "/".join(folder.relative_to(root).parts[-2:])


def is_gemma4(folder: Path) -> bool:
    """Whether ``config.json`` says so (a cheap look before `describe`)."""
    try:
        raw = _read_json(folder / "config.json")
    except HubError:
        return False
    return isinstance(raw, dict) and str(raw.get("model_type", "")).startswith("gemma4")


def describe(folder: str | Path, *, repo: str = "", source: str = "folder") -> Checkpoint:
    """What a checkpoint folder says about itself; never raises, see ``problem``."""
    folder = Path(folder)
    size = folder_size(folder)
    try:
        config = Gemma4Config.from_path(folder)
        names = _tensor_names(folder)
    except Gemma4Error as problem:
        return Checkpoint(
            folder, repo, source, repo or folder.name, size=size, problem=str(problem)
        )
    architecture = architecture_of(config)
    quantisation = _quantisation(config)
    template = _chat_template(folder)
    return Checkpoint(
        path=folder,
        repo=repo,
        source=source,
        label=config.label or _label(architecture, quantisation, repo or folder.name),
        architecture=architecture,
        quantisation=quantisation,
        size=size,
        context=config.text.max_position_embeddings,
        inputs=_inputs(config, names),
        chat=bool(template),
        tools="tool" in template,
        problem=_incomplete(folder),
    )


def architecture_of(config: Gemma4Config) -> str:
    """``E2B`` ... ``31B`` by the decoder's shape, empty for any other shape."""
    for name in ARCHITECTURES:
        text, mine = published_config(name).text, config.text
        if (text.hidden_size, text.num_hidden_layers) == (mine.hidden_size, mine.num_hidden_layers):
            return _SIZE_LABELS[name]
    return ""


def _label(architecture: str, quantisation: str, name: str) -> str:
    return f"Gemma 4 {architecture} · {quantisation}" if architecture else name


def _quantisation(config: Gemma4Config) -> str:
    if not config.quantization:
        return "bf16"
    mode = str(config.quantization.get("mode", "affine"))
    bits = config.quantization.get("bits")
    return f"{bits}-bit" if mode == "affine" and bits else mode


def _tensor_names(folder: Path) -> set[str]:
    return {name for name, _, _ in tensor_headers(folder)}


def _inputs(config: Gemma4Config, names: set[str]) -> tuple[str, ...]:
    """The configuration's inputs whose weights are really in the files."""
    present = {
        "text": True,
        "image": any("vision" in name for name in names),
        "video": any("vision" in name for name in names),
        "audio": any("audio" in name for name in names),
    }
    return tuple(kind for kind in config.inputs if present[kind])


def _chat_template(folder: Path) -> str:
    """The Jinja template's text; only its presence and features matter here."""
    file = folder / "chat_template.jinja"
    try:
        if file.is_file():
            return file.read_text(encoding="utf-8", errors="replace")
        for name in ("chat_template.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                template = _read_json(folder / name).get("chat_template")
                if template:
                    return json.dumps(template)
    except (OSError, HubError, AttributeError):
        return ""
    return ""


def _incomplete(folder: Path) -> str:
    """One sentence if files that the checkpoint itself names are missing, else nothing."""
    index = folder / "model.safetensors.index.json"
    needed = {"tokenizer.json"}
    if index.is_file():
        try:
            needed |= set(_read_json(index)["weight_map"].values())
        except (HubError, KeyError, AttributeError, TypeError):
            return f"{index.name} is damaged; download the model again."
    missing = sorted(name for name in needed if not (folder / str(name)).is_file())
    if missing:
        return f"{missing[0]} is missing ({len(missing)} in all); finish the download first."
    return ""


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise HubError(f"{path.name} is too large to be a configuration.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise HubError(f"{path.name} cannot be read ({problem}).") from problem


# --- deleting ------------------------------------------------------------------------------------


def folder_size(folder: Path) -> int:
    """Bytes of all files a checkpoint uses (links followed, each file once)."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, files in os.walk(folder, followlinks=False):
        for name in files:
            try:
                facts = (Path(root) / name).stat()
            except OSError:
                continue
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                total += facts.st_size
    return total


def deletable(folder: Path) -> Path:
    """What `delete` removes: the whole repo in the Hugging Face cache, otherwise the folder."""
    folder = Path(folder)
    parents = folder.absolute().parents
    if (
        len(parents) > 1
        and parents[0].name == "snapshots"
        and parents[1].name.startswith("models--")
    ):
        return parents[1]
    return folder


def size_to_free(folder: Path) -> int:
    """Bytes `delete` would free; other snapshots of the same repo go as well."""
    return folder_size(deletable(Path(folder)))


def delete(folder: str | Path) -> int:
    """Delete a checkpoint from disk; returns the bytes freed.

    Raises:
        HubError: it is no checkpoint folder, or a file could not be removed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise HubError(f"{folder} is no checkpoint folder, nothing was deleted.")
    target = deletable(folder)
    size = folder_size(target)
    try:
        shutil.rmtree(target)
    except OSError as problem:
        left = folder_size(target)
        raise HubError(
            f"{problem.filename} could not be deleted ({problem.strerror}); {left >> 20} MB remain."
        ) from problem
    return size


def discard(repo: str, cache: Path | None = None) -> int:
    """Remove the unfinished parts of a download; returns the bytes freed."""
    folder = (cache or cache_folder()) / f"models--{repo.replace('/', '--')}"
    freed = 0
    for part in (folder / "blobs").glob("*.part"):
        freed += part.stat().st_size
        part.unlink(missing_ok=True)
    if not (folder / "snapshots").is_dir():
        freed += sum(path.stat().st_size for path in (folder / "blobs").glob("*"))
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def unfinished(cache: Path | None = None) -> dict[str, int]:
    """Repositories with unfinished parts, and how many bytes of them are there."""
    found: dict[str, int] = {}
    for folder in sorted((cache or cache_folder()).glob("models--*--*")):
        parts = list((folder / "blobs").glob("*.part"))
        if parts:
            repo = folder.name.removeprefix("models--").replace("--", "/", 1)
            found[repo] = sum(path.stat().st_size for path in (folder / "blobs").glob("*"))
    return found


__all__ = [
    "Checkpoint",
    "Progress",
    "architecture_of",
    "cache_folder",
    "delete",
    "describe",
    "discard",
    "download",
    "find",
    "folder_size",
    "is_gemma4",
    "lmstudio_folders",
    "local_checkpoints",
    "size_to_free",
    "unfinished",
]
