"""Decode and prefill speed and memory of every engine on the same arrays, interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import mlx.core as mx
import numpy as np

from mlx_gemma4.bench.peers import (
    OURS,
    PEERS,
    TextPeer,
    available,
    cache_bytes,
    missing_note,
    shared_tensors,
)
from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.shapes import PACKING, SEED, random_model
from mlx_gemma4.model import Gemma4
from mlx_gemma4.prefill import DEFAULT_CHUNK, prefill_encoded
from mlx_gemma4.sampling import Sampler, SamplingOptions


@dataclass(frozen=True, slots=True)
class Speed:
    """One run.

    Attributes:
        prefill: prompt tokens per second.
        decode: decoded tokens per second, after the first.
        peak: bytes at the peak, weights included.
        transient: peak of the prefill less weights and KV cache, bytes.
        tokens: what was decoded.
    """

    prefill: float
    decode: float
    peak: int
    transient: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """How to run one engine.

    Attributes:
        name: of the engine.
        make_cache: empty KV caches.
        tokens: (prompt, count, cache) -> an iterator that yields when a token is known.
        cache_bytes: bytes of such a cache.
    """

    name: str
    make_cache: Callable[[], Any]
    tokens: Callable[[np.ndarray, int, Any], Iterator[int]]
    cache_bytes: Callable[[Any], int]


def engines_for(model: Gemma4, config_json: dict[str, Any]) -> list[Engine]:
    """Ours and every installed peer, all on the arrays of ``model``."""
    engines = [Engine(OURS, model.make_cache, _ours(model), lambda cache: cache.nbytes)]
    peers = [peer for peer in PEERS if available(peer)]
    if peers:
        tensors = shared_tensors(model)
        for name in peers:
            peer = TextPeer(name, config_json["text_config"], tensors)
            engines.append(Engine(name, peer.make_cache, peer.tokens, cache_bytes))
    return engines


def _ours(model: Gemma4) -> Callable[[np.ndarray, int, Any], Iterator[int]]:
    def tokens(prompt: np.ndarray, count: int, cache: Any) -> Iterator[int]:
        sampler = Sampler(SamplingOptions(greedy=True))
        types = np.zeros(len(prompt), dtype=np.uint8)
        steps = prefill_encoded(model, prompt, types, (), cache, DEFAULT_CHUNK)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                hidden = stop.value
                break
        token = sampler(model.greedy_logits(hidden))
        mx.async_eval(token)
        for _ in range(count):  # one pass ahead, as the generation loop does
            following = sampler(model.greedy_logits(model.step_hidden(token, cache)))
            mx.async_eval(following)
            yield cast("int", token.item())
            token = following

    return tokens


def measure(engine: Engine, prompt: np.ndarray, count: int) -> Speed:
    """Run a prompt and decode ``count`` tokens after the first."""
    mx.clear_cache()
    mx.reset_peak_memory()
    weights = mx.get_active_memory()
    cache = engine.make_cache()
    start = time.perf_counter()
    tokens = engine.tokens(prompt, count + 1, cache)
    said = [next(tokens)]
    first = time.perf_counter()
    peak_prefill = mx.get_peak_memory()
    said += [next(tokens) for _ in range(count)]
    end = time.perf_counter()
    getattr(tokens, "close", lambda: None)()
    transient = peak_prefill - weights - engine.cache_bytes(cache)
    decode = count / (end - first) if count else 0.0
    prefill = len(prompt) / (first - start)
    return Speed(prefill, decode, mx.get_peak_memory(), transient, tuple(said))


def interleaved(
    engines: list[Engine], prompt: np.ndarray, count: int, repeats: int
) -> dict[str, list[Speed]]:
    """``repeats`` runs of every engine, taking turns, after one short run each to warm up."""
    for engine in engines:
        measure(engine, prompt[:3], 1)
    runs: dict[str, list[Speed]] = {engine.name: [] for engine in engines}
    for _ in range(repeats):
        for engine in engines:
            runs[engine.name].append(measure(engine, prompt, count))
    return runs


def random_prompt(length: int, vocabulary: int, seed: int = SEED) -> np.ndarray:
    """Token ids int32 [length], clear of the special tokens at the table's beginning."""
    rng = np.random.default_rng(seed)
    return rng.integers(min(1000, vocabulary // 2), vocabulary, length).astype(np.int32)


def speed_section(
    config_json: dict[str, Any], *, prompt: int, decode: int, repeats: int, title: str
) -> Section:
    """Measure all engines; ratios are ours over theirs, median over median."""
    model = random_model(config_json, mx.float32, PACKING)
    ids = random_prompt(prompt, model.config.text.vocab_size)
    # A placeholder of a medium may not be part of a text prompt.
    ids[np.isin(ids, list(model.config.soft_token_ids))] = len(ids)
    runs = interleaved(engines_for(model, config_json), ids, decode, repeats)
    settings = {
        "layers": model.config.text.num_hidden_layers,
        "prompt": prompt,
        "decoded": decode,
        "repeats": repeats,
        "weights": "random 4-bit affine, groups of 64, float32 constants, shared by all engines",
        "seed": SEED,
    }
    figures = [
        Figure(f"{what}, ours over {name}", ratio(runs[OURS], theirs, what), 1.0, "least")
        for name, theirs in runs.items()
        if name != OURS
        for what in ("prefill", "decode")
    ]
    rows = [_row(name, speeds, runs[OURS][0].tokens) for name, speeds in runs.items()]
    notes = [
        "Speeds are medians, the best run in brackets. Peak includes the shared weights.",
        "Transient: peak of the prefill less weights and KV cache.",
        *missing_note(),
    ]
    return Section(title, settings, rows, figures, notes)


def ratio(ours: list[Speed], theirs: list[Speed], what: str) -> float:
    """Median of ours over median of theirs."""
    return _median(ours, what) / _median(theirs, what)


def _median(runs: list[Speed], what: str) -> float:
    return statistics.median(getattr(run, what) for run in runs)


def _row(name: str, runs: list[Speed], ours: tuple[int, ...]) -> dict[str, Cell]:
    def speed(what: str) -> str:
        return f"{_median(runs, what):.2f} ({max(getattr(run, what) for run in runs):.2f})"

    return {
        "engine": name,
        "prefill tok/s": speed("prefill"),
        "decode tok/s": speed("decode"),
        "peak GB": _median(runs, "peak") / 1e9,
        "transient MB": _median(runs, "transient") / 1e6,
        "same greedy tokens as ours": "yes" if runs[0].tokens == ours else "no",
    }
