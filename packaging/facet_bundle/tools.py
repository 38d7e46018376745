"""The build tools (uv, zig), installed once by hash into the cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import facts, proc
from facet_bundle.errors import PackagingError


def default_cache() -> Path:
    """Where downloads and unpacked wheels are kept between builds."""
    return Path(os.environ.get("FACET_PACKAGING_CACHE", "~/.cache/facet-packaging")).expanduser()


def filled_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, made by `fill(temporary folder)` when it is not there yet; never half made."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        fill(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    try:
        temporary.rename(folder)
    except OSError as error:  # another build was faster
        if not folder.is_dir():
            raise PackagingError(f"{folder} cannot be made: {error}.") from error
    return folder


def short_hash(*parts: str | bytes) -> str:
    """A cache key of what a folder was made from."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Tools:
    """Commands of the installed tools."""

    folder: Path

    @property
    def uv(self) -> Path:
        """The uv program."""
        return self.folder / "bin" / "uv"

    def zig(self, *arguments: str | Path) -> list[str]:
        """A zig command line."""
        program = self.folder / "ziglang" / "zig"
        return [str(program), *map(str, arguments)]


def ensure_tools(cache: Path) -> Tools:
    """Install packaging/requirements-build.txt into the cache, unless it is there."""
    return Tools(installed(facts.PACKAGING / "requirements-build.txt", cache))


def installed(lock: Path, cache: Path) -> Path:
    """A folder with the packages of `lock`, installed by hash for this machine."""

    def fill(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
        proc.run([*pip, "--target", folder, "-r", lock])

    return filled_once(cache / "tools" / short_hash(lock.read_bytes(), sys.platform), fill)
