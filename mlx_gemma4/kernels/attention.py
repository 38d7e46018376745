"""Decode attention with heads of 512: one query row against the whole cache.

Bytes read: keys and values once, 2 × 512 numbers per key head and token (26B at 4096 tokens in
bfloat16: 16.8 MB a layer), where they lie in the cache. Query heads of one key head run as the
simdgroups of one threadgroup, so that one reads from memory and the others from the cache.
"""

from __future__ import annotations

import mlx.core as mx

from mlx_gemma4 import wide_attention
from mlx_gemma4.kernels.backends import Backend, Constants
from mlx_gemma4.kernels.kernel import SIMD, Kernel
from mlx_gemma4.kernels.matrices import FLOATS
from mlx_gemma4.masks import Reach, Sight

ONE_CHUNK = 128
"""Up to this many keys one launch does it all; beyond, chunks run side by side and are joined."""
_CHUNK = 64
_MOST_CHUNKS = 128
_AT_ONCE = 4
_MOST_REPEATS = 32
_MOST_DIMS = 1024

_INPUTS = ("q", "keys", "values", "chunks_of", "last")
WHOLE = Kernel("attend_part", _INPUTS, ("out",), (), (("WHOLE", 1),), contiguous=False)
PART = Kernel("attend_part", _INPUTS, ("parts", "marks"), (), (("WHOLE", 0),), contiguous=False)
JOIN = Kernel("attend_join", ("parts", "marks", "chunks_of"), ("out",))


def attend_wide(
    backend: Backend, q: mx.array, keys: mx.array, values: mx.array, mask: Sight
) -> mx.array:
    """As :func:`mlx_gemma4.wide_attention.attend_wide` for one query row; one or two launches.

    Softmax runs along in float32, where the reference rounds the weights to the type of ``q``.
    """
    batch, heads, rows, dims = q.shape
    groups, total = keys.shape[1], keys.shape[2]
    repeats = heads // groups
    alone = batch == 1 and rows == 1 and not isinstance(mask, mx.array)
    fits = repeats <= _MOST_REPEATS and dims % SIMD == 0 and dims <= _MOST_DIMS
    if not (alone and fits and q.dtype in FLOATS and total):
        return wide_attention.attend_wide(q, keys, values, mask)
    chunks = 1 if total <= ONE_CHUNK else min(_MOST_CHUNKS, -(-total // _CHUNK))
    sizes: Constants = {"T": q.dtype, "DIMS": dims, "HEADS": heads}
    constants = {**sizes, "REPEATS": repeats, "AT_ONCE": _AT_ONCE}
    chunks_of = mx.array([chunks], mx.int32)
    last = mask.last if isinstance(mask, Reach) else mx.array([total - 1], mx.int32)
    inputs, threads = [q, keys, values, chunks_of, last], repeats * SIMD
    if chunks == 1:
        return backend.launch(WHOLE, inputs, constants, (groups, 1), threads, [(q.shape, q.dtype)])[
            0
        ]
    partial = [((chunks, heads, dims), mx.float32), ((chunks, heads, 2), mx.float32)]
    parts = backend.launch(PART, inputs, constants, (groups, chunks), threads, partial)
    return backend.launch(JOIN, [*parts, chunks_of], sizes, (heads, 1), dims, [(q.shape, q.dtype)])[
        0
    ]
