"""How big the bundle is, package by package, and whether a release stays within its limits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle, files

INSTALLED_LIMIT = 600_000_000
DMG_LIMIT = 215_000_000


def installed(bundle: Bundle) -> int:
    """Bytes of all files; links count nothing."""
    return sum(path.stat().st_size for path in files(bundle.root) if not path.is_symlink())


def by_package(bundle: Bundle) -> list[tuple[str, int]]:
    """(name, bytes), the biggest first."""
    sizes: Counter[str] = Counter()
    for path in files(bundle.root):
        if not path.is_symlink():
            sizes[_owner(path, bundle)] += path.stat().st_size
    return sizes.most_common()


def limits(bundle: Bundle, dmg: Path | None) -> list[Finding]:
    """The release limits; a preview only prints its sizes."""
    found = []
    size = installed(bundle)
    if size > INSTALLED_LIMIT:
        found.append(Finding("size", bundle.root.name, f"takes {size / 1e6:.0f} MB installed"))
    if dmg is not None and dmg.stat().st_size > DMG_LIMIT:
        found.append(Finding("size", dmg.name, f"is {dmg.stat().st_size / 1e6:.0f} MB"))
    return found


def _owner(path: Path, bundle: Bundle) -> str:
    if path.is_relative_to(bundle.site):
        return path.relative_to(bundle.site).parts[0]
    if path.is_relative_to(bundle.lib) or path.is_relative_to(bundle.frameworks):
        return "(CPython)"
    return "(app: launcher, icon, assets)"
