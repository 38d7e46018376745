"""Kernels per decoded token, counted on the unevaluated graph: hardware-independent.

The graph above ``mx.fast`` is the same on every backend, but the CPU backend decomposes four
operations that are one kernel on Metal: RMSNorm, RoPE, dequantise, and attention where Metal has a
fused kernel for it (queries of at most 8 tokens, head dim up to 256). While a step is built these
are replaced by one distinct node each; ``mx.export_to_dot`` then lists every node. Views (reshape,
slice, transpose …) launch nothing and are left out; a compiled region counts as one.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

# Primitives that launch nothing on contiguous input.
VIEWS = frozenset(
    {"Reshape", "Transpose", "Broadcast", "BroadcastAxes", "ExpandDims", "Squeeze", "Flatten"}
    | {"Unflatten", "Slice", "Split", "StopGradient", "Depends", "View", "AsStrided", "Copy"}
    | {"NumberOfElements", "CustomTransforms", "Full0"}
)
# Stand-ins nobody else uses, and what they stand for. MLX's compiler never merges a scan with its
# neighbours, so they stay one node each in a compiled step too.
_STANDS_FOR = {
    "CumMax": "RMSNorm",
    "CumMin": "RoPE",
    "CumProd": "Attention",
    "CumLogAddExp": "Dequantize",
    "CumSum": "CustomKernel",
}
_FUSED_HEAD_DIMS = (64, 96, 128, 192, 256)
_FUSED_QUERIES = 8
_FUSED_ROWS = 32  # queries × query heads per key head

_SORTS = ("Sort", "ArgSort", "Partition", "ArgPartition")

_NODE = re.compile(r'\[label ="([^"]+)", shape=rectangle\]')


@dataclass(frozen=True)
class GraphCount:
    """Nodes of one graph by primitive; ``kernels`` leaves out views."""

    by_kind: Counter[str]

    @property
    def nodes(self) -> int:
        """All nodes."""
        return sum(self.by_kind.values())

    @property
    def kernels(self) -> int:
        """Nodes that launch a kernel on Metal."""
        return sum(n for kind, n in self.by_kind.items() if kind not in VIEWS)


def count_graph(build: Callable[[], list[mx.array]]) -> GraphCount:
    """Count the nodes of what ``build`` makes; nothing is evaluated.

    Args:
        build: builds a step lazily and returns its outputs, the cache's arrays included.
    """
    with metal_like():
        outputs = build()
        text = io.StringIO()
        mx.export_to_dot(text, *outputs)
    kinds = Counter(_kind(label) for label in _NODE.findall(text.getvalue()))
    return GraphCount(kinds)


def _kind(label: str) -> str:
    if label.startswith("Compiled") or len(label) > 30:
        return "Compiled"
    return _STANDS_FOR.get(label, label.split()[0])  # a view names its new type after itself


@contextmanager
def metal_like() -> Iterator[None]:
    """While this is open, operations that are one kernel on Metal are one node here."""
    attention = mx.fast.scaled_dot_product_attention
    stand_ins = (
        (mx.fast, "rms_norm", _rms_norm),
        (mx.fast, "rope", _rope),
        (mx.fast, "scaled_dot_product_attention", _attention(attention)),
        (mx, "dequantize", _dequantize),
    )
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in stand_ins]
    try:
        for owner, name, stand_in in stand_ins:
            setattr(owner, name, stand_in)
        yield
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def wide_sorts(function: Callable[[mx.array], mx.array], width: int) -> int:
    """Sorting primitives over at least ``width`` elements in the graph of ``function``.

    Args:
        function: takes logits [1, width]; compiled regions are looked into.
        width: of the vocabulary.
    """
    found = 0

    def look(node: dict[str, Any]) -> None:
        nonlocal found
        if node.get("type") == "primitive" and node["name"] in _SORTS:
            _name, shape, _dtype = node["inputs"][0]
            found += shape[-1] >= width

    mx.export_function(look, function, mx.zeros((1, width)))
    return found


def _after(node: mx.array, *inputs: mx.array | None) -> mx.array:
    """``node``, with edges to what the real kernel also reads."""
    read = [x for x in inputs if isinstance(x, mx.array)]
    return mx.depends([node], read)[0] if read else node


def _rms_norm(x: mx.array, weight: mx.array | None, *_: object, **__: object) -> mx.array:
    return _after(mx.cummax(x, axis=-1), weight)


def _rope(x: mx.array, *_: object, offset: mx.array | int = 0, **__: object) -> mx.array:
    return _after(mx.cummin(x, axis=-1), offset if isinstance(offset, mx.array) else None)


def _attention(decomposed: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def attention(
        q: mx.array, k: mx.array, v: mx.array, *, mask: object = None, **rest: object
    ) -> mx.array:
        queries, dims = q.shape[2], q.shape[3]
        rows = queries * (q.shape[1] // k.shape[1])
        fused = queries <= _FUSED_QUERIES and rows <= _FUSED_ROWS and dims in _FUSED_HEAD_DIMS
        if not fused:
            return decomposed(q, k, v, mask=mask, **rest)
        return _after(mx.cumprod(q, axis=-1), k, v, mask if isinstance(mask, mx.array) else None)

    return attention


def _dequantize(
    w: mx.array,
    scales: mx.array,
    biases: mx.array | None = None,
    group_size: int | None = None,
    bits: int | None = None,
    **_: object,
) -> mx.array:
    shape = (*w.shape[:-1], w.shape[-1] * 32 // (bits or 4))
    del group_size
    return _after(mx.broadcast_to(mx.logcumsumexp(scales[..., :1], axis=-1), shape), w, biases)
