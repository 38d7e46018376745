"""What a checkpoint's files say about their tensors, read without loading any of them.

A safetensors file is 8 bytes of length, that many bytes of JSON (type, shape and place of every
tensor), and the tensors. This module imports no MLX.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from mlx_gemma4.errors import WeightsError

MAX_HEADER = 100 << 20
_METADATA = "__metadata__"
_BITS = {"U32": 32, "I32": 32, "F32": 32, "BF16": 16, "F16": 16, "U8": 8}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        file: the file.
        dtype: its type as safetensors names it (``BF16``, ``U32``, ...).
        shape: its shape.
        offset: bytes of the file before it.
        nbytes: its size.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


def tensor_headers(folder: Path) -> Iterator[tuple[str, str, list[int]]]:
    """Yield ``(name, dtype, shape)`` of every tensor in a folder's ``*.safetensors`` files.

    Raises:
        WeightsError: there is no such file, or its header cannot be read.
    """
    files = sorted(p for p in folder.glob("*.safetensors") if p.name != "adapters.safetensors")
    if not files:
        raise WeightsError(f"There are no *.safetensors files in {folder}; download it again.")
    for path in files:
        for name, entry in _header(path)[0].items():
            if name != _METADATA:
                yield name, entry["dtype"], entry["shape"]


def stored_tensors(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor of one file by the name it has there.

    Raises:
        WeightsError: the header cannot be read or does not describe this file.
    """
    header, start = _header(path)
    for name, entry in header.items():
        if name == _METADATA:
            continue
        try:
            shape = tuple(int(n) for n in entry["shape"])
            first, last = (int(n) for n in entry["data_offsets"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, error) from error
        bits = _BITS.get(entry["dtype"])
        if first < 0 or (bits and (last - first) * 8 != prod(shape) * bits):
            raise _damaged(path, ValueError(f"{name} has the wrong size"))
        yield name, StoredTensor(path, entry["dtype"], shape, start + first, last - first)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of a file, and the bytes before its first tensor."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > MAX_HEADER:
                raise ValueError("header too long")
            return json.loads(file.read(length)), 8 + length
    except (OSError, ValueError, struct.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path.name} is damaged ({error}); download the model again.")
