"""Building blocks of the decoder: linear maps, embeddings, norms, activations, the soft-cap.

A :class:`Linear` or :class:`Embedding` holds a dense or a quantised weight behind one interface;
matrices that read the same input are one :class:`FusedLinear` (query, key, value; gate, up). The
element-wise chains are small pure functions, so that they can be compiled or replaced by kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mlx import nn

_GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
_GELU_CUBIC = 0.044715


@dataclass(frozen=True)
class Quantization:
    """How a weight is packed: ``mode`` is ``affine``, ``mxfp4``, ``mxfp8`` or ``nvfp4``."""

    group_size: int
    bits: int
    mode: str = "affine"


class Linear(nn.Module):
    """``y = x Wᵀ (+ b)`` with ``weight`` [out, in], dense or quantised.

    A quantised layer holds packed ``weight`` (uint32), ``scales`` and, in affine mode, ``biases``;
    ``quantization`` says how they are packed (``None`` for a dense weight).
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = mx.zeros((output_dims, input_dims))
        if bias:
            self.bias = mx.zeros((output_dims,))
        self.quantization: Quantization | None = None

    def __call__(self, x: mx.array) -> mx.array:
        """``x``: [..., in] -> [..., out]."""
        y = x @ self.weight.T if self.quantization is None else _packed_matmul(self, x)
        return y + self.bias if "bias" in self else y


class FusedLinear(Linear):
    """Several matrices over the same input, stored as one: rows of part after part.

    ``part_names`` are the checkpoint's module names, ``part_rows`` their output widths.
    """

    def __init__(self, input_dims: int, parts: Sequence[tuple[str, int]]) -> None:
        super().__init__(input_dims, sum(rows for _, rows in parts))
        self._parts = tuple(parts)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Checkpoint module name of each part, in row order."""
        return tuple(name for name, _ in self._parts)

    @property
    def part_rows(self) -> tuple[int, ...]:
        """Output width of each part."""
        return tuple(rows for _, rows in self._parts)


class SplitLinear(nn.Module):
    """Stands in for a :class:`FusedLinear` whose parts are quantised differently."""

    def __init__(self, parts: Sequence[tuple[str, Linear]]) -> None:
        super().__init__()
        self.parts = [linear for _, linear in parts]
        self._names = tuple(name for name, _ in parts)

    @property
    def part_names(self) -> tuple[str, ...]:
        """Checkpoint module name of each part, in row order."""
        return self._names

    @property
    def part_rows(self) -> tuple[int, ...]:
        """Output width of each part."""
        return tuple(part.weight.shape[0] for part in self.parts)

    def __call__(self, x: mx.array) -> mx.array:
        """``x``: [..., in] -> [..., sum of part rows]."""
        return mx.concatenate([part(x) for part in self.parts], axis=-1)


class ExpertLinear(nn.Module):
    """One matrix per expert, ``weight`` [experts, out, in], dense or quantised."""

    def __init__(self, experts: int, input_dims: int, output_dims: int) -> None:
        super().__init__()
        self.weight = mx.zeros((experts, output_dims, input_dims))
        self.quantization: Quantization | None = None

    def __call__(self, x: mx.array, experts: mx.array, ordered: bool = False) -> mx.array:
        """Apply expert ``experts[...]`` to each row.

        Args:
            x: [..., 1, in], broadcast against ``experts``.
            experts: indices [...].
            ordered: whether ``experts`` is sorted (lets the kernel reuse weights).

        Returns:
            [..., 1, out].
        """
        if self.quantization is None:
            weight = self.weight.swapaxes(-1, -2)
            return mx.gather_mm(x, weight, rhs_indices=experts, sorted_indices=ordered)
        packing = self.quantization
        return mx.gather_qmm(
            x,
            self.weight,
            self["scales"],
            self.get("biases"),
            lhs_indices=None if ordered else _rows_in_order(x),
            rhs_indices=experts,
            transpose=True,
            group_size=packing.group_size,
            bits=packing.bits,
            mode=packing.mode,
            sorted_indices=ordered,
        )


def _rows_in_order(x: mx.array) -> mx.array:
    """Index of each row of ``x`` [..., 1, in], made here: MLX would launch a kernel to count.

    Only for unsorted experts: MLX takes its sorted path only when it counts the rows itself.
    """
    shape = x.shape[:-2]
    return mx.array(np.arange(math.prod(shape), dtype=np.uint32).reshape(shape))


class SplitExperts(nn.Module):
    """Stands in for an :class:`ExpertLinear` whose gate and up rows are quantised differently."""

    def __init__(self, parts: Sequence[ExpertLinear]) -> None:
        super().__init__()
        self.parts = list(parts)

    def __call__(self, x: mx.array, experts: mx.array, ordered: bool = False) -> mx.array:
        """As :meth:`ExpertLinear.__call__`."""
        return mx.concatenate([part(x, experts, ordered) for part in self.parts], axis=-1)


class Embedding(nn.Module):
    """A table ``weight`` [rows, dims], dense or quantised, read by row or used as a matrix."""

    def __init__(self, rows: int, dims: int) -> None:
        super().__init__()
        self.weight = mx.zeros((rows, dims))
        self.quantization: Quantization | None = None
        self.dtype = mx.float32

    def __call__(self, ids: mx.array) -> mx.array:
        """``ids``: [...] -> rows [..., dims]."""
        if self.quantization is None:
            return self.weight[ids]
        packing = self.quantization
        biases = self.get("biases")
        return mx.dequantize(
            self.weight[ids],
            self["scales"][ids],
            None if biases is None else biases[ids],
            group_size=packing.group_size,
            bits=packing.bits,
            mode=packing.mode,
            dtype=self.dtype,
        )

    def as_linear(self, x: mx.array) -> mx.array:
        """``x Eᵀ``: [..., dims] -> [..., rows] (the tied output head)."""
        return x @ self.weight.T if self.quantization is None else _packed_matmul(self, x)


def _packed_matmul(module: Linear | Embedding, x: mx.array) -> mx.array:
    assert module.quantization is not None
    biases = module.get("biases")
    return _packed_product(x, module.weight, module["scales"], biases, module.quantization)


def _packed_product(
    x: mx.array,
    weight: mx.array,
    scales: mx.array,
    biases: mx.array | None,
    packing: Quantization,
) -> mx.array:
    return mx.quantized_matmul(
        x,
        weight,
        scales=scales,
        biases=biases,
        transpose=True,
        group_size=packing.group_size,
        bits=packing.bits,
        mode=packing.mode,
    )


def output_rows(linear: nn.Module, x: mx.array, start: int, stop: int) -> mx.array:
    """Only outputs ``[start, stop)`` of a matrix: ``x`` [..., in] -> [..., stop - start].

    Saves work where the matrix lies in one piece; elsewhere (LoRA, mixed packing) everything is
    computed and cut.
    """
    if type(linear) is not FusedLinear:
        return linear(x)[..., start:stop]
    if linear.quantization is None:
        return x @ linear.weight[start:stop].T
    scales, biases = linear["scales"][start:stop], linear.get("biases")
    biases = None if biases is None else biases[start:stop]
    return _packed_product(x, linear.weight[start:stop], scales, biases, linear.quantization)


class RMSNorm(nn.Module):
    """``x / rms(x) * w``: the learned weight multiplies directly (not ``1 + w``)."""

    def __init__(self, dims: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.ones((dims,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        """Normalise the last axis; statistics and product in float32, result in ``x``'s type."""
        return mx.fast.rms_norm(x, self.weight, self.eps)


def rms_norm(x: mx.array, eps: float) -> mx.array:
    """Scale-free RMS norm over the last axis."""
    return mx.fast.rms_norm(x, None, eps)


def gelu_tanh(x: mx.array) -> mx.array:
    """Tanh form of GELU (PyTorch ``gelu_pytorch_tanh``), in float32 as the reference computes it.

    ``0.5 x (1 + tanh(x (s + s c x²)))``: MLX cuts a compiled chain at a depth of 11 operations, so
    the polynomial is written in its shortest form.
    """
    x = x.astype(mx.float32)
    inner = x * (_GELU_SCALE + (_GELU_SCALE * _GELU_CUBIC) * (x * x))
    return (0.5 * x) * (1.0 + mx.tanh(inner))


@mx.compile
def geglu(gate: mx.array, up: mx.array) -> mx.array:
    """``gelu(gate) * up``."""
    return gelu_tanh(gate).astype(gate.dtype) * up


@mx.compile
def merge_per_layer(context: mx.array, identity: mx.array, scale: float) -> mx.array:
    """``(context + identity * scale) / sqrt(2)``: the two halves of the per-layer inputs."""
    return (context + identity * scale) * 2.0**-0.5


def soft_cap(logits: mx.array, cap: float | None) -> mx.array:
    """``cap * tanh(logits / cap)`` in float32: in bfloat16 it would flip near ties."""
    return logits.astype(mx.float32) if cap is None else _capped(logits, cap)


@mx.compile
def _capped(logits: mx.array, cap: float) -> mx.array:
    return cap * mx.tanh(logits.astype(mx.float32) / cap)
