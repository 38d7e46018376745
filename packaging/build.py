"""Builds Facet.app, its disk image and zip, and audits them.

    ./run package             on a Mac: the bundle for a release; elsewhere the same as --preview
    ./run package --preview   a bundle assembled on Linux, for testing only
    ./run package --check     for CI: preview and Linux twin, every audit and negative test

packaging/README.md has the whole story.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from facet_bundle import check, facts, figures, release
from facet_bundle.errors import PackagingError
from facet_bundle.tools import default_cache


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(prog="./run package", description=__doc__)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    kind = command.add_mutually_exclusive_group()
    kind.add_argument("--check", action="store_true", help="build and test everything; for CI")
    kind.add_argument("--preview", action="store_true", help="a build for testing only")
    kind.add_argument("--release", action="store_true", help="fail on everything a release forbids")
    kind.add_argument("--audit", type=Path, metavar="APP", help="only audit a finished bundle")
    kind.add_argument(
        "--try", dest="tried", type=Path, metavar="APP", help="run it on this machine"
    )
    kind.add_argument("--figures", type=int, metavar="N", help="N cold starts of the Linux twin")
    kind.add_argument("--archives", type=Path, metavar="APP", help="only dmg, zip and checksums")
    kind.add_argument("--cask", type=Path, metavar="DMG", help="Homebrew's file for a release")
    command.add_argument("--repository", default="", metavar="URL", help="where the DMG is offered")
    command.add_argument("--out", type=Path, default=facts.ROOT / "dist", help="output folder")
    command.add_argument(
        "--cache", type=Path, default=default_cache(), help="downloads are kept here"
    )
    command.add_argument("--python", type=Path, help=f"the CPython {facts.PYTHON} to build with")
    command.add_argument("--wheels", type=Path, help="folder of wheels that replace locked ones")
    return command


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 good, 1 an audit failed, 2 it could not be done."""
    options = parser().parse_args(arguments)
    try:
        if options.check:
            return check.run(options.out, options.cache, options.python)
        if options.audit:
            return release.audit_only(options.audit)
        if options.figures:
            return figures.run(options.figures, options.out, options.cache, options.python)
        if options.tried:
            return check.try_out(options.tried, options.out)
        if options.archives:
            return release.archives_only(options.archives, options.out, options.cache)
        if options.cask:
            return release.cask_only(options.cask, options.repository, options.out)
        preview = options.preview or not (options.release or sys.platform == "darwin")
        return release.build(
            release.Order(
                options.out,
                options.cache,
                options.python,
                preview,
                options.wheels,
            )
        )
    except PackagingError as error:
        print(f"package: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
