"""What a drop will do is said before it happens, with the number of pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent
from PySide6.QtWidgets import QApplication

from app.controllers.document_drop import MOST_COUNTED, DropCount
from app.ui.drop import counted_words
from tests.documents import reader_files
from tests.documents.test_reader_page import Show


@pytest.fixture
def show(qapp: QApplication, tmp_path: Path) -> Iterator[Show]:
    made = Show(tmp_path)
    yield made
    made.window.close()
    made.app.close()


def hold(show: Show, *paths: Path) -> None:
    """Files are held over the window."""
    data = show.held = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDragEnterEvent(
        QPoint(300, 300),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(show.window, event)


def says(show: Show, words: str) -> None:
    show.wait(lambda: show.window.overlay.words == words)
    QApplication.sendEvent(show.window, QDragLeaveEvent())
    assert not show.window.overlay.isVisible()


def test_pages_are_counted_while_files_are_held(show: Show, tmp_path: Path) -> None:
    folder = tmp_path / "Papers"
    folder.mkdir()
    lease = reader_files.printed(folder / "Lease.pdf", 12)
    locked = reader_files.printed(tmp_path / "Secret.pdf", 2, "pw")
    photo = reader_files.photo(folder / "photo.jpg")
    (folder / "notes.txt").write_text("Buy milk.")
    (tmp_path / "rubbish.bin").write_bytes(bytes(range(256)) * 10)
    hold(show, lease)
    assert show.window.overlay.words == "Read Lease.pdf"
    says(show, "Read 12 pages")
    hold(show, folder)
    says(show, "Read 13 pages of 2 files and the text of 1 file")
    hold(show, locked)
    says(show, "Open Secret.pdf with its password")
    hold(show, lease, photo, locked, tmp_path / "rubbish.bin")
    assert show.window.overlay.words == "Read 4 files"
    says(show, "Read 13 pages of 2 files · 1 asks for a password · 1 cannot be read")
    # In a chat too, where a document's text goes into the message; pictures are shown there.
    show.window.show_page("chat")
    hold(show, lease)
    says(show, "Read 12 pages")
    hold(show, folder)
    assert show.window.overlay.words == "Read Papers"
    says(show, "Read 13 pages of 2 files and the text of 1 file")
    hold(show, photo)
    assert show.window.overlay.words.startswith("Show this picture")


def test_a_drag_that_left_is_not_counted_on(show: Show, tmp_path: Path) -> None:
    long, short = (reader_files.printed(tmp_path / f"{pages}.pdf", pages) for pages in (9, 2))
    hold(show, long)
    QApplication.sendEvent(show.window, QDragLeaveEvent())
    hold(show, short)
    says(show, "Read 2 pages")


def test_words_of_every_count() -> None:
    def words(paths: list[str], **count: int) -> str:
        return counted_words(paths, DropCount(**count))

    assert words(["/a.pdf"], paged=1, pages=1) == "Read 1 page"
    assert words(["/a.docx"], texts=1) == "Read the text of a.docx"
    assert words(["/a.bin"], refused=1) == "a.bin cannot be read"
    assert words(["/folder"]) == "There is no document in this folder."
    assert words(["/folder"], uncounted=MOST_COUNTED + 1) == "Read 201 files"
    assert words(["/a", "/b"], locked=2) == "2 ask for a password"
    assert words(["/a", "/b"], paged=2, pages=1234) == "Read 1,234 pages of 2 files"
