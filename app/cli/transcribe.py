"""`facet transcribe`: recordings of any length to text or subtitles, on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.checkpoints import checkpoint
from app.cli.outputs import RECORD, Outputs, missing_files, output_names, write_out
from app.core.errors import AppError, ErrorKind
from app.core.paths import AppPaths, demo_model_dir
from app.live.transcript import WRITERS, transcribe

if TYPE_CHECKING:
    from app.engine.live_session import Transcriber


EXAMPLES = """\
examples:
  facet transcribe memo.m4a                          print what is said, with times
  facet transcribe talk.mp3 --format srt --out subs  subtitles, as subs/talk.srt
  facet transcribe call.wav --translate English      translated on the way

exit codes: 0 all written down, 1 some recordings could not be read, 2 nothing could be done
(wrong options, no model that hears), 130 stopped with Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="sound or film")
    parser.add_argument(
        "--model", default="", metavar="PATH", help="checkpoint that hears (default: the demo)"
    )
    parser.add_argument("--format", choices=[*WRITERS], default="txt", help="what to write")
    parser.add_argument("--translate", default="", metavar="LANGUAGE", help="into this language")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write into (default: to the screen); what others wrote there stays",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help="where Facet keeps its data")


def run(args: argparse.Namespace) -> int:
    """Transcribe every file; one that cannot be read does not stop the others."""
    from mlx_gemma4.errors import MediaError
    from mlx_gemma4.media.sound import load_sound

    outputs = _outputs(args) if args.out else None
    missing = missing_files(args.files)
    for path in missing:
        sys.stderr.write(f"facet transcribe: There is no file {path}; check its name.\n")
    files = [path for path in args.files if path not in missing]
    if not files:
        return 1
    transcriber = _transcriber(args)
    failed = len(missing)
    for path, name in zip(files, output_names(files), strict=True):
        try:
            lines = list(transcribe(load_sound(path).pcm, transcriber.text))
        except MediaError as problem:
            sys.stderr.write(f"facet transcribe: {problem}\n")
            failed += 1
            continue
        if not lines:
            sys.stderr.write(f"facet transcribe: no speech was found in “{path.name}”.\n")
        _write(path, name, WRITERS[args.format](lines), args, outputs)
    return 1 if failed else 0


def _outputs(args: argparse.Namespace) -> Outputs:
    paths = AppPaths.below(Path(args.data_dir)) if args.data_dir else AppPaths.default()
    outputs = Outputs(args.out, paths.data / RECORD)
    outputs.check()
    outputs.inputs(args.files, args.files)
    return outputs


def _transcriber(args: argparse.Namespace) -> Transcriber:
    from app.engine.live_session import TRANSCRIBE, TRANSLATE, Transcriber
    from mlx_gemma4 import load

    model, processor = load(checkpoint(args.model) if args.model else demo_model_dir())
    if model.config.audio is None:
        raise AppError(
            "This model does not hear.",
            kind=ErrorKind.UNSUPPORTED_MEDIA,
            remedy="Choose E2B, E4B or 12B with --model.",
        )
    prompt = TRANSLATE.format(args.translate) if args.translate else TRANSCRIBE
    return Transcriber(model, processor, prompt)


def _write(
    path: Path, name: str, text: str, args: argparse.Namespace, outputs: Outputs | None
) -> None:
    if outputs is None:
        write_out(text)
        return
    command = repr((args.model, args.translate, args.format))
    with outputs.draft(path, command) as draft:
        (draft.folder / f"{name}.{args.format}").write_text(text, encoding="utf-8")
    for placed in draft.placed:
        sys.stderr.write(f"{path.name}: {placed}\n")
