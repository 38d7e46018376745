"""What the subcommands that run a model share: options, loading, printing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mlx_gemma4.errors import ConfigError, MediaError, ToolError
from mlx_gemma4.messages import Audio, Image, MediaPart, Video
from mlx_gemma4.plan import KV_BITS, OnDisk

if TYPE_CHECKING:
    from mlx_gemma4.generate import Finish, GenerateOptions, Usage
    from mlx_gemma4.messages import ToolCall
    from mlx_gemma4.model import Gemma4
    from mlx_gemma4.prefill import Progress
    from mlx_gemma4.processor import MediaOptions, Processor
    from mlx_gemma4.reply import Delta
    from mlx_gemma4.speculation import DraftSource
    from mlx_gemma4.tools import ToolOutcome

_KINDS: dict[str, Callable[[str], MediaPart]] = {"image": Image, "audio": Audio, "video": Video}
_BUDGETS = (70, 140, 280, 560, 1120)
_MAX_SCHEMA_BYTES = 1_000_000


class _AddMedia(argparse.Action):
    """Collects media of all kinds in one list, in the order they were written."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        paths = [values] if isinstance(values, str) else list(values or ())
        parts = [_KINDS[self.metavar_kind](str(path)) for path in paths]
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), *parts])

    @property
    def metavar_kind(self) -> str:
        """Which kind of media this option adds."""
        return self.option_strings[0].removeprefix("--")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose the model and how it replies."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="PATH_OR_REPO",
        help="checkpoint folder, or name of a downloaded repository (default: the demo model)",
    )
    model.add_argument("--adapter", metavar="PATH", help="LoRA adapter folder (mlx-lm's format)")
    model.add_argument("--think", action="store_true", help="let the model think first")
    model.add_argument(
        "--image-tokens",
        type=int,
        choices=_BUDGETS,
        help="most tokens of a picture: 280 by default, 560 or 1120 for documents",
    )
    memory = parser.add_argument_group("memory")
    memory.add_argument(
        "--kv-bits",
        type=int,
        choices=KV_BITS,
        help="keep keys and values of full layers packed, for long contexts (default: as they are)",
    )
    memory.add_argument(
        "--ple-on-disk",
        choices=get_args(OnDisk),
        default="auto",
        help="read the per-layer embeddings of E2B and E4B from the file, row by row, instead of "
        "holding them in memory (default: auto, where memory would be tight with them)",
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--max-tokens", type=int, default=2048, metavar="N")
    sampling.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1)")
    sampling.add_argument("--top-p", type=float, default=0.95, metavar="P")
    sampling.add_argument("--top-k", type=int, default=64, metavar="K", help="0 is off")
    sampling.add_argument("--min-p", type=float, default=0.0, metavar="P")
    sampling.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X")
    sampling.add_argument("--seed", type=int, help="makes a reply repeatable")
    sampling.add_argument(
        "--draft",
        metavar="lookup|PATH_OR_REPO",
        help="decode several tokens at once where drafts stand: looked up in the conversation, or "
        "made by the model's assistant checkpoint",
    )
    parser.add_argument("--stats", action="store_true", help="say what each reply cost")


def add_media_arguments(parser: argparse.ArgumentParser) -> None:
    """Options ``--image``, ``--audio``, ``--video``; all may be repeated, in any order."""
    group = parser.add_argument_group("files, in the order they are written")
    for kind in _KINDS:
        group.add_argument(
            f"--{kind}", dest="media", action=_AddMedia, nargs="+", metavar="FILE", default=[]
        )


def media_part(kind: str, path: str) -> MediaPart:
    """A medium from a path typed by the user.

    Raises:
        MediaError: there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise MediaError(f"There is no file {path}; check its name.")
    return _KINDS[kind](str(file))


def demo_model() -> Path | None:
    """The demo checkpoint: inside the installed package, or in the source tree beside it."""
    package = Path(str(files("mlx_gemma4")))
    for folder in (package / "demo-model", package.parent / "assets" / "demo-model"):
        if (folder / "config.json").is_file():
            return folder
    return None


def load_for(args: argparse.Namespace) -> tuple[Gemma4, Processor]:
    """Load what ``--model`` and ``--adapter`` name.

    Raises:
        ConfigError: no model is named and there is no demo model.
    """
    from mlx_gemma4.loading import load

    source = args.model or demo_model()
    if source is None:
        raise ConfigError("No model is named and there is no demo model here; pass --model.")
    model, processor = load(
        source, adapter=args.adapter, progress=_load_progress(), ple_on_disk=args.ple_on_disk
    )
    if model.config.label:
        print(f"model: {model.config.label}", file=sys.stderr)
    return model, processor


def _load_progress() -> Callable[[int, int, str], None] | None:
    """Shows loading on a terminal; nothing when stderr is a file."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int, stage: str) -> None:
        end = "\r" if done < total else "\033[K\r"
        percent = 100 * done // max(total, 1)
        print(f"{stage} {percent} %" if done < total else "", end=end, file=sys.stderr, flush=True)

    return show


def generate_options(args: argparse.Namespace) -> GenerateOptions:
    """Options of a reply from the command line.

    Raises:
        PromptError: a number out of range.
        ToolError: the schema file cannot be used.
    """
    from mlx_gemma4.generate import GenerateOptions
    from mlx_gemma4.sampling import SamplingOptions

    sampling = SamplingOptions(
        temperature=args.temperature,
        top_p=args.top_p,
        top_k=args.top_k,
        min_p=args.min_p,
        repetition_penalty=args.repetition_penalty,
        seed=args.seed,
    )
    schema = getattr(args, "json_schema", None)
    return GenerateOptions(
        max_tokens=args.max_tokens,
        sampling=sampling,
        constraint=None if schema is None else _schema(schema),
        draft=_draft(args.draft),
    )


def _draft(name: str | None) -> DraftSource | None:
    """What ``--draft`` names.

    Raises:
        ConfigError: no assistant checkpoint. WeightsError: a damaged one.
    """
    if name is None:
        return None
    if name == "lookup":
        from mlx_gemma4.drafter_lookup import PromptLookup

        return PromptLookup()
    from mlx_gemma4.drafter import load_assistant
    from mlx_gemma4.loading import resolve

    return load_assistant(resolve(name))


def _schema(path: str) -> Any:
    from mlx_gemma4.constrain import Constraint

    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            return Constraint.json_schema(json.loads(file.read(_MAX_SCHEMA_BYTES + 1)))
    except (OSError, ValueError) as error:
        raise ToolError(f"The schema {path} cannot be read as JSON; check the file.") from error


def media_options(args: argparse.Namespace, processor: Processor) -> MediaOptions | None:
    """How media are taken in; None for the defaults of the checkpoint."""
    from dataclasses import replace

    if args.image_tokens is None:
        return None
    return replace(processor.defaults, image_budget=args.image_tokens)


def print_reply(
    events: Iterable[Progress | Delta | ToolCall | ToolOutcome | Finish], *, stats: bool
) -> Finish | None:
    """Stream a reply: the answer to stdout; thoughts, tool calls and figures to stderr.

    Returns:
        The last ``Finish``; None if the reply was cut by Ctrl-C.
    """
    from mlx_gemma4.generate import Finish
    from mlx_gemma4.messages import ToolCall
    from mlx_gemma4.reply import Delta
    from mlx_gemma4.tools import ToolOutcome

    last = None
    for event in events:
        if isinstance(event, Delta) and event.channel == "answer":
            print(event.text, end="", flush=True)
        elif isinstance(event, Delta) and event.channel == "thought":
            print(_dim(event.text), end="", file=sys.stderr, flush=True)
        elif isinstance(event, ToolCall):
            print(_dim(f"\n[{event.name} {dict(event.arguments)}]"), file=sys.stderr)
        elif isinstance(event, ToolOutcome):
            print(_dim(f"[{event.summary}]"), file=sys.stderr)
        elif isinstance(event, Finish):
            last = event
    print(flush=True)
    if last and last.notice:
        print(last.notice, file=sys.stderr)
    if last and stats:
        print(_dim(describe_usage(last.usage)), file=sys.stderr)
    return last


def describe_usage(usage: Usage) -> str:
    """The figures of a reply in one line."""
    run = usage.prompt_tokens - usage.cached_tokens
    rate = run / usage.prefill_s if usage.prefill_s > 0 else 0.0
    return (
        f"prompt {usage.prompt_tokens} tokens ({usage.cached_tokens} reused), "
        f"{usage.prefill_s:.2f} s, {rate:.0f} tokens/s; "
        f"first token after {usage.first_token_s:.2f} s; "
        f"reply {usage.generated_tokens} tokens, {usage.tokens_per_s:.1f} tokens/s"
        f"{_drafts(usage)}; "
        f"peak {usage.peak_bytes / 1e9:.2f} GB"
    )


def _drafts(usage: Usage) -> str:
    if not usage.draft_blocks:
        return ""
    return (
        f" ({usage.drafted_tokens} drafted in {usage.draft_blocks} blocks, "
        f"{100 * usage.acceptance:.0f} % stood)"
    )


def _dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if sys.stderr.isatty() else text
