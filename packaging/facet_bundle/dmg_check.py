"""Unpacks the disk image with a tool that had no part in writing it, and compares every file."""

from __future__ import annotations

import struct
from pathlib import Path

from facet_bundle import archive, dmg_face, facts, proc
from facet_bundle.audits import sealed
from facet_bundle.audits.finding import Finding
from facet_bundle.tools import Tools


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
    found += [
        Finding("disk-image", str(name), "is missing")
        for name in (dmg_face.STORE, dmg_face.PICTURE)
        if not (root / name).is_file()
    ]
    return found


def face(tools: Tools, scratch: Path) -> list[Finding]:
    """The look of the volume: the same bytes twice, and the numbers that the alias gives."""
    first, again = (dmg_face.lay(scratch / name, tools) for name in ("first", "again"))
    found = sealed.differences(sealed.manifest(first), sealed.manifest(again), "disk-image")
    app = scratch / f"{facts.NAME}.app"
    app.mkdir()
    image = scratch / "face.dmg"
    archive.write_dmg(app, image, first)
    raw = scratch / "raw"
    proc.run(["7z", "x", "-y", "-bd", "-tdmg", f"-o{raw}", image])
    catalogue = next(raw.iterdir()).read_bytes()
    for name, number in dmg_face.CNIDS.items():
        if _cnid(catalogue, name) != number:
            text = f"has the number {_cnid(catalogue, name)} and not {number}"
            found.append(Finding("disk-image", name, text))
    return found


def _cnid(volume: bytes, name: str) -> int:
    """The number of a file or folder: in its catalogue record (TN1150), after its key."""
    key = struct.pack(">H", len(name)) + name.encode("utf-16-be")
    at = volume.find(key)
    return struct.unpack_from(">I", volume, at + len(key) + 8)[0] if at >= 0 else 0


def _contents(root: Path) -> sealed.Manifest:
    """Bytes and link targets; 7z does not set the permissions that HFS+ holds."""
    return {name: (0, digest) for name, (_, digest) in sealed.manifest(root).items()}
