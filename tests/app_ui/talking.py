"""What the window's tests do as a person would."""

from __future__ import annotations

from PySide6.QtCore import Qt

from app.ui.chat.answer_row import AnswerRow
from app.ui.main_window import MainWindow


def write_and_send(window: MainWindow, qtbot, text: str) -> None:
    qtbot.keyClicks(window.chat_page.composer.edit, text)
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Return)


def ask(window: MainWindow, qtbot, text: str) -> None:
    write_and_send(window, qtbot, text)
    qtbot.waitUntil(lambda: not window.state.chat.busy, timeout=30_000)


def answer_row(window: MainWindow) -> AnswerRow:
    view = window.chat_page.transcript
    row = view.row_widget(window.chat_page.model.rowCount() - 1)
    assert isinstance(row, AnswerRow)
    return row
