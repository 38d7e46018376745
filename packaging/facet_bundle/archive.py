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


def write_dmg(bundle: Path, target: Path) -> None:
    """A compressed disk image with the app and a link to Applications."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)
        if sys.platform == "darwin":
            _hdiutil(bundle, target, folder)
            return
        raw = folder / "raw.hfs"
        _hfs_image(bundle, raw, folder)
        udif.compress(raw, target)


def _hfs_image(bundle: Path, raw: Path, scratch: Path) -> None:
    """An HFS+ volume through xorriso; all dates fixed, so that two images are equal."""
    applications = scratch / "Applications"
    applications.symlink_to("/Applications")
    date = time.strftime("%Y%m%d%H%M%S00", time.gmtime(facts.FIXED_TIME))
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-hfsplus-serial-no", _serial()]
    command += ["-r", "-V", facts.NAME, f"--modification-date={date}"]
    command += ["--set_all_file_dates", "set_to_mtime", "-o", str(raw), "-graft-points"]
    command += [f"/{bundle.name}={bundle}", f"/Applications={applications}"]
    os.utime(applications, (facts.FIXED_TIME, facts.FIXED_TIME), follow_symlinks=False)
    proc.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": str(facts.FIXED_TIME), "TZ": "UTC"})


def _serial() -> str:
    return "FACE7000FACE7000"


def _hdiutil(bundle: Path, target: Path, folder: Path) -> None:
    """Apple's own tool where there is one; its images are not the same bytes twice."""
    stage = folder / "stage"
    stage.mkdir()
    (stage / "Applications").symlink_to("/Applications")
    subprocess.run(["ditto", bundle, stage / bundle.name], check=True)
    target.unlink(missing_ok=True)
    command = ["hdiutil", "create", "-quiet", "-fs", "HFS+", "-format", "UDZO"]
    proc.run([*command, "-volname", facts.NAME, "-srcfolder", stage, target])
