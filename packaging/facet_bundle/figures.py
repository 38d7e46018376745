"""Start-up figures of the Linux twin: every start is the first of a freshly copied tree."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
from pathlib import Path
from typing import Any

from facet_bundle import facts, layout, products, runtime, twin
from facet_bundle.tools import ensure_tools


def run(count: int, out: Path, cache: Path, python: Path | None) -> int:
    """Print and save median and 95th percentile of `count` cold starts on an X server."""
    tools = ensure_tools(cache)
    work = out / "figures"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    host = runtime.host_python(tools, python)
    shop = products.Workshop(tools, cache, host, layout.copy_own(work / "own"))
    built, _ = layout.assemble(products.twin_recipe(shop), work / f"{facts.NAME}.app")
    starts = [_cold_start(built.root, work / "cold") for _ in range(count)]
    result = _summary(starts)
    target = facts.ROOT / "docs" / "benchmarks" / "startup-twin.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    shutil.rmtree(work)
    for key in ("seconds", "cpu_seconds"):
        print(f"{key:12} median {result[key]['median']:.2f}  p95 {result[key]['p95']:.2f}")
    return 0


def _cold_start(built: Path, scratch: Path) -> dict[str, Any]:
    moved = twin.Twin.move(built, scratch, copy=True)
    seen = moved.probe("startup", "--data-dir", scratch / "data", window=True)
    shutil.rmtree(scratch)
    return seen


def _summary(starts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "what": "process start to first paint of the window, freshly copied bundle, Xvfb",
        "version": facts.version(),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "load_after": round(os.getloadavg()[0], 2),
        },
        "starts": len(starts),
        "modules": statistics.median(len(start["modules"]) for start in starts),
        "seconds": _spread([start["seconds"] for start in starts]),
        "cpu_seconds": _spread([start["cpu"] for start in starts]),
    }


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {"median": round(statistics.median(ordered), 3), "p95": round(last, 3)}
