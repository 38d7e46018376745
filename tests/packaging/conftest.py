"""Makes packaging/facet_bundle importable and builds small bundles to audit."""

import struct
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

from facet_bundle import codesign, facts, info, macho  # noqa: E402
from facet_bundle.layout import Bundle  # noqa: E402

PAGE = 4096


def make_macho(
    *,
    install_name: str | None = None,
    loads: tuple[str, ...] = (),
    rpaths: tuple[str, ...] = (),
    minimum_os: tuple[int, int] = (15, 0),
    cpu: int = 0x0100000C,
    exports: tuple[str, ...] = (),
    imports: tuple[tuple[str, int], ...] = (),
    payload: bytes = b"code" * 3000,
) -> bytes:
    """A small, correctly signed Mach-O library, written from the format's description."""
    commands = []
    if install_name:
        commands.append(
            _named(macho.LC_ID_DYLIB, install_name, 24, struct.pack("<4I", 24, 0, 0, 0))
        )
    commands += [_named(0xC, name, 24, struct.pack("<4I", 24, 0, 0, 0)) for name in loads]
    commands += [_named(macho.LC_RPATH, name, 12, struct.pack("<I", 12)) for name in rpaths]
    stamp = (minimum_os[0] << 16) | (minimum_os[1] << 8)
    commands.append(struct.pack("<6I", macho.LC_BUILD_VERSION, 24, 1, stamp, stamp, 0))
    symbols, strings = b"", b"\0"
    for name, kind, ordinal, value in (
        *((name, 0x0F, 0, 0x1000) for name in exports),
        *((name, 0x01, ordinal, 0) for name, ordinal in imports),
    ):
        symbols += struct.pack("<IBBHQ", len(strings), kind, 1, ordinal << 8, value)
        strings += name.encode() + b"\0"
    head_size = 32 + sum(map(len, commands)) + 24 + 16
    start = head_size + len(payload)
    count = len(symbols) // 16
    commands.append(struct.pack("<6I", 2, 24, start, count, start + len(symbols), len(strings)))
    body = payload + symbols + strings
    body += bytes(-(head_size + len(body)) % 16)
    signed = head_size + len(body)
    signature = _signature(signed)
    commands.append(struct.pack("<4I", macho.LC_CODE_SIGNATURE, 16, signed, len(signature)))
    sizes = sum(map(len, commands))
    head = macho.THIN_MAGIC + struct.pack("<7I", cpu, 0, 6, len(commands), sizes, 0x85, 0)
    data = bytearray(head + b"".join(commands) + body + signature)
    codesign.reseal(data, macho.parse(bytes(data)))
    return bytes(data)


def _named(command: int, name: str, fixed: int, middle: bytes) -> bytes:
    text = name.encode() + b"\0"
    text += bytes(-(fixed + len(text)) % 8)
    return struct.pack("<II", command, fixed + len(text)) + middle[: fixed - 8] + text


def _signature(limit: int) -> bytes:
    """An ad-hoc SuperBlob whose page hashes are still to be filled in."""
    pages = -(-limit // PAGE)
    identity = b"test\0"
    hashes = 44 + len(identity)
    directory = struct.pack(
        ">9I4BI",
        codesign.DIRECTORY,
        hashes + 32 * pages,
        0x20100,
        2,
        hashes,
        44,
        0,
        pages,
        limit,
        32,
        2,
        0,
        12,
        0,
    )
    directory += identity + bytes(32 * pages)
    return struct.pack(">5I", codesign.SUPERBLOB, 20 + len(directory), 1, 0, 20) + directory


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A tiny bundle that passes the audits of images, plist and MLX."""
    made = Bundle(tmp_path / "Facet.app")
    lib = made.site / "mlx" / "lib"
    for folder in (made.program.parent, made.frameworks, lib, made.site / "PySide6"):
        folder.mkdir(parents=True)
    info.write(made.contents, facts.version())
    libpython = "@rpath/libpython3.12.dylib"
    rpath = ("@executable_path/../Frameworks",)
    made.program.write_bytes(
        make_macho(loads=(libpython,), rpaths=rpath, imports=(("_Py_RunMain", 1),))
    )
    (made.frameworks / "libpython3.12.dylib").write_bytes(
        make_macho(install_name=libpython, exports=("_Py_RunMain", "_PyDict_New"))
    )
    (lib / "libmlx.dylib").write_bytes(
        make_macho(
            install_name="@rpath/libmlx.dylib",
            exports=("_mlx_add",),
            payload=b"\0" + b"0.32.4\0" * 900,
        )
    )
    (lib / "mlx.metallib").write_bytes(b"MTLB")
    (made.site / "mlx" / "core.cpython-312-darwin.so").write_bytes(
        make_macho(
            loads=("@rpath/libmlx.dylib",),
            rpaths=("@loader_path/lib",),
            imports=(("_mlx_add", 1), ("_PyDict_New", 0xFE)),
        )
    )
    (made.site / "PySide6" / "QtCore.abi3.so").write_bytes(
        make_macho(payload=b"QDarwinCameraPermissionPlugin QDarwinMicrophonePermissionPlugin")
    )
    for name in ("mlx", "mlx_metal"):
        folder = made.site / f"{name}-0.32.4.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.32.4\nLicense: MIT\n"
        )
        (folder / "WHEEL").write_text(f"Tag: py3-none-{facts.MLX_WHEEL_TAG}\n")
    return made
