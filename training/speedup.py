"""Same arithmetic, less copying: what makes a training step on the CPU affordable.

Layers are compiled for a few fixed shapes, and the audio tower's first convolutions keep their
channels last, which spares two transpositions of its largest activations per layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.gemma4.modeling_gemma4 import Gemma4AudioSubSampleConvProjectionLayer


def _subsample(
    self: Gemma4AudioSubSampleConvProjectionLayer, hidden: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Convolution, LayerNorm over channels, ReLU, all with channels last."""
    if mask is not None:
        hidden = hidden * mask[:, None, :, None]
    last = torch.channels_last
    kernel = self.conv.weight.contiguous(memory_format=last)
    hidden = F.conv2d(hidden.contiguous(memory_format=last), kernel, stride=2, padding=1)
    hidden = hidden.permute(0, 2, 3, 1)
    normed = F.layer_norm(hidden, hidden.shape[-1:], self.norm.weight, None, self.norm.eps)
    hidden = normed.relu().to(hidden.dtype).permute(0, 3, 1, 2)
    return hidden, None if mask is None else mask[:, ::2]


def _swap(layers: nn.ModuleList, dynamic: bool | None) -> list[nn.Module]:
    plain = list(layers)
    for index, layer in enumerate(plain):
        layers[index] = torch.compile(layer, dynamic=dynamic)  # type: ignore[assignment]
    return plain


@contextmanager
def compiled(model: nn.Module) -> Iterator[None]:
    """Compile the layers of both towers; on leaving, the model is plain again."""
    torch._dynamo.config.cache_size_limit = 64  # noqa: SLF001
    inner = model.model
    stacks = [inner.vision_tower.encoder.layers, inner.audio_tower.layers]
    plain = [_swap(stack, dynamic) for stack, dynamic in zip(stacks, (True, False), strict=True)]
    projection = inner.audio_tower.subsample_conv_projection
    forward = Gemma4AudioSubSampleConvProjectionLayer.forward
    Gemma4AudioSubSampleConvProjectionLayer.forward = _subsample
    inner.audio_tower.subsample_conv_projection = torch.compile(projection, dynamic=False)
    try:
        yield
    finally:
        Gemma4AudioSubSampleConvProjectionLayer.forward = forward
        inner.audio_tower.subsample_conv_projection = projection
        for stack, layers in zip(stacks, plain, strict=True):
            for index, layer in enumerate(layers):
                stack[index] = layer
