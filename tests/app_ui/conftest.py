"""The window under test: offscreen Qt, the scripted engine in a thread, nothing unexpected said."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PilImage
from PySide6.QtCore import QLoggingCategory, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

from app.main import App, AppOptions, build_app
from app.ui.main_window import MainWindow
from app.ui.theme import Theme

# What Qt says on a headless Linux and has nothing to do with the app.
HARMLESS = (
    r"This plugin does not support",
    r"OpenType support missing for",
    r"qt\.multimedia",
    r"Couldn't (load|resolve) pipewire",
    r"Using Qt multimedia with FFmpeg",
    r"XDG_RUNTIME_DIR",
    r"QPulseAudioThread",
    r"PulseAudioService",
    r"No audio device detected",
)


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Fail on Qt messages and log warnings nobody expected; tests may clear the list."""
    said: list[str] = []

    def hear(kind: QtMsgType, _context: object, words: str) -> None:
        if kind is not QtMsgType.QtDebugMsg and not any(re.search(h, words) for h in HARMLESS):
            said.append(words)

    QLoggingCategory.setFilterRules("qt.multimedia.*=false")
    before = qInstallMessageHandler(hear)
    yield said
    qInstallMessageHandler(before)
    warnings = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert said == []
    assert warnings == []


@pytest.fixture
def theme(qapp: QApplication) -> Theme:
    made = Theme("light")
    made.apply()
    return made


BOXES = """```json
[{"box_2d": [120, 80, 520, 460], "label": "cup"},
 {"box_2d": [560, 500, 900, 940], "label": "spoon"}]
```"""
SCRIPT = {
    "word_s": 0.002,
    "rules": [
        {"match": "table", "answer": "| Fruit | Price |\n|---|---:|\n| Banana | 0.35 |"},
        {"match": "code", "answer": "Here:\n\n```python\nx = 1\n```\n"},
        {"match": "where", "answer": BOXES},
        {"match": "long", "answer": "All work and no play makes one answer. ", "repeat": 60},
        {
            "match": "break",
            "answer": "This goes well until",
            "failing": {"after_words": 3, "message": "The script told me to fail."},
        },
    ],
}


@pytest.fixture
def script() -> dict[str, object]:
    """What the scripted engine says; a module may have its own."""
    return SCRIPT


@pytest.fixture
def app(qapp: QApplication, tmp_path: Path, script: dict[str, object]) -> Iterator[App]:
    """Everything but the window, with the scripted engine."""
    file = tmp_path / "script.json"
    file.write_text(json.dumps(script), encoding="utf-8")
    options = AppOptions(data_dir=str(tmp_path / "data"), in_process=True, script=str(file))
    made = build_app(options)
    yield made
    made.close()


@pytest.fixture
def window(app: App, qtbot: object) -> Iterator[MainWindow]:
    """The real window with a loaded model."""
    made = MainWindow(app.state, Theme("light"))
    qtbot.addWidget(made)
    made.resize(1180, 780)
    app.engine.start()
    app.state.models.load("/models/scripted")
    qtbot.waitUntil(lambda: app.state.models.loaded is not None, timeout=30_000)
    app.state.models.loaded = replace(app.state.models.loaded, label="Gemma 4 E4B")
    app.state.models.state_changed.emit()
    made.new_chat()
    made.show()
    qtbot.waitExposed(made)
    return made


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small real picture."""
    path = tmp_path / "mug.png"
    PilImage.new("RGB", (400, 300), "#2F5D4A").save(path)
    return path
