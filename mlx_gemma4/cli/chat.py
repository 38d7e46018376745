"""Talk with a model in the terminal, or through a pipe: one line in, one reply out.

Type /help for commands, Ctrl-C to stop a reply, Ctrl-D to leave.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlx_gemma4.cli import common
from mlx_gemma4.errors import Gemma4Error
from mlx_gemma4.messages import MediaPart, Message, Part, Text, ToolCall, message

if TYPE_CHECKING:
    from mlx_gemma4.generate import Finish, GenerateOptions
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.prefill import Progress
    from mlx_gemma4.processor import MediaOptions, Processor
    from mlx_gemma4.reply import Delta

EXAMPLES = """\
examples:
  mlx-gemma4 chat
  mlx-gemma4 chat --model mlx-community/gemma-4-e4b-it-4bit --think
  printf 'Hello\\nWhat did I say?\\n' | mlx-gemma4 chat --temperature 0

commands inside the chat:
  /image FILE   /audio FILE   /video FILE   attach a file to the next message
  /think        switch thinking on or off
  /reset        forget the conversation
  /help         show this list
  /exit         leave
"""
_COMMANDS = EXAMPLES.partition("commands inside the chat:\n")[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--system", help="instructions for the whole conversation")
    common.add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read lines until the input ends; exit code 2 if a piped line failed."""
    options = common.generate_options(args)
    model, processor = common.load_for(args)
    chat = _Chat(args, model, processor, options)
    interactive = sys.stdin.isatty()
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() a history and line editing
    failed = False
    while not chat.left:
        try:
            chat.line(input("> ") if interactive else _next_line())
        except EOFError:
            break
        except Gemma4Error as error:
            print(error, file=sys.stderr)
            failed = not interactive
    return 2 if failed else 0


def _next_line() -> str:
    line = sys.stdin.readline(1_000_000)
    if not line:
        raise EOFError
    return line


class _Chat:
    """A conversation and what is attached to its next message."""

    def __init__(
        self,
        args: argparse.Namespace,
        model: Gemma4,
        processor: Processor,
        options: GenerateOptions,
    ) -> None:
        self.left = False
        self._args = args
        self._model = model
        self._processor = processor
        self._options = options
        self._media: MediaOptions | None = common.media_options(args, processor)
        self._messages: list[Message] = []
        self._attached: list[MediaPart] = []
        self._reset()

    def line(self, line: str) -> None:
        """Handle one line of input."""
        line = line.strip()
        name, _, rest = line.partition(" ")
        if name in ("/image", "/audio", "/video"):
            self._attached.append(common.media_part(name[1:], rest.strip()))
        elif name.startswith("/") and name in self._commands:
            self._commands[name]()
        elif name.startswith("/") and " " not in line:
            print(f"There is no command {name}; /help lists them.", file=sys.stderr)
        elif line or self._attached:
            self._say(line)

    @property
    def _commands(self) -> dict:
        return {
            "/help": lambda: print(_COMMANDS, end="", file=sys.stderr),
            "/reset": self._reset,
            "/think": self._toggle_thinking,
            "/exit": self._leave,
            "/quit": self._leave,
        }

    def _reset(self) -> None:
        system = self._args.system
        self._messages = [message("system", system)] if system else []
        self._attached = []

    def _leave(self) -> None:
        self.left = True

    def _toggle_thinking(self) -> None:
        self._args.think = not self._args.think
        print(f"thinking {'on' if self._args.think else 'off'}", file=sys.stderr)

    def _say(self, text: str) -> None:
        """Answer one message; of a reply stopped by Ctrl-C what came is kept."""
        said = message("user", *self._attached, *([text] if text else []))
        self._attached = []
        heard: list[Part] = []
        inputs = self._processor.inputs(
            [*self._messages, said], think=self._args.think, options=self._media
        )
        for notice in inputs.notices:
            print(notice, file=sys.stderr)
        events = self._events(inputs, heard)
        try:
            common.print_reply(events, stats=self._args.stats)
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
        finally:
            events.close()
        answer = "".join(part.text for part in heard if isinstance(part, Text))
        self._messages += [said, message("model", answer)]

    def _events(self, inputs, heard: list[Part]) -> Iterator[Progress | Delta | ToolCall | Finish]:  # noqa: ANN001
        """Events of a reply; what the answer says is also added to ``heard``."""
        from mlx_gemma4.generate import stream
        from mlx_gemma4.reply import Delta

        for event in stream(self._model, self._processor, inputs, self._options):
            if isinstance(event, Delta) and event.channel == "answer":
                heard.append(Text(event.text))
            yield event
