"""Single rows of a matrix that stays in its safetensors file.

Rows are read with ``pread``, not through a memory map: where a mapped file is cut short or its disk
goes away, the process is killed by a signal nobody can catch, while a read simply comes back short.
What was read before stays in the system's page cache, which gives it up when memory is needed; a
cache of our own would save 2 of the 9 microseconds that a token's row takes from there. The file
stays open, so it may be moved, deleted or replaced by a new one while it is in use.
This module imports no MLX.
"""

from __future__ import annotations

import logging
import os
import weakref

import numpy as np

from mlx_gemma4.errors import WeightsError
from mlx_gemma4.file_headers import StoredTensor

log = logging.getLogger(__name__)


class RowFile:
    """Rows of one stored matrix [rows, columns].

    Raises:
        WeightsError: the file cannot be opened, or is shorter than its header says.
    """

    def __init__(self, tensor: StoredTensor) -> None:
        self.tensor = tensor
        self.rows = tensor.shape[0]
        self.row_bytes = tensor.nbytes // tensor.shape[0]
        try:
            self._fd = os.open(tensor.file, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(error.strerror) from error
        weakref.finalize(self, os.close, self._fd)
        self._opened = self._state()
        if self._opened[0] < tensor.offset + tensor.nbytes:
            raise self._unreadable("it is cut short")

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Bytes of rows int [n] in this order: uint8 [n, bytes of a row].

        Raises:
            WeightsError: the file was changed or its disk is gone.
        """
        wanted, places = (rows, None) if rows.size == 1 else np.unique(rows, return_inverse=True)
        if wanted.size and not 0 <= wanted[0] <= wanted[-1] < self.rows:
            raise IndexError(f"rows {wanted[0]} to {wanted[-1]} of {self.rows}")
        if self._state() != self._opened:
            raise self._unreadable("it was changed while it was in use")
        data = b"".join([self._row(row) for row in wanted.tolist()])
        table = np.frombuffer(data, dtype=np.uint8).reshape(-1, self.row_bytes)
        return table if places is None else table[places]

    def _row(self, row: int) -> bytes:
        size = self.row_bytes
        try:
            data = os.pread(self._fd, size, self.tensor.offset + row * size)
        except OSError as error:
            raise self._unreadable(error.strerror) from error
        if len(data) < size:
            raise self._unreadable("it is cut short")
        return data

    def _state(self) -> tuple[int, int]:
        """Size and time of the last change: both stay the same while nobody writes to the file."""
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns

    def _unreadable(self, reason: str | None) -> WeightsError:
        log.warning("%s cannot be read: %s", self.tensor.file, reason)
        return WeightsError(
            f"{self.tensor.file.name} can no longer be read ({reason or 'the disk failed'}); load "
            "the model again, or download it again if that fails."
        )
