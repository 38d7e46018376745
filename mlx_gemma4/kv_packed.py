"""Keys and values of full layers in 8 or 4 bits, for long contexts of the large models.

Affine groups along the head dimension, as in quantised weights. Sliding layers stay as they are:
they hold a window, while full layers hold every token. Attention reads the packed rows directly.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx

from mlx_gemma4.cache import KV, FullCache
from mlx_gemma4.errors import PromptError
from mlx_gemma4.masks import Mask
from mlx_gemma4.plan import KV_BITS

GROUP = 64
"""Numbers that share a scale and a bias, where the head dimension allows it; else half of it."""


class PackedRows(NamedTuple):
    """Keys or values [batch, groups, time, head dim], packed."""

    words: mx.array
    scales: mx.array
    biases: mx.array
    bits: int

    @property
    def group_size(self) -> int:
        """Numbers that share a scale."""
        return self.words.shape[3] * 32 // self.bits // self.scales.shape[3]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the numbers that are packed."""
        batch, groups, time, words = self.words.shape
        return batch, groups, time, words * 32 // self.bits

    def between(self, low: int, high: int) -> PackedRows:
        """The rows ``low`` … ``high``."""
        cut = (slice(None), slice(None), slice(low, high))
        return PackedRows(self.words[cut], self.scales[cut], self.biases[cut], self.bits)

    def unpacked(self) -> mx.array:
        """The numbers, as attention sees them."""
        return mx.dequantize(
            self.words, self.scales, self.biases, group_size=self.group_size, bits=self.bits
        )

    def product(self, x: mx.array, *, transpose: bool) -> mx.array:
        """``x rowsᵀ`` or ``x rows``, computed from the packed rows."""
        return mx.quantized_matmul(
            x,
            self.words,
            self.scales,
            self.biases,
            transpose=transpose,
            group_size=self.group_size,
            bits=self.bits,
        )


class PackedCache(FullCache):
    """A full layer's cache that packs every row once, when it is written.

    Three plain caches hold words, scales and biases, so growing, trimming, copying and putting
    back are theirs.
    """

    def __init__(self, bits: int, start: int = 0) -> None:
        super().__init__(start)
        self._bits = bits
        self._planes = (FullCache(start), FullCache(start), FullCache(start))

    @property
    def nbytes(self) -> int:
        """Bytes held, spare rows included."""
        return sum(plane.nbytes for plane in self._planes)

    @property
    def row_bytes(self) -> int:
        """Bytes of one position; 0 while nothing is stored."""
        return sum(plane.row_bytes for plane in self._planes)

    def append(self, rows: mx.array) -> KV:
        """See :meth:`FullCache.append`; keys and values of the result are :class:`PackedRows`."""
        group = GROUP if rows.shape[3] % GROUP == 0 else GROUP // 2
        self._write(mx.quantize(rows, group_size=group, bits=self._bits))
        return self.view()

    def reserve(self, rows: int) -> None:
        """See :meth:`FullCache.reserve`."""
        for plane in self._planes:
            plane.offset = self.offset
            plane.reserve(rows)

    def view(self) -> KV:
        """All stored keys and values."""
        used = self.offset - self.start
        words, scales, biases = (mx.split(a[:, :, :used], 2, axis=1) for a in self.arrays())
        keys = PackedRows(words[0], scales[0], biases[0], self._bits)
        return KV(keys, PackedRows(words[1], scales[1], biases[1], self._bits), self.start)

    def rows(self, low: int, high: int) -> tuple[mx.array, ...]:
        """Own copies of the stored rows at positions ``low`` … ``high``."""
        return tuple(row for plane in self._planes for row in plane.rows(low, high))

    def put(self, position: int, rows: tuple[mx.array, ...]) -> None:
        """Write stored rows back at ``position``; ends behind them."""
        self.offset = position
        self._write(rows)

    def arrays(self) -> list[mx.array]:
        """What to evaluate so that the cache is materialised."""
        return [array for plane in self._planes for array in plane.arrays()]

    def _write(self, parts: tuple[mx.array, ...]) -> None:
        for plane, part in zip(self._planes, parts, strict=True):
            plane.offset = self.offset
            plane.append(part)
        self.offset = self._planes[0].offset


def full_cache(start: int = 0, bits: int | None = None) -> FullCache:
    """The cache of a full layer, packed or not.

    Raises:
        PromptError: a number of bits that keys and values are not packed into.
    """
    if bits is None:
        return FullCache(start)
    if bits not in KV_BITS:
        raise PromptError(f"Keys and values are kept in 8 or 4 bits or as they are, not in {bits}.")
    return PackedCache(bits, start)


def attend_packed(q: mx.array, keys: PackedRows, values: PackedRows, mask: Mask) -> mx.array:
    """``softmax(q kᵀ + mask) v`` from packed rows; scale 1.

    Query heads of one key head are rows of one product, which reads its keys and values once.

    Args:
        q: [batch, heads, rows, dims].
        keys: of the same width.
        values: like ``keys``.
        mask: ``None``, ``"causal"`` (aligned to the last key) or a boolean array [rows, time].

    Returns:
        [batch, heads, rows, dims].
    """
    batch, heads, rows, dims = q.shape
    groups, total = keys.shape[1], keys.shape[2]
    repeats = heads // groups
    scores = keys.product(q.reshape(batch, groups, repeats * rows, dims), transpose=True)
    if isinstance(mask, str):
        mask = mx.arange(total - rows, total)[:, None] >= mx.arange(total)
    if mask is not None:
        least = mx.array(mx.finfo(scores.dtype).min, scores.dtype)
        scores = mx.where(mx.tile(mask, (repeats, 1)), scores, least)
    weights = mx.softmax(scores, axis=-1, precise=True)
    return values.product(weights, transpose=False).reshape(q.shape)
