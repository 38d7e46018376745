"""Answer one prompt and stop.

The answer goes to stdout; thoughts, notices and figures go to stderr. With --json-schema the exit
code is 1 when the answer was cut before the JSON was whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlx_gemma4.cli import common
from mlx_gemma4.errors import PromptError
from mlx_gemma4.messages import Audio, Image, MediaPart, Message, message

if TYPE_CHECKING:
    from mlx_gemma4.generate import Finish, GenerateOptions
    from mlx_gemma4.inputs import ModelInputs
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.processor import Processor
    from mlx_gemma4.tools import ReplyEvent, ToolOutcome

EXAMPLES = """\
examples:
  mlx-gemma4 generate --prompt "Why is the sky blue?"
  mlx-gemma4 generate --image receipt.jpg --image-tokens 1120 --prompt "Copy the table as CSV"
  mlx-gemma4 generate --audio memo.wav --prompt "Write down what is said"
  mlx-gemma4 generate --video clip.mp4 --prompt "What happens?" --think --stats
  mlx-gemma4 generate --prompt "Three primes" --json-schema list.json --temperature 0
  mlx-gemma4 generate --prompt "How big is photo.jpg?" --tools my_tools.py
  mlx-gemma4 generate --model ./gemma-4-e2b --raw --prompt "Once upon a time"
  mlx-gemma4 generate --prompt "Say it again: ..." --draft lookup --stats
  cat letter.txt | mlx-gemma4 generate --system "Answer in one sentence."
"""
_MAX_STDIN = 8_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--prompt", help="what to ask (default: read it from stdin)")
    parser.add_argument(
        "--raw", action="store_true", help="continue the prompt as plain text (base checkpoints)"
    )
    parser.add_argument("--system", help="instructions for the whole conversation")
    common.add_media_arguments(parser)
    common.add_model_arguments(parser)
    parser.add_argument("--json-schema", metavar="FILE", help="hold the answer to a JSON schema")
    parser.add_argument(
        "--tools", metavar="FILE.py", help="let the model call the functions of a Python file"
    )


def run(args: argparse.Namespace) -> int:
    """Answer the prompt of the command line."""
    prompt = _prompt(args)
    for part in args.media:
        common.media_part(type(part).__name__.lower(), part.source)
    options = common.generate_options(args)
    model, processor = common.load_for(args)
    media = common.media_options(args, processor)
    if args.raw:
        text = _with_placeholders(prompt, args.media)
        inputs = processor.raw(text, args.media, media)
        events = _reply(model, processor, inputs, options, args.kv_bits)
    else:
        events = _answer(args, prompt, model, processor, options)
    last = common.print_reply(events, stats=args.stats)
    return int(args.json_schema is not None and not _whole(last))


def _whole(last: Finish | None) -> bool:
    """Whether a reply held to a schema came to its end; what was cut is no JSON."""
    return last is not None and last.reason == "stop"


def _prompt(args: argparse.Namespace) -> str:
    if args.raw and (args.system or args.think or args.tools):
        raise PromptError("--raw takes plain text only; leave out --system, --think and --tools.")
    prompt = args.prompt
    if prompt is None:
        prompt = "" if sys.stdin.isatty() else sys.stdin.read(_MAX_STDIN)
    if not prompt.strip() and not args.media:
        raise PromptError("There is no prompt; pass --prompt TEXT or pipe the text in.")
    return prompt


def _with_placeholders(prompt: str, media: list[MediaPart]) -> str:
    """Put the placeholders of media in front of a raw prompt that does not place them itself."""
    marks = {Image: "<|image|>", Audio: "<|audio|>"}
    if any(mark in prompt for mark in (*marks.values(), "<|video|>")):
        return prompt
    return "".join(marks.get(type(part), "<|video|>") for part in media) + prompt


def _reply(
    model: Gemma4,
    processor: Processor,
    inputs: ModelInputs,
    options: GenerateOptions,
    kv_bits: int | None,
) -> Iterator[ReplyEvent]:
    from mlx_gemma4.generate import stream

    for notice in inputs.notices:
        print(notice, file=sys.stderr)
    return stream(model, processor, inputs, options, kv_bits=kv_bits)


def _answer(
    args: argparse.Namespace,
    prompt: str,
    model: Gemma4,
    processor: Processor,
    options: GenerateOptions,
) -> Iterator[ReplyEvent | ToolOutcome]:
    """Answer as a chat turn, with the tools of the command line."""
    from mlx_gemma4.tools import run_with_tools, tools_from_file

    tools = tools_from_file(args.tools) if args.tools else ()
    media = common.media_options(args, processor)
    messages = [message("system", args.system)] if args.system else []
    messages.append(message("user", *args.media, prompt))

    def reply(conversation: list[Message]) -> Iterator[ReplyEvent]:
        inputs = processor.inputs(conversation, think=args.think, tools=tools, options=media)
        return _reply(model, processor, inputs, options, args.kv_bits)

    return run_with_tools(reply, messages, tools)
