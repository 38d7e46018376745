"""Byte-compiles one share of a tree; run by the bundle's own Python version, not imported.

Usage: python compile_tree.py TREE PREFIX SHARE SHARES

Files are taken in sorted order and dealt out by index, so every run compiles the same files in the
same order in a fresh process: what marshal writes depends on what the process compiled before.
Hashes are unchecked, because a sealed bundle never changes and a time stamp would make two builds
differ.
"""

import py_compile
import sys
from pathlib import Path


def main(tree: str, prefix: str, share: int, shares: int) -> int:
    """Number of files that do not compile (templates for other Python versions)."""
    root = Path(tree)
    broken = 0
    for path in sorted(root.rglob("*.py"))[share::shares]:
        shown = f"{prefix}/{path.relative_to(root).as_posix()}"
        try:
            py_compile.compile(
                str(path),
                dfile=shown,
                doraise=True,
                quiet=1,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except (py_compile.PyCompileError, ValueError):
            broken += 1
    return broken


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))}\n")
