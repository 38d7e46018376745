"""Runs a bundle, the twin or the real one on a Mac, as hostile surroundings would start it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facet_bundle import facts
from facet_bundle.audits.finding import Finding
from facet_bundle.errors import PackagingError
from facet_bundle.layout import Bundle

_POISON = "raise ImportError('a file of the user was imported into the bundle')\n"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program of the twin ended."""

    status: int
    output: str
    errors: str

    def json(self) -> dict[str, Any]:
        """The last line of output, as the probe writes it."""
        try:
            return json.loads(self.output.strip().splitlines()[-1])
        except (IndexError, ValueError) as error:
            tail = self.errors.strip()[-1500:]
            raise PackagingError(f"The twin ended with {self.status}: {tail}") from error


@dataclass(frozen=True, slots=True)
class Twin:
    """A moved bundle with a poisoned folder beside it."""

    bundle: Bundle
    scratch: Path

    @classmethod
    def move(cls, built: Path, scratch: Path, *, copy: bool = False) -> Twin:
        """Move (or copy) the bundle to a path with spaces and non-ASCII letters; lay out poison."""
        place = scratch / "Programme für Ève" / built.name
        shutil.rmtree(scratch, ignore_errors=True)
        place.parent.mkdir(parents=True)
        if copy:
            shutil.copytree(built, place, symlinks=True)
        else:
            shutil.move(built, place)
        poison = scratch / "poison"
        poison.mkdir()
        for name in ("app", "mlx_gemma4", "numpy", "json", "encodings", "sitecustomize"):
            (poison / f"{name}.py").write_text(_POISON)
        (scratch / "home").mkdir()
        return cls(Bundle(place), scratch)

    def run(
        self,
        *arguments: str | Path,
        window: bool = False,
        blas: bool = True,
        timeout: float = 300,
    ) -> Ran:
        """Start the program from the poisoned folder."""
        command = [str(self.bundle.program), *map(str, arguments)]
        if window and sys.platform != "darwin":
            command = ["xvfb-run", "-a", "-s", "-screen 0 1440x900x24", *command]
        try:
            done = subprocess.run(
                command,
                cwd=self.scratch / "poison",
                env=self._environment(_real_platform() if window else "offscreen", blas=blas),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise PackagingError(
                f"The twin did not end within {timeout:.0f} s: {command}"
            ) from error
        return Ran(done.returncode, done.stdout, done.stderr)

    def probe(self, job: str, *arguments: str | Path, window: bool = False) -> dict[str, Any]:
        """Run packaging/twin_probe.py inside the bundle."""
        script = facts.PACKAGING / "twin_probe.py"
        return self.run("-I", script, job, *arguments, window=window).json()

    def startup(self, data: Path) -> dict[str, Any]:
        """The start up to the first paint, as on a Mac: nothing preloaded."""
        script = facts.PACKAGING / "startup_probe.py"
        return self.run("-I", script, "--data-dir", data, window=True, blas=False).json()

    def _environment(self, platform: str, *, blas: bool) -> dict[str, str]:
        """Everything that could lead the interpreter astray; BLAS for speed as `./run` sets it."""
        poison = str(self.scratch / "poison")
        hostile = {
            "HOME": str(self.scratch / "home"),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C",
            "PYTHONHOME": poison,
            "PYTHONPATH": poison,
            "PYTHONSTARTUP": f"{poison}/json.py",
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPLATLIBDIR": "nowhere",
            "SBK_EMBED": "0",  # Shiboken would unpack files into the bundle
            "QT_PLUGIN_PATH": "",
            "QT_QPA_PLATFORM": platform,
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        library = next(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"), None)
        return hostile | ({"LD_PRELOAD": str(library)} if blas and library else {})


def _real_platform() -> str:
    return "cocoa" if sys.platform == "darwin" else "xcb"


def interpreter(twin: Twin) -> list[Finding]:
    """The interpreter is the bundle's, reads nothing of the user's, writes no byte code."""
    facts_of = twin.probe("where")
    inside = str(twin.bundle.root)
    found = [
        Finding("twin", "interpreter", f"{key} is {facts_of[key]}")
        for key in ("executable", "prefix")
        if not os.path.normpath(facts_of[key]).startswith(inside)
    ]
    foreign = [entry for entry in facts_of["path"] if not _below(entry, inside)]
    found += [
        Finding("twin", "interpreter", f"searches {entry}")
        for entry in foreign
        if entry != str(facts.PACKAGING)
    ]
    if facts_of["bytecode"] or not facts_of["isolated"] or not facts_of["utf8"]:
        found.append(Finding("twin", "interpreter", f"is set up wrongly: {facts_of}"))
    return found


def libraries(twin: Twin, heic: Path) -> tuple[list[Finding], list[str]]:
    """Every library loads and works; also the names of all modules that were loaded."""
    seen = twin.probe("libraries", heic)
    found = []
    total, executable, has_qt, status = seen["child"]
    if (total, has_qt, status) != (45.0, False, 0) or not _below(executable, str(twin.bundle.root)):
        found.append(Finding("twin", "child", f"spawned child: {seen['child']}"))
    width, height, red, green, _ = seen["heic"]
    if (width, height) != (64, 48) or red < 180 or green > 90:
        found.append(Finding("twin", "heic", f"decoded to {seen['heic']}"))
    missing = {"png", "jpeg", "webp", "svg", "gif"} - set(seen["pictures"])
    if missing or not seen["opencv_png"]:
        found.append(Finding("twin", "pictures", f"formats missing: {sorted(missing)}"))
    if seen["opencv_missing"]:
        found.append(Finding("twin", "opencv", f"lacks {', '.join(seen['opencv_missing'])}"))
    if seen["maths"] > 1e-4:
        found.append(Finding("twin", "mlx", f"is off by {seen['maths']} on the CPU"))
    if seen["multimedia"] != [True, True, True]:
        text = f"player, sound decoder, voices: {seen['multimedia']}"
        found.append(Finding("twin", "multimedia", text))
    return found, seen["modules"]


def _below(path: str, folder: str) -> bool:
    return os.path.normpath(path).startswith(folder)
