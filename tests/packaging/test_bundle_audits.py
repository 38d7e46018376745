"""Every audit accepts a sound bundle and sees the damage it is for."""

import plistlib
import struct
from pathlib import Path

import pytest
from conftest import make_macho
from facet_bundle import facts, gates, info
from facet_bundle.audits import contents, images, modules, sealed
from facet_bundle.audits.finding import Finding
from facet_bundle.layout import Bundle


def image_findings(bundle: Bundle) -> list[Finding]:
    loaded = images.ImageSet.read(bundle.root, bundle.program)
    checks = (
        images.architecture,
        images.oldest_system,
        images.signatures,
        images.links,
        images.symbols,
    )
    return [finding for check in checks for finding in check(loaded)]


def audits(found: list[Finding]) -> set[str]:
    return {finding.audit for finding in found}


def test_a_sound_bundle_has_no_findings(bundle):
    assert image_findings(bundle) == []
    assert contents.plist(bundle) == []
    assert contents.mlx(bundle) == []
    assert contents.permission_plugins(bundle) == []
    assert contents.gpl(bundle) == []
    assert contents.paths(bundle) == []


@pytest.mark.parametrize("position", [40, 5000, -60])
def test_one_flipped_bit_is_seen(bundle, position):
    library = bundle.frameworks / "libpython3.12.dylib"
    data = bytearray(library.read_bytes())
    if position == -60:  # inside the code directory's own hashes
        position = len(data) - 60
    data[position] ^= 1
    library.write_bytes(data)
    assert "signature" in audits(image_findings(bundle))


def test_missing_library_is_seen(bundle):
    (bundle.frameworks / "libpython3.12.dylib").unlink()
    assert "links" in audits(image_findings(bundle))


def test_library_outside_the_bundle_is_not_accepted(bundle, tmp_path):
    inside = bundle.site / "mlx" / "lib" / "libmlx.dylib"
    outside = tmp_path / "libmlx.dylib"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert "links" in audits(image_findings(bundle))
    assert "paths" in audits(contents.paths(bundle))


def test_path_of_the_build_machine_is_seen(bundle):
    bundle.program.write_bytes(make_macho(loads=("/opt/homebrew/lib/libx.dylib",)))
    assert "links" in audits(image_findings(bundle))


def test_library_that_lacks_a_symbol_is_seen(bundle):
    path = bundle.site / "mlx" / "lib" / "libmlx.dylib"
    path.write_bytes(make_macho(install_name="@rpath/libmlx.dylib", exports=("_mlx_old",)))
    found = image_findings(bundle)
    assert [f for f in found if f.audit == "symbols" and "_mlx_add" in f.what]


def test_flat_lookup_of_a_python_symbol_is_checked(bundle):
    path = bundle.site / "ext.abi3.so"
    path.write_bytes(make_macho(imports=(("_PyNoSuch", 0xFE), ("_malloc", 0xFE))))
    (finding,) = image_findings(bundle)
    assert "1 symbols" in finding.what
    assert "_PyNoSuch" in finding.what


@pytest.mark.parametrize(("version", "good"), [((14, 0), True), ((15, 0), True), ((15, 1), False)])
def test_minimum_system(bundle, version, good):
    (bundle.site / "x.so").write_bytes(make_macho(minimum_os=version))
    assert ("minimum-os" not in audits(image_findings(bundle))) is good


def test_intel_code_is_seen_alone_and_in_a_universal_file(bundle):
    arm, intel = make_macho(), make_macho(cpu=0x01000007)
    (bundle.site / "x.so").write_bytes(intel)
    assert "architecture" in audits(image_findings(bundle))
    head = struct.pack(">II", 0xCAFEBABE, 2)
    first = 4096
    head += struct.pack(">5I", 0x0100000C, 0, first, len(arm), 12)
    head += struct.pack(">5I", 0x01000007, 0, first + 65536, len(intel), 12)
    data = bytearray(first + 65536 + len(intel))
    data[: len(head)] = head
    data[first : first + len(arm)] = arm
    data[first + 65536 :] = intel
    (bundle.site / "x.so").write_bytes(data)
    assert "architecture" in audits(image_findings(bundle))


@pytest.mark.parametrize("key", ["NSMicrophoneUsageDescription", "NSCameraUsageDescription"])
def test_missing_usage_string_is_seen(bundle, key):
    path = bundle.contents / "Info.plist"
    keys = plistlib.loads(path.read_bytes())
    del keys[key]
    path.write_bytes(plistlib.dumps(keys))
    assert [f for f in contents.plist(bundle) if key in f.what]


def test_boolean_written_as_text_is_seen(bundle):
    path = bundle.contents / "Info.plist"
    keys = plistlib.loads(path.read_bytes()) | {"NSHighResolutionCapable": "True"}
    path.write_bytes(plistlib.dumps(keys))
    assert contents.plist(bundle)


def test_plist_says_what_was_decided(bundle):
    keys = plistlib.loads((bundle.contents / "Info.plist").read_bytes())
    assert keys["CFBundleIdentifier"] == "app.facet.desktop"
    assert keys["LSMinimumSystemVersion"] == "15.0"
    assert keys["CFBundleShortVersionString"] == facts.version()
    kinds = {
        kind for entry in keys["CFBundleDocumentTypes"] for kind in entry["LSItemContentTypes"]
    }
    assert {"public.image", "com.adobe.pdf", "public.audio", "public.movie"} <= kinds
    assert {entry["LSHandlerRank"] for entry in keys["CFBundleDocumentTypes"]} == {"Alternate"}


@pytest.mark.parametrize(
    "change",
    [
        {"com.apple.security.get-task-allow": True},
        {"com.apple.security.device.audio-input": False},
        {"com.apple.security.device.microphone": True},
    ],
)
def test_entitlements_are_exact(tmp_path, change):
    path = tmp_path / "entitlements.plist"
    assert gates.entitlements(path) == []
    path.write_bytes(plistlib.dumps(info.ENTITLEMENTS | change))
    assert contents.entitlements(path)


def test_wrong_mlx_wheel_metallib_and_version_are_seen(bundle):
    (bundle.site / "mlx_metal-0.32.4.dist-info" / "WHEEL").write_text(
        "Tag: py3-none-macosx_26_0_arm64\n"
    )
    assert contents.mlx(bundle)
    (bundle.site / "mlx_metal-0.32.4.dist-info" / "WHEEL").write_text(
        f"Tag: x-{facts.MLX_WHEEL_TAG}\n"
    )
    assert not contents.mlx(bundle)
    (bundle.site / "mlx" / "lib" / "mlx.metallib").unlink()
    assert [f for f in contents.mlx(bundle) if "metallib" in f.where]
    library = bundle.site / "mlx" / "lib" / "libmlx.dylib"
    library.write_bytes(library.read_bytes().replace(b"0.32.4", b"0.31.2"))
    assert [f for f in contents.mlx(bundle) if "not version" in f.what]


def test_missing_permission_plugin_is_seen(bundle):
    (bundle.site / "PySide6" / "QtCore.abi3.so").write_bytes(b"QDarwinCameraPermissionPlugin")
    assert [f for f in contents.permission_plugins(bundle) if "Microphone" in f.what]


@pytest.mark.parametrize(
    ("name", "text", "is_gpl"),
    [
        ("libinnocent.dylib", b"configuration: --enable-gpl --enable-shared", True),
        ("libavcodec.dylib", b"libavcodec license: GPL version 3 or later", True),
        ("libavcodec.dylib", b"libavcodec license: LGPL version 2.1 or later", False),
        ("libh264.dylib", b"x264 - core 164 r3108", True),
        ("libh264.dylib", b"x264 - core 0000", False),
        ("libx264.164.dylib", bytes(200_000), True),
        ("libx265.217.dylib", bytes(200_000), True),
        ("libx265.217.dylib", b"two functions only", False),
        ("librubberband.3.dylib", b"", True),
        ("libpng16.16.dylib", b"PNG", False),
    ],
)
def test_gpl_library(bundle, name, text, is_gpl):
    (bundle.frameworks / name).write_bytes(text)
    assert bool(contents.gpl(bundle)) is is_gpl


def test_gpl_package_is_seen_and_a_choice_is_not(bundle):
    folder = bundle.site / "thing-1.dist-info"
    folder.mkdir()
    metadata = "Metadata-Version: 2.4\nName: thing\nVersion: 1\nLicense-Expression: {}\n"
    for licence, is_gpl in (
        ("GPL-3.0-only", True),
        ("LGPL-3.0-only OR GPL-3.0-only", False),
        ("LGPL-2.1-or-later", False),
        ("AGPL-3.0", False),
    ):
        (folder / "METADATA").write_text(metadata.format(licence))
        assert bool(contents.gpl(bundle)) is (is_gpl or licence.startswith("AGPL")), licence


def test_names_that_differ_in_case_are_seen(bundle):
    (bundle.resources / "Read.txt").write_text("a")
    (bundle.resources / "read.txt").write_text("b")
    assert [f for f in contents.paths(bundle) if "case" in f.what]


def test_missing_module_is_seen(bundle):
    own = bundle.site / "app"
    own.mkdir()
    (own / "__init__.py").write_text("")
    (own / "late.py").write_text("def f():\n    import gone.deep\n")
    (own / "optional.py").write_text(
        "try:\n    import maybe\nexcept ImportError:\n    maybe = None\n"
    )
    (own / "helper.py").write_text("import helper_package\n")
    package = bundle.site / "helper_package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import part\nfrom .lost import thing\n")
    (package / "part.py").write_text("")
    found = modules.own_imports(bundle, modules.ModuleTree(bundle))
    assert {f.what.split()[1] for f in found} == {"gone.deep,", "helper_package.lost,"}


def test_traced_modules_are_looked_up(bundle):
    tree = modules.ModuleTree(bundle)
    assert modules.traced(["mlx.core", "os.path", "sys"], tree) == []
    assert [f.where for f in modules.traced(["mlx.gone"], tree)] == ["mlx.gone"]


def test_anything_written_removed_or_changed_is_seen(bundle):
    before = sealed.manifest(bundle.root)
    assert sealed.differences(before, sealed.manifest(bundle.root)) == []
    (bundle.site / "__pycache__").mkdir()
    (bundle.site / "__pycache__" / "x.pyc").write_bytes(b"x")
    (bundle.site / "mlx" / "lib" / "mlx.metallib").write_bytes(b"other")
    bundle.program.chmod(0o700)
    (bundle.contents / "PkgInfo").unlink()
    what = {f.what for f in sealed.differences(before, sealed.manifest(bundle.root))}
    assert what == {"was written", "changed", "is gone"}
    assert len(sealed.differences(before, sealed.manifest(bundle.root))) == 4


def test_only_a_preview_may_hold_gpl_code():
    found = [Finding("gpl", "a", "b"), Finding("size", "a", "b")]
    assert gates.judge(found, preview=False).errors == sorted(found)
    assert gates.judge(found, preview=True).errors == []
    assert gates.judge([Finding("links", "a", "b")], preview=True).errors


def test_image_reader_survives_random_bytes(tmp_path: Path):
    import random

    from facet_bundle import macho

    chooser = random.Random(7)
    sound = bytearray(make_macho(loads=("@rpath/a.dylib",), exports=("_a",)))
    for _ in range(300):
        broken = bytearray(sound)
        for _ in range(3):
            broken[chooser.randrange(4, 400)] = chooser.randrange(256)
        try:
            image = macho.parse(bytes(broken))
            macho.imports(bytes(broken), image)
        except (macho.MachOError, struct.error, ValueError, IndexError):
            continue
