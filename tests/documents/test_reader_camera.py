"""Photographing pages: from the permission to the text, with a film in place of the camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QSize, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.live.access import Access, Capture
from app.live.clock import SystemClock
from app.services.camera import CameraError
from app.services.document_camera import open_page_camera, save_photographs, sharpest_format
from tests.documents import reader_files
from tests.documents.conftest import PAGES
from tests.documents.test_reader_page import Show
from tests.live.fakes import FakeCamera, FakePermissions


def film(path: Path, photo: Path) -> Path:
    """A short film of a page on a table."""
    picture = cv2.imread(str(photo))
    height, width = picture.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for _ in range(5):
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture
def show(qapp: QApplication, tmp_path: Path) -> Iterator[Show]:
    made = Show(tmp_path)
    made.camera = made.page._photographs
    made.camera._permissions = FakePermissions()
    yield made
    made.window.close()
    made.camera.end()
    made.app.close()


def test_pages_are_taken_straightened_and_read(show: Show, tmp_path: Path) -> None:
    source = film(tmp_path / "page.mp4", reader_files.photo(tmp_path / "photo.jpg"))
    show.app.state.settings.set("camera", str(source))
    view = show.page.camera
    show.page.list.photograph_button.click()
    assert show.page.stack.currentWidget() is view
    show.wait(lambda: view.shutter.isEnabled())
    show.wait(lambda: show.camera.outline is not None)
    assert "page is found" in view.hint.text()
    # The photo is 1,100 by 1,400 pixels; live mode's cameras would hand on 1,280.
    assert show.camera.newest_frame().rgb.shape == (1400, 1100, 3)
    QTest.keyClick(view, Qt.Key.Key_Space)
    view.shutter.click()
    QTest.keyClick(view, Qt.Key.Key_Space)
    assert view.read.text() == "Read 3 pages"
    QTest.keyClick(view, Qt.Key.Key_Backspace)
    assert view.read.text() == "Read 2 pages"
    QTest.keyClick(view, Qt.Key.Key_Return)
    show.wait(lambda: show.documents.current is not None)
    document = show.documents.current
    show.wait(lambda: document.opened and not document.wanted and not document.live)
    assert [page.text for page in document.pages] == list(PAGES[:2])
    assert document.record.name.startswith("Photographed ")
    # Straightened like any photo of a page; the camera went off with its view.
    show.wait(lambda: show.page.reader.picture._image is not None)
    assert show.page.stack.currentWidget() is show.page.reader
    assert not show.camera.on
    assert not show.camera.shots
    # The picture is the app's own: it goes with its document.
    path = Path(document.record.path)
    assert path.is_file()
    show.documents.delete(document.record.id)
    assert not path.exists()


def test_one_page_is_kept_as_the_jpeg_it_was_taken_as(tmp_path: Path) -> None:
    one = reader_files.photo(tmp_path / "one.jpg").read_bytes()
    path = save_photographs([one], tmp_path / "own", "a")
    assert path.read_bytes() == one
    several = save_photographs([one] * 3, tmp_path / "own", "b")
    with Image.open(several) as pages:
        assert (pages.format, pages.n_frames, pages.size) == ("TIFF", 3, (1100, 1400))
    assert {each.name for each in (tmp_path / "own").iterdir()} == {"a.jpg", "b.tiff"}


def test_a_denied_camera_says_the_way_out(show: Show) -> None:
    permissions = show.camera._permissions = FakePermissions(camera=Access.DENIED)
    show.page.photograph()
    panel = show.page.camera.preview.panel
    assert panel.title == "No access to the camera"
    assert "dropped or pasted" in panel._text.text()
    assert not show.page.camera.shutter.isVisibleTo(show.page)
    panel._button.click()
    assert permissions.opened == [Capture.CAMERA]
    # Allowed in the settings meanwhile: looking again is enough.
    permissions.states[Capture.CAMERA] = Access.GRANTED
    show.camera._make_camera = lambda _clock: FakeCamera()
    show.camera.look_again()
    assert show.camera.on
    assert panel.title == ""


def test_the_first_time_the_system_asks(show: Show) -> None:
    permissions = show.camera._permissions = FakePermissions(camera=Access.NOT_ASKED)
    show.camera._make_camera = lambda _clock: FakeCamera()
    answers = []
    permissions.request = lambda _capture, answer: answers.append(answer)
    show.page.photograph()
    assert not show.camera.on
    # The person went away before answering: nothing is switched on behind their back.
    QTest.keyClick(show.page.camera, Qt.Key.Key_Escape)
    assert show.page.stack.currentWidget() is show.page.list
    answers[0](Access.GRANTED)
    assert not show.camera.on
    show.page.photograph()
    answers[1](Access.GRANTED)
    assert show.camera.on


def test_no_camera_and_a_lost_one(show: Show) -> None:
    show.camera._make_camera = lambda _clock: FakeCamera(Access.NO_DEVICE)
    show.page.photograph()
    panel = show.page.camera.preview.panel
    assert panel.title == "No camera"
    plugged = FakeCamera(picture=np.full((60, 80, 3), 200, np.uint8))
    show.camera._make_camera = lambda _clock: plugged
    show.camera.look_again()
    assert panel.title == ""
    plugged.sink(plugged.picture, 1.0)
    assert show.camera.take()
    plugged.lost = Access.LOST
    show.wait(lambda: panel.title == "The camera is gone")
    # What was taken is not lost with it, nor by looking at another page of the window.
    show.window.show_page("chat")
    assert not show.camera.on
    show.window.show_page("documents")
    assert show.page.camera.read.text() == "Read 1 page"
    assert show.camera.on


def test_a_camera_gives_its_sharpest_usable_format() -> None:
    class Format:
        def __init__(self, width: int, height: int, rate: float) -> None:
            self.width, self.height, self.rate = width, height, rate

        def resolution(self) -> QSize:
            return QSize(self.width, self.height)

        def maxFrameRate(self) -> float:
            return self.rate

    small, hd, slow = Format(640, 480, 30), Format(1920, 1080, 30), Format(1920, 1080, 15)
    still, huge = Format(4032, 3024, 1), Format(8064, 6048, 30)
    assert sharpest_format([small, slow, hd, still, huge]) is hd
    assert sharpest_format([still]) is None


def test_a_camera_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as problem:
        open_page_camera(SystemClock(), "")
    assert problem.value.access is Access.NO_DEVICE
