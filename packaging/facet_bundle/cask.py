"""Homebrew's cask file for a disk image, from packaging/cask.rb.in."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from facet_bundle import facts
from facet_bundle.errors import PackagingError

TEMPLATE = facts.PACKAGING / "cask.rb.in"
DESCRIPTION = "Talk to Gemma 4 with camera, microphone and files, on your own computer"
# Homebrew's names of the oldest systems that the floor can mean.
_SYSTEMS = {15: "sequoia", 26: "tahoe"}
_ADDRESS = re.compile(r"https://[\w.-]+(/[\w.-]+)+")


def write(dmg: Path, repository: str, target: Path) -> Path:
    """`target` for the finished `dmg`, which the releases of `repository` (an address) offer."""
    if _ADDRESS.fullmatch(repository) is None:
        raise PackagingError(f"{repository!r} is not the https address of a repository.")
    version = facts.version()
    if version not in dmg.name or "NOT-FOR-REDISTRIBUTION" in dmg.name:
        raise PackagingError(f"{dmg.name} is not the disk image of release {version}.")
    values = {
        "TOKEN": facts.NAME.lower(),
        "VERSION": version,
        "SHA256": hashlib.sha256(dmg.read_bytes()).hexdigest(),
        "REPOSITORY": repository,
        "FILE": dmg.name.replace(version, "#{version}"),
        "NAME": facts.NAME,
        "DESCRIPTION": DESCRIPTION,
        "MACOS": _SYSTEMS[facts.FLOOR[0]],
        "BUNDLE_ID": facts.BUNDLE_ID,
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    target.write_text(re.sub(r"@([A-Z0-9_]+)@", lambda m: values[m[1]], text), encoding="utf-8")
    return target
