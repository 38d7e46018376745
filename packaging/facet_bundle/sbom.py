"""A CycloneDX 1.6 list of everything in the bundle, the same bytes for the same bundle."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from facet_bundle import facts, packages


def document(site: Path, components: list[dict[str, Any]]) -> str:
    """The SBOM as JSON text."""
    listed = [_package(package) for package in packages.installed(site) if package.key != "facet"]
    listed += [_component(component) for component in components]
    body = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _self()},
        "components": listed,
    }
    text = json.dumps(body, sort_keys=True)
    # derived from the content instead of random, so that two builds are equal
    body["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def _self() -> dict[str, Any]:
    return {
        "type": "application",
        "name": facts.NAME,
        "version": facts.version(),
        "bom-ref": facts.BUNDLE_ID,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }


def _package(package: packages.Package) -> dict[str, Any]:
    purl = f"pkg:pypi/{package.key}@{package.version}"
    return {
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "bom-ref": purl,
        "licenses": [{"license": {"name": package.licence}}],
    }


def _component(component: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "library",
        "name": component["name"],
        "bom-ref": f"component:{component['name']}",
        "licenses": [{"license": {"name": component["licence"]}}],
        "description": f"in {component['inside']}",
        "externalReferences": [{"type": "distribution", "url": component["source"].split(" ")[0]}],
    }
