"""Facet.zip and Facet.dmg, the same bytes for the same bundle."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from facet_bundle import facts, proc, udif
from facet_bundle.layout import files

_ZIP_DATE = time.gmtime(facts.FIXED_TIME)[:6]
_LEVEL = 6


def write_zip(bundle: Path, target: Path) -> None:
    """A zip as Finder and ditto unpack it: permissions and symbolic links kept, names in order."""
    temporary = target.with_name(target.name + ".part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for path in files(bundle):
            _add(archive, path, path.relative_to(bundle.parent).as_posix())
    temporary.replace(target)


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    entry = zipfile.ZipInfo(name, _ZIP_DATE)
    entry.create_system = 3  # Unix: the upper half of external_attr holds the mode
    entry.compress_type = zipfile.ZIP_DEFLATED
    if path.is_symlink():
        entry.external_attr = (stat.S_IFLNK | 0o755) << 16
        archive.writestr(entry, str(path.readlink()))
        return
    entry.external_attr = (stat.S_IFREG | (path.stat().st_mode & 0o777)) << 16
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=False) as sink:
        shutil.copyfileobj(source, sink, 1 << 20)


def write_dmg(bundle: Path, target: Path, face: Path | None = None) -> None:
    """A compressed disk image with the app and a link to Applications.

    face: a folder of `dmg_face.lay`, how the volume looks in the Finder.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        stage = Path(scratch) / "stage"
        shutil.copytree(face, stage) if face else stage.mkdir()
        (stage / "Applications").symlink_to("/Applications")
        if sys.platform == "darwin":
            _hdiutil(bundle, target, stage)
            return
        raw = Path(scratch) / "raw.hfs"
        _hfs_image(bundle, raw, stage)
        udif.compress(raw, target)


def _hfs_image(bundle: Path, raw: Path, stage: Path) -> None:
    """An HFS+ volume through xorriso; all dates fixed, so that two images are equal."""
    os.utime(stage / "Applications", (facts.FIXED_TIME, facts.FIXED_TIME), follow_symlinks=False)
    date = time.strftime("%Y%m%d%H%M%S00", time.gmtime(facts.FIXED_TIME))
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-hfsplus-serial-no", _serial()]
    command += ["-r", "-V", facts.NAME, f"--modification-date={date}"]
    command += ["--set_all_file_dates", "set_to_mtime", "-o", str(raw), "-graft-points"]
    command += [f"/{path.name}={path}" for path in sorted(stage.iterdir())]
    command.append(f"/{bundle.name}={bundle}")
    proc.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": str(facts.FIXED_TIME), "TZ": "UTC"})


def _serial() -> str:
    return "FACE7000FACE7000"


def _hdiutil(bundle: Path, target: Path, stage: Path) -> None:
    """Apple's own tool where there is one; its images are not the same bytes twice."""
    subprocess.run(["ditto", bundle, stage / bundle.name], check=True)
    target.unlink(missing_ok=True)
    command = ["hdiutil", "create", "-quiet", "-fs", "HFS+", "-format", "UDZO"]
    proc.run([*command, "-volname", facts.NAME, "-srcfolder", stage, target])
