"""Unpacks the disk image with a tool that had no part in writing it, and compares every file."""

from __future__ import annotations

from pathlib import Path

from facet_bundle import facts, proc
from facet_bundle.audits import sealed
from facet_bundle.audits.finding import Finding


def compare(dmg: Path, app: Path, scratch: Path) -> list[Finding]:
    """What differs between the bundle and the HFS+ volume inside `dmg`, as 7z reads it."""
    raw, volume = scratch / "raw", scratch / "volume"
    proc.run(["7z", "x", "-y", "-bd", "-tdmg", f"-o{raw}", dmg])
    image = next(raw.iterdir())
    proc.run(["7z", "x", "-y", "-bd", "-thfs", "-snld", f"-o{volume}", image])
    image.unlink()
    root = volume / facts.NAME
    found = sealed.differences(sealed.manifest(app), sealed.manifest(root / app.name), "disk-image")
    if not (root / "Applications").is_symlink():
        found.append(Finding("disk-image", "Applications", "is not a link"))
    return found
