"""Check the GPU kernels against their reference and show which of them are used.

Without a model the verdicts kept from earlier checks are shown.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_gemma4.published import ARCHITECTURES

EXAMPLES = """\
examples:
  mlx-gemma4 kernels                                           (what was found so far)
  mlx-gemma4 kernels mlx-community/gemma-4-26b-a4b-it-4bit     (a model on this machine)
  mlx-gemma4 kernels 26b --again --json                        (its shapes, random 4-bit weights)
"""

_SHAPE_LAYERS = 6  # one of each kind of layer is among them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    sizes = ", ".join(ARCHITECTURES)
    parser.add_argument("model", nargs="?", help=f"checkpoint folder, repository, or {sizes}")
    parser.add_argument("--again", action="store_true", help="check anew, whatever is kept")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", type=Path, help="file of kept verdicts (default: the user's)")


def run(args: argparse.Namespace) -> int:
    """Check or show; returns 1 where a kernel failed or differs."""
    from mlx_gemma4.kernels.backends import own_backend
    from mlx_gemma4.kernels.check import default_store, stored_reports

    store = args.cache or default_store()
    folder = _folder(args.model) if args.model else None
    if args.model and own_backend() is not None:
        reports = [_checked(args.model, folder, store, args.again)]
    else:
        reports = stored_reports(store)
    if args.json:
        print(json.dumps([_facts(report) for report in reports], indent=1))
    else:
        print("\n\n".join(_table(report) for report in reports) or _nothing())
    return int(any(verdict.error > 1 for report in reports for verdict in report.verdicts))


def _folder(name: str) -> Path | None:
    """The checkpoint that is meant; None for a published size.

    Raises:
        HubError: there is no such checkpoint here.
    """
    from mlx_gemma4.hub import find

    return None if name.lower() in ARCHITECTURES and not Path(name).exists() else find(name)


def _checked(name: str, folder: Path | None, store: Path, again: bool) -> Any:
    from mlx_gemma4.kernels.check import KernelCheck

    return KernelCheck(_model(name, folder), store, again=again, budget=float("inf")).run()


def _model(name: str, folder: Path | None) -> Any:
    if folder is None:
        import mlx.core as mx

        from mlx_gemma4.bench.shapes import PACKING, random_model, shape_json

        return random_model(shape_json(name.lower(), _SHAPE_LAYERS), mx.bfloat16, PACKING)
    from mlx_gemma4.weights import load_model

    return load_model(folder)


def _facts(report: Any) -> dict[str, Any]:
    off = {name: report.fault(name) for name in report.fields if report.fault(name)}
    return asdict(report) | {"used": sorted(report.accepted), "off": off}


def _nothing() -> str:
    from mlx_gemma4.kernels.backends import own_backend

    if own_backend() is None:
        return "There is no GPU here: the portable functions run and no kernel is used."
    return "Nothing was checked yet; name a model, or load one in the app."


def _table(report: Any) -> str:
    heading = f"{report.model} on {report.chip}, {report.backend}, MLX {report.mlx}"
    names = ("kernel", "call", "difference", "µs", "portable µs", "verdict")
    rows = [names, *(_row(report, verdict) for verdict in report.verdicts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    lines = ["  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    note = "difference: share of the tolerance, at most 1 is equal"
    return "\n".join([heading, *(line.rstrip() for line in lines), note])


def _row(report: Any, verdict: Any) -> tuple[str, ...]:
    fault = verdict.fault or report.fault(verdict.field)
    return (
        verdict.field,
        verdict.label,
        f"{verdict.error:.2g}",
        f"{verdict.kernel_us:.1f}",
        f"{verdict.reference_us:.1f}",
        f"off: {fault}" if fault else "used",
    )
