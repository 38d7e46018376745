"""The whole app as a new user has it: real window, real engine process, the bundled demo model.

Answers are judged by what they mean, because the demo may be trained anew at any time.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication

from app.core.conversation import MessageState, preset_named
from app.core.events import EngineState
from app.core.paths import demo_model_dir, samples_dir
from app.main import App, AppOptions, build_app
from app.services.engine_client import Timing
from app.ui.chat.tool_choice import unable_words
from app.ui.main_window import MainWindow
from app.ui.theme import Theme
from tests.app_ui.talking import answer_row, write_and_send

PATIENCE_MS = 60_000
COLOUR_SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture
def app(qapp: QApplication, tmp_path: Path) -> Iterator[App]:
    made = build_app(AppOptions(data_dir=str(tmp_path / "data")), Timing(silence=120.0))
    made.state.settings.set("load_at_start", False)
    made.engine.start()
    yield made
    made.close()


@pytest.fixture
def window(app: App, qtbot) -> MainWindow:
    made = MainWindow(app.state, Theme("light"))
    qtbot.addWidget(made)
    made.resize(1180, 780)
    made.show()
    qtbot.waitExposed(made)
    made.show_page("chat")
    qtbot.waitUntil(lambda: app.engine.state is EngineState.RUNNING, timeout=PATIENCE_MS)
    app.state.models.load(str(demo_model_dir()))
    qtbot.waitUntil(lambda: app.state.models.loaded is not None, timeout=PATIENCE_MS)
    fresh_chat(made)
    return made


def fresh_chat(window: MainWindow) -> None:
    window.new_chat()
    window.state.chat.set_preset(preset_named("Precise"))


def drop(window: MainWindow, qtbot, path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    action = Qt.DropAction.CopyAction
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(300, 300), action, data, buttons, keys))
    QApplication.sendEvent(window, QDropEvent(QPointF(300, 300), action, data, buttons, keys))
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: bool(drafts.items()) and drafts.all_settled, timeout=PATIENCE_MS)
    assert drafts.obstacle == ""


def said(window: MainWindow, qtbot, question: str) -> str:
    """Type, send, wait; the words that then stand in the window."""
    write_and_send(window, qtbot, question)
    chat = window.state.chat
    qtbot.waitUntil(lambda: not chat.busy, timeout=PATIENCE_MS)
    assert chat.messages()[-1].state is MessageState.DONE, chat.messages()[-1].failure
    words = re.findall(r"\w+", chat.messages()[-1].text)
    text = answer_row(window).text_view
    qtbot.waitUntil(lambda: all(w in text.toPlainText() for w in words), timeout=30_000)
    assert words
    return text.toPlainText()


def shape(folder: Path, colour: str) -> Path:
    picture = Image.new("RGB", (160, 160), "white")
    ImageDraw.Draw(picture).ellipse((40, 40, 120, 120), fill=colour)
    picture.save(folder / "shape.png")
    return folder / "shape.png"


def test_typing_and_dropping_gives_the_right_answers_in_the_window(
    window, qtbot, tmp_path: Path
) -> None:
    assert window.state.models.loaded.capabilities.chat
    assert re.search(r"hello|hi\b|demo", said(window, qtbot, "Hello"), re.IGNORECASE)
    fresh_chat(window)
    drop(window, qtbot, shape(tmp_path, "#DC1E1E"))
    assert "red" in said(window, qtbot, "What colour is it?").lower()
    fresh_chat(window)
    drop(window, qtbot, shape(tmp_path, "#1E3CDC"))
    assert "circle" in said(window, qtbot, "What shape is this?").lower()
    fresh_chat(window)
    drop(window, qtbot, samples_dir() / "command.flac")
    assert "light" in said(window, qtbot, "What is said?")
    fresh_chat(window)
    answers_by_a_schema(window, qtbot)


def answers_by_a_schema(window: MainWindow, qtbot) -> None:
    """The demo knows no tools, and obeys a schema like any model."""
    chat = window.state.chat
    assert "not trained to use tools" in unable_words(chat.model)
    chat.set_tools(["calculator"])
    chat.set_json_schema(json.dumps(COLOUR_SCHEMA))
    assert "colour" in said(window, qtbot, "Hello")
    assert json.loads(chat.messages()[-1].text)["colour"] in ("red", "green", "blue")
    qtbot.waitUntil(lambda: answer_row(window)._json is not None, timeout=30_000)
