"""A font of one empty glyph: text that can be found and copied, and is never seen.

PDF readers want a font for every text, also for one that is not painted. This one has a single
glyph without outlines, half an em wide, for every code; what a code means stands in the ToUnicode
map alone. Tables as in the OpenType specification 1.9; only those that PDF 1.7 section 9.9 asks of
an embedded TrueType font, and `cmap`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

UNITS = 1000  # per em
ADVANCE = 500  # of every glyph
MOST_CODES = 0xFFFF


def font_program() -> bytes:
    """The TrueType file."""
    tables = {
        b"cmap": _cmap(),
        b"glyf": b"\0\0\0\0",
        b"head": _head(),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH", 0x10000, 800, -200, 0, ADVANCE, *(0,) * 11, 1),
        b"hmtx": struct.pack(">HhHh", ADVANCE, 0, ADVANCE, 0)[:6],
        b"loca": struct.pack(">HHH", 0, 0, 0),
        b"maxp": struct.pack(">IH13H", 0x10000, 2, *(0,) * 13),
    }
    directory_size = 12 + 16 * len(tables)
    directory, body = [], b""
    for tag, data in sorted(tables.items()):
        directory.append(
            struct.pack(">4sIII", tag, _checksum(data), directory_size + len(body), len(data))
        )
        body += data + b"\0" * (-len(data) % 4)
    header = struct.pack(">IHHHH", 0x10000, len(tables), 64, 2, 16 * len(tables) - 64)
    return _with_adjustment(header + b"".join(directory) + body)


def to_unicode(codes: Iterable[tuple[int, str]]) -> bytes:
    """The map from codes to what they mean (PDF 1.7, section 9.10.3)."""
    entries = [f"<{code:04X}> <{text.encode('utf-16-be').hex().upper()}>" for code, text in codes]
    pieces = [entries[start : start + 100] for start in range(0, len(entries), 100)]
    ranges = "\n".join(
        f"{len(piece)} beginbfchar\n" + "\n".join(piece) + "\nendbfchar" for piece in pieces
    )
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n"
        "1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
        f"{ranges}\n"
        "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode("ascii")


def _head() -> bytes:
    return struct.pack(
        ">IIIIHHqqhhhhHHhhh",
        *(0x10000, 0x10000, 0, 0x5F0F3CF5),
        *(0b1011, UNITS, 0, 0),
        *(0, -200, ADVANCE, 800),
        *(0, 8, 2, 0, 0),
    )


def _cmap() -> bytes:
    """Format 4 with its one obligatory segment: no character has a glyph of its own."""
    table = struct.pack(">HHHHHHHHHHHH", 4, 24, 0, 2, 2, 0, 0, 0xFFFF, 0, 0xFFFF, 1, 0)
    return struct.pack(">HHHHI", 0, 1, 3, 1, 12) + table


def _checksum(data: bytes) -> int:
    padded = data + b"\0" * (-len(data) % 4)
    return sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF


def _with_adjustment(font: bytes) -> bytes:
    """The whole file's checksum, in the head table."""
    at = font.index(b"head") + 8
    head = struct.unpack(">I", font[at : at + 4])[0]
    adjustment = (0xB1B0AFBA - _checksum(font)) & 0xFFFFFFFF
    return font[: head + 8] + struct.pack(">I", adjustment) + font[head + 12 :]
