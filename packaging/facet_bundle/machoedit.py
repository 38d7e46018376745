"""The two edits a bundle needs: one architecture only, and install names that move with it."""

from __future__ import annotations

import struct
from pathlib import Path

from facet_bundle import codesign, facts, macho


def thin(path: Path) -> None:
    """Keep only this bundle's architecture of a universal file; signatures are per slice."""
    data = path.read_bytes()
    if data[:4] != macho.FAT_MAGIC:
        return
    wanted = macho.slices(data).get(facts.ARCHITECTURE)
    if wanted is None:
        raise macho.MachOError(f"{path.name} holds no {facts.ARCHITECTURE} code")
    path.write_bytes(wanted)


def rename(path: Path, names: dict[str, str]) -> bool:
    """Replace an install name and dependencies by others that are not longer; True if any was.

    The string is overwritten in place, so no load command moves, and the page hashes are renewed.
    """
    data = bytearray(path.read_bytes())
    image = macho.parse(bytes(data))
    count = struct.unpack_from("<I", data, 16)[0]
    offset, changed = 32, False
    for _ in range(count):
        command, length = struct.unpack_from("<II", data, offset)
        if command == macho.LC_ID_DYLIB or command in macho.DEPENDENCY_KINDS:
            changed |= _overwrite(data, offset, length, names)
        offset += length
    if changed:
        codesign.reseal(data, image)
        path.write_bytes(data)
    return changed


def install_name(path: Path) -> str | None:
    """The name under which others link this library; None for programs and plug-ins."""
    return macho.parse(path.read_bytes()).install_name


def _overwrite(data: bytearray, offset: int, length: int, names: dict[str, str]) -> bool:
    old = macho.string_at(bytes(data[offset : offset + length]))
    if old not in names:
        return False
    start = offset + struct.unpack_from("<I", data, offset + 8)[0]
    room = offset + length - start
    new = names[old].encode()
    if len(new) >= room:
        raise macho.MachOError(f"{names[old]} does not fit in the place of {old}")
    data[start : start + room] = new.ljust(room, b"\0")
    return True
