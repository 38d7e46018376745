"""What a packaged build knows about itself: written by packaging/, read by the About box.

From source there is no such file: the facts are then those of a development copy.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from app.core.paths import assets_dir

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """notice: a sentence that must be shown, or empty.

    feed: address of the release feed; empty: this build has no check for updates.
    """

    version: str = ""
    preview: bool = False
    notice: str = ""
    feed: str = ""


def about_dir() -> Path:
    """Where a bundle keeps its build facts, notices and licence texts."""
    return assets_dir() / "about"


def build_facts() -> BuildFacts:
    """The facts of this build; empty ones from source."""
    try:
        read = json.loads((about_dir() / "build.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return BuildFacts()
    except (OSError, ValueError):
        log.exception("the build facts cannot be read")
        return BuildFacts()
    return BuildFacts(
        str(read.get("version", "")),
        bool(read.get("preview", False)),
        str(read.get("notice", "")),
        str(read.get("feed", "")),
    )


def third_party_notices() -> str:
    """Every package with its licence and all licence texts; empty from source."""
    try:
        return (about_dir() / "THIRD_PARTY_NOTICES.txt").read_text(encoding="utf-8")
    except OSError:
        return ""
