"""Runs every audit of a macOS bundle and decides which findings stop a build."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import info
from facet_bundle.audits import contents, images, modules, sizes
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle
from facet_bundle.prune import Pruner

# What a preview build is allowed to have; it says so in its name and About box.
PREVIEW_ALLOWS = frozenset({"gpl", "size"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Findings that stop the build and findings that are only listed."""

    errors: list[Finding]
    notes: list[Finding]


def audit(bundle: Bundle, traced: Iterable[str] = ()) -> list[Finding]:
    """All findings of a finished bundle."""
    loaded = images.ImageSet.read(bundle.root, bundle.program)
    found: list[Finding] = []
    for check in (
        images.architecture,
        images.oldest_system,
        images.signatures,
        images.links,
        images.symbols,
    ):
        found += check(loaded)
    for look in _CONTENT_CHECKS:
        found += look(bundle)
    tree = modules.ModuleTree(bundle)
    return found + modules.own_imports(bundle, tree) + modules.traced(traced, tree)


_CONTENT_CHECKS: tuple[Callable[[Bundle], list[Finding]], ...] = (
    contents.plist,
    contents.permission_plugins,
    contents.mlx,
    contents.gpl,
    contents.licences,
    contents.paths,
)


def entitlements(path: Path) -> list[Finding]:
    """The entitlements written beside the bundle."""
    info.write_entitlements(path)
    return contents.entitlements(path)


def stale_rules(*pruners: Pruner) -> list[Finding]:
    """Rules of prune.toml that matched nothing on any platform they are for."""
    idle = [set(pruner.idle_rules()) for pruner in pruners]
    busy = {rule.reason for pruner in pruners for rule in pruner.rules if rule.files}
    stale = set().union(*idle) - busy
    return [Finding("prune", "prune.toml", f"a rule matches nothing: {text}") for text in stale]


def size_limits(bundle: Bundle, dmg: Path | None) -> list[Finding]:
    """Installed and download size against the release limits."""
    return sizes.limits(bundle, dmg)


def judge(found: list[Finding], *, preview: bool) -> Verdict:
    """A release allows nothing; a preview lists what stands in PREVIEW_ALLOWS."""
    allowed = PREVIEW_ALLOWS if preview else frozenset()
    errors = sorted(finding for finding in found if finding.audit not in allowed)
    return Verdict(errors, sorted(finding for finding in found if finding.audit in allowed))
