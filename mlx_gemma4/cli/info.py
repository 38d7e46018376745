"""Say what a checkpoint is: size, quantisation, memory per token, and what it can take in.

Reads only the configuration and the headers of the weight files; nothing is loaded.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from mlx_gemma4.config import Gemma4Config
from mlx_gemma4.file_headers import tensor_headers
from mlx_gemma4.hub import find
from mlx_gemma4.key_table import canonical_name, is_droppable, without_absent_towers
from mlx_gemma4.plan import plan
from mlx_gemma4.published import ARCHITECTURES, published_config
from mlx_gemma4.tensors import (
    TensorSpec,
    checkpoint_tensors,
    kv_bytes_per_token,
    parameter_count,
    published_bytes,
    sliding_kv_bytes,
)

EXAMPLES = """\
examples:
  mlx-gemma4 info mlx-community/gemma-4-e2b-it-4bit
  mlx-gemma4 info ~/models/gemma-4-12B-it --json
  mlx-gemma4 info 26b            (a released size, before any download)
"""

_FLOAT_MODES = {(32, 4): "mxfp4", (32, 8): "mxfp8", (16, 4): "nvfp4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", help=f"checkpoint folder, downloaded repository, or {', '.join(ARCHITECTURES)}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    released = args.model.lower() in ARCHITECTURES and not Path(args.model).exists()
    facts = _released(args.model.lower()) if released else _on_disk(find(args.model))
    print(json.dumps(facts, indent=1) if args.json else _table(facts))
    return 0


def describe(config: Gemma4Config) -> dict[str, Any]:
    """What the configuration alone says, in plain values."""
    text = config.text
    full = sum(not spec.is_sliding for spec in text.layers)
    return {
        "label": config.label,
        "architecture": config.architecture,
        "inputs": list(config.inputs),
        "parameters": parameter_count(config),
        "layers": text.num_hidden_layers,
        "full_layers": full,
        "layers_sharing_keys": text.num_kv_shared_layers,
        "sliding_window": text.sliding_window,
        "experts": text.num_experts if text.enable_moe_block else 0,
        "context_tokens": text.max_position_embeddings,
        "kv_bytes_per_token": kv_bytes_per_token(text),
        "kv_bytes_of_windows": sliding_kv_bytes(text),
    }


def _released(name: str) -> dict[str, Any]:
    config = published_config(name)
    return describe(config) | {"bytes_on_disk": published_bytes(config), "weights": {"bf16": 1.0}}


def _on_disk(folder: Path) -> dict[str, Any]:
    config = Gemma4Config.from_path(folder)
    headers = {canonical_name(n): (t, s) for n, t, s in tensor_headers(folder)}
    config, notices = without_absent_towers(config, headers)
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    used = {
        name: header
        for name, header in headers.items()
        if not is_droppable(name, config.text, config.tie_word_embeddings)
    }
    return describe(config) | {
        "bytes_on_disk": size,
        "bytes_of_table": plan(folder, ple_on_disk="on").on_disk,
        "weights": _packings(config, used),
        "notices": notices,
        "folder": str(folder),
    }


def _packings(config: Gemma4Config, headers: dict[str, tuple[str, list[int]]]) -> dict[str, float]:
    """Share of the parameters by how they are stored, largest first."""
    table = checkpoint_tensors(config)
    sizes: Counter[str] = Counter()
    for name, (kind, shape) in headers.items():
        path, _, suffix = name.rpartition(".")
        if suffix in ("scales", "biases") and f"{path}.weight" in headers:
            continue
        scales = headers.get(f"{path}.scales") if suffix == "weight" else None
        columns = 0 if scales is None else _columns(table, name)
        if scales is None or not columns:
            sizes[kind.lower()] += prod(shape)
            continue
        bits, group = shape[-1] * 32 // columns, columns // scales[1][-1]
        affine = f"{path}.biases" in headers
        label = f"{bits}-bit" if affine else _FLOAT_MODES.get((group, bits), "packed")
        sizes[label] += prod(shape[:-1]) * columns
    total = sum(sizes.values())
    return {label: round(size / total, 4) for label, size in sizes.most_common()}


def _columns(table: dict[str, TensorSpec], name: str) -> int:
    """Width of a matrix before packing; experts may lie apart in the file."""
    fused = name.removesuffix(".weight").replace("experts.gate_proj", "experts.gate_up_proj")
    fused = fused.replace("experts.up_proj", "experts.gate_up_proj")
    spec = table.get(name) or table.get(fused)
    return spec.shape[-1] if spec else 0


def _table(facts: dict[str, Any]) -> str:
    text = [
        ("model", facts["label"] or facts["architecture"]),
        ("takes in", ", ".join(facts["inputs"])),
        ("parameters", f"{facts['parameters'] / 1e9:.2f} billion"),
        ("on disk", f"{facts['bytes_on_disk'] / 1e9:.2f} GB"),
        ("weights", ", ".join(f"{k} {100 * v:.0f} %" for k, v in facts["weights"].items())),
        ("layers", _layers(facts)),
        ("context", f"{facts['context_tokens']:,} tokens"),
        (
            "memory for context",
            (
                f"{facts['kv_bytes_per_token'] / 1024:.3g} KiB per token and "
                f"{facts['kv_bytes_of_windows'] / 1e6:.0f} MB for the windows, in bfloat16"
            ),
        ),
    ]
    if table := facts.get("bytes_of_table"):
        words = f"{table / 1e9:.3g} GB of the weights, which may stay on disk (--ple-on-disk)"
        text.append(("per-layer embeddings", words))
    text += [("note", notice) for notice in facts.get("notices", ())]
    width = max(len(name) for name, _ in text) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in text)


def _layers(facts: dict[str, Any]) -> str:
    sliding = facts["layers"] - facts["full_layers"]
    parts = [f"{facts['layers']}: {sliding} with a window of {facts['sliding_window']}"]
    parts.append(f"{facts['full_layers']} full")
    if facts["layers_sharing_keys"]:
        parts.append(f"{facts['layers_sharing_keys']} share keys and values")
    if facts["experts"]:
        parts.append(f"{facts['experts']} experts each")
    return ", ".join(parts)
