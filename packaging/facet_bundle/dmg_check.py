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
    found = sealed.differences(_contents(app), _contents(root / app.name), "disk-image")
    if not (root / "Applications").is_symlink():
        found.append(Finding("disk-image", "Applications", "is not a link"))
    return found


def _contents(root: Path) -> sealed.Manifest:
    """Bytes and link targets; 7z does not set the permissions that HFS+ holds."""
    return {name: (0, digest) for name, (_, digest) in sealed.manifest(root).items()}
