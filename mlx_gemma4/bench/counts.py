"""``--graph``: counts that hold on any machine: kernels, bytes and wide sorts per token.

Beside them stands the one time that no accelerator shortens: what the host needs per token.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlx_gemma4.bench.peers import OURS, missing_note
from mlx_gemma4.bench.report import Cell, Figure, Section
from mlx_gemma4.bench.steps import ENGINES, available, decode_count, host_seconds, sampler_sorts
from mlx_gemma4.bench.traffic import WIDTHS, weight_bytes
from mlx_gemma4.fusion import FusionMode
from mlx_gemma4.published import published_config

PORTABLE_GOALS = {"e2b": 760, "e4b": 910, "26b": 950, "31b": 1040}
FULL_GOALS = {"e2b": 505, "e4b": 615, "26b": 520, "31b": 680}
_BLOCK_GOALS = {4: 2.0, 8: 3.05}
_KERNELS = "Kernels: nodes of one decode step (forward pass and head) that launch work on Metal."
_MODES = (
    "Facet off: chains operation by operation; portable: what MLX alone can fuse, on any backend; "
    "full: with every own kernel the self-check may switch on, one node per launch. More than 128 "
    "tokens of context."
)
_HOST = (
    "Host µs: CPU time of one thread of this machine to build the graph of a step, median of 24: "
    "operation by operation, and replayed as one compiled function (what Facet does on a GPU). The "
    "counts are the same either way."
)
_BYTES = (
    "GB at width w: weights read by a step over w tokens, uniform routing. The own kernel (full) "
    "reads each hit expert once; MLX's gather, below 64 tokens, once per token that chose it."
)


def graph_section(names: Sequence[str]) -> Section:
    """Count each size in each of our modes and on each peer that is installed."""
    engines = [engine for engine in ENGINES if available(engine)]
    sorts = {engine: sampler_sorts(engine) for engine in engines}
    rows: list[dict[str, Cell]] = []
    figures = []
    for name in names:
        ours = {mode: decode_count(OURS, name, mode=mode) for mode in FusionMode}
        theirs = {engine: decode_count(engine, name) for engine in engines if engine != OURS}
        portable = ours[FusionMode.PORTABLE].kernels
        figures += _kernel_figures(name, portable, ours[FusionMode.FULL].kernels)
        figures += _block_figures(name)
        counts = {f"{OURS} {mode}": count for mode, count in ours.items()} | theirs
        for engine, count in counts.items():
            rows.append(
                {
                    "size": name,
                    "engine": engine,
                    "kernels per token": count.kernels,
                    "nodes": count.nodes,
                    "÷ portable": count.kernels / portable,
                    **_host(engine, name),
                    "wide sorts per sampled token": sorts[engine.partition(" ")[0]],
                    **_bytes(name, read_once=engine == f"{OURS} {FusionMode.FULL}"),
                }
            )
    figures.append(Figure("full-vocabulary sorts per sampled token", sorts[OURS], 0))
    settings = {"weights": "4-bit affine, groups of 64", "widths": "tiny, all layers and heads"}
    notes = [_KERNELS, _MODES, _HOST, _BYTES, *missing_note()]
    return Section("Counts per decoded token", settings, rows, figures, notes)


def _kernel_figures(name: str, portable: int, full: int) -> list[Figure]:
    return [
        Figure(f"{name} kernels per token, portable", portable, PORTABLE_GOALS.get(name)),
        Figure(f"{name} kernels per token, full", full, FULL_GOALS.get(name)),
    ]


def _host(label: str, name: str) -> dict[str, Cell]:
    engine, _, word = label.partition(" ")
    mode = FusionMode(word) if word else FusionMode.PORTABLE
    built = round(1e6 * host_seconds(engine, name, mode))
    replays = engine == OURS and mode is not FusionMode.OFF
    again = round(1e6 * host_seconds(engine, name, mode, replays=True)) if replays else None
    return {"host µs": built, "host µs, replayed": again}


def _bytes(name: str, *, read_once: bool) -> dict[str, Cell]:
    config = published_config(name)
    read = {width: weight_bytes(config, width, read_once=read_once) for width in WIDTHS}
    return {f"GB at width {width}": f"{count / 1e9:.2f}" for width, count in read.items()}


def _block_figures(name: str) -> list[Figure]:
    config = published_config(name)
    if not config.text.enable_moe_block:
        return []
    one = weight_bytes(config)
    figures = []
    for width, goal in _BLOCK_GOALS.items():
        words = f"{name} bytes at width {width}, × one token"
        gathered = weight_bytes(config, width, read_once=False) / one
        figures.append(Figure(f"{words}, full", weight_bytes(config, width) / one, goal))
        figures.append(Figure(f"{words}, MLX's gather", gathered, None))
    return figures
