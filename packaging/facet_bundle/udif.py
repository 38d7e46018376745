"""Writes a raw volume as a compressed disk image (UDIF with zlib chunks, `UDZO`).

Layout: chunk data, an XML property list with one block table (`mish`), a 512-byte trailer (`koly`);
all numbers big-endian. CRC-32 checksums over the raw data, the stored data and the block checksum.
"""

from __future__ import annotations

import os
import plistlib
import struct
import uuid
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

SECTOR = 512
CHUNK_SECTORS = 512
CHUNK = SECTOR * CHUNK_SECTORS
# 0 is "zeros that count"; 2 would be "unused", which readers leave out of the checksum.
ZERO, RAW, ZLIB, END = 0, 1, 0x80000005, 0xFFFFFFFF
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class _Run:
    """One chunk of the block table."""

    kind: int
    first: int
    sectors: int
    offset: int
    length: int

    def packed(self) -> bytes:
        return struct.pack(
            ">IIQQQQ", self.kind, 0, self.first, self.sectors, self.offset, self.length
        )


def compress(raw: Path, target: Path) -> None:
    """Write `raw` (a volume, padded here to whole sectors) as the disk image `target`."""
    temporary = target.with_name(target.name + ".part")
    with raw.open("rb") as source, temporary.open("wb") as sink:
        runs, raw_crc, data_crc = _write_chunks(source, sink)
        data_length = sink.tell()
        table = _block_table(runs, raw_crc)
        listing = _property_list(table)
        sink.write(listing)
        sectors = runs[-1].first
        sink.write(_trailer(data_length, len(listing), sectors, raw_crc, data_crc))
    temporary.replace(target)


def _write_chunks(source: BinaryIO, sink: BinaryIO) -> tuple[list[_Run], int, int]:
    runs: list[_Run] = []
    first = raw_crc = data_crc = 0
    for chunk, packed in _packed_chunks(source):
        kind, stored = _stored(chunk, packed)
        runs.append(_Run(kind, first, len(chunk) // SECTOR, sink.tell(), len(stored)))
        sink.write(stored)
        raw_crc, data_crc = zlib.crc32(chunk, raw_crc), zlib.crc32(stored, data_crc)
        first += len(chunk) // SECTOR
    runs.append(_Run(END, first, 0, sink.tell(), 0))
    return runs, raw_crc, data_crc


def _packed_chunks(source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(raw, compressed) chunks in order; zlib releases the lock, so threads help."""
    workers = os.cpu_count() or 1
    chunks = _chunks(source)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(chunks, 8 * workers)):
            yield from zip(batch, pool.map(lambda c: zlib.compress(c, _LEVEL), batch), strict=True)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk + bytes(-len(chunk) % SECTOR)


def _stored(chunk: bytes, packed: bytes) -> tuple[int, bytes]:
    if not chunk.strip(b"\0"):
        return ZERO, b""
    return (RAW, chunk) if len(packed) >= len(chunk) else (ZLIB, packed)


def _checksum(value: int) -> bytes:
    """Kind 2 (CRC-32), 32 bits, in a field of 128 bytes."""
    return struct.pack(">III", 2, 32, value) + bytes(124)


def _block_table(runs: list[_Run], crc: int) -> bytes:
    sectors = runs[-1].first
    head = struct.pack(">4sIQQQII", b"mish", 1, 0, sectors, 0, CHUNK_SECTORS + 8, 0) + bytes(24)
    return (
        head
        + _checksum(crc)
        + struct.pack(">I", len(runs))
        + b"".join(run.packed() for run in runs)
    )


def _property_list(table: bytes) -> bytes:
    block = {
        "Attributes": "0x0050",
        "CFName": "whole disk",
        "Data": table,
        "ID": "0",
        "Name": "whole disk",
    }
    return plistlib.dumps({"resource-fork": {"blkx": [block]}})


def _trailer(data_length: int, list_length: int, sectors: int, raw: int, data: int) -> bytes:
    identity = uuid.uuid5(
        uuid.NAMESPACE_OID, f"{raw}:{data}"
    ).bytes  # derived: equal for equal data
    parts = [
        struct.pack(">4sIII", b"koly", 4, 512, 1),
        struct.pack(">QQQQQII", 0, 0, data_length, 0, 0, 1, 1),
        identity,
        _checksum(data),
        struct.pack(">QQ", data_length, list_length),
        bytes(120),
        _checksum(zlib.crc32(struct.pack(">I", raw))),
        struct.pack(">IQ", 1, sectors),
        bytes(12),
    ]
    return b"".join(parts)
