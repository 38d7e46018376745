"""Damages a finished bundle on purpose, one way at a time, and wants the right audit to see it.

Each test returns a finding when its damage was *not* seen, and leaves the bundle as it was.
"""

from __future__ import annotations

import contextlib
import plistlib
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from facet_bundle import codesign, facts, info, macho, wheels
from facet_bundle.audits import contents, images, modules, sealed, sizes
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle
from facet_bundle.tools import Tools
from facet_bundle.twin import Twin

Test = Callable[[Bundle], list[Finding]]


def tests(tools: Tools, cache: Path) -> list[tuple[str, Test]]:
    """(title, test) of every damage to the macOS bundle."""
    library = other_mlx(tools, cache)
    return [
        ("a permission string is missing", permission_string),
        ("a needed Qt framework is pruned", pruned_framework),
        ("one byte of a library is flipped", flipped_byte),
        ("libmlx is of another version", lambda bundle: swapped_mlx(bundle, library)),
        ("the metallib is not beside libmlx", missing_metallib),
        ("a GPL library is added", added_gpl),
        ("an image asks for a newer macOS", newer_system),
        ("an image is for another processor", other_processor),
        ("a package the app imports is missing", missing_package),
        ("a licence text is missing", missing_licence),
        ("Qt's microphone permission code is not linked in", missing_permission_code),
        ("a link leads out of the bundle, a framework lacks its links", broken_links),
        ("the bundle is bigger than a release may be", too_big),
        ("an entitlement is added", extra_entitlement),
    ]


def other_mlx(tools: Tools, cache: Path) -> Path:
    """Libmlx of another version than the locked one."""
    lock = facts.PACKAGING / "requirements-negative.txt"
    return wheels.unpacked(lock, wheels.MACOS, tools, cache) / "mlx" / "lib" / "libmlx.dylib"


def written_file_is_seen(twin: Twin, before: sealed.Manifest) -> list[Finding]:
    """Let the bundle's own interpreter write a file into it."""
    target = twin.bundle.site / "written.txt"
    twin.run("-c", f"open({str(target)!r}, 'w').write('x')")
    seen = sealed.differences(before, sealed.manifest(twin.bundle.root))
    target.unlink(missing_ok=True)
    return _unseen("sealed", "written.txt", seen)


def permission_string(bundle: Bundle) -> list[Finding]:
    """Info.plist without the microphone's usage string."""
    with _replaced(bundle.contents / "Info.plist") as path:
        keys = info.info_plist(facts.version())
        del keys["NSMicrophoneUsageDescription"]
        path.write_bytes(plistlib.dumps(keys))
        return _unseen("plist", "NSMicrophoneUsageDescription", contents.plist(bundle))


def pruned_framework(bundle: Bundle) -> list[Finding]:
    """QtMultimedia links QtConcurrent, which no Python code imports."""
    framework = bundle.site / "PySide6/Qt/lib/QtConcurrent.framework"
    with _away(framework):
        return _unseen("links", "QtConcurrent", images.links(_read(bundle)))


def flipped_byte(bundle: Bundle) -> list[Finding]:
    """One bit in the middle of a library."""
    with _replaced(bundle.frameworks / f"libpython{facts.PYTHON}.dylib") as path:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        return _unseen("signature", path.name, images.signatures(_read(bundle)))


def swapped_mlx(bundle: Bundle, library: Path) -> list[Finding]:
    """A whole, well signed libmlx, but of another version: by its symbols and by its version."""
    with _replaced(bundle.site / "mlx/lib/libmlx.dylib") as path:
        shutil.copyfile(library, path)
        by_symbol = _unseen("symbols", "mlx/core", images.symbols(_read(bundle)))
        return by_symbol + _unseen("mlx", "libmlx", contents.mlx(bundle))


def missing_metallib(bundle: Bundle) -> list[Finding]:
    """Libmlx looks for it in its own folder only."""
    with _away(bundle.site / "mlx/lib/mlx.metallib"):
        return _unseen("mlx", "mlx.metallib", contents.mlx(bundle))


def added_gpl(bundle: Bundle) -> list[Finding]:
    """A library that tells of its GPL configuration, under an innocent name."""
    added = bundle.frameworks / "libinnocent.dylib"
    source = (bundle.program).read_bytes()
    added.write_bytes(source + b"\0configuration: --enable-gpl --enable-libx264\0")
    try:
        return _unseen("gpl", "libinnocent", contents.gpl(bundle))
    finally:
        added.unlink()


def newer_system(bundle: Bundle) -> list[Finding]:
    """The launcher stamped for macOS 26."""
    with _replaced(bundle.program) as path:
        data = bytearray(path.read_bytes())
        at = _command(data, macho.LC_BUILD_VERSION)
        struct.pack_into("<I", data, at + 12, 26 << 16)
        codesign.reseal(data, macho.parse(bytes(data)))
        path.write_bytes(data)
        return _unseen("minimum-os", facts.NAME, images.oldest_system(_read(bundle)))


def other_processor(bundle: Bundle) -> list[Finding]:
    """An extension module marked as Intel code."""
    with _replaced(bundle.site / "mlx/lib/libjaccl.dylib") as path:
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, 4, 0x01000007)
        path.write_bytes(data)
        return _unseen("architecture", path.name, images.architecture(_read(bundle)))


def missing_package(bundle: Bundle) -> list[Finding]:
    """Our code imports it by name."""
    with _away(bundle.site / "platformdirs"):
        seen = modules.own_imports(bundle, modules.ModuleTree(bundle))
        return _unseen("modules", "platformdirs", seen)


def missing_licence(bundle: Bundle) -> list[Finding]:
    """Qt's LGPL text is gone."""
    with _away(bundle.about / "licences" / "pyside6"):
        return _unseen("licences", "pyside6", contents.licences(bundle))


def missing_permission_code(bundle: Bundle) -> list[Finding]:
    """QtCore's binding without the class that asks for the microphone."""
    with _replaced(bundle.site / "PySide6" / "QtCore.abi3.so") as path:
        word = b"QDarwinMicrophonePermissionPlugin"
        path.write_bytes(path.read_bytes().replace(word, b"Q" * len(word)))
        return _unseen("permission-plugins", "Microphone", contents.permission_plugins(bundle))


def broken_links(bundle: Bundle) -> list[Finding]:
    """A link to a folder of the building machine; a framework as the wheel has it."""
    link = bundle.frameworks / "outside"
    link.symlink_to("/usr/lib")
    try:
        with _away(bundle.site / "PySide6/Qt/lib/QtCore.framework/QtCore"):
            seen = contents.paths(bundle)
    finally:
        link.unlink()
    return _unseen("paths", "/usr/lib", seen) + _unseen("paths", "QtCore", seen)


def too_big(bundle: Bundle) -> list[Finding]:
    """A file that alone reaches both limits (it takes no room on the disk)."""
    added = bundle.resources / "big"
    with added.open("wb") as file:
        file.truncate(sizes.INSTALLED_LIMIT)
    try:
        seen = sizes.limits(bundle, added)
        return _unseen("size", bundle.root.name, seen) + _unseen("size", "big", seen)
    finally:
        added.unlink()


def extra_entitlement(bundle: Bundle) -> list[Finding]:
    """A right that nobody agreed to."""
    path = bundle.root.with_name("extra-entitlements.plist")
    extra = {**info.ENTITLEMENTS, "com.apple.security.get-task-allow": True}
    path.write_bytes(plistlib.dumps(extra))
    try:
        return _unseen("entitlements", "get-task-allow", contents.entitlements(path))
    finally:
        path.unlink()


def _read(bundle: Bundle) -> images.ImageSet:
    return images.ImageSet.read(bundle.root, bundle.program)


def _unseen(audit: str, word: str, seen: list[Finding]) -> list[Finding]:
    """Nothing if one finding of `audit` names `word`; otherwise the audit is blind."""
    if any(finding.audit == audit and word in str(finding) for finding in seen):
        return []
    return [Finding("negative", audit, f"did not see the damage ({word})")]


def _command(data: bytearray, wanted: int) -> int:
    """Offset of a load command."""
    offset = 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, length = struct.unpack_from("<II", data, offset)
        if command == wanted:
            return offset
        offset += length
    raise macho.MachOError(f"load command {wanted:#x} is not there")


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file that may be changed and is put back."""
    saved = path.with_name(path.name + ".saved")
    shutil.copy2(path, saved)
    try:
        yield path
    finally:
        saved.replace(path)


@contextlib.contextmanager
def _away(path: Path) -> Iterator[None]:
    """A file or folder that is outside the bundle for a moment."""
    outside = path.parents[-2] / path.name
    for parent in path.parents:
        if parent.suffix == ".app":
            outside = parent.parent / f"away-{path.name}"
    path.rename(outside)
    try:
        yield
    finally:
        outside.rename(path)
