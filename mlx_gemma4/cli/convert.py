"""Write a quantised or bfloat16 copy of a checkpoint in MLX layout.

Routers, the dense MLP beside experts, per-layer inputs and the output head keep more bits than the
rest; towers stay as they are. mlx-lm and mlx-vlm can load the result too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlx_gemma4.convert import convert
from mlx_gemma4.loading import resolve
from mlx_gemma4.quantization import PRESETS

EXAMPLES = """\
examples:
  mlx-gemma4 convert google/gemma-4-E4B-it ~/models/e4b-4bit
  mlx-gemma4 convert ~/models/gemma-4-12B-it ~/models/12b-mxfp4 --preset mxfp4
  mlx-gemma4 convert google/gemma-4-E2B-it-qat-q4_0-unquantized ~/models/e2b-qat --preset q4_0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", help="unquantised checkpoint: folder or downloaded repository")
    parser.add_argument("target", type=Path, help="new folder")
    parser.add_argument(
        "--preset", choices=list(PRESETS), default="4bit", help="how to store it (default 4bit)"
    )


def run(args: argparse.Namespace) -> int:
    """Convert, show progress on stderr, print the folder on stdout."""
    folder = convert(
        resolve(args.source), args.target.expanduser(), args.preset, progress=_show_progress
    )
    print(folder)
    return 0


def _show_progress(done: int, total: int, stage: str) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        line = f"\r\033[K{stage} {100 * done // total} % of {total / 1e9:.2f} GB"
        print(line, end=end, file=sys.stderr, flush=True)
