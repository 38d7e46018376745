"""Tries the path of python-build-standalone where its builds cannot be downloaded.

A local archive takes the place of the published one: the same name and folders, the Mach-O files of
the stand-in interpreter, an index with its checksum. uv fetches, verifies and unpacks it as it does
the real one; then the whole assembly runs on it. Only the published bytes themselves stay untried,
and those a Mac tries on every push (`.github/workflows/test.yml`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

from facet_bundle import facts, layout, runtime, wheels
from facet_bundle.audits import images
from facet_bundle.audits.finding import Finding
from facet_bundle.errors import PackagingError
from facet_bundle.layout import Bundle, Recipe
from facet_bundle.products import Workshop

_BUILD = "20261001"
# uv rewrites paths in this file and refuses an installation without it.
_SYSCONFIG = "# system configuration of the build\nbuild_time_vars = {}\n"


def findings(shop: Workshop, scratch: Path) -> list[Finding]:
    """A bundle of nothing but that interpreter, audited; and a wrong checksum refused."""
    archive = _archive(shop, scratch)
    fetched = runtime.standalone(shop.tools, scratch / "cache", _index(archive, scratch / "good"))
    bundle = _bundle(shop, fetched, scratch)
    loaded = images.ImageSet.read(bundle.root, bundle.program)
    checks = (
        images.architecture,
        images.oldest_system,
        images.signatures,
        images.links,
        images.symbols,
    )
    found = [finding for check in checks for finding in check(loaded)]
    needed = (bundle.lib / "encodings/__init__.py", bundle.lib / "LICENSE.txt", bundle.program)
    found += [_missing(path) for path in needed if not path.is_file()]
    found += [
        Finding("standalone", path.name, "was taken along") for path in _strangers(bundle, archive)
    ]
    return found + _wrong_checksum(shop, archive, scratch)


def _archive(shop: Workshop, scratch: Path) -> Path:
    """`cpython-VERSION+BUILD-TARGET-install_only_stripped.tar.gz` with `python/` inside."""
    stand_in = runtime.stand_in(shop.host, shop.tools, shop.cache)
    root = scratch / "python"
    lib = root / "lib" / f"python{facts.PYTHON}"
    shutil.copytree(
        stand_in.stdlib,
        lib,
        ignore=shutil.ignore_patterns("__pycache__", "site-packages", "lib-dynload", "test"),
    )
    shutil.copytree(stand_in.include, root / "include" / f"python{facts.PYTHON}")
    shutil.copyfile(stand_in.library, root / "lib" / stand_in.library_name)
    shutil.copytree(
        stand_in.dynload, lib / "lib-dynload", ignore=lambda _, names: _not_extensions(names)
    )
    (lib / "_sysconfigdata__darwin_darwin.py").write_text(_SYSCONFIG)
    program = root / "bin" / f"python{facts.PYTHON}"
    program.parent.mkdir()
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    version = runtime.STANDALONE.split("-")[1]
    name = f"cpython-{version}+{_BUILD}-aarch64-apple-darwin-install_only_stripped.tar.gz"
    with tarfile.open(scratch / name, "w:gz", compresslevel=1) as tar:
        tar.add(root, "python")
    shutil.rmtree(root)
    return scratch / name


def _not_extensions(names: list[str]) -> set[str]:
    """The real archive has OpenSSL inside its extension modules; here it lies beside them."""
    kept = (wheels.MACOS.extension_suffix, "libcrypto.3.dylib", "libssl.3.dylib")
    return {name for name in names if not name.endswith(kept)}


def _index(archive: Path, folder: Path, checksum: str = "") -> Path:
    """A list of builds in the form that uv reads, with this one in it."""
    version = [int(part) for part in runtime.STANDALONE.split("-")[1].split(".")]
    entry = {
        "name": "cpython",
        "arch": {"family": "aarch64", "variant": None},
        "os": "darwin",
        "libc": "none",
        **dict(zip(("major", "minor", "patch"), version, strict=True)),
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": checksum or hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": _BUILD,
    }
    folder.mkdir()
    path = folder / "index.json"
    path.write_text(json.dumps({runtime.STANDALONE.replace("macos", "darwin"): entry}))
    return path


def _bundle(shop: Workshop, fetched: runtime.Runtime, scratch: Path) -> Bundle:
    for name in ("site", "own"):
        (scratch / name).mkdir()
    site, own = scratch / "site", scratch / "own"
    recipe = Recipe(wheels.MACOS, site, fetched, shop.host, shop.tools, own, preview=True)
    bundle, _ = layout.assemble(recipe, scratch / f"{facts.NAME}.app")
    return bundle


def _strangers(bundle: Bundle, archive: Path) -> list[Path]:
    """Parts of the archive that have no business in a bundle."""
    names = {"bin", "include", "_sysconfigdata__darwin_darwin.py", archive.name}
    return [path for path in bundle.resources.rglob("*") if path.name in names]


def _missing(path: Path) -> Finding:
    return Finding("standalone", path.name, "is missing")


def _wrong_checksum(shop: Workshop, archive: Path, scratch: Path) -> list[Finding]:
    index = _index(archive, scratch / "bad", checksum="0" * 64)
    try:
        runtime.standalone(shop.tools, scratch / "other-cache", index)
    except PackagingError:
        return []
    return [Finding("negative", "standalone", "took an archive with a wrong checksum")]
