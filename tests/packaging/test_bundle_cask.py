"""Homebrew's cask file: read by Ruby, held against the build and against what the app writes."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from facet_bundle import cask, facts, info, products
from facet_bundle.errors import PackagingError

from app.core.paths import APP_NAME

REPOSITORY = "https://example.org/someone/facet"


@pytest.fixture
def dmg(tmp_path: Path) -> Path:
    path = products.Products.below(tmp_path, preview=False).dmg
    path.write_bytes(b"image" * 1000)
    return path


@pytest.fixture
def said(dmg: Path, tmp_path: Path) -> dict:
    written = cask.write(dmg, REPOSITORY, tmp_path / "facet.rb")
    reader = Path(__file__).with_name("cask_reader.rb")
    command = ["ruby", "-w", reader, written]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_version_checksum_and_address_are_those_of_the_image(said, dmg):
    assert said["token"] == "facet"
    assert said["version"] == facts.version()
    assert said["sha256"] == hashlib.sha256(dmg.read_bytes()).hexdigest()
    assert said["url"] == f"{REPOSITORY}/releases/download/v{facts.version()}/{dmg.name}"
    assert said["homepage"] == REPOSITORY


def test_it_installs_where_the_bundle_runs(said):
    assert said["app"] == f"{facts.NAME}.app"
    assert said["depends_on"] == {"arch": facts.ARCHITECTURE, "macos": ">= :sequoia"}
    assert info.info_plist("1")["LSMinimumSystemVersion"].startswith("15.")
    assert said["uninstall"] == {"quit": facts.BUNDLE_ID}


def test_zap_removes_what_the_app_writes_and_nothing_else(said):
    folders = said["zap"]["trash"]
    assert f"~/Library/Application Support/{APP_NAME}" in folders
    assert f"~/Library/Logs/{APP_NAME}" in folders
    assert all(APP_NAME in f or "mlx-gemma4" in f or facts.BUNDLE_ID in f for f in folders)
    assert not any("huggingface" in folder for folder in folders)  # models are other programs' too


def test_description_is_as_homebrew_wants_it(said):
    assert len(said["desc"]) <= 80
    assert not said["desc"].startswith(("A ", "An ", "The ", said["name"]))
    assert not said["desc"].endswith(".")


@pytest.mark.parametrize("address", ["", "http://example.org/a/b", "https://a b", 'https://x/"y'])
def test_an_address_that_is_none_is_refused(dmg, tmp_path, address):
    with pytest.raises(PackagingError, match="address"):
        cask.write(dmg, address, tmp_path / "facet.rb")


@pytest.mark.parametrize("preview", [True, False])
def test_previews_and_other_versions_get_no_cask(tmp_path, preview):
    path = products.Products.below(tmp_path, preview=True).dmg
    path = path if preview else tmp_path / "Facet-99.dmg"
    path.write_bytes(b"x")
    with pytest.raises(PackagingError, match="not the disk image"):
        cask.write(path, REPOSITORY, tmp_path / "facet.rb")
