"""Lays the bundle down: interpreter, packages, own code, assets. Same tree on macOS and Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import about, facts, icon, info, macho, machoedit, native, proc, shiboken
from facet_bundle.prune import Pruner
from facet_bundle.runtime import HostPython, Runtime
from facet_bundle.tools import Tools
from facet_bundle.wheels import Platform

SHARES = 2  # fixed, so that byte code does not depend on the number of cores


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a bundle is made from. `own` is a copy of our code and assets (`copy_own`)."""

    platform: Platform
    site: Path
    runtime: Runtime
    host: HostPython
    tools: Tools
    own: Path
    preview: bool

    @property
    def mac(self) -> bool:
        """True for the real bundle, False for the Linux twin."""
        return self.platform.key == "macos"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Folders of a laid-down bundle."""

    root: Path

    @property
    def contents(self) -> Path:
        """Contents."""
        return self.root / "Contents"

    @property
    def resources(self) -> Path:
        """Contents/Resources."""
        return self.contents / "Resources"

    @property
    def lib(self) -> Path:
        """The standard library."""
        return self.resources / "lib" / f"python{facts.PYTHON}"

    @property
    def site(self) -> Path:
        """Packages, ours among them."""
        return self.lib / "site-packages"

    @property
    def frameworks(self) -> Path:
        """Contents/Frameworks."""
        return self.contents / "Frameworks"

    @property
    def program(self) -> Path:
        """The launcher."""
        return self.contents / "MacOS" / facts.NAME

    @property
    def about(self) -> Path:
        """What the About box reads."""
        return self.resources / "assets" / "about"


def assemble(recipe: Recipe, out: Path) -> tuple[Bundle, Pruner]:
    """Build the bundle at `out` (replaced if there) and return it with what was pruned."""
    shutil.rmtree(out, ignore_errors=True)
    bundle = Bundle(out)
    for folder in (bundle.program.parent, bundle.frameworks, bundle.site):
        folder.mkdir(parents=True)
    pruner = Pruner.load(recipe.platform.key)
    _lay_runtime(recipe, bundle, pruner)
    _copy_tree(recipe.site, bundle.site, "site-packages/", pruner)
    shiboken.lay_support(bundle.site)
    _lay_own_code(recipe.own, bundle)
    _lay_native(recipe, bundle)
    info.write(bundle.contents, facts.version())
    icon.write_icns(icon.source(), bundle.resources / f"{facts.NAME}.icns")
    about.write(recipe, bundle)
    _compile(recipe, bundle)
    _fix_times(out)
    return bundle, pruner


def files(root: Path) -> Iterator[Path]:
    """Every file and symbolic link below `root`, in a fixed order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted(names + links):
            yield here / name


def _lay_runtime(recipe: Recipe, bundle: Bundle, pruner: Pruner) -> None:
    stdlib, dynload = recipe.runtime.stdlib, recipe.runtime.dynload
    skip = ("site-packages/", "lib-dynload/")
    _copy_tree(stdlib, bundle.lib, "", pruner, skip=skip, skip_names=("_sysconfigdata",))
    (bundle.lib / "lib-dynload").mkdir()
    for source in sorted(dynload.iterdir()) if dynload.is_dir() else []:
        relative = f"lib-dynload/{source.name}"
        if source.suffix not in {".so", ".dylib"} or source.name == recipe.runtime.library_name:
            continue
        if not pruner.drops(relative, source.stat().st_size):
            _copy_file(source, bundle.lib / relative)


def _copy_tree(
    source: Path,
    target: Path,
    prefix: str,
    pruner: Pruner,
    *,
    skip: tuple[str, ...] = (),
    skip_names: tuple[str, ...] = (),
) -> None:
    """Copy what the rules keep; permissions become 0755 for programs and 0644 for the rest."""
    for path in files(source):
        relative = path.relative_to(source).as_posix()
        if relative.startswith(skip) or path.name.startswith(skip_names or ("\0",)):
            continue
        if "__pycache__/" in relative or path.is_symlink():
            continue
        if not pruner.drops(prefix + relative, path.stat().st_size):
            _copy_file(path, target / relative)


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o111 else 0o644)


def copy_own(target: Path) -> Path:
    """Our packages and assets as git has them, so that nothing of a working copy slips in."""
    for relative in tracked(*facts.OWN_PACKAGES, "assets"):
        if not relative.endswith((".pyc", ".pyi")):
            _copy_file(facts.ROOT / relative, target / relative)
    return target


def _lay_own_code(own: Path, bundle: Bundle) -> None:
    for path in files(own):
        relative = path.relative_to(own)
        is_asset = relative.parts[0] == "assets"
        _copy_file(path, (bundle.resources if is_asset else bundle.site) / relative)


def tracked(*folders: str) -> list[str]:
    """Files below `folders` that belong to the project: committed, or new and not ignored."""
    command = [
        "git",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        *folders,
    ]
    done = subprocess.run(command, cwd=facts.ROOT, capture_output=True, check=True)
    names = sorted(set(done.stdout.decode().split("\0")) - {""})
    return [name for name in names if (facts.ROOT / name).is_file()]


def _lay_native(recipe: Recipe, bundle: Bundle) -> None:
    native.replace_x265(bundle.site, recipe.tools, mac=recipe.mac)
    libpython = native.place_libpython(recipe.runtime, bundle.frameworks, mac=recipe.mac)
    if recipe.mac:
        native.repair_frameworks(bundle.site)
        for path in files(bundle.root):
            if not path.is_symlink() and macho.is_macho(path):
                machoedit.thin(path)
    native.build_launcher(recipe.runtime, libpython, bundle.program, recipe.tools, mac=recipe.mac)


def _compile(recipe: Recipe, bundle: Bundle) -> None:
    """Byte code beside every source file, compiled in a fixed order with a fixed hash seed."""
    script = Path(__file__).with_name("compile_tree.py")
    prefix = f"{facts.NAME}.app/{bundle.lib.relative_to(bundle.contents).as_posix()}"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONPATH", None)
    running = [
        subprocess.Popen(
            [recipe.host.executable, "-s", script, bundle.lib, prefix, str(share), str(SHARES)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for share in range(SHARES)
    ]
    for process in running:
        _, errors = process.communicate(timeout=900)
        if process.returncode:
            raise proc.PackagingError(f"Byte-compiling failed: {errors.decode()[-800:]}")


def _fix_times(root: Path) -> None:
    """One fixed date everywhere: archives of two builds must not differ."""
    for path in [*files(root), *sorted(p for p in root.rglob("*") if p.is_dir()), root]:
        os.utime(path, (facts.FIXED_TIME, facts.FIXED_TIME), follow_symlinks=False)
