"""Measure speed and memory beside mlx-lm and mlx-vlm, on the same random arrays of a real shape.

Without a mode: decode and prefill speed and memory. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_gemma4.errors import PromptError
from mlx_gemma4.published import ARCHITECTURES

if TYPE_CHECKING:
    from mlx_gemma4.bench.report import Section

EXAMPLES = """\
examples:
  mlx-gemma4 bench --depth 7 --prompt 128 --decode 16
  mlx-gemma4 bench --graph
  mlx-gemma4 bench --memory --session --live --out docs/benchmarks/mine
"""

_LIMIT = 1 << 20
_SPEED_DEPTH, _MEMORY_DEPTH, _SESSION_DEPTH, _LIVE_DEPTH = 7, 5, 5, 7
_MEMORY_LENGTHS = (2048, 8192, 32_768)
_PEER_LENGTHS = (2048, 8192)
_SESSION_TOKENS = 16_384


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    modes = parser.add_argument_group("modes (several may be given)")
    modes.add_argument("--graph", action="store_true", help="kernels, bytes and sorts per token")
    modes.add_argument("--session", action="store_true", help="cold turn against warm turn")
    modes.add_argument("--draft", action="store_true", help="several tokens verified in one pass")
    modes.add_argument("--live", action="store_true", help="end of speech to first token")
    modes.add_argument("--memory", action="store_true", help="memory against prompt length")
    what = parser.add_argument_group("what is run")
    what.add_argument(
        "--shape",
        choices=ARCHITECTURES,
        help="published size (default: e2b; with --graph: all of them)",
    )
    what.add_argument("--depth", type=int, metavar="N", help="decoder layers (default: few)")
    what.add_argument("--prompt", type=int, metavar="N", help="prompt tokens (default: by mode)")
    what.add_argument("--decode", type=int, default=8, metavar="N", help="tokens to decode")
    what.add_argument("--repeats", type=int, default=5, metavar="N", help="runs of each engine")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument("--out", metavar="PREFIX", help="also write PREFIX.md and PREFIX.json")


def run(args: argparse.Namespace) -> int:
    """Run the modes and print the report.

    Raises:
        PromptError: a number out of range.
    """
    _check(args)
    from mlx_gemma4.bench.report import Report, machine, write

    sections = [mode(args) for wanted, mode in _modes(args) if wanted]
    command = shlex.join(["mlx-gemma4", "bench", *_own_arguments()])
    report = Report(command, machine(), sections)
    if args.out:
        write(report, Path(args.out).expanduser())
    print(report.to_json() if args.json else report.to_markdown())
    return 0


def _check(args: argparse.Namespace) -> None:
    ranges = (
        ("--depth", args.depth, 2),
        ("--prompt", args.prompt, 1),
        ("--decode", args.decode, 1),
        ("--repeats", args.repeats, 1),
    )
    for name, value, least in ranges:
        if value is not None and not least <= value <= _LIMIT:
            raise PromptError(f"{name} must be between {least} and {_LIMIT:,}, not {value:,}.")


def _own_arguments() -> list[str]:
    """What was typed after ``bench``; empty when this was not called from the command line."""
    argv = sys.argv[1:]
    return argv[argv.index("bench") + 1 :] if "bench" in argv else []


def _modes(
    args: argparse.Namespace,
) -> list[tuple[bool, Callable[[argparse.Namespace], Section]]]:
    any_mode = args.graph or args.session or args.live or args.memory or args.draft
    return [
        (not any_mode, _speed),
        (args.graph, _graph),
        (args.memory, _memory),
        (args.session, _session),
        (args.draft, _drafts),
        (args.live, _live),
    ]


def _speed(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.shapes import shape_json
    from mlx_gemma4.bench.timing import speed_section

    shape = args.shape or "e2b"
    return speed_section(
        shape_json(shape, args.depth or _SPEED_DEPTH),
        prompt=args.prompt or 128,
        decode=args.decode,
        repeats=args.repeats,
        title=f"Speed, {shape} shapes",
    )


def _graph(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.counts import graph_section

    return graph_section([args.shape] if args.shape else ARCHITECTURES)


def _memory(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.memory import memory_section
    from mlx_gemma4.bench.shapes import shape_json

    shape = args.shape or "e2b"
    longest = args.prompt or _MEMORY_LENGTHS[-1]
    return memory_section(
        shape_json(shape, args.depth or _MEMORY_DEPTH),
        lengths=[n for n in _MEMORY_LENGTHS if n < longest] + [longest],
        peer_lengths=[n for n in _PEER_LENGTHS if n <= longest],
        band_shape=shape,
    )


def _session(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.session import session_section
    from mlx_gemma4.bench.shapes import shape_json

    return session_section(
        shape_json(args.shape or "e2b", args.depth or _SESSION_DEPTH),
        tokens=args.prompt or _SESSION_TOKENS,
        repeats=args.repeats,
    )


def _drafts(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.drafts import drafts_section
    from mlx_gemma4.bench.shapes import shape_json

    return drafts_section(
        shape_json(args.shape or "e2b", args.depth or _SESSION_DEPTH),
        prompt=args.prompt or 64,
        decode=max(args.decode, 64),
    )


def _live(args: argparse.Namespace) -> Section:
    from mlx_gemma4.bench.live import live_section
    from mlx_gemma4.bench.shapes import shape_json

    shape = args.shape or "e2b"
    if shape not in ("e2b", "e4b"):
        raise PromptError("--live needs a size with audio and vision towers; use e2b or e4b.")
    config = shape_json(shape, args.depth or _LIVE_DEPTH, towers=True)
    return live_section(config, repeats=args.repeats)
