"""Wall-clock figures of the app's backbone: `python -m tests.app_engine figures [COUNT]`.

Median and 95th percentile of COUNT runs (20 by default). Meaningful on an idle machine only.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtWidgets import QApplication

from app.core import commands
from app.core.commands import EngineOptions
from app.core.conversation import Conversation, ConversationMeta, Message, Role, Text, new_id
from app.core.events import EngineState, JobFinished, TextDelta
from app.services.engine_client import EngineClient
from app.store.conversations import ConversationStore
from tests.app_engine.conftest import user, wait_until


def first_paint(folder: Path, number: int) -> float:
    """Milliseconds from `run()` to the first paint in a fresh process, the window's imports in."""
    data = folder / f"paint-{number}"
    picture = folder / "window.png"
    command = [sys.executable, "-m", "app", "--data-dir", str(data), "--script", "instant"]
    command += ["--log-level", "info", "--screenshot", str(picture)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    log = (data / "logs" / "facet.log").read_text()
    return float(re.search(r"first paint after (\d+) ms", log).group(1))


def open_long_chat(folder: Path, number: int) -> float:
    """Milliseconds to read a chat of 1,000 messages from disk into the message tree."""
    path = folder / "long.sqlite3"
    store = ConversationStore(path)
    if number == 0:
        chat = Conversation(ConversationMeta("long"))
        parent = None
        for step in range(1000):
            text = Text(f"Message {step}. " + "Some **words** in a paragraph. " * 12)
            message = Message(str(step), parent, Role(("user", "model")[step % 2]), (text,))
            chat.add(message)
            parent = message.id
        store.save_conversation(chat)
    started = time.perf_counter()
    store.load("long")
    spent = time.perf_counter() - started
    store.close()
    return spent * 1000


def _client(script: str) -> EngineClient:
    client = EngineClient(EngineOptions(script=script))
    client.start()
    wait_until(lambda: client.state is EngineState.RUNNING)
    return client


def cancel(client: EngineClient) -> float:
    """Milliseconds from Stop to the end of the job, while a word comes every 10 ms."""
    events: list[object] = []
    client.received.connect(events.append)
    client.submit(commands.LoadModel(new_id(), "scripted"))
    job = commands.ChatTurn(new_id(), "c", (user("long"),))
    client.submit(job)
    wait_until(lambda: any(isinstance(event, TextDelta) for event in events))
    asked = time.perf_counter()
    client.cancel(job.job_id)
    wait_until(lambda: any(isinstance(e, JobFinished) and e.job_id == job.job_id for e in events))
    client.received.disconnect(events.append)
    return (time.perf_counter() - asked) * 1000


def start_engine() -> float:
    """Milliseconds from spawning the real engine to its handshake, MLX imported."""
    started = time.perf_counter()
    client = _client("")
    spent = time.perf_counter() - started
    client.stop()
    return spent * 1000


def measure(name: str, count: int, run: Callable[[int], float]) -> None:
    """Run it and print one line; a run before the first one that counts warms the caches."""
    values = sorted([run(number) for number in range(count + 1)][1:])
    high = values[min(len(values) - 1, int(0.95 * len(values)))]
    sys.stdout.write(f"{name}: median {statistics.median(values):.0f} ms, p95 {high:.0f} ms\n")
    sys.stdout.flush()


def main(count: int) -> int:
    """All figures of this file."""
    application = QApplication.instance() or QApplication([])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("launch to first paint", count, lambda number: first_paint(folder, number))
        measure("read a 1,000-message chat", count, lambda n: open_long_chat(folder, n))
        client = _client("default")
        measure("cancel to the job's end", count, lambda _: cancel(client))
        client.stop()
        measure("real engine, spawn to handshake", count, lambda _: start_engine())
    del application
    return 0
