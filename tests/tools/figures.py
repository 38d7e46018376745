"""`./run figures [NAME …]`: wall-clock figures, on a machine that does nothing else.

Each name is a module of its own that prints JSON; without a name all are measured in turn.
"""

import subprocess
import sys

FIGURES = {
    "window": ["tests.app_ui.figures"],
    "engine": ["tests.app_engine", "figures"],
    "live": ["tests.live.figures", "all"],
    "documents": ["tests.documents.figures", "300"],
    "documents-demo": ["tests.documents.demo_figures"],
    "startup": ["packaging/build.py", "--figures", "20"],
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        sys.stderr.write(f"figures: no figure {unknown[0]!r}; choose from {', '.join(FIGURES)}\n")
        return 2
    return max(run(FIGURES[name]) for name in names or FIGURES)


def run(command: list[str]) -> int:
    module, *arguments = command
    how = [module] if module.endswith(".py") else ["-m", module]
    sys.stdout.write(f"# {' '.join(command)}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, *how, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
