"""The per-layer embedding table read from its file, row by row.

Half of a 4-bit E2B is this table, and a token reads one row of it (a few kilobytes). Kept on disk
it costs no memory; the price is that the host must know a token before the pass that follows it
can be queued.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_gemma4.errors import WeightsError
from mlx_gemma4.file_headers import StoredTensor, stored_tensors
from mlx_gemma4.key_table import PLE_TABLE, canonical_name
from mlx_gemma4.layers import Quantization
from mlx_gemma4.row_file import RowFile

_HOST_TYPES = {
    "F32": (np.float32, mx.float32),
    "F16": (np.float16, mx.float16),
    "BF16": (np.uint16, mx.bfloat16),
    "U32": (np.uint32, mx.uint32),
    "U8": (np.uint8, mx.uint8),
}


class DiskTable:
    """Stands in for an :class:`~mlx_gemma4.layers.Embedding` that is only read by row.

    Args:
        parts: where ``weight`` lies and, for a packed table, ``scales`` and ``biases``.
        quantization: how it is packed; ``None`` for a dense table.
        dtype: type of the rows.

    Raises:
        WeightsError: a file cannot be read, or has a type that tables do not have.
    """

    def __init__(
        self,
        parts: dict[str, StoredTensor],
        quantization: Quantization | None,
        dtype: mx.Dtype,
    ) -> None:
        for tensor in parts.values():
            if tensor.dtype not in _HOST_TYPES:
                raise WeightsError(
                    f"The per-layer table in {tensor.file.name} has the type {tensor.dtype}, which "
                    "cannot be read by row; load it into memory."
                )
        self.quantization = quantization
        self.dtype = dtype
        self._files = {name: RowFile(tensor) for name, tensor in parts.items()}

    @property
    def nbytes(self) -> int:
        """Bytes that stay on disk."""
        return sum(file.tensor.nbytes for file in self._files.values())

    def __call__(self, ids: mx.array) -> mx.array:
        """``ids``: [...] -> rows [..., dims]; waits for the ids.

        Raises:
            WeightsError: a file was changed or its disk is gone.
        """
        rows = np.array(ids).reshape(-1)
        read = {name: _array(file, rows, ids.shape) for name, file in self._files.items()}
        if self.quantization is None:
            return read["weight"].astype(self.dtype)
        packing, biases = self.quantization, read.get("biases")
        affine = biases is not None
        return mx.dequantize(
            read["weight"],
            read["scales"].astype(self.dtype) if affine else read["scales"],
            biases.astype(self.dtype) if affine else None,
            group_size=packing.group_size,
            bits=packing.bits,
            mode=packing.mode,
            dtype=self.dtype,
        )


def _array(file: RowFile, rows: np.ndarray, shape: tuple[int, ...]) -> mx.array:
    """Rows as they are stored, [*shape, columns]."""
    host, device = _HOST_TYPES[file.tensor.dtype]
    return mx.array(file.read(rows).view(host)).view(device).reshape(*shape, -1)


def stored_table(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """Where the parts of the table lie in a checkpoint's files; empty if it has no table.

    Raises:
        WeightsError: a header cannot be read.
    """
    parts: dict[str, StoredTensor] = {}
    for path in files:
        for name, tensor in stored_tensors(path):
            module, _, part = canonical_name(name).rpartition(".")
            if module == PLE_TABLE:
                parts[part] = tensor
    return parts
