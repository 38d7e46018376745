"""Every Mach-O of a bundle: architecture, oldest macOS, signatures, links and symbols."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from facet_bundle import codesign, facts, macho
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import files

_SYSTEM = ("/usr/lib/", "/System/Library/")
_ANY_IMAGE = frozenset({0x00, 0xFD, 0xFE})  # flat lookup: self, main program, dynamic_lookup


@dataclass(slots=True)
class Loaded:
    """An image with its symbols; the bytes themselves are not kept."""

    path: Path
    image: macho.Image
    other_architectures: tuple[str, ...]
    imports: list[macho.Import]
    exports: set[str]
    signature: list[str]


@dataclass(slots=True)
class ImageSet:
    """All images below `root` and how they find each other."""

    root: Path
    program: Path
    images: dict[Path, Loaded] = field(default_factory=dict)
    _resolved: dict[tuple[Path, str], Path | None] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, program: Path) -> ImageSet:
        """Parse every Mach-O file of the bundle."""
        found = cls(root.resolve(), program.resolve())
        for path in files(found.root):
            if not path.is_symlink() and macho.is_macho(path):
                found.images[path] = _load(path)
        return found

    def name(self, path: Path) -> str:
        """Path inside the bundle, for messages."""
        return path.relative_to(self.root).as_posix()

    def resolve(self, loaded: Loaded, name: str) -> Path | None:
        """The file dyld would take for `name`: own rpaths first, then those of whoever loads it."""
        key = (loaded.path, name)
        if key not in self._resolved:
            hits = map(self._inside, self._candidates(loaded, name))
            self._resolved[key] = next((hit for hit in hits if hit is not None), None)
        return self._resolved[key]

    def _candidates(self, loaded: Loaded, name: str) -> Iterator[Path]:
        if not name.startswith("@rpath/"):
            yield self._expand(name, loaded.path)
            return
        rest = name.removeprefix("@rpath/")
        for rpath in loaded.image.rpaths:
            yield self._expand(rpath, loaded.path) / rest
        for other in self._loaders(loaded):
            for rpath in other.image.rpaths:
                yield self._expand(rpath, other.path) / rest

    def _loaders(self, loaded: Loaded) -> Iterator[Loaded]:
        """The images that name this one; dyld also searches their rpaths."""
        for other in self.images.values():
            names = [dependency.name for dependency in other.image.dependencies]
            if any(name.rsplit("/", 1)[-1] == loaded.path.name for name in names):
                yield other
        yield self.images[self.program]

    def _expand(self, text: str, loader: Path) -> Path:
        replaced = text.replace("@loader_path", str(loader.parent))
        return Path(replaced.replace("@executable_path", str(self.program.parent)))

    def _inside(self, path: Path) -> Path | None:
        real = Path(os.path.realpath(path))
        return real if real.is_file() and real.is_relative_to(self.root) else None


def architecture(images: ImageSet) -> list[Finding]:
    """Only this bundle's architecture, in every image."""
    found = []
    for loaded in images.images.values():
        present = (loaded.image.cpu, *loaded.other_architectures)
        if present != (facts.ARCHITECTURE,):
            found.append(_finding("architecture", images, loaded, f"holds {', '.join(present)}"))
    return found


def oldest_system(images: ImageSet) -> list[Finding]:
    """No image asks for a newer macOS than the bundle promises."""
    found = []
    for loaded in images.images.values():
        minimum = loaded.image.minimum_os
        if minimum is None:
            found.append(_finding("minimum-os", images, loaded, "names no macOS version"))
        elif minimum[:2] > facts.FLOOR:
            wanted = ".".join(map(str, minimum))
            found.append(_finding("minimum-os", images, loaded, f"is built for macOS {wanted}"))
    return found


def signatures(images: ImageSet) -> list[Finding]:
    """Every page hash agrees; one changed byte is enough to be killed at load."""
    return [
        _finding("signature", images, loaded, text)
        for loaded in images.images.values()
        for text in loaded.signature
    ]


def links(images: ImageSet) -> list[Finding]:
    """Every library named is in the system or inside the bundle."""
    found = []
    for loaded in images.images.values():
        for dependency in loaded.image.dependencies:
            if dependency.name.startswith(_SYSTEM):
                continue
            if not dependency.name.startswith("@"):
                text = f"wants {dependency.name}, a path of the machine it was built on"
                found.append(_finding("links", images, loaded, text))
            elif images.resolve(loaded, dependency.name) is None:
                text = f"wants {dependency.name}, which is not in the bundle"
                found.append(_finding("links", images, loaded, text))
    return found


def symbols(images: ImageSet) -> list[Finding]:
    """Every symbol taken from another bundled image is exported by it (two-level and flat)."""
    everywhere = set().union(*(loaded.exports for loaded in images.images.values()))
    found = []
    for loaded in images.images.values():
        missing = [
            symbol.name
            for symbol in loaded.imports
            if not symbol.weak and not _provided(images, loaded, symbol, everywhere)
        ]
        if missing:
            names = ", ".join(sorted(missing)[:3])
            text = f"{len(missing)} symbols nobody provides, such as {names}"
            found.append(_finding("symbols", images, loaded, text))
    return found


def _provided(images: ImageSet, loaded: Loaded, symbol: macho.Import, everywhere: set[str]) -> bool:
    dependencies = loaded.image.dependencies
    if not 1 <= symbol.ordinal <= len(dependencies):
        # flat lookups end in the operating system too, which is not here to be read
        return symbol.ordinal not in _ANY_IMAGE or _flat_provided(symbol.name, everywhere)
    dependency = dependencies[symbol.ordinal - 1]
    if dependency.name.startswith(_SYSTEM) or dependency.kind == "weak":
        return True
    return _exported_by(images, images.resolve(loaded, dependency.name), symbol.name)


def _flat_provided(name: str, everywhere: set[str]) -> bool:
    """Extension modules look up Python's own names flat; those must be in libpython."""
    return name in everywhere or not name.startswith(("_Py", "__Py"))


def _exported_by(images: ImageSet, path: Path | None, name: str) -> bool:
    target = images.images.get(path) if path else None
    if target is None:
        return False
    if name in target.exports:
        return True
    return any(
        _exported_by(images, images.resolve(target, dependency.name), name)
        for dependency in target.image.dependencies
        if dependency.kind == "reexport" and not dependency.name.startswith(_SYSTEM)
    )


def _finding(audit: str, images: ImageSet, loaded: Loaded, text: str) -> Finding:
    return Finding(audit, images.name(loaded.path), text)


def _load(path: Path) -> Loaded:
    parts = macho.slices(path.read_bytes())
    cpu = facts.ARCHITECTURE if facts.ARCHITECTURE in parts else next(iter(parts))
    data = parts.pop(cpu)
    image = macho.parse(data)
    return Loaded(
        path,
        image,
        tuple(sorted(parts)),
        macho.imports(data, image),
        macho.exports(data, image),
        codesign.findings(data, image),
    )
