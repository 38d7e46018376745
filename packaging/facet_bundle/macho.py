"""Reads Mach-O images: enough of the format to audit and repair a bundle without a Mac.

Layouts are those of Apple's mach-o/loader.h, mach-o/fat.h, mach-o/nlist.h and the code-signing
blobs of xnu's cs_blobs.h. Only 64-bit little-endian slices matter here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

FAT_MAGIC = b"\xca\xfe\xba\xbe"
THIN_MAGIC = b"\xcf\xfa\xed\xfe"
CPU_NAMES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_MAX_FAT_SLICES = (
    20  # Java class files share the magic number and hold a version of 45 or more here
)

LC_SYMTAB, LC_ID_DYLIB, LC_CODE_SIGNATURE = 0x2, 0xD, 0x1D
LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION, LC_RPATH = 0x24, 0x32, 0x8000001C
LC_DYLD_INFO, LC_DYLD_INFO_ONLY, LC_EXPORTS_TRIE = 0x22, 0x80000022, 0x80000033
DEPENDENCY_KINDS = {
    0xC: "load",
    0x80000018: "weak",
    0x8000001F: "reexport",
    0x20: "lazy",
    0x80000023: "upward",
}


class MachOError(ValueError):
    """The bytes are not a Mach-O image that can be read."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One library an image asks dyld for."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Import:
    """A symbol taken from library number `ordinal` (1-based), or looked up anywhere."""

    name: str
    ordinal: int
    weak: bool


@dataclass(slots=True)
class Image:
    """The facts of one architecture slice."""

    cpu: str
    install_name: str | None = None
    dependencies: list[Dependency] = field(default_factory=list)
    rpaths: list[str] = field(default_factory=list)
    minimum_os: tuple[int, int, int] | None = None
    signature_range: tuple[int, int] | None = None
    symbol_table: tuple[int, int, int] | None = None
    export_trie: tuple[int, int] | None = None


def is_macho(path: Path) -> bool:
    """True for thin and universal images (and not for Java classes)."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == THIN_MAGIC:
        return True
    return head[:4] == FAT_MAGIC and len(head) == 8 and _fat_count(head) <= _MAX_FAT_SLICES


def slices(data: bytes) -> dict[str, bytes]:
    """The image of every architecture in a thin or universal file."""
    if data[:4] == THIN_MAGIC:
        return {_cpu_name(struct.unpack_from("<I", data, 4)[0]): data}
    if data[:4] != FAT_MAGIC:
        raise MachOError("not a Mach-O file")
    found = {}
    for index in range(_fat_count(data)):
        cpu, _, offset, size, _ = struct.unpack_from(">5I", data, 8 + 20 * index)
        found[_cpu_name(cpu)] = data[offset : offset + size]
    return found


def parse(data: bytes) -> Image:
    """The load commands of a thin image."""
    if data[:4] != THIN_MAGIC:
        raise MachOError("not a thin 64-bit image")
    cpu, _, _, count = struct.unpack_from("<4I", data, 4)
    image = Image(_cpu_name(cpu))
    offset = 32
    for _ in range(count):
        command, length = struct.unpack_from("<II", data, offset)
        if length < 8 or offset + length > len(data):
            raise MachOError("broken load command")
        _read_command(image, command, data[offset : offset + length])
        offset += length
    return image


def imports(data: bytes, image: Image) -> list[Import]:
    """Undefined external symbols with the library they are bound to."""
    return [
        Import(name, (description >> 8) & 0xFF, bool(description & 0x40))
        for name, kind, description, value in _external_symbols(data, image)
        if kind & 0xE == 0 and value == 0
    ]


def exports(data: bytes, image: Image) -> set[str]:
    """Names other images may bind to: the export trie, or the symbol table where there is none."""
    if image.export_trie:
        start, size = image.export_trie
        return _trie_names(data[start : start + size])
    return {
        name
        for name, kind, _, value in _external_symbols(data, image)
        if kind & 0xE != 0 or value != 0
    }


def string_at(command: bytes, position: int = 8) -> str:
    """A load command's string; its offset inside the command stands at `position`."""
    start = struct.unpack_from("<I", command, position)[0]
    return command[start:].split(b"\0")[0].decode()


def _fat_count(data: bytes) -> int:
    return struct.unpack_from(">I", data, 4)[0]


def _cpu_name(number: int) -> str:
    return CPU_NAMES.get(number, hex(number))


def _version(number: int) -> tuple[int, int, int]:
    return number >> 16, (number >> 8) & 0xFF, number & 0xFF


def _read_command(image: Image, command: int, body: bytes) -> None:
    if command in DEPENDENCY_KINDS:
        image.dependencies.append(Dependency(DEPENDENCY_KINDS[command], string_at(body)))
    elif command == LC_ID_DYLIB:
        image.install_name = string_at(body)
    elif command == LC_RPATH:
        image.rpaths.append(string_at(body))
    elif command == LC_BUILD_VERSION:
        image.minimum_os = _version(struct.unpack_from("<I", body, 12)[0])
    elif command == LC_VERSION_MIN_MACOSX:
        image.minimum_os = _version(struct.unpack_from("<I", body, 8)[0])
    elif command == LC_CODE_SIGNATURE:
        image.signature_range = struct.unpack_from("<II", body, 8)
    elif command == LC_SYMTAB:
        offset, count, strings, _ = struct.unpack_from("<4I", body, 8)
        image.symbol_table = (offset, count, strings)
    elif command in (LC_DYLD_INFO, LC_DYLD_INFO_ONLY, LC_EXPORTS_TRIE):
        start, size = struct.unpack_from("<II", body, 8 if command == LC_EXPORTS_TRIE else 40)
        if size:
            image.export_trie = (start, size)


def _external_symbols(data: bytes, image: Image) -> list[tuple[str, int, int, int]]:
    """(name, n_type, n_desc, n_value) of the external, non-debugging entries."""
    if image.symbol_table is None:
        return []
    offset, count, strings = image.symbol_table
    found = []
    for entry in struct.iter_unpack("<IBBHQ", data[offset : offset + 16 * count]):
        name_offset, kind, _, description, value = entry
        if kind & 0xE0 or not kind & 1:
            continue
        start = strings + name_offset
        name = data[start : data.index(b"\0", start)].decode("utf-8", "replace")
        found.append((name, kind, description, value))
    return found


def _uleb(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return result, position


def _trie_names(trie: bytes) -> set[str]:
    names: set[str] = set()
    todo, seen = [(0, b"")], set()
    while todo:
        node, prefix = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        terminal, position = _uleb(trie, node)
        if terminal:
            names.add(prefix.decode("utf-8", "replace"))
        position += terminal
        children = trie[position]
        position += 1
        for _ in range(children):
            end = trie.index(b"\0", position)
            child, next_position = _uleb(trie, end + 1)
            todo.append((child, prefix + trie[position:end]))
            position = next_position
    return names
