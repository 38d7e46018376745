"""The command ``mlx-gemma4``: finds the subcommand and turns errors into one sentence.

Each subcommand is a module with ``add_arguments(parser)`` and ``run(args) -> int``, imported only
when it is asked for, so ``--help`` is instant and ``download`` works without MLX.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import NoReturn

from mlx_gemma4.errors import Gemma4Error

log = logging.getLogger(__name__)

_ERROR, _INTERRUPTED = 2, 130


@dataclass(frozen=True, slots=True)
class _Command:
    module: str
    help: str


_COMMANDS = {
    "generate": _Command("mlx_gemma4.cli.generate", "answer one prompt, with pictures and sound"),
    "chat": _Command("mlx_gemma4.cli.chat", "talk with a model in the terminal"),
    "info": _Command("mlx_gemma4.cli.info", "say what a checkpoint is and what it takes in"),
    "convert": _Command("mlx_gemma4.cli.convert", "quantise a checkpoint or change its type"),
    "download": _Command("mlx_gemma4.cli.download", "fetch a checkpoint from Hugging Face"),
    "bench": _Command("mlx_gemma4.cli.bench", "measure speed and memory"),
    "kernels": _Command("mlx_gemma4.cli.kernels", "check the GPU kernels against their reference"),
    "eval-demo": _Command("mlx_gemma4.demo_eval", "measure what the demo checkpoint can do"),
}

_EXAMPLES = """\
examples:
  mlx-gemma4 chat
  mlx-gemma4 generate --prompt "What is this?" --image photo.jpg
  mlx-gemma4 generate --model mlx-community/gemma-4-e2b-it-4bit --prompt "Write it down" \\
      --audio memo.m4a
  mlx-gemma4 download mlx-community/gemma-4-e2b-it-4bit
  mlx-gemma4 COMMAND --help
"""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(_ERROR, f"{self.prog}: {message}; see {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Returns:
        0 if it worked, 2 after an error (one sentence on stderr), 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _top_parser()
    name = arguments[0] if arguments else "--help"
    if name.startswith("-"):
        parser.parse_args([name])
        return 0
    if name not in _available():
        parser.error(f"there is no command {name!r}")
    return _guarded(name, arguments[1:])


def _guarded(name: str, arguments: list[str]) -> int:
    debug = bool(os.environ.get("MLX_GEMMA4_DEBUG"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR)
    try:
        module = import_module(_COMMANDS[name].module)
        parser = _Parser(
            prog=f"mlx-gemma4 {name}",
            description=(module.__doc__ or "").partition("\n\n")[0],
            epilog=getattr(module, "EXAMPLES", None),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(parser)
        return module.run(parser.parse_args(arguments))
    except Gemma4Error as error:
        log.debug("failed", exc_info=True)
        return _fail(name, str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe (head, less) has enough; keep Python from reporting it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        log.debug("failed", exc_info=True)
        kind = type(error).__name__
        return _fail(name, f"something broke inside ({kind}); set MLX_GEMMA4_DEBUG=1 to see where.")


def _fail(name: str, sentence: str) -> int:
    print(f"mlx-gemma4 {name}: {sentence}", file=sys.stderr)
    return _ERROR


def _available() -> list[str]:
    return [name for name, command in _COMMANDS.items() if find_spec(command.module) is not None]


def _top_parser() -> argparse.ArgumentParser:
    names = _available()
    width = max(map(len, names)) + 2
    listed = "\n".join(f"  {name:{width}}{_COMMANDS[name].help}" for name in names)
    return _Parser(
        prog="mlx-gemma4",
        usage="mlx-gemma4 COMMAND [options]",
        description=f"Gemma 4 on MLX.\n\ncommands:\n{listed}",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
