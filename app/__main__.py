"""The `facet` command: opens the window, or runs one of the subcommands without a display.

Imports nothing heavy: the engine's child process imports this module again before its own work.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

# name: (module with add_arguments(parser) and run(args) -> int, one line of help)
_COMMANDS = {
    "doctor": ("app.cli.doctor", "check this machine, the models and the engine"),
    "live": ("app.cli.live", "talk to the model in the terminal, with microphone and camera"),
    "ocr": ("app.cli.ocr", "read documents: text, tables, searchable PDFs"),
    "transcribe": ("app.cli.transcribe", "write down what is said in a recording"),
}
_ERROR, _INTERRUPTED = 2, 130
# What Qt says of libraries it does without and of the decoder it found; warnings stay.
_QUIET_QT = "qt.multimedia.symbolsresolver=false;qt.multimedia.ffmpeg.info=false"
_EXAMPLES = """\
examples:
  facet                              open the window
  facet --open photo.jpg notes.pdf   open it with files attached
  facet --model ~/models/gemma-e4b   use this checkpoint
  facet doctor --json                facts about this machine, for a bug report

exit codes: 0 closed, 2 it could not begin (wrong options, no screen, data folder in use)
"""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(_ERROR, f"{self.prog}: {message}; see {self.prog} --help.\n")


def make_parser() -> argparse.ArgumentParser:
    """The window's options."""
    commands = "\n".join(f"  {name:<12} {text}" for name, (_, text) in _COMMANDS.items())
    parser = _Parser(
        prog="facet",
        description="Talk to Gemma 4, show it things and drop documents on it, all on your Mac.",
        epilog=f"commands (facet COMMAND --help tells more):\n{commands}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="", metavar="PATH", help="checkpoint folder to load")
    parser.add_argument(
        "--data-dir", default="", metavar="DIR", help="keep chats and settings in this folder"
    )
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
    os.environ.setdefault("QT_LOGGING_RULES", _QUIET_QT)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in _COMMANDS:
            return _run_command(words[0], words[1:])
        return _run_window(words)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return _INTERRUPTED


def _run_window(words: list[str]) -> int:
    parser = make_parser()
    if words and not words[0].startswith("-"):
        parser.error(_no_command(words[0]))
    options = parser.parse_args(words)
    gc.disable()  # what the start imports and builds all stays; app.services.garbage goes on
    from app.main import AppOptions, run

    try:
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
    finally:
        gc.enable()


def _no_command(word: str) -> str:
    """What a first word that is no command was probably meant to be."""
    if Path(word).exists():
        return f"{word} is no command; to open it write facet --open {word}"
    near = difflib.get_close_matches(word, _COMMANDS, 1)
    return f"there is no command {word!r}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _run_command(name: str, words: list[str]) -> int:
    module_name, text = _COMMANDS[name]
    logging.basicConfig(level=logging.ERROR)
    module = importlib.import_module(module_name)
    parser = _Parser(
        prog=f"facet {name}",
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        code = int(module.run(parser.parse_args(words)) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe (head, less) has enough.
        _forget_output()
        return 0
    except Exception as problem:
        # Every layer words its own errors; anything else is a defect and may show its traceback.
        sentence = _sentence(problem)
        if sentence is None:
            raise
        sys.stderr.write(f"facet {name}: {sentence}\n")
        try:
            sys.stdout.flush()
        except OSError:  # it is what failed
            _forget_output()
        return _ERROR
    return code


def _forget_output() -> None:
    """Let Python find nothing to complain of when it flushes standard output at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(problem: Exception) -> str | None:
    """The words of an error made to be shown, None for any other."""
    from app.cli import told
    from app.core.errors import AppError
    from mlx_gemma4.errors import Gemma4Error

    if isinstance(problem, AppError):
        return told(problem.failure.message, problem.failure.remedy)
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename or 'A file'}: {problem.strerror}."
    return str(problem) if isinstance(problem, Gemma4Error) else None


if __name__ == "__main__":
    sys.exit(main())
