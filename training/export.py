"""Write the checkpoint in the published form: `python -m training.export WORK assets/demo-model`.

The towers' linears get real clip bounds: what calibration items reach, widened by a factor, so
that nothing seen in training is clipped but the scalars are there and used as in the E models.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path

import torch
from torch import nn
from transformers.models.gemma4 import Gemma4ForConditionalGeneration
from transformers.models.gemma4.modeling_gemma4 import Gemma4ClippableLinear

from training import batches, config, network, tasks, tokenizer
from training.train import soft_features

WIDEN = 3.0
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
CALIBRATION = ("line", "see", "hearing", "card")


class _Range:
    """Largest magnitude seen at the input and the output of one linear."""

    def __init__(self) -> None:
        self.inward = 0.0
        self.outward = 0.0

    def __call__(self, _module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        self.inward = max(self.inward, inputs[0].abs().max().item())
        self.outward = max(self.outward, output.abs().max().item())


def calibrate(trainee: network.Trainee) -> dict[str, _Range]:
    """Ranges of all clippable linears over a few training batches, by module name."""
    found = {}
    hooks = []
    for name, module in trainee.model.named_modules():
        if isinstance(module, Gemma4ClippableLinear):
            found[name] = _Range()
            hooks.append(module.register_forward_hook(found[name]))
    source = tasks.Source(random.Random(config.SEED))
    kitchen = batches.Kitchen(source, 4 * 594)
    with torch.no_grad():
        for task in CALIBRATION:
            soft_features(trainee, kitchen.draw(task))
    for hook in hooks:
        hook.remove()
    return found


def _with_bounds(trainee: network.Trainee, ranges: dict[str, _Range]) -> nn.Module:
    """The same weights in a model whose towers clip, rounded to bfloat16."""
    settings = config.model_config()
    settings.vision_config.use_clipped_linears = True
    settings.audio_config.use_clipped_linears = True
    settings.dtype = "bfloat16"
    model = Gemma4ForConditionalGeneration._from_config(settings)  # noqa: SLF001
    missing, unexpected = model.load_state_dict(trainee.model.state_dict(), strict=False)
    if unexpected or any(not name.endswith(("_min", "_max")) for name in missing):
        raise ValueError(f"weights do not fit: missing {missing}, unexpected {unexpected}")
    for name, module in model.named_modules():
        if isinstance(module, Gemma4ClippableLinear):
            seen = ranges[name]
            module.input_max.fill_(WIDEN * seen.inward)
            module.input_min.fill_(-WIDEN * seen.inward)
            module.output_max.fill_(WIDEN * seen.outward)
            module.output_min.fill_(-WIDEN * seen.outward)
    return model.to(torch.bfloat16)


def processor_config() -> dict:
    """processor_config.json in its published shape; pictures take 70 soft tokens by default."""
    image = {
        "do_convert_rgb": True,
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
        "image_processor_type": "Gemma4ImageProcessor",
        "max_soft_tokens": 70,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    video = {
        **image,
        "video_processor_type": "Gemma4VideoProcessor",
        "do_normalize": True,
        "do_sample_frames": True,
        "num_frames": 32,
        "return_metadata": False,
    }
    del video["image_processor_type"]
    sound = {
        "feature_extractor_type": "Gemma4AudioFeatureExtractor",
        "feature_size": 128,
        "sampling_rate": 16000,
        "frame_length": 320,
        "hop_length": 160,
        "fft_length": 512,
        "min_frequency": 0.0,
        "max_frequency": 8000.0,
        "mel_floor": 0.001,
        "preemphasis": 0.0,
        "preemphasis_htk_flavor": True,
        "fft_overdrive": False,
        "input_scale_factor": 1.0,
        "dither": 0.0,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    return {
        "processor_class": "Gemma4Processor",
        "audio_ms_per_token": 40,
        "audio_seq_length": 750,
        "image_seq_length": 70,
        "image_processor": image,
        "video_processor": video,
        "feature_extractor": sound,
    }


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def write(trainee: network.Trainee, folder: Path) -> None:
    """Write weights, configs and tokenizer into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    trainee.eval()
    model = _with_bounds(trainee, calibrate(trainee))
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    settings = json.loads((folder / "config.json").read_text())
    settings["facet"] = {"label": config.LABEL}
    text = settings["text_config"]
    text.pop("per_layer_config")  # the published files spell it as below
    text["global_head_dim"] = config.GLOBAL_HEAD_DIM
    text["num_global_key_value_heads"] = None
    _write_json(folder / "config.json", settings)
    special = tokenizer.special
    generation = {
        "bos_token_id": special("<bos>"),
        "do_sample": False,
        "eos_token_id": [special("<eos>"), special("<turn|>"), special("<|tool_response>")],
        "pad_token_id": special("<pad>"),
    }
    _write_json(folder / "generation_config.json", generation)
    _write_json(folder / "processor_config.json", processor_config())
    tokenizer.save(folder)
    shutil.copy(CHAT_TEMPLATE, folder / CHAT_TEMPLATE.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    trainee = network.Trainee()
    stored = torch.load(options.work / "joint.pt")
    trainee.load_state_dict(stored["weights"], strict=False)
    write(trainee, options.folder)
    print(f"step {stored['step']} written to {options.folder}")


if __name__ == "__main__":
    main()
