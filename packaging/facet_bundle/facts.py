"""What the bundle is called, what it runs on and where its version comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path

NAME = "Facet"
BUNDLE_ID = "app.facet.desktop"
RUN_MODULE = "app"
OWN_PACKAGES = ("app", "mlx_gemma4")
PYTHON = "3.12"
FLOOR = (15, 0)
ARCHITECTURE = "arm64"
MLX_WHEEL_TAG = "macosx_15_0_arm64"
# 1980-01-01 is the oldest date a zip can hold; 315619200 is its second day in every time zone.
FIXED_TIME = 315619200

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"


def version() -> str:
    """The one version number, from pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def feed() -> str:
    """Address of the release feed the app may ask for new versions; empty: it never asks."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["tool"]["facet"]["update-feed"])


def floor_text() -> str:
    """The oldest macOS that runs the bundle, as Apple writes it."""
    return ".".join(map(str, FLOOR))


def python_tag() -> str:
    """The short form in extension file names: 312."""
    return PYTHON.replace(".", "")
