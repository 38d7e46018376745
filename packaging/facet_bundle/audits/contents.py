"""Plist, entitlements, permission plug-ins, MLX, licences and links of a bundle."""

from __future__ import annotations

import json
import plistlib
import re
from pathlib import Path

from facet_bundle import about, facts, info, packages
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle, files

# Names of GPL libraries as they appear in file names.
_GPL_NAMES = re.compile(
    r"lib(x264|x265|xvidcore|postproc|vidstab|rubberband|fdk-aac|readline|gsl|fftw3)[-._\d]"
)
# What GPL builds of FFmpeg and of the encoders say about themselves. The plain words come first:
# searching for them is many times faster than the expression. (LGPL decoders name "x264 - core 0".)
_GPL_HINTS = (b"--enable-gpl", b"--enable-nonfree", b"GPL version ", b"x264 - core ")
_GPL_MARKS = re.compile(
    rb"--enable-gpl|--enable-nonfree|(?<!L)GPL version [23] or later|x264 - core [1-9]\d*"
)
_GPL_WORD = re.compile(r"(?<!L)GPL", re.IGNORECASE)
_PERMISSION_PLUGINS = (b"QDarwinCameraPermissionPlugin", b"QDarwinMicrophonePermissionPlugin")
_NATIVE = (".so", ".dylib")


def plist(bundle: Bundle) -> list[Finding]:
    """Info.plist holds every key that it must, of the right type, and a usage string per device."""
    where = "Contents/Info.plist"
    try:
        with (bundle.contents / "Info.plist").open("rb") as file:
            actual = plistlib.load(file)
    except (OSError, plistlib.InvalidFileException) as error:
        return [Finding("plist", where, f"cannot be read: {error}")]
    wanted = info.info_plist(facts.version())
    found = []
    for key, value in wanted.items():
        if key not in actual:
            found.append(Finding("plist", where, f"{key} is missing"))
        elif actual[key] != value or type(actual[key]) is not type(value):
            found.append(Finding("plist", where, f"{key} is {actual[key]!r}"))
    found += [Finding("plist", where, f"{key} is not expected") for key in actual.keys() - wanted]
    return found


def entitlements(path: Path) -> list[Finding]:
    """The file for codesign has exactly the agreed keys."""
    try:
        with path.open("rb") as file:
            actual = plistlib.load(file)
    except (OSError, plistlib.InvalidFileException) as error:
        return [Finding("entitlements", path.name, f"cannot be read: {error}")]
    differing = actual.items() ^ info.ENTITLEMENTS.items()
    return [Finding("entitlements", path.name, f"{key} differs") for key in sorted(dict(differing))]


def permission_plugins(bundle: Bundle) -> list[Finding]:
    """Qt's camera and microphone permission code is linked into QtCore's binding."""
    core = bundle.site / "PySide6" / "QtCore.abi3.so"
    data = core.read_bytes() if core.is_file() else b""
    return [
        Finding("permission-plugins", "PySide6/QtCore.abi3.so", f"{name.decode()} is missing")
        for name in _PERMISSION_PLUGINS
        if name not in data
    ]


def mlx(bundle: Bundle) -> list[Finding]:
    """One MLX version, the wheel for the promised macOS, and the metallib where libmlx looks."""
    versions = {
        package.key: package
        for package in packages.installed(bundle.site)
        if package.key in {"mlx", "mlx-metal"}
    }
    found = []
    for name in ("mlx", "mlx-metal"):
        if name not in versions:
            found.append(Finding("mlx", name, "is not in the bundle"))
        elif facts.MLX_WHEEL_TAG not in (versions[name].folder / "WHEEL").read_text():
            text = f"is not the {facts.MLX_WHEEL_TAG} wheel"
            found.append(Finding("mlx", versions[name].folder.name, text))
    if len({package.version for package in versions.values()}) > 1:
        found.append(Finding("mlx", "mlx-metal", "is of another version than mlx"))
    folder = bundle.site / "mlx" / "lib"
    found += [
        Finding("mlx", f"mlx/lib/{name}", "is missing")
        for name in ("libmlx.dylib", "mlx.metallib")
        if not (folder / name).is_file()
    ]
    return found + _mlx_version_inside(folder / "libmlx.dylib", versions.get("mlx"))


def _mlx_version_inside(library: Path, package: packages.Package | None) -> list[Finding]:
    """Libmlx carries its version as a string; a swapped library shows here."""
    if package is None or not library.is_file():
        return []
    if f"\0{package.version}\0".encode() in library.read_bytes():
        return []
    return [Finding("mlx", "mlx/lib/libmlx.dylib", f"is not version {package.version}")]


def gpl(bundle: Bundle) -> list[Finding]:
    """Native libraries under the GPL, by name and by what they say; packages by their metadata."""
    found = []
    for path in files(bundle.root):
        if path.is_symlink() or not path.is_file() or path.suffix not in _NATIVE:
            continue
        name = path.relative_to(bundle.root).as_posix()
        marks = _gpl_marks(path.read_bytes())
        if marks:
            found.append(Finding("gpl", name, f"says {', '.join(marks)}"))
        elif _GPL_NAMES.match(path.name) and not _is_absent_stub(path):
            found.append(Finding("gpl", name, "is named like a GPL library"))
    return found + _gpl_packages(bundle)


def _gpl_marks(data: bytes) -> list[str]:
    if not any(hint in data for hint in _GPL_HINTS):
        return []
    return sorted({match.group().decode() for match in _GPL_MARKS.finditer(data)})


def _is_absent_stub(path: Path) -> bool:
    """The stand-in for libx265 has two functions and no encoder."""
    return "x265" in path.name and path.stat().st_size < 100_000


def _gpl_packages(bundle: Bundle) -> list[Finding]:
    """A choice of licences (`LGPL-3.0-only OR GPL-3.0-only`) is fine: we take the other."""
    return [
        Finding("gpl", package.name, f"is under {package.licence}")
        for package in packages.installed(bundle.site)
        if _GPL_WORD.search(package.licence) and " OR " not in package.licence
    ]


def licences(bundle: Bundle) -> list[Finding]:
    """Every package and component has a text, and what the About box reads is there."""
    found = [
        Finding("licences", name, "has no licence text in the bundle")
        for name in about.missing_texts(bundle)
    ]
    notices = bundle.about / about.NOTICES
    text = notices.read_text(encoding="utf-8") if notices.is_file() else ""
    found += [
        Finding("licences", about.NOTICES, f"does not hold {needed!r}")
        for needed in ("GNU LESSER GENERAL PUBLIC LICENSE", "GNU GENERAL PUBLIC LICENSE", "Qt")
        if needed not in text
    ]
    return found + _about_files(bundle)


def _about_files(bundle: Bundle) -> list[Finding]:
    found = []
    for name in ("build.json", "sbom.cdx.json"):
        try:
            json.loads((bundle.about / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.append(Finding("licences", name, f"cannot be read: {error}"))
    return found


def paths(bundle: Bundle) -> list[Finding]:
    """Symbolic links stay inside, no two names differ only in case, frameworks are whole."""
    found, seen = [], set()
    root = bundle.root.resolve()
    for path in files(bundle.root):
        name = path.relative_to(bundle.root).as_posix()
        folded = name.casefold()
        if folded in seen:
            found.append(Finding("paths", name, "differs from another name only in case"))
        seen.add(folded)
        if path.is_symlink() and not _stays_inside(path, root):
            found.append(Finding("paths", name, f"links to {path.readlink()}"))
    found += [
        Finding("paths", framework.name, "lacks its symbolic links")
        for framework in bundle.site.glob("PySide6/Qt/lib/*.framework")
        if not (framework / framework.stem).is_symlink()
    ]
    return found


def _stays_inside(link: Path, root: Path) -> bool:
    target = link.resolve()
    return not link.readlink().is_absolute() and target.exists() and target.is_relative_to(root)
