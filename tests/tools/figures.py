"""`./run figures [NAME …]`: wall-clock figures, on a machine that does nothing else.

Each name is a module of its own that prints JSON; without a name all are measured in turn.
"""

import os
import subprocess
import sys
import tempfile

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
    sys.stdout.write(f"# {' '.join(command)}\n")
    sys.stdout.flush()
    if module.endswith(".py"):
        return subprocess.run([sys.executable, module, *arguments], check=False).returncode
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", module, *arguments]
        return subprocess.run(line, env=warm_environment(folder), check=False).returncode


def warm_environment(folder: str) -> dict[str, str]:
    """The environment without a screen, and with Python's byte code kept in `folder`.

    A machine may keep none (PYTHONDONTWRITEBYTECODE); then every start would compile the whole app,
    which neither an installed app nor a developer's second start does.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {"QT_QPA_PLATFORM": "offscreen", **kept, "PYTHONPYCACHEPREFIX": folder}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
