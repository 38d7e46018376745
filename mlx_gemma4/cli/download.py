"""Download a checkpoint from Hugging Face into the cache shared with other programs.

Interrupt it at any time; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys

from mlx_gemma4.hub import Progress, download

EXAMPLES = """\
examples:
  mlx-gemma4 download mlx-community/gemma-4-e2b-it-4bit
  mlx-gemma4 download google/gemma-4-E4B-it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("repo", help="owner/name of the repository")


def run(args: argparse.Namespace) -> int:
    """Download, show progress on stderr, print the folder on stdout."""
    folder = download(args.repo, on_progress=_Display())
    print(folder)
    return 0


class _Display:
    """A line that rewrites itself on a terminal; one line per stage elsewhere."""

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        """Show how far the download is."""
        if self._tty:
            print(f"\r\033[K{self._line(progress)}", end="", file=sys.stderr, flush=True)
            if progress.stage == "done":
                print(file=sys.stderr)
        elif progress.stage != self._stage:
            print(self._line(progress), file=sys.stderr)
        self._stage = progress.stage

    @staticmethod
    def _line(progress: Progress) -> str:
        sizes = ""
        if progress.total:
            percent = 100 * progress.done // progress.total
            sizes = f" {percent} % of {progress.total / 1e9:.2f} GB"
        detail = progress.problem or progress.file
        return f"{progress.stage}{sizes}{f': {detail}' if detail else ''}"
