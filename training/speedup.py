"""Same arithmetic, less copying: what makes a training step on the CPU affordable.

Layers are compiled, the vision tower attends with bfloat16 matrix products in both directions
(torch's own fused attention takes twice as long backwards on a CPU with AMX), and the audio
tower's first convolutions keep their channels last, which spares two transpositions of its
largest activations per layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.gemma4.modeling_gemma4 import (
    ALL_ATTENTION_FUNCTIONS,
    Gemma4AudioSubSampleConvProjectionLayer,
    Gemma4RMSNorm,
    Gemma4TextMLP,
)


class _Attention(torch.autograd.Function):
    """softmax(q kᵀ) v without a mask; keeps the weights in bfloat16 for the way back."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (q @ k.transpose(-1, -2)).float().softmax(dim=-1).to(torch.bfloat16)
        out = weights @ v
        ctx.save_for_backward(q, k, v, weights, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        q, k, v, weights, out = ctx.saved_tensors
        rows = (grad.float() * out.float()).sum(dim=-1, keepdim=True)
        inner = (grad @ v.transpose(-1, -2)).float() - rows
        scores = (weights.float() * inner).to(torch.bfloat16)
        return scores @ k, scores.transpose(-1, -2) @ q, weights.transpose(-1, -2) @ grad


def _attend(
    _module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: None, **_options: Any
) -> tuple[Tensor, None]:
    """The vision tower's: no mask, scale 1, [B, heads, P, d] in and [B, P, heads, d] out."""
    batch, heads, count, size = query.shape
    flat = [x.to(torch.bfloat16).reshape(batch * heads, count, size) for x in (query, key, value)]
    out = _Attention.apply(*flat).view(batch, heads, count, size)
    return out.transpose(1, 2).contiguous(), None


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


@torch.compile(dynamic=True)
def _normed(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
    return (wide if weight is None else wide * weight).type_as(x)


def _rms_norm(self: Gemma4RMSNorm, x: Tensor) -> Tensor:
    """RMSNorm in one pass over rows instead of six: a quarter of the decoder's time."""
    weight = self.weight if self.with_scale else None
    return _normed(x.reshape(-1, x.shape[-1]), weight, self.eps).view(x.shape)


@torch.compile(dynamic=True)
def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return F.gelu(gate, approximate="tanh") * up


def _feed_forward(self: Gemma4TextMLP, x: Tensor) -> Tensor:
    """The gate's GELU and product in one pass, forwards and backwards."""
    flat = x.reshape(-1, x.shape[-1])
    inner = _gated(self.gate_proj(flat), self.up_proj(flat))
    return self.down_proj(inner).view(*x.shape[:-1], -1)


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
    vision = inner.vision_tower
    stacks = [vision.encoder.layers, inner.audio_tower.layers]
    plain = [_swap(stack, dynamic) for stack, dynamic in zip(stacks, (True, False), strict=True)]
    ALL_ATTENTION_FUNCTIONS["facet_fused"] = _attend
    usual, vision.config._attn_implementation = (  # noqa: SLF001
        vision.config._attn_implementation,  # noqa: SLF001
        "facet_fused",
    )
    projection = inner.audio_tower.subsample_conv_projection
    forward = Gemma4AudioSubSampleConvProjectionLayer.forward
    Gemma4AudioSubSampleConvProjectionLayer.forward = _subsample
    norm = Gemma4RMSNorm.forward
    Gemma4RMSNorm.forward = _rms_norm
    mlp = Gemma4TextMLP.forward
    Gemma4TextMLP.forward = _feed_forward
    inner.audio_tower.subsample_conv_projection = torch.compile(projection, dynamic=False)
    try:
        yield
    finally:
        vision.config._attn_implementation = usual  # noqa: SLF001
        Gemma4AudioSubSampleConvProjectionLayer.forward = forward
        Gemma4RMSNorm.forward = norm
        Gemma4TextMLP.forward = mlp
        inner.audio_tower.subsample_conv_projection = projection
        for stack, layers in zip(stacks, plain, strict=True):
            for index, layer in enumerate(layers):
                stack[index] = layer
