"""``--memory``: transient memory against prompt length, and score elements against the band."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx

from mlx_gemma4 import attention
from mlx_gemma4.bench.peers import OURS, PEERS, available, bare_peer, missing_note
from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.shapes import SEED, random_model, tiny_json
from mlx_gemma4.bench.timing import Engine, engines_for, measure, random_prompt

FLAT = 1.10
BAND = 1.3
_CHUNK = 2048


def memory_section(
    config_json: dict[str, Any],
    *,
    lengths: Sequence[int],
    peer_lengths: Sequence[int],
    band_shape: str,
) -> Section:
    """Transient memory of a prefill at several lengths, and the work of sliding layers.

    Args:
        config_json: of the model to run, dense float32.
        lengths: prompt lengths for our engine.
        peer_lengths: those the peers run as well (they are slow on long prompts).
        band_shape: published size whose sliding prefill is counted.
    """
    model = random_model(config_json)
    engines = engines_for(model, config_json)
    transient: dict[str, dict[int, int]] = {}
    for engine in engines:
        measure(engine, random_prompt(3, model.config.text.vocab_size), 1)
        wanted = lengths if engine.name == OURS else peer_lengths
        transient[engine.name] = {n: _transient(engine, n, model) for n in wanted}
    ours = [transient[OURS][n] for n in lengths]
    scores = {name: score_ratio(name, band_shape) for name in (OURS, *PEERS) if available(name)}
    rows: list[dict[str, Cell]] = [
        {
            "engine": name,
            **{f"transient MB at {n:,}": _megabytes(found.get(n)) for n in lengths},
            f"{band_shape} score elements ÷ exact band": scores[name],
        }
        for name, found in transient.items()
    ]
    figures = [
        Figure("largest over smallest transient memory", max(ours) / min(ours), FLAT),
        Figure(f"{band_shape} score elements over the exact band", scores[OURS], BAND),
    ]
    settings = {
        "layers": model.config.text.num_hidden_layers,
        "weights": "random dense float32, shared by all engines",
        "score chunk": _CHUNK,
        "seed": SEED,
    }
    notes = ["Transient: peak of the prefill less weights and final KV cache.", *missing_note()]
    return Section("Memory", settings, rows, figures, notes)


def _transient(engine: Engine, length: int, model: Any) -> int:
    return measure(engine, random_prompt(length, model.config.text.vocab_size), 0).transient


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def score_ratio(engine: str, name: str, prompt: int = 8192) -> float:
    """Score elements of all sliding layers in a chunked prefill over those of the exact band.

    Counted where attention is called while the graph is built, all layers and heads; nothing is
    evaluated.
    """
    config = tiny_json(name)
    text = config["text_config"]
    window, dims = text["sliding_window"], text["head_dim"]
    run = _our_prefill if engine == OURS else _peer_prefill
    with _counted(engine, dims) as elements:
        layers = run(engine, config, prompt)
    band = layers * sum(min(i + 1, window) for i in range(prompt))
    return sum(elements) / band


def _our_prefill(_engine: str, config: dict[str, Any], prompt: int) -> int:
    model = random_model(config)
    cache = model.make_cache()
    for start in range(0, prompt, _CHUNK):
        ids = random_prompt(min(_CHUNK, prompt - start), config["text_config"]["vocab_size"])
        model.extend(model.embed(ids), cache)
    text = model.config.text
    # The last layer with a cache only stores keys and values: nobody reads its output here.
    return sum(spec.is_sliding for spec in text.layers[: text.kv_shared_from - 1])


def _peer_prefill(engine: str, config: dict[str, Any], prompt: int) -> int:
    text = config["text_config"]
    model = bare_peer(engine, text)
    cache = model.make_cache()
    for start in range(0, prompt, _CHUNK):
        ids = mx.array(random_prompt(min(_CHUNK, prompt - start), text["vocab_size"]))[None]
        model(ids, cache=cache)
    return sum(kind == "sliding_attention" for kind in text["layer_types"])


@contextmanager
def _counted(engine: str, head_dim: int) -> Iterator[list[int]]:
    """Collects query rows × keys of every attention call with this head size."""
    elements: list[int] = []
    owner, name = (attention, "score_band") if engine == OURS else (mx.fast, _SDPA)
    kept = getattr(owner, name)
    setattr(owner, name, (_our_count if engine == OURS else _any_count)(kept, head_dim, elements))
    try:
        yield elements
    finally:
        setattr(owner, name, kept)


_SDPA = "scaled_dot_product_attention"
_Attend = Callable[..., mx.array]


def _our_count(kept: _Attend, head_dim: int, elements: list[int]) -> _Attend:
    def score_band(q: mx.array, keys: mx.array, *rest: Any) -> mx.array:
        if q.shape[-1] == head_dim:
            elements.append(q.shape[2] * keys.shape[2])
        return kept(q, keys, *rest)

    return score_band


def _any_count(kept: _Attend, head_dim: int, elements: list[int]) -> _Attend:
    def attend(q: mx.array, k: mx.array, v: mx.array, **rest: Any) -> mx.array:
        if q.shape[-1] == head_dim:
            elements.append(q.shape[2] * k.shape[2])
        return kept(q, k, v, **rest)

    return attend
