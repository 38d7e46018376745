"""Wall-clock figures of the window: `python -m tests.app_ui.figures`, or `all_figures()`.

Median, 95th and 99th percentile in milliseconds; the machine should be otherwise idle.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TRIALS = 20
ANSWER = """A mug on a table. It is dark green and holds about 0.3 litres, which is enough.

- one thing
- another thing

```python
def volume(radius: float, height: float) -> float:
    return 3.1416 * radius**2 * height / 1000
```
"""


def spread(milliseconds: list[float]) -> dict[str, float]:
    """Median, p95, p99 and the number of measurements."""
    ordered = sorted(milliseconds)
    last = len(ordered) - 1
    return {
        "median_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[round(last * 0.95)], 1),
        "p99_ms": round(ordered[round(last * 0.99)], 1),
        "n": len(ordered),
    }


def _messages(count: int) -> list[object]:
    from app.core.conversation import Message, Role, Text

    made = []
    for number in range(count):
        role = Role.USER if number % 2 == 0 else Role.MODEL
        text = f"Question {number}?" if role is Role.USER else f"Answer {number}.\n\n{ANSWER}"
        made.append(Message(f"m{number}", None, role, (Text(text),)))
    return made


class _Bench:
    """A transcript in a window of its own."""

    def __init__(self) -> None:
        from PySide6.QtCore import QObject, Signal
        from PySide6.QtWidgets import QApplication

        from app.controllers.play_copies import PlayCopies
        from app.ui.chat.answer_row import make_row
        from app.ui.chat.row_context import RowContext
        from app.ui.chat.transcript_model import TranscriptModel
        from app.ui.chat.transcript_view import TranscriptView
        from app.ui.theme import Theme

        class NoPictures(QObject):
            ready = Signal(str)
            failed = Signal(str, str)

        self.qt = QApplication.instance() or QApplication(["figures"])
        theme = Theme("light")
        theme.apply()
        context = RowContext(
            theme,
            NoPictures(),
            PlayCopies(lambda attachment: Future()),
            lambda m: (1, 1),
            lambda m: None,
            lambda: False,
            lambda m: None,
        )
        self.model = TranscriptModel()
        self.view = TranscriptView(theme, self.model, lambda m, p: make_row(context, m, p))
        self.view.resize(900, 800)
        self.view.show()
        self.qt.processEvents()

    def timed(self, work: Callable[[], object]) -> float:
        """Milliseconds of `work` and everything Qt then has to do, painting included."""
        start = time.perf_counter()
        work()
        self.qt.processEvents()
        return (time.perf_counter() - start) * 1000


def open_thousand() -> dict[str, float]:
    """Showing a chat of 1,000 messages."""
    bench, messages = _Bench(), _messages(1000)
    bench.timed(lambda: bench.model.set_messages(messages))
    times = []
    for _ in range(TRIALS):
        bench.model.set_messages([])
        bench.qt.processEvents()
        times.append(bench.timed(lambda: bench.model.set_messages(messages)))
    return spread(times)


def scroll_while_streaming() -> dict[str, float]:
    """One wheel step through 1,000 messages while the last answer grows."""
    bench, messages = _Bench(), _messages(1000)
    bench.model.set_messages(messages)
    bench.qt.processEvents()
    bar = bench.view.verticalScrollBar()
    times = []
    for step in range(600):
        text = "word " * step

        def work(text: str = text) -> None:
            from app.core.conversation import Text

            bench.model.update(replace(messages[-1], parts=(Text(text),)))
            bar.setValue(bar.value() - 60)

        times.append(bench.timed(work))
    return spread(times)


def stream_update() -> dict[str, float]:
    """Drawing one update of a growing Markdown answer of 8,000 characters."""
    from app.core.conversation import MessageState, Text

    bench, messages = _Bench(), _messages(40)
    bench.model.set_messages(messages)
    bench.qt.processEvents()
    text = ANSWER * 32
    times = []
    for end in range(20, len(text), 20):
        state = MessageState.STREAMING
        bench.model.update(replace(messages[-1], parts=(Text(text[:end]),), state=state))
        bench.view.flush()
        times.append(bench.timed(bench.view.repaint))
        if len(times) >= 400:
            break
    return spread(times)


def launch_to_first_paint() -> dict[str, float]:
    """Start of the process to the first painted frame, warm, without the engine."""
    code = """
import sys, time
from PySide6.QtWidgets import QApplication
from app.main import AppOptions, build_app
from app.ui.main_window import MainWindow
qt = QApplication([])
app = build_app(AppOptions(data_dir=sys.argv[1], script="instant"))
window = MainWindow(app.state)
window.show()
qt.processEvents()
window.repaint()
print(time.time())
app.close()
"""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TRIALS + 1):
            start = time.time()
            command = [sys.executable, "-c", code, folder]
            done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
            times.append((float(done.stdout.strip().splitlines()[-1]) - start) * 1000)
    return spread(times[1:])


def all_figures() -> dict[str, dict[str, float]]:
    """Every figure by name."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    return {
        "launch to first paint, warm": launch_to_first_paint(),
        "open a chat of 1,000 messages": open_thousand(),
        "scroll step while streaming": scroll_while_streaming(),
        "one streamed update": stream_update(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(all_figures(), indent=2) + "\n")
