"""Wheels of the locked packages, unpacked for one platform and kept in the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import facts, proc
from facet_bundle.tools import Tools, filled_once, short_hash


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as uv names it, and how the bundle's own rules name it."""

    key: str
    uv_name: str
    extension_suffix: str


MACOS = Platform("macos", "aarch64-apple-darwin", f".cpython-{facts.python_tag()}-darwin.so")
LINUX = Platform(
    "linux", "x86_64-manylinux_2_35", f".cpython-{facts.python_tag()}-x86_64-linux-gnu.so"
)


def unpacked(lock: Path, platform: Platform, tools: Tools, cache: Path) -> Path:
    """A folder with the packages of `lock` as their wheels hold them.

    uv checks every hash and picks wheels by tag: the deployment target decides which MLX wheel,
    never the machine that builds.
    """
    target_os = facts.floor_text()
    key = short_hash(lock.read_bytes(), platform.uv_name, facts.PYTHON, target_os)

    def fill(folder: Path) -> None:
        command = [tools.uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--link-mode", "copy", "--no-config"]
        command += ["--python-version", facts.PYTHON, "--python-platform", platform.uv_name]
        environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": target_os}
        proc.run([*command, "--target", folder, "-r", lock], env=environment)

    return filled_once(cache / "wheels" / f"{lock.stem}-{platform.key}-{key}", fill)


def runtime_lock() -> Path:
    """The lock file that the bundle is built from."""
    return facts.ROOT / "requirements.lock"
