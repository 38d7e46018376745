"""Code-signature blobs: checks every page hash, and re-seals an edited image ad hoc.

Layout: CS_SuperBlob, CS_CodeDirectory and CS_BlobIndex of xnu's cs_blobs.h (big-endian).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from facet_bundle.macho import Image

SUPERBLOB, DIRECTORY, CMS = 0xFADE0CC0, 0xFADE0C02, 0xFADE0B01
ADHOC_FLAG = 0x2
_HASHES = {1: "sha1", 2: "sha256"}


@dataclass(frozen=True, slots=True)
class _Directory:
    """One CodeDirectory; offsets are absolute in the file."""

    start: int
    flags: int
    hashes: int
    special: int
    pages: int
    limit: int
    hash_size: int
    algorithm: str
    page_size: int

    def slot(self, index: int) -> slice:
        """Where the hash of page `index` (negative: special slot) stands."""
        begin = self.hashes + index * self.hash_size
        return slice(begin, begin + self.hash_size)

    def digest(self, content: bytes) -> bytes:
        """Hash as this directory writes it."""
        return hashlib.new(self.algorithm, content).digest()[: self.hash_size]

    def page(self, data: bytes | bytearray, index: int) -> bytes:
        """The bytes page `index` covers."""
        begin = index * self.page_size
        return bytes(data[begin : min(begin + self.page_size, self.limit)])


def findings(data: bytes, image: Image) -> list[str]:
    """What is wrong with the signature; empty means every hash agrees."""
    if image.signature_range is None:
        return ["not signed"]
    start, size = image.signature_range
    try:
        blobs = list(_blobs(data, start, size))
    except (struct.error, ValueError):
        return ["signature cannot be read"]
    directories = [_directory(data, at) for _, at, magic in blobs if magic == DIRECTORY]
    if not directories:
        return ["signature holds no code directory"]
    found = []
    for directory in directories:
        if directory.limit != start:
            found.append("code directory does not cover the whole image")
        bad = [i for i in range(directory.pages) if not _page_ok(data, directory, i)]
        if bad:
            found.append(f"{len(bad)} of {directory.pages} page hashes differ")
        found += _special_findings(data, directory, blobs)
    return found


def reseal(data: bytearray, image: Image) -> None:
    """Recompute every page hash after an edit and drop a signer's certificate (ad-hoc seal)."""
    if image.signature_range is None:
        return
    start, size = image.signature_range
    for _, at, magic in list(_blobs(data, start, size)):
        if magic == CMS:
            struct.pack_into(">I", data, at + 4, 8)  # an empty certificate blob
        elif magic == DIRECTORY:
            directory = _directory(data, at)
            struct.pack_into(">I", data, at + 12, directory.flags | ADHOC_FLAG)
            for index in range(directory.pages):
                data[directory.slot(index)] = directory.digest(directory.page(data, index))


def _blobs(data: bytes | bytearray, start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """(slot, offset in the file, magic) of every blob of the signature."""
    magic, length, count = struct.unpack_from(">3I", data, start)
    if magic != SUPERBLOB or length > size:
        raise ValueError("not a signature")
    for index in range(count):
        slot, offset = struct.unpack_from(">II", data, start + 12 + 8 * index)
        yield slot, start + offset, struct.unpack_from(">I", data, start + offset)[0]


def _directory(data: bytes | bytearray, at: int) -> _Directory:
    fields = struct.unpack_from(">9I4B", data, at)
    _, _, _, flags, hashes, _, special, pages, limit, hash_size, kind, _, log_page = fields
    if kind not in _HASHES:
        raise ValueError("unknown hash")
    page_size = 1 << log_page if log_page else limit
    return _Directory(
        at, flags, at + hashes, special, pages, limit, hash_size, _HASHES[kind], page_size
    )


def _page_ok(data: bytes, directory: _Directory, index: int) -> bool:
    return directory.digest(directory.page(data, index)) == data[directory.slot(index)]


def _special_findings(
    data: bytes, directory: _Directory, blobs: list[tuple[int, int, int]]
) -> list[str]:
    """Requirements, entitlements and the like are hashed into negative slots."""
    found = []
    for slot, at, _ in blobs:
        if 1 <= slot <= directory.special:
            length = struct.unpack_from(">I", data, at + 4)[0]
            if directory.digest(data[at : at + length]) != data[directory.slot(-slot)]:
                found.append(f"hash of special slot {slot} differs")
    return found
