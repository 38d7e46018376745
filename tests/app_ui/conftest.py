"""The window under test: offscreen Qt, the scripted engine in a thread, nothing unexpected said."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PilImage
from PySide6.QtCore import QLoggingCategory
from PySide6.QtWidgets import QApplication

from app.main import App, AppOptions, build_app
from app.ui.main_window import MainWindow
from app.ui.theme import Theme

QT_SAYS = "Qt says "
"""How tests/conftest.py has Qt begin what it has to say; debug messages begin otherwise."""
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
def no_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail on log warnings nobody expected."""
    QLoggingCategory.setFilterRules("qt.multimedia.*=false")
    yield
    warnings = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert warnings == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail on Qt messages nobody expected.

    They are read from the captured error stream: a message handler in Python waits for the
    interpreter, which the main thread keeps while it waits for Qt's own threads, and so both would
    wait for ever.
    """
    report = yield
    said = [
        line
        for name, words in report.sections
        if name == f"Captured stderr {call.when}"
        for line in words.splitlines()
        if line.startswith(QT_SAYS) and not any(re.search(h, line) for h in HARMLESS)
    ]
    if said and report.passed:
        report.outcome = "failed"
        report.longrepr = f"{item.name}: " + "\n".join(said)
    return report


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
