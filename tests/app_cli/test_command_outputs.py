"""What a command writes takes the place of nothing but its own output."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from app.cli.outputs import RECORD, Outputs
from app.core.errors import AppError


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with a document that is read, as the working folder."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "page.md").write_text("the document")
    return folder


def write(
    desk: Path, out: Path, text: str, *, name: str = "page.md", command: str = "read", read=()
) -> list[str]:
    """Read page.md (and `read`) in a run of its own; names of what was written."""
    outputs = Outputs(out, desk.parent / RECORD)
    source = desk / "page.md"
    outputs.inputs([source, *read])
    with outputs.draft(source, command) as draft:
        (draft.folder / name).write_text(text)
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []
    return [placed.path.name for placed in draft.placed]


def test_the_source_is_not_replaced_whatever_its_folder_is_called(desk):
    link = desk.parent / "link"
    link.symlink_to(desk)
    for out in (desk, link, desk / ".." / "desk"):
        # The same place each time, so the same command replaces its own output.
        assert write(desk, out, f"read into {out}") == ["page (read).md"]
        assert (desk / "page (read).md").read_text() == f"read into {out}"
    assert (desk / "page.md").read_text() == "the document"


def test_a_second_name_of_the_source_is_the_source(desk):
    # As on a file system that takes Page.MD and page.md for one file.
    out = desk / "out"
    out.mkdir()
    os.link(desk / "page.md", out / "page.md")
    assert write(desk, out, "read") == ["page (read).md"]
    assert (desk / "page.md").read_text() == "the document"


def test_another_file_of_the_same_run_is_not_replaced(desk):
    other = desk / "page.txt"
    other.write_text("read as well")
    assert write(desk, desk, "made", name="page.txt", read=[other]) == ["page (read).txt"]
    assert other.read_text() == "read as well"


def test_files_of_others_stay_and_the_message_says_so(desk):
    out = desk / "out"
    out.mkdir()
    (out / "page.docx").write_text("precious")
    (out / "page (2).docx").symlink_to("nowhere")
    outputs = Outputs(out, desk.parent / RECORD)
    with outputs.draft(desk / "page.md", "read") as draft:
        (draft.folder / "page.docx").write_text("made")
    (placed,) = draft.placed
    assert str(placed) == (
        f"written to {out / 'page (3).docx'}, because page.docx was there already"
    )
    assert (out / "page.docx").read_text() == "precious"
    assert (out / "page (2).docx").is_symlink()
    assert placed.path.read_text() == "made"


def test_the_same_command_replaces_its_output_until_somebody_edits_it(desk):
    out = desk / "out"
    assert write(desk, out, "first") == ["page.md"]
    assert write(desk, out, "second") == ["page.md"]
    assert write(desk, out, "other pages", command="--pages 2") == ["page (2).md"]
    assert write(desk, out, "third") == ["page.md"]
    assert write(desk, out, "other pages again", command="--pages 2") == ["page (2).md"]
    (out / "page.md").write_text("third, corrected by hand")
    assert write(desk, out, "fourth") == ["page (3).md"]
    assert (out / "page.md").read_text() == "third, corrected by hand"
    assert (out / "page (2).md").read_text() == "other pages again"


def test_without_its_record_nothing_is_replaced(desk):
    out = desk / "out"
    write(desk, out, "first")
    (desk.parent / RECORD).write_bytes(b"\xff{\n[1]\n{}\n")
    assert write(desk, out, "second") == ["page (2).md"]
    assert write(desk, out, "third") == ["page (2).md"]


def test_two_runs_at_the_same_time_take_two_names(desk):
    out, together = desk / "out", threading.Barrier(8)
    names: list[str] = []

    def run(number: int) -> None:
        together.wait(30)
        names.extend(write_beside(desk, out, str(number)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(names)) == 8
    assert sorted(path.read_text() for path in out.glob("*.md")) == list("01234567")


def write_beside(desk: Path, out: Path, text: str) -> list[str]:
    """`write` of a command that has no record, while others write."""
    outputs = Outputs(out, desk.parent / f"record-{text}")
    with outputs.draft(desk / "page.md", "read") as draft:
        (draft.folder / "page.md").write_text(text)
    return [placed.path.name for placed in draft.placed]


def test_what_an_earlier_run_made_is_not_read_with_its_source(desk):
    write(desk, desk, "made")
    made = desk / "page (read).md"
    outputs = Outputs(desk, desk.parent / RECORD)
    assert outputs.inputs([made, desk / "page.md"]) == [desk / "page.md"]
    assert outputs.inputs([made, desk / "page.md"], named=[made]) == [made, desk / "page.md"]
    assert outputs.inputs([made]) == [made]
    # Named as well, it is a document like any other.
    assert write(desk, desk, "again", read=[made]) == ["page (read).md"]
    made.write_text("edited")
    assert outputs.inputs([made, desk / "page.md"]) == [made, desk / "page.md"]


def test_what_fails_leaves_nothing_behind(desk):
    out = desk / "out"
    outputs = Outputs(out, desk.parent / RECORD)

    def fill_the_disk() -> None:
        with outputs.draft(desk / "page.md", "read") as draft:
            (draft.folder / "page.md").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(AppError, match="cannot be written to .*: No space left on device"):
        fill_the_disk()
    assert list(out.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused_before_reading(desk):
    for out in (desk / "page.md", desk / "page.md" / "below"):
        with pytest.raises(AppError, match="names a file"):
            Outputs(out, desk.parent / RECORD).check()
    Outputs(desk / "new" / "folder", desk.parent / RECORD).check()
    assert not (desk / "new").exists()


def test_the_record_forgets_the_oldest(desk, monkeypatch):
    monkeypatch.setattr("app.cli.outputs._RECORD_BYTES", 2000)
    record, out = desk.parent / RECORD, desk / "out"
    for number in range(40):
        write(desk, out, "made", command=str(number))
    assert record.stat().st_size < 3000
    assert write(desk, out, "made", command="39") == ["page (40).md"]
