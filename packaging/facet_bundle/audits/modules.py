"""Whether every module the app imports is in the bundle, without running it.

Two sources: the import statements of our own code, followed through every package that is
imported at module level; and the names that a real run on another platform had loaded.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from facet_bundle import facts
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle
from facet_bundle.wheels import MACOS, Platform

# Built into libpython on every platform, or made at run time.
_MADE_AT_RUN_TIME = (
    "os.path",
    "signature_bootstrap",
    "PySide6.support",
    "shibokensupport",
    "shiboken6.Shiboken",
    "six.moves",
)
# `mlx-gemma4 bench` measures beside it where a developer installed it, and says so where not.
_OPTIONAL = ("mlx_vlm",)
# In the standard library of one platform only.
_OTHER_PLATFORM = frozenset({"winreg", "msvcrt", "nt", "_winapi", "_overlapped", "_scproxy"})


class ModuleTree:
    """Finds modules in a bundle as its interpreter would."""

    def __init__(self, bundle: Bundle, platform: Platform = MACOS) -> None:
        self._folders = [bundle.lib, bundle.lib / "lib-dynload", bundle.site]
        self._suffixes = (".py", platform.extension_suffix, ".abi3.so", ".so")
        self._builtin = set(sys.builtin_module_names) | _OTHER_PLATFORM

    def has(self, name: str) -> bool:
        """Whether `name` (dotted) can be imported."""
        excused = name.startswith(_MADE_AT_RUN_TIME + _OPTIONAL)
        if excused or name.partition(".")[0] in self._builtin:
            return True
        return any(self._file(folder, name) for folder in self._folders)

    def source(self, name: str) -> Path | None:
        """The Python file of a module; None for extension modules and namespaces."""
        for folder in self._folders:
            hit = self._file(folder, name)
            if hit is not None:
                return hit if hit.suffix == ".py" else None
        return None

    def _file(self, folder: Path, name: str) -> Path | None:
        base = folder.joinpath(*name.split("."))
        for suffix in self._suffixes:
            package, module = base / f"__init__{suffix}", base.with_name(base.name + suffix)
            if package.is_file():
                return package
            if module.is_file():
                return module
        return base if base.is_dir() else None


def own_imports(bundle: Bundle, tree: ModuleTree) -> list[Finding]:
    """Every import anywhere in our code (functions too) and what those modules need at once."""
    todo = [(name, True) for name in _own_modules(bundle)]
    seen: set[str] = set()
    found = []
    while todo:
        name, ours = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = tree.source(name)
        if path is None:
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported, required in _imports(path, package, everywhere=ours):
            if tree.has(imported):
                if required:
                    todo.append((imported, _is_ours(imported)))
            elif required:
                found.append(Finding("modules", name, f"imports {imported}, which is not there"))
    return sorted(set(found))


def traced(names: Iterable[str], tree: ModuleTree) -> list[Finding]:
    """Modules that a real run loaded and that this bundle does not have."""
    return [
        Finding("modules", name, "was loaded by the app on Linux and is not in the bundle")
        for name in sorted(set(names))
        if not tree.has(name) and "linux" not in name.lower()
    ]


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in facts.OWN_PACKAGES


def _own_modules(bundle: Bundle) -> Iterator[str]:
    for package in facts.OWN_PACKAGES:
        for path in (bundle.site / package).rglob("*.py"):
            parts = path.relative_to(bundle.site).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, package: str, *, everywhere: bool) -> Iterator[tuple[str, bool]]:
    """(module, required) of a file; only statements that run at import unless `everywhere`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node, optional in _statements(tree, everywhere=everywhere, optional=False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, not optional
        else:
            yield _absolute(node, package), not optional


def _statements(
    node: ast.AST, *, everywhere: bool, optional: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Import statements; those inside try, if or a foreign function are optional."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, optional
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if everywhere:
                yield from _statements(child, everywhere=True, optional=optional)
        else:
            guarded = optional or isinstance(child, ast.Try | ast.If)
            yield from _statements(child, everywhere=everywhere, optional=guarded)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join(base + ([node.module] if node.module else []))
