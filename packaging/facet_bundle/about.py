"""What the About box shows: build facts, notices of every package, licence texts, and the SBOM."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet_bundle import facts, packages, sbom

if TYPE_CHECKING:
    from facet_bundle.layout import Bundle, Recipe

PREVIEW_NOTICE = (
    "Preview build, NOT FOR REDISTRIBUTION: it holds the stock OpenCV package, whose FFmpeg is "
    "under the GPL, and an interpreter put together on another system. Use it for testing only."
)
NOTICES = "THIRD_PARTY_NOTICES.txt"


def write(recipe: Recipe, bundle: Bundle) -> None:
    """Fill assets/about of the bundle and give it the metadata that names its version."""
    folder = bundle.about
    folder.mkdir(parents=True)
    _write_metadata(bundle)
    (folder / "build.json").write_text(json.dumps(_build_facts(recipe), indent=2) + "\n")
    extra = load_extra()
    texts = folder / "licences"
    for package in packages.installed(bundle.site):
        _copy_texts(texts / package.key, _texts_of(package, extra))
    for component in extra["component"]:
        _copy_texts(texts / _slug(component["name"]), _component_texts(component, bundle.lib))
    (folder / NOTICES).write_text(_notices(bundle, extra), encoding="utf-8")
    (folder / "sbom.cdx.json").write_text(sbom.document(bundle.site, extra["component"]))


def load_extra() -> dict[str, Any]:
    """packaging/licences.toml."""
    with (facts.PACKAGING / "licences.toml").open("rb") as file:
        return tomllib.load(file)


def missing_texts(bundle: Bundle) -> list[str]:
    """Packages and components of the bundle without any licence text beside the notices."""
    texts = bundle.about / "licences"
    names = [package.key for package in packages.installed(bundle.site)]
    names += [_slug(component["name"]) for component in load_extra()["component"]]
    return [name for name in names if not any((texts / name).glob("*"))]


def _build_facts(recipe: Recipe) -> dict[str, object]:
    lock = (facts.ROOT / "requirements.lock").read_bytes()
    return {
        "name": facts.NAME,
        "version": facts.version(),
        "preview": recipe.preview,
        "notice": PREVIEW_NOTICE if recipe.preview else "",
        "feed": facts.feed(),
        "python": recipe.runtime.version,
        "python_source": recipe.runtime.source,
        "floor": facts.floor_text(),
        "lock_sha256": hashlib.sha256(lock).hexdigest(),
        "notices": NOTICES,
    }


def _write_metadata(bundle: Bundle) -> None:
    """A dist-info of our own, so that importlib.metadata knows the app's version and licence."""
    folder = bundle.site / f"facet-{facts.version()}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.4", "Name: facet", f"Version: {facts.version()}"]
    (folder / "METADATA").write_text("\n".join([*lines, "License-Expression: Apache-2.0", ""]))
    shutil.copyfile(facts.ROOT / "LICENSE", folder / "LICENSE")


def _texts_of(package: packages.Package, extra: dict[str, Any]) -> list[Path]:
    own = package.licence_files()
    added = [
        facts.PACKAGING / "licences" / name
        for entry in extra["missing"]
        if package.key in entry["packages"]
        for name in entry["texts"]
    ]
    return own + added


def _component_texts(component: dict[str, Any], lib: Path) -> list[Path]:
    texts = [facts.PACKAGING / "licences" / name for name in component["texts"]]
    return texts + [lib / name for name in component.get("stdlib_texts", [])]


def _copy_texts(folder: Path, sources: list[Path]) -> None:
    """Copies with running numbers, because wheels hold several files of one name."""
    for number, source in enumerate(sources, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        suffix = source.suffix if source.suffix in {".txt", ".md", ".rst"} else ".txt"
        shutil.copyfile(source, folder / f"{number:02d}-{_slug(source.stem)}{suffix}")


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _notices(bundle: Bundle, extra: dict[str, Any]) -> str:
    """The list of everything first, then every text once."""
    lines = [f"{facts.NAME} {facts.version()} contains the software listed here.", ""]
    lines += [
        f"{package.name} {package.version} - {package.licence} - {package.homepage}".rstrip(" -")
        for package in packages.installed(bundle.site)
    ]
    lines += ["", "Inside these packages:", ""]
    lines += [
        f"{item['name']} - {item['licence']} - in {item['inside']} - {item['source']}"
        for item in extra["component"]
    ]
    return "\n".join([*lines, "", *_full_texts(bundle.about / "licences")]) + "\n"


def _full_texts(folder: Path) -> list[str]:
    users: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            users.setdefault(text, []).append(path.parent.name)
    out = []
    for text, names in users.items():
        out += ["=" * 100, ", ".join(sorted(set(names))), "=" * 100, text, ""]
    return out
