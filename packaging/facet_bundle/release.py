"""One build from start to end, as a person or the release workflow asks for it."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import cask, gates, layout, products, runtime
from facet_bundle.audits import sizes
from facet_bundle.audits.finding import Finding
from facet_bundle.errors import PackagingError
from facet_bundle.layout import Bundle, Recipe
from facet_bundle.products import Products
from facet_bundle.tools import ensure_tools, filled_once, short_hash


@dataclass(frozen=True, slots=True)
class Order:
    """What to build and where."""

    out: Path
    cache: Path
    python: Path | None
    preview: bool
    wheels: Path | None = None


def build(order: Order) -> int:
    """Assemble, audit, archive; exit status 1 when an audit stops it before the archives."""
    recipe = recipe_of(order)
    target = Products.below(order.out, preview=order.preview)
    order.out.mkdir(parents=True, exist_ok=True)
    bundle, pruner = layout.assemble(recipe, target.app)
    shutil.rmtree(recipe.own)
    print_sizes(bundle)
    found = gates.audit(bundle) + gates.entitlements(target.entitlements)
    found += [Finding("prune", "prune.toml", text) for text in pruner.idle_rules()]
    if not report(found + gates.size_limits(bundle, None), preview=order.preview):
        return 1
    products.write_archives(target, recipe.tools)
    products.write_sidecars(bundle, target)
    print(f"{target.dmg.name}: {target.dmg.stat().st_size / 1e6:.1f} MB")
    print(f"{target.zip.name}: {target.zip.stat().st_size / 1e6:.1f} MB")
    return 0 if report(gates.size_limits(bundle, target.dmg), preview=order.preview) else 1


def audit_only(app: Path) -> int:
    """Every gate of a release on a finished bundle."""
    bundle = Bundle(app.resolve())
    print_sizes(bundle)
    found = gates.audit(bundle) + gates.size_limits(bundle, None)
    return 0 if report(found, preview=False) else 1


def archives_only(app: Path, out: Path, cache: Path) -> int:
    """Disk image, zip and checksums of a bundle that is already signed."""
    bundle = Bundle(app.resolve())
    target = dataclasses.replace(Products.below(out, preview=False), app=bundle.root)
    out.mkdir(parents=True, exist_ok=True)
    products.write_archives(target, ensure_tools(cache))
    products.write_sidecars(bundle, target)
    return 0 if report(gates.size_limits(bundle, target.dmg), preview=False) else 1


def cask_only(dmg: Path, repository: str, out: Path) -> int:
    """Homebrew's file for a signed disk image."""
    print(cask.write(dmg, repository, out / "facet.rb").name)
    return 0


def recipe_of(order: Order) -> Recipe:
    """Wheels, interpreter and tools for `order`."""
    tools = ensure_tools(order.cache)
    host = runtime.host_python(tools, order.python)
    own = order.out / "own"
    shutil.rmtree(own, ignore_errors=True)
    shop = products.Workshop(tools, order.cache, host, layout.copy_own(own))
    standalone = runtime.can_fetch_standalone() or not order.preview
    recipe = products.mac_recipe(shop, preview=order.preview, standalone=standalone)
    if order.wheels is None:
        return recipe
    return dataclasses.replace(recipe, site=_with_own_wheels(recipe.site, order))


def _with_own_wheels(site: Path, order: Order) -> Path:
    """The locked packages with some replaced by wheels built here (OpenCV without FFmpeg)."""
    own = sorted(order.wheels.glob("*.whl")) if order.wheels else []
    if not own:
        raise PackagingError(f"{order.wheels} holds no wheels.")
    key = short_hash(site.name, *(wheel.read_bytes() for wheel in own))

    def fill(folder: Path) -> None:
        shutil.copytree(site, folder, dirs_exist_ok=True)
        for wheel in own:
            _replace(folder, wheel)

    return filled_once(order.cache / "wheels" / f"own-{key}", fill)


def _replace(site: Path, wheel: Path) -> None:
    """Remove a package by its RECORD and unpack `wheel` in its place."""
    name = wheel.name.split("-")[0]
    record = next(site.glob(f"{name}-*.dist-info/RECORD"), None)
    if record is None:
        raise PackagingError(f"{wheel.name} replaces nothing in requirements.lock.")
    for line in record.read_text().splitlines():
        (site / line.rsplit(",", 2)[0]).unlink(missing_ok=True)
    shutil.rmtree(record.parent, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


def print_sizes(bundle: Bundle, rows: int = 25) -> None:
    """Megabytes per package, the biggest first."""
    print(f"{'installed':40} {sizes.installed(bundle) / 1e6:8.1f} MB")
    for name, size in sizes.by_package(bundle)[:rows]:
        print(f"  {name:38} {size / 1e6:8.1f} MB")


def report(found: list[Finding], *, preview: bool) -> bool:
    """Print findings; True when none of them stops the build."""
    verdict = gates.judge(found, preview=preview)
    for finding in verdict.notes:
        print(f"note   {finding}")
    for finding in verdict.errors:
        print(f"ERROR  {finding}")
    return not verdict.errors
