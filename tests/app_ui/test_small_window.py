"""The smallest window with text at 200 %: nothing is cut, nothing lies outside of the page."""

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget

from app.pages import add_documents_page, add_live_page
from app.ui.main_window import MIN_SIZE
from app.ui.widgets.labels import ElidedLabel


def cut(page: QWidget) -> list[str]:
    """The words and buttons one cannot see whole across, or at their own height."""
    found = []
    for widget in page.findChildren(QAbstractButton) + page.findChildren(QLabel):
        if not widget.isVisible():
            continue
        left = widget.mapTo(page, QPoint(0, 0)).x()
        outside = left < 0 or left + widget.width() > page.width()
        narrow = isinstance(widget, QAbstractButton) and widget.width() < min_width(widget)
        low = isinstance(widget, QLabel) and widget.height() < label_height(widget)
        if outside or narrow or low:
            found.append(f"{widget.accessibleName() or widget.text()} {widget.geometry()}")
    return found


def min_width(button: QAbstractButton) -> int:
    return button.minimumSizeHint().width()


def label_height(label: QLabel) -> int:
    wraps = label.wordWrap() and not isinstance(label, ElidedLabel)
    return label.heightForWidth(label.width()) if wraps else label.minimumSizeHint().height()


@pytest.mark.parametrize("key", ["live", "documents"])
def test_nothing_is_cut_in_the_smallest_window_at_200_percent(app, window, qtbot, key) -> None:
    add_live_page(app, window)
    add_documents_page(app, window)
    window.theme.set_scale(2.0)
    window.resize(*MIN_SIZE)
    window.show_page(key)
    page = window.page(key)
    qtbot.waitUntil(lambda: page.width() + window.sidebar.width() == MIN_SIZE[0], timeout=30_000)
    qtbot.waitUntil(lambda: cut(page) == [], timeout=30_000)
    assert any(button.isVisible() for button in page.findChildren(QAbstractButton))


def test_a_long_notice_shows_all_its_words_at_200_percent(window, qtbot) -> None:
    notice = window.notice
    words = "“page.pdf” has no text of its own. Open it under Documents to have its pages read."
    notice.show_notice(words, "Read the pages")
    window.theme.set_scale(2.0)
    window.resize(*MIN_SIZE)
    label = notice._label
    qtbot.waitUntil(lambda: label.height() >= label.heightForWidth(label.width()), timeout=30_000)
    notice.show_notice(words + " Remove the file to send the rest.", "Read the pages")
    qtbot.waitUntil(lambda: label.height() >= label.heightForWidth(label.width()), timeout=30_000)
    assert notice.parentWidget().rect().contains(notice.geometry())
