"""Whether anything was written into a bundle: a manifest before, a manifest after."""

from __future__ import annotations

import hashlib
from pathlib import Path

from facet_bundle.audits.finding import Finding
from facet_bundle.layout import files

Manifest = dict[str, tuple[int, str]]


def manifest(root: Path) -> Manifest:
    """(permission bits, SHA-256 or link target) of every file, by path."""
    found: Manifest = {}
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = (0, f"-> {path.readlink()}")
        else:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = (path.stat().st_mode & 0o777, digest)
    return found


def differences(before: Manifest, after: Manifest, audit: str = "sealed") -> list[Finding]:
    """Files that came, went or changed."""
    found = [Finding(audit, name, "was written") for name in after.keys() - before]
    found += [Finding(audit, name, "is gone") for name in before.keys() - after]
    common = before.keys() & after
    found += [Finding(audit, name, "changed") for name in common if before[name] != after[name]]
    return sorted(found)
