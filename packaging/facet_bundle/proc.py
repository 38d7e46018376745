"""Runs a child program and turns a failure into one clear error."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from facet_bundle.errors import PackagingError


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 900,
) -> str:
    """Standard output of `command`; if it fails, `PackagingError` with its last lines."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, timeout=timeout, text=True, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise PackagingError(
            f"{words[0]} is not installed; packaging/README.md lists it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise PackagingError(f"{words[0]} did not finish within {timeout:.0f} s.") from error
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise PackagingError(f"{' '.join(words[:4])} failed with status {done.returncode}:\n{tail}")
    return done.stdout
