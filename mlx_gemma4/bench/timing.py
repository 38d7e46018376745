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

BURST_S = 0.25
"""Seconds an engine decodes before it is another's turn: so few that a machine that others share
has one speed for all of them; on a GPU enough tokens that the host can work ahead of it."""
_WARM_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Speed:
    """One run.

    Attributes:
        prefill: prompt tokens per second.
        decode: decoded tokens per second, after the first; one value per burst.
        peak: bytes at the peak of the prefill, weights included.
        transient: that peak less weights and KV cache, bytes.
        tokens: what was decoded.
    """

    prefill: float
    decode: tuple[float, ...]
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
        wait: until the pass it is ahead by has ended.
    """

    name: str
    make_cache: Callable[[], Any]
    tokens: Callable[[np.ndarray, int, Any], Iterator[int]]
    cache_bytes: Callable[[Any], int]
    wait: Callable[[], None] = mx.synchronize


def engines_for(model: Gemma4, config_json: dict[str, Any]) -> list[Engine]:
    """Ours and every installed peer, all on the arrays of ``model``."""
    engines = [Engine(OURS, model.make_cache, _ours(model), lambda cache: cache.nbytes)]
    peers = [peer for peer in PEERS if available(peer)]
    if peers:
        tensors = shared_tensors(model)
        for name in peers:
            peer = TextPeer(name, config_json["text_config"], tensors)
            engines.append(Engine(name, peer.make_cache, peer.tokens, cache_bytes, peer.wait))
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


class Run:
    """One engine on one prompt: the prefill when it is made, then bursts of decoding.

    Args:
        engine: what runs.
        prompt: token ids int32 [tokens].
        count: most tokens to decode after the first.
    """

    def __init__(self, engine: Engine, prompt: np.ndarray, count: int) -> None:
        mx.clear_cache()
        mx.reset_peak_memory()
        weights = mx.get_active_memory()
        cache = engine.make_cache()
        start = time.perf_counter()
        self._tokens = engine.tokens(prompt, count + 1, cache)
        self._said = [next(self._tokens)]
        self._prefill = len(prompt) / (time.perf_counter() - start)
        self._peak = mx.get_peak_memory()
        self._transient = self._peak - weights - engine.cache_bytes(cache)
        self._bursts: list[float] = []
        self._wait = engine.wait
        self._wait()

    def decode(self, count: int) -> None:
        """Decode ``count`` tokens; takes as many passes, as one is always ahead."""
        start = time.perf_counter()
        self._said += [next(self._tokens) for _ in range(count)]
        self._wait()
        self._bursts.append(count / (time.perf_counter() - start))

    def end(self) -> Speed:
        """Stop, and say what was measured."""
        getattr(self._tokens, "close", lambda: None)()
        bursts, said = tuple(self._bursts), tuple(self._said)
        return Speed(self._prefill, bursts, self._peak, self._transient, said)


def measure(engine: Engine, prompt: np.ndarray, count: int) -> Speed:
    """One engine alone: a prompt, then ``count`` tokens after the first in one burst."""
    run = Run(engine, prompt, count)
    if count:
        run.decode(count)
    return run.end()


def interleaved(
    engines: list[Engine], prompt: np.ndarray, count: int, repeats: int
) -> dict[str, list[Speed]]:
    """``repeats`` rounds of every engine, after one short run each to warm up.

    In a round the engines take turns: one prefill each, then one burst each until all have decoded
    ``count`` tokens. Another engine begins each round, so that none always follows the same one.
    """
    burst = min(_tokens_of_a_burst(engine, prompt[:3]) for engine in engines)
    speeds: dict[str, list[Speed]] = {engine.name: [] for engine in engines}
    for number in range(repeats):
        first = number % len(engines)
        order = (*engines[first:], *engines[:first])
        runs = [(engine.name, Run(engine, prompt, count)) for engine in order]
        for done in range(0, count, burst):
            for _, run in runs:
                run.decode(min(burst, count - done))
        for name, run in runs:
            speeds[name].append(run.end())
    return speeds


def _tokens_of_a_burst(engine: Engine, prompt: np.ndarray) -> int:
    """Warms up, and says how many tokens the engine decodes in a burst's time."""
    run = Run(engine, prompt, _WARM_TOKENS)
    for _ in range(_WARM_TOKENS):
        run.decode(1)
    return max(1, round(run.end().decode[-1] * BURST_S))


def random_prompt(length: int, vocabulary: int, seed: int = SEED) -> np.ndarray:
    """Token ids int32 [length], clear of the special tokens at the table's beginning."""
    rng = np.random.default_rng(seed)
    return rng.integers(min(1000, vocabulary // 2), vocabulary, length).astype(np.int32)


def speed_section(
    config_json: dict[str, Any], *, prompt: int, decode: int, repeats: int, title: str
) -> Section:
    """Measure all engines; the figures are ratios, see :func:`ratio`."""
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
        "Speeds are medians, the best in brackets. Peak: of the prefill, shared weights included.",
        "Transient: that peak less weights and KV cache.",
        "Ratios: medians over pairs run one after the other: prefills, short bursts of tokens.",
        *missing_note(),
    ]
    return Section(title, settings, rows, figures, notes)


def ratio(ours: list[Speed], theirs: list[Speed], what: str) -> float:
    """Median of ours over theirs, where each pair ran one right after the other.

    A machine that others share changes its speed by a third within minutes, in seconds less.
    """
    pairs = zip(_values(ours, what), _values(theirs, what), strict=True)
    return statistics.median(mine / other for mine, other in pairs)


def _values(runs: list[Speed], what: str) -> list[float]:
    if what == "decode":
        return [burst for run in runs for burst in run.decode]
    return [getattr(run, what) for run in runs]


def _row(name: str, runs: list[Speed], ours: tuple[int, ...]) -> dict[str, Cell]:
    def speed(what: str) -> str:
        values = _values(runs, what)
        return f"{statistics.median(values):.2f} ({max(values):.2f})"

    return {
        "engine": name,
        "prefill tok/s": speed("prefill"),
        "decode tok/s": speed("decode"),
        "peak GB": statistics.median(run.peak for run in runs) / 1e9,
        "transient MB": statistics.median(run.transient for run in runs) / 1e6,
        "same greedy tokens as ours": "yes" if runs[0].tokens == ours else "no",
    }
