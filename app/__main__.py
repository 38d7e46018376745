"""The `facet` command: opens the window, or runs one of the subcommands without a display.

Imports nothing heavy: the engine's child process imports this module again before its own work.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
from collections.abc import Sequence

# name: (module with add_arguments(parser) and run(args) -> int, one line of help)
_COMMANDS = {
    "doctor": ("app.cli.doctor", "check this machine, the models and the engine"),
    "live": ("app.cli.live", "talk to the model in the terminal, with microphone and camera"),
    "ocr": ("app.cli.ocr", "read documents: text, tables, searchable PDFs"),
    "transcribe": ("app.cli.transcribe", "write down what is said in a recording"),
}
_EXAMPLES = """examples:
  facet                              open the window
  facet --open photo.jpg notes.pdf   open it with files attached
  facet --model ~/models/gemma-e4b   use this checkpoint
  facet doctor --json                facts about this machine, for a bug report
"""


def make_parser() -> argparse.ArgumentParser:
    """The window's options."""
    commands = "\n".join(f"  {name:<12} {text}" for name, (_, text) in _COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="facet",
        description="Talk to Gemma 4, show it things and drop documents on it, all on your Mac.",
        epilog=f"commands (facet COMMAND --help tells more):\n{commands}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="", help="checkpoint folder to load")
    parser.add_argument("--data-dir", default="", help="keep chats and settings in this folder")
    parser.add_argument("--open", nargs="+", default=(), metavar="FILE", help="files to attach")
    parser.add_argument(
        "--in-process", action="store_true", help="run the engine in a thread, for debugging"
    )
    parser.add_argument(
        "--log-level",
        default="warning",
        choices=("debug", "info", "warning", "error"),
        help="how much goes into the log files",
    )
    parser.add_argument("--screenshot", default="", metavar="FILE", help="save a picture and end")
    parser.add_argument("--script", default="", metavar="NAME", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `facet` and of the bundle; returns the exit code."""
    multiprocessing.freeze_support()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _COMMANDS:
        return _run_command(words[0], words[1:])
    options = make_parser().parse_args(words)
    from app.main import AppOptions, run

    return run(
        AppOptions(
            model=options.model,
            data_dir=options.data_dir,
            files=tuple(options.open),
            in_process=options.in_process,
            log_level=options.log_level,
            screenshot=options.screenshot,
            script=options.script,
        )
    )


def _run_command(name: str, words: list[str]) -> int:
    module_name, text = _COMMANDS[name]
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"facet {name}", description=text)
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(words)) or 0)
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        # Every layer words its own errors; anything else is a defect and may show its traceback.
        sentence = _sentence(problem)
        if sentence is None:
            raise
        sys.stderr.write(f"facet {name}: {sentence}\n")
        return 2


def _sentence(problem: Exception) -> str | None:
    """The words of an error made to be shown, None for any other."""
    from app.core.errors import AppError
    from mlx_gemma4.errors import Gemma4Error

    if isinstance(problem, AppError):
        return f"{problem.failure.message} {problem.failure.remedy}".strip()
    return str(problem) if isinstance(problem, Gemma4Error) else None


if __name__ == "__main__":
    sys.exit(main())
