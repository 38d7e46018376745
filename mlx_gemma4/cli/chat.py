"""Talk with a model in the terminal, or through a pipe: one line in, one reply out.

Type /help for commands, Ctrl-C to stop a reply, Ctrl-D to leave.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from mlx_gemma4.cli import common
from mlx_gemma4.errors import Gemma4Error
from mlx_gemma4.messages import Image, MediaPart, Message, ToolCall, message

if TYPE_CHECKING:
    from mlx_gemma4.generate import Finish, GenerateOptions
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.processor import Processor
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
        from mlx_gemma4.session import Session

        self.left = False
        self._args = args
        self._options = options
        self._session = Session(model, processor, kv_bits=args.kv_bits)
        self._messages: list[Message] = []
        self._attached: list[MediaPart] = []
        self._commands = {
            "/help": lambda: print(_COMMANDS, end="", file=sys.stderr),
            "/reset": self._reset,
            "/think": self._toggle_thinking,
            "/exit": self._leave,
            "/quit": self._leave,
        }
        self._reset()

    def line(self, line: str) -> None:
        """Handle one line of input."""
        line = line.strip()
        name, _, rest = line.partition(" ")
        if name in ("/image", "/audio", "/video"):
            self._attach(name[1:], rest.strip())
        elif line in self._commands:
            self._commands[line]()
        elif name.startswith("/") and not rest:
            print(f"There is no command {name}; /help lists them.", file=sys.stderr)
        elif line or self._attached:
            self._say(line)

    def _attach(self, kind: str, path: str) -> None:
        part = common.media_part(kind, path)
        if isinstance(part, Image):
            part = Image(part.source, self._args.image_tokens)
        self._attached.append(part)

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
        heard: list[str] = []
        reply_id = uuid.uuid4().hex
        with _Interrupt() as interrupt:
            events = self._events([*self._messages, said], reply_id, heard, interrupt)
            common.print_reply(events, stats=self._args.stats)
        if interrupt.asked:
            print("stopped", file=sys.stderr)
        self._messages += [said, message("model", "".join(heard), id=reply_id)]

    def _events(
        self,
        conversation: list[Message],
        reply_id: str,
        heard: list[str],
        interrupt: _Interrupt,
    ) -> Iterator[Delta | ToolCall | Finish]:
        """Events of a reply; what the answer says is also added to ``heard``."""
        from mlx_gemma4.generate import Finish
        from mlx_gemma4.reply import Delta
        from mlx_gemma4.session import Cancelled, ReplyOptions, Watch

        start = time.perf_counter()
        watch = Watch(cancelled=lambda: interrupt.asked)
        try:
            report = self._session.sync(conversation, think=self._args.think, watch=watch)
        except Cancelled:
            return
        for notice in report.notices:
            print(notice, file=sys.stderr)
        waited = time.perf_counter() - start
        for event in self._session.reply(ReplyOptions(self._options, reply_id)):
            if interrupt.asked:
                return
            if isinstance(event, Delta) and event.channel == "answer":
                heard.append(event.text)
            if isinstance(event, Finish):
                # The session counts from its reply on; a user waits from the end of the line on.
                usage = replace(
                    event.usage,
                    cached_tokens=report.reused,
                    prefill_s=event.usage.prefill_s + waited,
                    first_token_s=event.usage.first_token_s + waited,
                )
                event = replace(event, usage=usage)
            yield event


class _Interrupt:
    """While a reply runs, Ctrl-C only sets a flag: the reply then ends between two tokens.

    An exception out of nowhere could leave the session between two steps of its book-keeping.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _Interrupt:
        """Take over Ctrl-C."""
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        """Give Ctrl-C back."""
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
