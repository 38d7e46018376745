"""Start-up figures of the Linux twin, cold in two ways.

"copied": the first start of a freshly copied tree, which is what "cold" means in this project. The
page cache still holds what was just written. "evicted": the same, with every file of the bundle
dropped from the page cache before, so that it is read from the disk.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from facet_bundle import facts, layout, products, runtime, twin
from facet_bundle.tools import ensure_tools

GOAL_SECONDS = 1.2
_MARKS = ("interpreter", "qt", "app", "shown", "painted")


def run(count: int, out: Path, cache: Path, python: Path | None) -> int:
    """Print and save median and 95th percentile of `count` cold starts on an X server."""
    tools = ensure_tools(cache)
    work = out / "figures"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    host = runtime.host_python(tools, python)
    shop = products.Workshop(tools, cache, host, layout.copy_own(work / "own"))
    built, _ = layout.assemble(products.twin_recipe(shop), work / f"{facts.NAME}.app")
    load_before = os.getloadavg()[0]
    kinds: dict[str, list[dict[str, Any]]] = {"copied": [], "evicted": []}
    for number in range(count):
        moved = twin.Twin.move(built.root, work / "cold", copy=True)
        kinds["copied"].append(moved.startup(moved.scratch / f"data-{number}"))
        evict(layout.files(moved.bundle.root))
        kinds["evicted"].append(moved.startup(moved.scratch / f"data-{number}-evicted"))
    result = _document(kinds, load_before)
    target = facts.ROOT / "docs" / "benchmarks" / "startup-twin.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    shutil.rmtree(work)
    _show(result)
    return 0


def evict(paths: Iterable[Path]) -> None:
    """Drop files from the page cache; only clean pages can be dropped, so all is written first."""
    os.sync()
    for path in paths:
        if not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _document(kinds: dict[str, list[dict[str, Any]]], load_before: float) -> dict[str, Any]:
    return {
        "what": "process start to first paint of the window, Linux twin of the bundle, Xvfb",
        "copied": "first start of a freshly copied tree (the project's meaning of cold)",
        "evicted": "the same with the bundle's files dropped from the page cache before",
        "goal_seconds": GOAL_SECONDS,
        "version": facts.version(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "load_before": round(load_before, 2),
        },
        "starts": {kind: _summary(starts) for kind, starts in kinds.items()},
    }


def _summary(starts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "count": len(starts),
        "modules": statistics.median(len(start["modules"]) for start in starts),
        "seconds": _spread([start["seconds"] for start in starts]),
        "cpu_seconds": _spread([start["cpu"] for start in starts]),
        "marks_median": {
            mark: round(statistics.median(start["marks"][mark] for start in starts), 3)
            for mark in _MARKS
        },
    }


def _show(result: dict[str, Any]) -> None:
    for kind, seen in result["starts"].items():
        print(f"{kind}: {result[kind]}")
        for key in ("seconds", "cpu_seconds"):
            spread = seen[key]
            print(f"  {key:12} median {spread['median']:.2f}  p95 {spread['p95']:.2f}")
        marks = "  ".join(f"{name} {when:.2f}" for name, when in seen["marks_median"].items())
        print(f"  reached (s)  {marks}")


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    least = ordered[0]
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(last, 3),
        "least": round(least, 3),
    }
