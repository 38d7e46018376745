"""Makes the things that are handed out: Facet.app, the disk image, the zip, checksums and SBOM."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import archive, dmg_face, facts, runtime, wheels
from facet_bundle.layout import Bundle, Recipe
from facet_bundle.tools import Tools

PREVIEW_SUFFIX = "-preview-NOT-FOR-REDISTRIBUTION"


@dataclass(frozen=True, slots=True)
class Products:
    """Files of one build."""

    app: Path
    zip: Path
    dmg: Path
    entitlements: Path

    @classmethod
    def below(cls, folder: Path, *, preview: bool) -> Products:
        """Names in an output folder; a preview shows in every archive's name."""
        stem = f"{facts.NAME}-{facts.version()}{PREVIEW_SUFFIX if preview else ''}"
        return cls(
            folder / f"{facts.NAME}.app",
            folder / f"{stem}.zip",
            folder / f"{stem}.dmg",
            folder / "entitlements.plist",
        )


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every recipe needs: tools, downloads, the compiling Python, a copy of our own files."""

    tools: Tools
    cache: Path
    host: runtime.HostPython
    own: Path


def mac_recipe(shop: Workshop, *, preview: bool, standalone: bool) -> Recipe:
    """The real bundle, with the stand-in interpreter where the real one cannot be fetched."""
    site = wheels.unpacked(wheels.runtime_lock(), wheels.MACOS, shop.tools, shop.cache)
    if standalone:
        interpreter = runtime.standalone(shop.tools, shop.cache)
    else:
        interpreter = runtime.stand_in(shop.host, shop.tools, shop.cache)
    return Recipe(wheels.MACOS, site, interpreter, shop.host, shop.tools, shop.own, preview)


def twin_recipe(shop: Workshop) -> Recipe:
    """The same layout for this Linux machine."""
    site = wheels.unpacked(wheels.runtime_lock(), wheels.LINUX, shop.tools, shop.cache)
    interpreter = runtime.of_host(shop.host)
    return Recipe(wheels.LINUX, site, interpreter, shop.host, shop.tools, shop.own, preview=True)


def write_archives(products: Products, tools: Tools) -> None:
    """Zip and disk image at the same time; both spend their time in zlib, which threads share."""
    with tempfile.TemporaryDirectory(dir=products.dmg.parent) as scratch:
        face = dmg_face.lay(Path(scratch) / "face", tools)
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                pool.submit(archive.write_zip, products.app, products.zip),
                pool.submit(archive.write_dmg, products.app, products.dmg, face),
            ]
            for job in jobs:
                job.result()


def write_sidecars(bundle: Bundle, products: Products) -> Path:
    """SBOM and checksums beside the archives; returns the checksum file."""
    shutil.copyfile(bundle.about / "sbom.cdx.json", products.zip.with_suffix(".cdx.json"))
    checksums = products.zip.parent / "SHA256SUMS"
    lines = [f"{_sha256(path)}  {path.name}" for path in (products.dmg, products.zip)]
    checksums.write_text("\n".join(lines) + "\n")
    return checksums


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
