"""Boxes and points: found, kept on the grid, drawn where they belong."""

import json
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QObject, QPointF, Signal
from PySide6.QtGui import QColor, QGuiApplication, QImage

from app.controllers.play_copies import PlayCopies
from app.core.conversation import Attachment, MediaKind
from app.ui.chat.boxes import Mark, find_marks, is_only_marks, marks_as_json
from app.ui.chat.picture import MarksPanel
from app.ui.chat.row_context import RowContext

FENCED = 'Two:\n```json\n[{"box_2d": [100, 200, 300, 400], "label": "cup"}]\n```\nthat is all'


def test_y_comes_first() -> None:
    assert find_marks(FENCED) == (Mark("cup", 200, 100, 400, 300),)
    assert not is_only_marks(FENCED)


def test_points_and_bare_json() -> None:
    marks = find_marks('{"objects": [{"point": [10, 990], "label": "tip"}]}')
    assert marks == (Mark("tip", 990, 10, 990, 10),)
    assert marks[0].is_point
    assert is_only_marks('[{"point": [10, 990]}]')


def test_original_pixels() -> None:
    assert Mark("", 250, 500, 500, 1000).in_pixels(4000, 3000) == (1000, 1500, 2000, 3000)
    rows = json.loads(marks_as_json((Mark("a", 0, 0, 500, 500), Mark("p", 1, 1, 1, 1)), 2000, 1000))
    assert rows == [{"label": "a", "box": [0, 0, 1000, 500]}, {"label": "p", "point": [2, 1]}]


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        "[1, 2, 3]",
        '[{"box_2d": [1, 2, 3]}]',
        '[{"box_2d": "x"}]',
        '[{"box_2d": [true, 1, 2, 3]}]',
        "[" * 20_000,
        "{" * 100,
    ],
)
def test_other_json_is_left_alone(text: str) -> None:
    assert find_marks(text) == ()


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=4, max_size=4))
def test_marks_stay_on_the_picture(values: list[float]) -> None:
    for mark in find_marks(json.dumps([{"box_2d": values, "label": "x"}])):
        assert 0 <= mark.x0 <= mark.x1 <= 1000
        assert 0 <= mark.y0 <= mark.y1 <= 1000


class OnePicture(QObject):
    ready = Signal(str)
    failed = Signal(str, str)

    def image(self, _attachment, _side):
        image = QImage(400, 200, QImage.Format.Format_RGB32)
        image.fill(QColor("white"))
        return image


@pytest.fixture
def panel(theme, qtbot) -> MarksPanel:
    context = RowContext(
        theme,
        OnePicture(),
        PlayCopies(lambda attachment: Future()),
        lambda m: (1, 1),
        lambda m: None,
        lambda: False,
        lambda m: None,
    )
    attachment = Attachment("hash", "a.png", MediaKind.IMAGE, "image/png", 1, 400, 200)
    marks = (Mark("big", 100, 100, 900, 900), Mark("small", 400, 400, 600, 600))
    made = MarksPanel(context, attachment, marks, 400)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


def test_drawn_at_its_place_and_switched_off(panel, theme) -> None:
    picture = panel.picture
    edge = (40, 100)
    assert QColor(picture.grab().toImage().pixel(*edge)) != QColor("white")
    inside = QColor(picture.grab().toImage().pixel(80, 100))
    assert inside == QColor("white")
    panel.toggle.click()
    assert QColor(picture.grab().toImage().pixel(*edge)) == QColor("white")


def test_the_smallest_mark_under_the_pointer_is_meant(panel) -> None:
    assert panel.picture.mark_at(QPointF(200, 100)) == 1
    assert panel.picture.mark_at(QPointF(60, 40)) == 0
    assert panel.picture.mark_at(QPointF(5, 5)) == -1


def test_copied_as_json_in_pixels(panel) -> None:
    panel.copy_json()
    rows = json.loads(QGuiApplication.clipboard().text())
    assert rows[1] == {"label": "small", "box": [160, 80, 240, 120]}
