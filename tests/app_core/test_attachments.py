"""Attachments: copied in by content, no name ever becomes a path, nothing half is visible."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.conversation import Attachment, MediaKind
from app.core.errors import AppError, ErrorKind
from app.store.attachments import AttachmentStore, safe_suffix


@pytest.fixture
def store(tmp_path: Path) -> AttachmentStore:
    return AttachmentStore(tmp_path / "attachments")


def test_a_file_is_copied_by_content(store, tmp_path: Path) -> None:
    original = tmp_path / "Photo.JPG"
    original.write_bytes(b"pixels" * 1000)
    attachment = store.add_file(original)
    assert attachment.sha256 == hashlib.sha256(b"pixels" * 1000).hexdigest()
    assert (attachment.name, attachment.media_type, attachment.size) == (
        "Photo.JPG",
        "image/jpeg",
        6000,
    )
    original.unlink()
    assert store.path(attachment).read_bytes() == b"pixels" * 1000
    assert store.path(attachment).suffix == ".jpg"
    again = store.add_bytes(b"pixels" * 1000, "other.jpg")
    assert store.path(again) == store.path(attachment)


@given(st.text(max_size=40))
def test_no_name_leaves_the_folder(name: str) -> None:
    store = AttachmentStore.__new__(AttachmentStore)
    store._folder = Path("/data/attachments")
    attachment = Attachment("a" * 64, name, MediaKind.UNKNOWN, "", 0)
    path = store.path(attachment)
    assert path.parent == Path("/data/attachments/aa")
    assert path.name.startswith("a" * 64)
    assert len(path.name) <= 64 + 9


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b.png", "x.sh;rm -rf", "..", ".hidden"])
def test_hostile_names_are_only_words(store, name: str) -> None:
    attachment = store.add_bytes(b"x", name)
    assert "/" not in attachment.name
    assert store._folder in store.path(attachment).parents


def test_a_forged_hash_is_refused(store) -> None:
    good = store.add_bytes(b"x", "a.txt")
    for forged in ("../../x", "A" * 64, "a" * 63, "a" * 64 + "/.."):
        with pytest.raises(ValueError, match="content hash"):
            store.path(replace(good, sha256=forged))


def test_folders_missing_and_unreadable_files_get_words(store, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="is a folder"):
        store.add_file(tmp_path)
    with pytest.raises(AppError, match="is not there"):
        store.add_file(tmp_path / "gone.png")
    assert list(store._folder.iterdir()) == []


def test_a_full_disk_is_noticed_before_copying(store, monkeypatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1000))
    with pytest.raises(AppError) as caught:
        store.add_bytes(b"x" * 10, "a.txt")
    assert caught.value.failure.kind is ErrorKind.DISK_FULL


def test_a_cancelled_copy_leaves_nothing(store, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(bytes(3 << 20))
    with pytest.raises(AppError, match="cancelled"):
        store.add_file(big, cancelled=lambda: True)
    assert list(store._folder.iterdir()) == []


def test_collect_removes_only_old_unused_files(store) -> None:
    used, unused = store.add_bytes(b"used", "a.txt"), store.add_bytes(b"unused", "b.txt")
    (store._folder / "partial-x").write_bytes(b"half")
    assert store.collect({used.sha256}, older_than=3600) == 0
    assert store.collect({used.sha256}, older_than=-1) == len(b"unused") + len(b"half")
    assert store.path(used).exists()
    assert not store.path(unused).exists()


def test_suffixes() -> None:
    cases = {
        "a.PNG": ".png",
        "a.tar.gz": ".gz",
        "a": "",
        "a.": "",
        ".png": "",
        "a.ﬁ": "",
        "a.b c": "",
    }
    assert {name: safe_suffix(name) for name in cases} == cases
