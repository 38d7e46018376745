"""Gates that look at a whole build: sizes, stale rules, the disk image, what a start loads."""

import os
from pathlib import Path

import pytest
from facet_bundle import archive, dmg_check, gates, twin_app
from facet_bundle.audits import sizes
from facet_bundle.errors import PackagingError
from facet_bundle.layout import Bundle
from facet_bundle.prune import Pruner, Rule, pattern


def hollow(path: Path, size: int) -> Path:
    """A file of that size that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize(("size", "good"), [(sizes.DMG_LIMIT, True), (sizes.DMG_LIMIT + 1, False)])
def test_disk_image_limit(bundle, tmp_path, size, good):
    found = gates.size_limits(bundle, hollow(tmp_path / "Facet.dmg", size))
    assert [finding.where for finding in found] == ([] if good else ["Facet.dmg"])


def test_installed_limit(bundle):
    assert gates.size_limits(bundle, None) == []
    hollow(bundle.resources / "model", sizes.INSTALLED_LIMIT)
    assert [finding.where for finding in gates.size_limits(bundle, None)] == ["Facet.app"]
    verdict = gates.judge(gates.size_limits(bundle, None), preview=False)
    assert verdict.errors


def rule(glob: str) -> Rule:
    return Rule(f"no need for {glob}", [pattern(glob)], [])


def test_a_rule_that_matches_nothing_on_any_platform_is_stale():
    mac, linux = Pruner([rule("a/*"), rule("b/*")]), Pruner([rule("a/*"), rule("b/*")])
    assert mac.drops("a/x", 1)
    assert not linux.drops("c", 1)
    stale = gates.stale_rules(mac, linux)
    assert len(stale) == 1
    assert "b/*" in stale[0].what
    assert linux.drops("b/x", 1)
    assert gates.stale_rules(mac, linux) == []


@pytest.fixture
def image(bundle: Bundle, tmp_path: Path) -> Path:
    (bundle.resources / "folder").mkdir()
    (bundle.resources / "folder" / "link").symlink_to("../Facet.icns")
    (bundle.resources / "Facet.icns").write_bytes(b"icns" * 5000)
    target = tmp_path / "Facet.dmg"
    archive.write_dmg(bundle.root, target, face(tmp_path))
    return target


def face(folder: Path) -> Path:
    """Files where the Finder looks for them."""
    made = folder / "face"
    (made / ".background").mkdir(parents=True, exist_ok=True)
    (made / ".background" / "background.png").write_bytes(b"png")
    (made / ".DS_Store").write_bytes(b"store")
    for path in (*made.rglob("*"), made):
        os.utime(path, (0, 315619200))
    return made


def test_disk_image_holds_the_bundle_and_is_the_same_twice(bundle, image, tmp_path):
    assert dmg_check.compare(image, bundle.root, tmp_path / "unpacked") == []
    again = tmp_path / "again.dmg"
    archive.write_dmg(bundle.root, again, face(tmp_path))
    assert again.read_bytes() == image.read_bytes()


def test_disk_image_without_its_look_is_seen(bundle, tmp_path):
    image = tmp_path / "Facet.dmg"
    archive.write_dmg(bundle.root, image)
    seen = {finding.where for finding in dmg_check.compare(image, bundle.root, tmp_path / "out")}
    assert seen == {".DS_Store", ".background/background.png"}


def test_disk_image_that_differs_from_the_bundle_is_seen(bundle, image, tmp_path):
    program = bundle.program.read_bytes()
    bundle.program.write_bytes(program[:-1] + bytes([program[-1] ^ 1]))
    (bundle.resources / "folder" / "link").unlink()
    (bundle.resources / "late").write_text("came after the image")
    found = dmg_check.compare(image, bundle.root, tmp_path / "unpacked")
    seen = {Path(finding.where).name: finding.what for finding in found}
    assert seen == {"Facet": "changed", "link": "was written", "late": "is gone"}


def test_damaged_disk_image_is_seen(bundle, image, tmp_path):
    data = bytearray(image.read_bytes())
    data[2000] ^= 0xFF
    image.write_bytes(data)
    try:
        found = dmg_check.compare(image, bundle.root, tmp_path / "unpacked")
    except PackagingError:
        return
    assert found


class _Started:
    """A bundle whose start loads what the test says."""

    scratch = Path()

    def __init__(self, **seen: object) -> None:
        self._seen = seen

    def startup(self, data: Path) -> dict[str, object]:
        return self._seen


def first_paint(modules: list[str], uncompiled: list[str]) -> set[str]:
    started = _Started(seconds=0.5, cpu=0.4, modules=modules, uncompiled=uncompiled)
    return {finding.where for finding in twin_app.first_paint(started)}


def test_what_is_loaded_before_the_first_paint_is_held_to():
    assert first_paint(["app.main", "PySide6.QtCore"], ["signature_bootstrap"]) == set()
    assert first_paint(["mlx.core", "cv2", "app"], ["app.main"]) == {"mlx", "cv2", "app.main"}


def test_a_window_that_never_paints_is_seen():
    (finding,) = twin_app.first_paint(_Started(status=3))
    assert "never painted" in finding.what
