"""The packages in a bundle as their own metadata describes them."""

from __future__ import annotations

import email.message
import email.parser
import re
from dataclasses import dataclass
from pathlib import Path

_LICENCE_NAME = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution."""

    name: str
    version: str
    licence: str
    homepage: str
    folder: Path

    @property
    def key(self) -> str:
        """The normalised name that requirements.lock uses."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    def licence_files(self) -> list[Path]:
        """Licence and notice files that the wheel brought."""
        inside = [p for p in sorted(self.folder.rglob("*")) if p.is_file()]
        return [
            path
            for path in inside
            if _LICENCE_NAME.search(path.relative_to(self.folder).as_posix())
        ]


def installed(site: Path) -> list[Package]:
    """All distributions of a site-packages folder, by name."""
    found = [_read(folder) for folder in site.glob("*.dist-info")]
    return sorted(found, key=lambda package: package.key)


def _read(folder: Path) -> Package:
    text = (folder / "METADATA").read_text(encoding="utf-8")
    metadata = email.parser.Parser().parsestr(text, headersonly=True)
    return Package(
        str(metadata["Name"]), str(metadata["Version"]), _licence(metadata), _home(metadata), folder
    )


def _licence(metadata: email.message.Message) -> str:
    """The SPDX expression, else the first line of the free text, else the classifiers."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    free = str(metadata.get("License") or "").strip().splitlines()
    if free:
        return free[0]
    classifiers = [str(value) for value in metadata.get_all("Classifier", [])]
    names = [c.split(" :: ")[-1] for c in classifiers if c.startswith("License ::")]
    return ", ".join(names) or "see its text"


def _home(metadata: email.message.Message) -> str:
    links = [str(value) for value in metadata.get_all("Project-URL", [])]
    for word in ("source", "repository", "homepage", "github"):
        for link in links:
            label, _, address = link.partition(", ")
            if word in label.lower():
                return address
    return str(metadata.get("Home-page") or "")
