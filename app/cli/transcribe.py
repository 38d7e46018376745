"""`facet transcribe`: recordings of any length to text or subtitles, on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.core.errors import AppError, ErrorKind
from app.core.paths import demo_model_dir
from app.live.transcript import WRITERS, Line, transcribe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="sound or film")
    parser.add_argument("--model", default="", help="checkpoint that hears (default: the demo)")
    parser.add_argument("--format", choices=[*WRITERS], default="txt", help="what to write")
    parser.add_argument("--translate", default="", metavar="LANGUAGE", help="into this language")
    parser.add_argument("--out", type=Path, help="folder to write into (default: to the screen)")


def run(args: argparse.Namespace) -> int:
    """Transcribe every file; one that cannot be read does not stop the others."""
    from app.engine.live_session import TRANSCRIBE, TRANSLATE, Transcriber
    from mlx_gemma4 import load
    from mlx_gemma4.errors import MediaError
    from mlx_gemma4.media.sound import load_sound

    model, processor = load(args.model or str(demo_model_dir()))
    if model.config.audio is None:
        raise AppError(
            "This model does not hear.",
            kind=ErrorKind.UNSUPPORTED_MEDIA,
            remedy="Choose E2B, E4B or 12B with --model.",
        )
    prompt = TRANSLATE.format(args.translate) if args.translate else TRANSCRIBE
    transcriber = Transcriber(model, processor, prompt)
    failed, names = 0, _names(args.files)
    for path, name in zip(args.files, names, strict=True):
        try:
            lines = list(transcribe(load_sound(path).pcm, transcriber.text))
        except MediaError as problem:
            sys.stderr.write(f"{path.name}: {problem}\n")
            failed += 1
            continue
        _write(name, lines, args)
    return 1 if failed else 0


def _names(files: list[Path]) -> list[str]:
    """A name for each transcript; of files that differ only in folder or ending, the rest count."""
    names: list[str] = []
    taken: set[str] = set()
    for path in files:
        name, number = path.stem, 2
        while name.lower() in taken:
            name, number = f"{path.stem} ({number})", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def _write(name: str, lines: list[Line], args: argparse.Namespace) -> None:
    text = WRITERS[args.format](lines)
    if args.out is None:
        sys.stdout.write(text)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{name}.{args.format}").write_text(text, encoding="utf-8")
