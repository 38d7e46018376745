"""The window for keyboard and screen reader, and how it starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QImage,
)
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QMenuBar,
    QPlainTextEdit,
    QProgressBar,
    QScrollBar,
    QTextEdit,
    QWidget,
)
from shiboken6 import isValid

from app.ui.main_window import MainWindow
from tests.app_ui.talking import answer_row, ask

PROJECT = Path(__file__).parents[2]

# --- accessibility ---------------------------------------------------------------------------

CONTROLS = (
    QAbstractButton,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QComboBox,
    QAbstractSpinBox,
    QAbstractSlider,
    QProgressBar,
)


# Inside these Qt makes controls of its own.
QT_MADE = (QAbstractSpinBox, QComboBox, QLineEdit, QMenuBar)


def controls_of(window: MainWindow) -> list[QWidget]:
    found = []
    for widget in window.findChildren(QWidget):
        inner = isinstance(widget.parentWidget(), QT_MADE)
        if isinstance(widget, CONTROLS) and not isinstance(widget, QScrollBar) and not inner:
            found.append(widget)
    return found


def test_every_control_has_a_name(window, qtbot, picture) -> None:
    window.open_files([str(picture)])
    qtbot.waitUntil(lambda: window.state.chat.drafts.all_settled, timeout=30_000)
    ask(window, qtbot, "where is it")
    answer_row(window).setFocus()
    for page in ("first", "models", "settings", "doctor", "chat"):
        window.show_page(page)
    controls = controls_of(window)
    assert len(controls) > 60
    nameless = [
        f"{type(w).__name__} in {type(w.parentWidget()).__name__}"
        for w in controls
        if not w.accessibleName().strip()
    ]
    assert nameless == []


def test_buttons_can_be_hit(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    answer_row(window).setFocus()
    for page in ("first", "models", "settings", "doctor", "chat"):
        window.show_page(page)
        QApplication.processEvents()
        for button in window.findChildren(QAbstractButton):
            if button.isVisible() and not isinstance(button.parentWidget(), QT_MADE):
                assert min(button.width(), button.height()) >= 28, button.accessibleName()


def test_tab_reaches_every_control_of_the_chat(window, qtbot) -> None:
    window.chat_page.focus_composer()
    seen: set[str] = set()
    for _ in range(80):
        focus = QApplication.focusWidget()
        seen.add(focus.accessibleName())
        qtbot.keyClick(focus, Qt.Key.Key_Tab)
    wanted = {"Message", "Attach files", "New chat", "Search all chats", "Chats", "Models"}
    assert wanted <= seen
    assert "More about this chat" in seen


def press(button: QAbstractButton, qtbot) -> None:
    button.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(button, Qt.Key.Key_Space)
    QApplication.processEvents()


def test_the_keyboard_stays_where_a_button_was(window, qtbot, picture) -> None:
    window.activateWindow()
    edit = window.chat_page.composer.edit
    window.open_files([str(picture)])
    qtbot.waitUntil(lambda: window.state.chat.drafts.all_settled, timeout=30_000)
    (chip,) = window.chat_page.composer._chips
    press(
        next(b for b in chip.findChildren(QAbstractButton) if "emove" in b.accessibleName()), qtbot
    )
    assert QApplication.focusWidget() is edit
    edit.setPlainText("hello")
    press(window.chat_page.composer.send_button, qtbot)
    assert QApplication.focusWidget() is edit
    window.show_page("models")
    page = window.page("models")
    row = next(row for row in page.row_widgets if "Demo" in row.accessibleName())
    press(next(b for b in row.findChildren(QAbstractButton) if b.text() == "Use"), qtbot)
    qtbot.waitUntil(lambda: not isValid(row) or row not in page.row_widgets)
    row = next(row for row in page.row_widgets if "Demo" in row.accessibleName())
    assert row.isAncestorOf(QApplication.focusWidget())


@pytest.mark.parametrize("end", [QWidget.hide, QWidget.deleteLater, lambda w: w.setEnabled(False)])
def test_the_keyboard_stays_on_the_page_when_its_control_goes(window, qtbot, end) -> None:
    window.activateWindow()
    window.show_page("settings")
    page = window.page("settings")
    control = page.findChild(QComboBox)
    for other in page.findChildren(QWidget):
        if other is not control and not other.isAncestorOf(control):
            other.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    control.setFocus()
    end(control)
    qtbot.waitUntil(lambda: QApplication.focusWidget() is page)


# --- start -----------------------------------------------------------------------------------

# Pages, boxes and rows that load when they are first needed.
LATER = (
    "app.ui.about",
    "app.ui.settings.page",
    "app.ui.models.page",
    "app.ui.doctor.page",
    "app.ui.live.live_page",
    "app.ui.documents.page",
    "app.ui.chat.answer_row",
    "app.ui.chat.document_writer",
    "app.ui.chat.chat_settings",
    "app.controllers.live_controller",
    "numpy",
    "PIL",
    "markdown_it",
    "pygments",
)
HEAVY = ("mlx", "mlx_lm", "transformers", "cv2", "mlx_gemma4", "torch", "PySide6.QtMultimedia")


def test_nothing_heavy_is_loaded_before_the_first_paint(tmp_path) -> None:
    code = f"""
import sys
from PySide6.QtWidgets import QApplication
from app.main import AppOptions, build_app
from app.ui.main_window import MainWindow
qt = QApplication([])
app = build_app(AppOptions(data_dir={str(tmp_path)!r}, script="instant"))
window = MainWindow(app.state)
window.show()
qt.processEvents()
window.grab()
print([name for name in {HEAVY!r} if name in sys.modules])
print([name for name in {LATER!r} if name in sys.modules])
print(len([name for name in sys.modules if name.startswith(("app.", "PySide6"))]))
app.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    heavy, later, count = done.stdout.strip().splitlines()[-3:]
    assert heavy == "[]"
    assert later == "[]"
    # A module more is a wait more: whoever adds one looks whether it can load later.
    assert int(count) <= 112


@pytest.fixture
def screen() -> Iterator[str]:
    """A virtual screen; its display name."""
    reading, writing = os.pipe()
    command = [
        "Xvfb",
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        "1280x900x24",
        "-nolisten",
        "tcp",
    ]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        yield f":{os.read(reading, 16).decode().strip()}"
    finally:
        os.close(reading)
        server.terminate()
        server.wait(10)


@pytest.mark.gui
def test_a_real_window_opens_on_a_screen(tmp_path, screen) -> None:
    shot = tmp_path / "shot.png"
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb", "DISPLAY": screen}
    command = [sys.executable, "-m", "app", "--data-dir", str(tmp_path / "d")]
    command += ["--script", "instant", "--screenshot", str(shot)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=PROJECT, timeout=90, env=environment
    )
    assert done.returncode == 0, done.stderr
    image = QImage(str(shot))
    assert image.width() >= 880
    colours = {image.pixel(x, y) for x in range(0, image.width(), 9) for y in range(0, 600, 9)}
    assert len(colours) > 5
