"""Checkpoints in both directions between this library and mlx-vlm; run with a Python that has both.

Prints one JSON object: the largest difference of the logits, as a share of their scale, for a
checkpoint our ``convert`` wrote (mlx-vlm reads it) and for one mlx-vlm quantised and wrote (we do).
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx_vlm.utils as peer  # pyright: ignore[reportMissingImports]
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from mlx_gemma4.convert import convert
from mlx_gemma4.testing import random_checkpoint
from mlx_gemma4.weights import load_model

IDS = np.array([2, 120, 130, 140, 150, 160, 170, 180])


def ours(folder: Path) -> mx.array:
    model = load_model(folder)
    return model.logits(model.prefill(model.embed(IDS), None, last_only=False))[0]


def theirs(model) -> mx.array:
    tokens = mx.array(IDS)[None]
    inputs = model.get_input_embeddings(tokens).to_dict()
    hidden = inputs.pop("inputs_embeds")
    rest = {key: value for key, value in inputs.items() if value is not None}
    logits = model.language_model(tokens, inputs_embeds=hidden, **rest).logits
    return logits[0].astype(mx.float32)


def share(left: mx.array, right: mx.array) -> float:
    return float(mx.abs(left - right).max() / mx.abs(right).max())


def written_by_peer(source: Path, target: Path) -> mx.array:
    model = peer.load_model(source)
    nn.quantize(model, group_size=64, bits=4, class_predicate=quantised)
    target.mkdir()
    weights = dict(tree_flatten(model.parameters()))
    mx.save_safetensors(str(target / "model.safetensors"), weights, {"format": "mlx"})
    for file in source.glob("*.json"):
        shutil.copy(file, target)
    config = json.loads((source / "config.json").read_text())
    config["quantization"] = {"group_size": 64, "bits": 4, "mode": "affine"}
    (target / "config.json").write_text(json.dumps(config))
    return theirs(model)


def quantised(path: str, module: nn.Module) -> bool:
    if "tower" in path or not hasattr(module, "to_quantized"):
        return False
    return hasattr(module, "weight") and module.weight.shape[-1] % 64 == 0


def main(arch: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = random_checkpoint(folder / "plain", arch)
        convert(source, folder / "converted", "8bit")
        read_by_peer = share(
            ours(folder / "converted"), theirs(peer.load_model(folder / "converted"))
        )
        expected = written_by_peer(source, folder / "peer")
        result = {
            "read_by_peer": read_by_peer,
            "read_by_us": share(ours(folder / "peer"), expected),
        }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
