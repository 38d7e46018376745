"""One decode step as one compiled function.

Built operation by operation, a step costs the host several microseconds of Python per node, which
on a fast GPU is as long as the step itself. Here it is traced once and then replayed by MLX. That
needs the same shapes in every step: attention reads each layer's whole buffer, spare rows
included, and a bias hides what the query must not see. Only when a buffer grows is there another
trace.

Weights are declared as captured state, so a step always reads those the model has now. What is
traced and kept are plain attributes of modules; :meth:`CompiledSteps.forget` drops the traces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx import nn

from mlx_gemma4.cache import KV, Cache, Slot
from mlx_gemma4.config import FULL, SLIDING, TextConfig
from mlx_gemma4.fusion import Fusion, FusionMode
from mlx_gemma4.masks import Band, Reach, StepPlan
from mlx_gemma4.rope import Rope
from mlx_gemma4.step import Step

_KEPT = 4  # traces; a conversation needs one, and another each time its buffers grow

Layers = Callable[[mx.array, mx.array | None, Sequence[Any], Step], mx.array]
"""(embeddings, per-layer inputs, a cache per layer, step) -> normed hidden states."""


def replays_by_default() -> bool:
    """Whether compiled steps pay: on a GPU, where building a step takes as long as running it.

    On the CPU a step of a real model takes a hundred times what building it does (E2B on one core:
    1.6 s against about 10 ms), while each new chain of operations costs a run of the C++ compiler.
    """
    return mx.default_device().type == mx.DeviceType.gpu


class TracedRows:
    """Stands in for a layer's cache while a step is traced: one row is written where an array says.

    Args:
        rows: the layer's buffer [batch, 2 groups, capacity, head dim].
        at: int32 [1], the row to write.
    """

    def __init__(self, rows: mx.array, at: mx.array) -> None:
        self.rows = rows
        self._at = at

    def append(self, rows: mx.array) -> KV:
        """As a cache's, but the whole buffer is returned.

        A scatter is one kernel; a slice update at a computed position would be two on Metal.
        """
        at = mx.broadcast_to(self._at, rows.shape)
        self.rows = mx.put_along_axis(self.rows, at, rows, axis=2)
        keys, values = mx.split(self.rows, 2, axis=1)
        return KV(keys, values, 0)


class _Place(NamedTuple):
    """Where all layers of one kind write and what they see."""

    capacity: int
    at: int
    window: int

    @property
    def low(self) -> int:
        """The first row that is seen; the last is ``at``."""
        return max(0, self.at + 1 - self.window)


class CompiledSteps:
    """The compiled decode steps of one model.

    Args:
        text: the decoder's configuration.
        weights: the module that holds every weight ``layers`` reads.
        ropes: rotary positions by kind of layer.
        layers: runs all layers; is called to trace a step.
    """

    def __init__(
        self, text: TextConfig, weights: nn.Module, ropes: Mapping[str, Rope], layers: Layers
    ) -> None:
        self._text = text
        self._weights = weights
        self._ropes = ropes
        self._layers = layers
        self._traced: dict[tuple[object, ...], Callable[..., list[mx.array]]] = {}
        self._biases: dict[tuple[object, ...], mx.array] = {}

    def forget(self) -> None:
        """Trace anew from the next step on."""
        self._traced.clear()

    def __call__(
        self, hidden: mx.array, per_layer: mx.array | None, cache: Cache, fusion: Fusion
    ) -> mx.array | None:
        """Run one token.

        Args:
            hidden: [batch, 1, hidden].
            per_layer: [batch, 1, layers, dims] or ``None``.
            cache: is extended by the token.
            fusion: how chains are computed.

        Returns:
            Hidden states after the final norm, or ``None`` if chains run operation by operation or
            this cache does not allow it: it is empty, packed, or asked for snapshots inside of the
            pass.
        """
        if fusion.mode is FusionMode.OFF:
            return None
        slots = [layer.slot() for layer in cache]
        if any(slot is None for slot in slots):
            return None
        offset = cache.offset
        cache.before_append(1)
        known = [slot for slot in slots if slot is not None]
        places = self._places(known)
        inputs = (
            hidden,
            [] if per_layer is None else [per_layer],
            [slot.buffer for slot in known],
            mx.array([[float(offset)]]),
            {kind: mx.array([place.at], mx.int32) for kind, place in places.items()},
            {kind: self._bias(kind, place, hidden.dtype) for kind, place in places.items()},
        )
        key = (fusion, *((kind, place.capacity) for kind, place in places.items()))
        step = self._traced.get(key)
        outputs = self._first(key, fusion, inputs) if step is None else step(*inputs)
        for layer, rows in zip(cache, outputs[1:], strict=True):
            layer.take(rows)
        return outputs[0]

    def _places(self, slots: Sequence[Slot]) -> dict[str, _Place]:
        windows = {SLIDING: self._text.sliding_window}
        found: dict[str, _Place] = {}
        for spec, slot in zip(self._text.layers, slots, strict=False):
            capacity = slot.buffer.shape[2]
            place = _Place(capacity, slot.at, windows.get(spec.kind, capacity))
            assert found.setdefault(spec.kind, place) == place, "layers of a kind move together"
        return found

    def _first(
        self, key: tuple[object, ...], fusion: Fusion, inputs: tuple[Any, ...]
    ) -> list[mx.array]:
        """Trace a step and run it."""
        while len(self._traced) >= _KEPT:
            del self._traced[next(iter(self._traced))]
        step = mx.compile(partial(self._trace, fusion), inputs=self._weights)
        weights = self._weights.parameters()
        try:
            outputs = step(*inputs)
        except BaseException:
            # MLX puts placeholders into the modules while it traces, and leaves them there.
            self._weights.update(weights)
            raise
        self._traced[key] = step
        return outputs

    def _trace(
        self,
        fusion: Fusion,
        hidden: mx.array,
        per_layer: list[mx.array],
        buffers: list[mx.array],
        position: mx.array,
        at: Mapping[str, mx.array],
        biases: Mapping[str, mx.array],
    ) -> list[mx.array]:
        reaches = {kind: Reach(at[kind], bias) for kind, bias in biases.items()}
        bands = {
            kind: (Band(0, 1, 0, reach.bias.shape[1], reach),) for kind, reach in reaches.items()
        }
        plan = StepPlan(0, 1, full=bands.get(FULL, ()), sliding=bands.get(SLIDING, ()))
        turns = {kind: rope.turns_at(position) for kind, rope in self._ropes.items()}
        caches = [
            TracedRows(rows, at[spec.kind])
            for spec, rows in zip(self._text.layers, buffers, strict=False)
        ]
        inputs = per_layer[0] if per_layer else None
        normed = self._layers(hidden, inputs, caches, Step(plan, turns, fusion))
        return [normed, *(cache.rows for cache in caches)]

    def _bias(self, kind: str, place: _Place, dtype: mx.Dtype) -> mx.array:
        """[1, capacity]: 0 at rows seen, -inf elsewhere; a view of one array per buffer size."""
        capacity, at, window = place
        key = (kind, capacity, window, dtype)
        if key not in self._biases:
            line = np.full(2 * capacity + window, -np.inf, np.float32)
            line[capacity : capacity + window] = 0
            self._biases = {k: v for k, v in self._biases.items() if k[0] != kind}
            self._biases[key] = mx.array(line).astype(dtype)[None]
            mx.eval(self._biases[key])
        start = capacity + window - 1 - at
        return self._biases[key][:, start : start + capacity]
