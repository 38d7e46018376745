"""Compiles the two small C files of the bundle and repairs what wheels cannot carry."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from facet_bundle import facts, machoedit, proc
from facet_bundle.errors import PackagingError
from facet_bundle.runtime import Runtime
from facet_bundle.tools import Tools

_X265 = re.compile(r"libx265(?:-[0-9a-f]+)?\.(?:so\.)?(\d+)(?:\.dylib)?\Z")


def mac_target() -> str:
    """Zig's name of the oldest supported macOS on Apple Silicon."""
    return f"aarch64-macos.{facts.floor_text()}"


def build_launcher(
    runtime: Runtime, libpython: Path, out: Path, tools: Tools, *, mac: bool
) -> None:
    """The main program, linked against the bundle's own libpython."""
    source = facts.PACKAGING / "launcher.c"
    common = ["-O2", "-Wall", "-Wextra", "-Werror", f"-I{runtime.include}", source, libpython]
    if mac:
        rpath = "-Wl,-rpath,@executable_path/../Frameworks"
        # zig's clang warns about attributes in CPython's headers that gcc does not know
        command = tools.zig("cc", "-target", mac_target(), "-s", *common, rpath, "-o", out)
    else:
        command = [_system_compiler(), *map(str, common), "-Wl,-rpath,$ORIGIN/../Frameworks"]
        command += ["-Wl,--build-id=none", "-s", "-o", str(out)]
    proc.run(command, cwd=out.parent)
    out.chmod(0o755)


def replace_x265(site: Path, tools: Tools, *, mac: bool) -> list[Path]:
    """Put the absent-encoder library where the pillow-heif wheel has GPL libx265."""
    replaced = []
    for library in sorted(site.glob("pillow_heif*/**/libx265*")):
        match = _X265.match(library.name)
        if match is None:
            raise PackagingError(f"{library.name} is named in a way that is not known; look at it.")
        _absent_x265(library, int(match.group(1)), tools, mac=mac)
        replaced.append(library)
    return replaced


def _absent_x265(library: Path, version: int, tools: Tools, *, mac: bool) -> None:
    source = facts.PACKAGING / "x265_absent.c"
    define = f"-DX265_API_GET=x265_api_get_{version}"
    common = ["-shared", "-O2", "-Wall", "-Wextra", "-Werror", define, source, "-o", library]
    library.unlink()
    if mac:
        name = f"-Wl,-install_name,@rpath/{library.name}"
        proc.run(tools.zig("cc", "-target", mac_target(), "-s", name, *common))
        return
    soname = [f"-Wl,-soname,{library.name}", "-Wl,--build-id=none", "-s"]
    proc.run([_system_compiler(), "-fPIC", *soname, *common])


def place_libpython(runtime: Runtime, frameworks: Path, *, mac: bool) -> Path:
    """Libpython in Contents/Frameworks under a name that moves with the bundle."""
    target = frameworks / runtime.library_name
    shutil.copyfile(runtime.library, target)
    target.chmod(0o755)
    if mac:
        machoedit.thin(target)
        own = machoedit.install_name(target)
        if own is None:
            raise PackagingError(f"{target.name} is not a library; check the CPython runtime.")
        machoedit.rename(target, {own: f"@rpath/{target.name}"})
    return target


def repair_frameworks(site: Path) -> int:
    """Give Qt's frameworks the symbolic links that a zip archive cannot hold.

    codesign refuses a framework without `Versions/Current` and the top-level links.
    """
    count = 0
    for framework in sorted(site.glob("PySide6/Qt/lib/*.framework")):
        shutil.rmtree(framework / "Resources", ignore_errors=True)
        (framework / "Versions/Current").symlink_to("A")
        (framework / "Resources").symlink_to("Versions/Current/Resources")
        (framework / framework.stem).symlink_to(f"Versions/Current/{framework.stem}")
        count += 1
    return count


def _system_compiler() -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise PackagingError("No C compiler was found; install gcc.")
    return compiler
