"""Pruning, archives, icon, launcher and Mach-O edits."""

import json
import plistlib
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from conftest import ROOT, make_macho
from facet_bundle import (
    about,
    archive,
    codesign,
    facts,
    icon,
    macho,
    machoedit,
    native,
    packages,
    sbom,
    shiboken,
    udif,
)
from facet_bundle.errors import PackagingError
from facet_bundle.prune import Pruner, pattern


def test_our_folder_does_not_hide_the_packaging_library():
    import packaging.version

    assert packaging.version.Version("1.10") > packaging.version.Version("1.9")
    code = "import packaging.version, packaging; print(packaging.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "site-packages" in shown


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("a/*.so", "a/b.so", True),
        ("a/*.so", "a/b/c.so", False),
        ("a/**", "a/b/c.so", True),
        ("a/**/tests/**", "a/tests/x.py", True),
        ("a/**/tests/**", "a/b/c/tests/x.py", True),
        ("a/**/tests/**", "a/mytests/x.py", False),
        ("a/lib*.[0-9][0-9].dylib", "a/libavcodec.61.dylib", True),
        ("a/lib*.[0-9][0-9].dylib", "a/libavcodec.61.19.101.dylib", False),
        ("a/qt_??.qm", "a/qt_de.qm", True),
        ("a.b", "aXb", False),
    ],
)
def test_prune_patterns(glob, path, matches):
    assert bool(pattern(glob).match(path)) is matches


def test_every_prune_rule_has_a_reason():
    for platform in ("macos", "linux"):
        for rule in Pruner.load(platform).rules:
            assert len(rule.reason) > 15
            assert rule.drop


@pytest.mark.parametrize(
    ("path", "dropped"),
    [
        ("site-packages/PySide6/QtCore.abi3.so", False),
        ("site-packages/PySide6/QtWebEngineCore.abi3.so", True),
        ("site-packages/PySide6/Qt/lib/QtConcurrent.framework/Versions/A/QtConcurrent", False),
        ("site-packages/PySide6/Qt/lib/QtQml.framework/Versions/A/QtQml", True),
        ("site-packages/PySide6/Qt/lib/libavcodec.61.dylib", False),
        ("site-packages/PySide6/Qt/lib/libavcodec.61.19.101.dylib", True),
        ("site-packages/PySide6/Qt/plugins/platforms/libqcocoa.dylib", False),
        ("site-packages/PySide6/Qt/plugins/imageformats/libqmacheif.dylib", False),
        ("site-packages/PySide6/Qt/plugins/imageformats/libqpdf.dylib", True),
        ("site-packages/PySide6/Qt/translations/qtbase_de.qm", False),
        ("site-packages/PySide6/Qt/translations/designer_de.qm", True),
        ("site-packages/transformers/models/gemma/modeling_gemma.py", True),
        ("site-packages/transformers/models/gemma/tokenization_gemma.py", False),
        ("site-packages/mlx/lib/mlx.metallib", False),
        ("site-packages/numpy/tests/test_a.py", True),
        ("site-packages/app/live/tests.py", False),
        ("idlelib/run.py", True),
        ("json/decoder.py", False),
    ],
)
def test_prune_rules_on_the_mac(path, dropped):
    assert Pruner.load("macos").drops(path, 1) is dropped


def small_tree(folder: Path) -> Path:
    root = folder / "Facet.app"
    (root / "Contents" / "A").mkdir(parents=True)
    (root / "Contents" / "A" / "tool").write_bytes(b"#!" + bytes(5000))
    (root / "Contents" / "A" / "tool").chmod(0o755)
    (root / "Contents" / "b.txt").write_text("text" * 999)
    (root / "Contents" / "Current").symlink_to("A")
    return root


def test_zip_is_the_same_twice_and_keeps_modes_and_links(tmp_path):
    archives = []
    for name in ("one", "two"):
        root = small_tree(tmp_path / name)
        target = tmp_path / f"{name}.zip"
        archive.write_zip(root, target)
        archives.append(target)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    out = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-t", archives[0]], check=True, capture_output=True
    )
    with zipfile.ZipFile(archives[0]) as opened:
        modes = {i.filename: i.external_attr >> 16 for i in opened.infolist()}
        opened.extractall(out)
    assert modes["Facet.app/Contents/A/tool"] == 0o100755
    assert modes["Facet.app/Contents/Current"] & 0o170000 == 0o120000
    assert (out / "Facet.app/Contents/b.txt").read_text() == "text" * 999


def test_disk_image_blocks_give_back_the_volume(tmp_path):
    raw = tmp_path / "raw"
    volume = b"start" + bytes(udif.CHUNK * 2) + bytes(range(256)) * 5000 + b"end"
    raw.write_bytes(volume)
    target = tmp_path / "x.dmg"
    udif.compress(raw, target)
    data = target.read_bytes()
    trailer = data[-512:]
    assert trailer[:4] == b"koly"
    list_at, list_length = struct.unpack_from(">QQ", trailer, 216)
    table = plistlib.loads(data[list_at : list_at + list_length])
    block = table["resource-fork"]["blkx"][0]["Data"]
    (count,) = struct.unpack_from(">I", block, 200)
    back = b""
    kinds = set()
    for index in range(count):
        kind, _, _, sectors, offset, length = struct.unpack_from(">IIQQQQ", block, 204 + 40 * index)
        kinds.add(kind)
        stored = data[offset : offset + length]
        if kind == udif.ZLIB:
            back += zlib.decompress(stored)
        elif kind == udif.RAW:
            back += stored
        elif kind == udif.ZERO:
            back += bytes(sectors * 512)
    assert back[: len(volume)] == volume
    assert kinds >= {udif.ZLIB, udif.ZERO, udif.END}
    assert struct.unpack_from(">I", block, 72)[0] == zlib.crc32(back)


def test_icon_holds_every_size(tmp_path):
    from PIL import Image

    svg = tmp_path / "x.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
        '<rect x="2" y="2" width="6" height="6" fill="#4F5BD5"/></svg>'
    )
    target = tmp_path / "x.icns"
    icon.write_icns(svg, target)
    with Image.open(target) as image:
        assert {size[0] * size[2] for size in image.info["sizes"]} >= {32, 64, 256, 512, 1024}
    picture = icon.draw(svg, (100, 100))
    assert picture.getpixel((50, 50)) == (0x4F, 0x5B, 0xD5, 255)
    assert picture.getpixel((2, 2))[3] == 0


def test_install_name_is_rewritten_and_the_signature_renewed(tmp_path):
    path = tmp_path / "lib.dylib"
    old = "/Library/Frameworks/Python.framework/Versions/3.12/Python"
    path.write_bytes(make_macho(install_name=old, loads=("/usr/lib/libSystem.B.dylib",)))
    assert machoedit.rename(path, {old: "@rpath/libpython3.12.dylib"})
    data = path.read_bytes()
    image = macho.parse(data)
    assert image.install_name == "@rpath/libpython3.12.dylib"
    assert [d.name for d in image.dependencies] == ["/usr/lib/libSystem.B.dylib"]
    assert codesign.findings(data, image) == []
    assert not machoedit.rename(path, {"not there": "x"})
    with pytest.raises(macho.MachOError, match="fit"):
        machoedit.rename(path, {"@rpath/libpython3.12.dylib": "x" * 200})


def test_thin_keeps_only_apple_silicon(tmp_path):
    arm, intel = make_macho(exports=("_arm",)), make_macho(cpu=0x01000007)
    path = tmp_path / "fat.dylib"
    head = struct.pack(">II", 0xCAFEBABE, 2)
    head += struct.pack(">5I", 0x01000007, 0, 4096, len(intel), 12)
    head += struct.pack(">5I", 0x0100000C, 0, 65536, len(arm), 12)
    path.write_bytes((head.ljust(4096, b"\0") + intel).ljust(65536, b"\0") + arm)
    machoedit.thin(path)
    assert path.read_bytes() == arm
    machoedit.thin(path)
    assert path.read_bytes() == arm


def test_frameworks_get_their_links(tmp_path):
    framework = tmp_path / "PySide6/Qt/lib/QtCore.framework"
    (framework / "Versions/A/Resources").mkdir(parents=True)
    (framework / "Versions/A/QtCore").write_bytes(b"code")
    (framework / "Resources").mkdir()
    assert native.repair_frameworks(tmp_path) == 1
    assert (framework / "QtCore").read_bytes() == b"code"
    assert (framework / "Resources").resolve() == framework / "Versions/A/Resources"


def test_shibokens_python_part_is_laid_beside_it_unchanged(tmp_path):
    import shutil
    import sys

    import shiboken6

    source = Path(shiboken6.__file__).parent
    library = next(source.glob("libshiboken6.abi3*"))
    (tmp_path / "shiboken6").mkdir()
    shutil.copy(library, tmp_path / "shiboken6")
    laid = shiboken.lay_support(tmp_path)
    loader = sys.modules["shibokensupport"].__loader__  # this process runs the embedded ones
    for path in laid:
        name = path.relative_to(tmp_path / "shiboken6" / shiboken.FOLDER).as_posix()
        assert path.read_bytes() == loader.zfile.read(name), name
    assert len(laid) == sum(n.endswith(".py") for n in loader.zfile.namelist()) - 1


def test_a_shiboken_of_another_build_is_refused(tmp_path):
    (tmp_path / "shiboken6").mkdir()
    library = tmp_path / "shiboken6" / "libshiboken6.abi3.so.9.0"
    assert shiboken.lay_support(tmp_path / "elsewhere") == []
    for data in (b"no archive", b"\0UEsDBAAA\0rest"):
        library.write_bytes(data)
        with pytest.raises(PackagingError, match="Python part"):
            shiboken.lay_support(tmp_path)


def test_launcher_and_encoder_stand_in_compile_without_warnings(tmp_path):
    import sysconfig

    include = sysconfig.get_path("include")
    launcher = facts.PACKAGING / "launcher.c"
    flags = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *flags, f"-I{include}", launcher], check=True)
    absent = facts.PACKAGING / "x265_absent.c"
    library = tmp_path / "libx265.so"
    define = "-DX265_API_GET=x265_api_get_217"
    subprocess.run(["cc", "-shared", "-fPIC", define, absent, "-o", library], check=True)
    import ctypes

    loaded = ctypes.CDLL(str(library))
    loaded.x265_api_get_217.restype = ctypes.c_void_p
    assert loaded.x265_api_get_217(8) is None


def test_bill_of_materials_is_stable_and_complete(tmp_path):
    folder = tmp_path / "thing-2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: Thing_X\nVersion: 2\nLicense: MIT\n"
    )
    extra = about.load_extra()["component"]
    text = sbom.document(tmp_path, extra)
    assert text == sbom.document(tmp_path, extra)
    names = {c.get("purl", c["name"]) for c in json.loads(text)["components"]}
    assert "pkg:pypi/thing-x@2" in names
    assert "PortAudio" in names


def test_extra_licence_texts_exist_and_name_locked_packages():
    locked = (ROOT / "requirements.lock").read_text()
    extra = about.load_extra()
    for entry in extra["missing"]:
        for name in entry["packages"]:
            assert f"\n{name}==" in locked, name
        for text in entry["texts"]:
            assert (facts.PACKAGING / "licences" / text).is_file()
    for component in extra["component"]:
        for text in component["texts"]:
            assert (facts.PACKAGING / "licences" / text).is_file()


def test_package_reader_falls_back_to_classifiers(tmp_path):
    folder = tmp_path / "a-1.dist-info"
    (folder / "licenses").mkdir(parents=True)
    (folder / "licenses" / "TEXT").write_text("MIT")
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: a\nVersion: 1\n"
        "Classifier: License :: OSI Approved :: MIT License\n"
        "Project-URL: Source, https://example.org/a\n"
    )
    (package,) = packages.installed(tmp_path)
    assert package.licence == "MIT License"
    assert package.homepage == "https://example.org/a"
    assert [path.name for path in package.licence_files()] == ["TEXT"]


def test_archives_made_at_the_same_time_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    from facet_bundle import products

    made = products.Products.below(tmp_path, preview=True)
    assert "NOT-FOR-REDISTRIBUTION" in made.dmg.name
    assert "NOT-FOR-REDISTRIBUTION" in made.zip.name
    seen = []
    original = Path.replace

    def replace(self, target):
        seen.append(self.name)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    archive.write_zip(small_tree(tmp_path), made.zip)
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(4096))
    udif.compress(raw, made.dmg)
    assert len(set(seen)) == 2
