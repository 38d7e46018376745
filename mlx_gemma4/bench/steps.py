"""One decode step of each engine as a lazily built graph, on the same shapes; sampler sorts."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import mlx.core as mx

from mlx_gemma4.bench.graph import GraphCount, count_graph, wide_sorts
from mlx_gemma4.bench.peers import OURS, PEERS, available, bare_peer, pack
from mlx_gemma4.bench.shapes import PACKING, cast, random_model, tiny_json
from mlx_gemma4.fusion import OFF, PORTABLE, Fusion, FusionMode
from mlx_gemma4.sampling import Sampler, SamplingOptions

ENGINES = (OURS, *PEERS)
VOCABULARY = 262_144
_WARM_TOKENS = 40
_CONTEXT = 140  # tokens before our counted step; some kernels take more launches beyond 128
_BUILDS = 25  # steps built to time the host; buffers do not grow within them
_TEMPERATURE, _TOP_P, _TOP_K = 1.0, 0.95, 64  # the published generation_config.json

Forward = Callable[[mx.array, Any], mx.array]
_Prepared = tuple[Forward, Any, Callable[[Any], list[mx.array]]]

__all__ = ["ENGINES", "VOCABULARY", "available", "decode_count", "host_seconds", "sampler_sorts"]


def decode_count(
    engine: str, name: str, width: int = 1, mode: FusionMode = FusionMode.PORTABLE
) -> GraphCount:
    """Count the graph of ``width`` new tokens (1: decoding) after a short prompt.

    Args:
        engine: one of ``ENGINES``.
        name: a published size; all layers, tiny widths, bfloat16, 4-bit weights.
        width: tokens of the step (a block to verify when more than one).
        mode: how far our model is fused; peers have one way.
    """
    return count_step(engine, tiny_json(name), width, mode)


def count_step(
    engine: str,
    config: dict[str, Any],
    width: int = 1,
    mode: FusionMode = FusionMode.PORTABLE,
    *,
    replays: bool = False,
) -> GraphCount:
    """As :func:`decode_count` for a configuration; ``replays``: our step as one function."""
    tokens = mx.full((1, width), 5, dtype=mx.int32)
    mx.eval(tokens)
    forward, cache, states = _ready(engine, config, mode, replays)
    return count_graph(lambda: [forward(tokens, cache), *states(cache)])


def host_seconds(
    engine: str, name: str, mode: FusionMode = FusionMode.PORTABLE, *, replays: bool = False
) -> float:
    """CPU time of the host's thread to build one decode step; nothing is evaluated.

    Whatever the accelerator, it cannot be faster than this. It does not depend on widths, so they
    are tiny; the first step, which traces and warms up, is left out.

    Args:
        engine: one of ``ENGINES``.
        name: a published size.
        mode: how far our model is fused.
        replays: our step as one compiled function instead of operation by operation.
    """
    forward, cache, _ = _ready(engine, tiny_json(name), mode, replays)
    tokens = mx.full((1, 1), 5, dtype=mx.int32)
    mx.eval(tokens)
    seconds = []
    for _ in range(_BUILDS):
        started = time.thread_time()
        forward(tokens, cache)
        seconds.append(time.thread_time() - started)
    return median(seconds[1:])


def _ready(engine: str, config: dict[str, Any], mode: FusionMode, replays: bool) -> _Prepared:
    return _facet(config, mode, replays) if engine == OURS else _peer(engine, config)


def fusion_of(mode: FusionMode) -> Fusion:
    """The functions of a mode; for ``FULL`` every kernel the product can select, only counted."""
    if mode is not FusionMode.FULL:
        return OFF if mode is FusionMode.OFF else PORTABLE
    from mlx_gemma4.kernels import full_fusion
    from mlx_gemma4.kernels.backends import CountingBackend

    return full_fusion(backend=CountingBackend())


def sampler_sorts(engine: str, vocabulary: int = VOCABULARY) -> int:
    """Sorts as wide as the vocabulary per sampled token, at the published sampling settings."""
    return wide_sorts(_sampler(engine, vocabulary), vocabulary)


def _sampler(engine: str, vocabulary: int) -> Callable[[mx.array], mx.array]:
    if engine == OURS:
        options = SamplingOptions(temperature=_TEMPERATURE, top_p=_TOP_P, top_k=_TOP_K, seed=0)
        return Sampler(options, softcap=30.0, vocab_size=vocabulary)
    if engine == "mlx-lm":
        from mlx_lm.sample_utils import make_sampler  # pyright: ignore[reportMissingImports]
    else:
        from mlx_vlm.sample_utils import make_sampler  # pyright: ignore[reportMissingImports]
    return make_sampler(temp=_TEMPERATURE, top_p=_TOP_P, top_k=_TOP_K)


def _facet(config: dict[str, Any], mode: FusionMode, replays: bool) -> _Prepared:
    model = random_model(config, mx.bfloat16, PACKING)
    model.use(fusion_of(mode))
    model.language_model.replays = replays
    text, cache = model.language_model, model.make_cache()
    cache.before_append(_CONTEXT)
    for spec, layer in zip(text.config.layers, cache, strict=False):
        layer.append(mx.zeros((1, 2 * spec.kv_heads, _CONTEXT, spec.head_dim), model.dtype))
    mx.eval(cache.arrays())

    def forward(tokens: mx.array, cache: Any) -> mx.array:
        hidden = text.embed(tokens)
        hidden = text(hidden, text.per_layer_inputs(tokens, hidden), cache)
        return model.logits(hidden[:, -1:])

    return forward, cache, lambda cache: cache.arrays()


def _peer(engine: str, config: dict[str, Any]) -> _Prepared:
    model: Any = bare_peer(engine, config["text_config"])
    cast(model, mx.bfloat16)
    pack(model)
    mx.eval(model.parameters())

    def forward(tokens: mx.array, cache: Any) -> mx.array:
        if engine == "mlx-lm":
            return model(tokens, cache=cache)
        return model(tokens, cache=cache, logits_to_keep=1).logits

    cache = model.make_cache()
    for count in (_WARM_TOKENS, 1, 1, 1):  # buffers are grown before the counted step
        mx.eval(forward(mx.full((1, count), 5, dtype=mx.int32), cache), _peer_states(cache))
    return forward, cache, _peer_states


def _peer_states(caches: Any) -> list[mx.array]:
    states = (state for cache in caches for state in cache.state)
    return [state for state in states if isinstance(state, mx.array)]
