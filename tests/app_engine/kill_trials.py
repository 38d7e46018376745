"""Kill -9 of the engine or of the whole app at chosen moments, and what must still be there.

Five trials of each run with the tests; all fifty by
`python -m tests.app_engine engine 50` and `... app 50`. Every trial logs its moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.conversation import Conversation, Message, MessageState, Role
from app.core.events import EngineStarted, EngineState, PromptProgress, TextDelta
from app.core.paths import AppPaths
from app.main import App, AppOptions, build_app
from app.store import migrations
from app.store.attachments import AttachmentStore
from app.store.conversations import ConversationStore
from app.store.settings_file import load_settings
from tests.app_engine.conftest import wait_until

ENGINE_MOMENTS = ("send", "import", "load", "prefill", "decode", "save")
APP_MOMENTS = ("streaming", "save", "migration")
# Slow enough that every moment lasts: prefill about 0.2 s, an answer about 1.5 s.
SCRIPT = {
    "rules": [{"match": "question", "answer": "An answer of many words. ", "repeat": 30}],
    "word_s": 0.01,
    "prompt_token_s": 0.005,
    "load_s": 0.4,
}


@dataclass(frozen=True)
class Trial:
    """One kill. ready_s: from the kill to the next engine's handshake; lost: what is missing."""

    number: int
    moment: str
    after_s: float
    ready_s: float = 0.0
    lost: tuple[str, ...] = ()
    detail: str = ""

    def line(self) -> str:
        state = f"LOST {'; '.join(self.lost)}" if self.lost else "nothing lost"
        ready = f", ready after {self.ready_s:.2f} s" if self.ready_s else ""
        when = f"trial {self.number}: {self.moment} +{self.after_s:.3f} s"
        return f"{when}{ready}, {state} {self.detail}".rstrip()


def write_script(folder: Path) -> str:
    path = folder / "script.json"
    path.write_text(json.dumps(SCRIPT))
    return str(path)


# --- the engine ----------------------------------------------------------------------------------


class EngineTrials:
    """One running app; each trial kills its engine and looks at the disk with fresh eyes."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        options = AppOptions(data_dir=str(folder / "data"), script=write_script(folder))
        self.app: App = build_app(options)
        self.app.state.models._settings._settings = replace(
            self.app.state.settings.settings, load_at_start=False
        )
        self._events: list[object] = []
        self.app.engine.received.connect(self._events.append)
        self.app.engine.start()
        wait_until(self._running)

    def close(self) -> None:
        self.app.close()

    def _running(self) -> bool:
        return self.app.engine.state is EngineState.RUNNING

    def _seen(self, kind: type, since: int) -> bool:
        return any(isinstance(event, kind) for event in self._events[since:])

    def run(self, number: int, moment: str) -> Trial:
        chat, models = self.app.state.chat, self.app.state.models
        models.load("scripted")
        wait_until(lambda: models.state.value == "ready")
        size = 80 + number % 41
        self.app.state.settings.set("text_size", size)
        chat.new_conversation()
        data = self._random.randbytes(100_000).hex().encode()
        chat.drafts.add_bytes(data, f"file-{number}.txt")
        before = len(self._events)
        if moment != "import":
            wait_until(lambda: chat.drafts.all_settled)
            self._reach(moment, number, before)
        after = self._random.uniform(0, 0.15)
        time.sleep(after)
        killed = time.monotonic()
        starts = len([e for e in self._events if isinstance(e, EngineStarted)])
        os.kill(self.app.engine.pid, signal.SIGKILL)
        wait_until(lambda: len([e for e in self._events if isinstance(e, EngineStarted)]) > starts)
        ready = time.monotonic() - killed
        if moment == "import":
            wait_until(lambda: chat.drafts.all_settled)
        if not chat.messages():
            chat.send(f"question {number}")
        return Trial(number, moment, after, ready, self._lost(number, data, size))

    def _reach(self, moment: str, number: int, before: int) -> None:
        """Come to the moment at which the engine is to die."""
        chat = self.app.state.chat
        if moment == "load":
            self.app.state.models.load("scripted")
        else:
            chat.send(f"question {number}")
        if moment == "prefill":
            wait_until(lambda: self._seen(PromptProgress, before))
        elif moment == "decode":
            wait_until(lambda: self._seen(TextDelta, before))
        elif moment == "save":
            chat.save_now()

    def _lost(self, number: int, data: bytes, size: int) -> tuple[str, ...]:
        """Try again as a person would, then read everything from disk."""
        chat, models = self.app.state.chat, self.app.state.models
        wait_until(lambda: not chat.busy)
        models.load("scripted")
        wait_until(lambda: models.state.value == "ready")
        answer = chat.messages()[-1]
        if answer.state is MessageState.FAILED:
            chat.retry(answer.id)
        wait_until(lambda: not chat.busy)
        self.app.library.flush()
        return tuple(_missing(self.app.paths, chat.conversation, number, data, size))


def _missing(
    paths: AppPaths, conversation: Conversation, number: int, data: bytes, size: int
) -> list[str]:
    lost = []
    store = ConversationStore(paths.database)
    try:
        saved = store.load(conversation.id)
    finally:
        store.close()
    if saved.messages != conversation.messages:
        lost.append("messages")
    question, answer = saved.path()
    if question.text != f"question {number}" or answer.state is not MessageState.DONE:
        lost.append(f"the turn ({answer.state.value})")
    (attachment,) = question.attachments or (None,)
    path = attachment and AttachmentStore(paths.attachments).path(attachment)
    if not path or hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(data).digest():
        lost.append("the attachment")
    if load_settings(paths.settings_file)[0].text_size != size:
        lost.append("a setting")
    return lost


def kill_engine(folder: Path, count: int, seed: int = 0) -> list[Trial]:
    """`count` kills of the engine spread over all moments; needs a running Qt application."""
    trials = EngineTrials(folder, seed)
    try:
        return [
            _told(trials.run(number, ENGINE_MOMENTS[number % len(ENGINE_MOMENTS)]))
            for number in range(count)
        ]
    finally:
        trials.close()


# --- the app -------------------------------------------------------------------------------------


def kill_app(folder: Path, count: int, seed: int = 0) -> list[Trial]:
    """`count` kills of the whole app, each in a data folder of its own."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        moment = APP_MOMENTS[number % len(APP_MOMENTS)]
        data = folder / f"trial-{number}"
        data.mkdir()
        trial = _kill_migration if moment == "migration" else _kill_talking
        found.append(_told(trial(data, number, moment, draw)))
    return found


def _start(job: str, data: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.app_engine", job, str(data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _end(child: subprocess.Popen[str]) -> list[list]:
    """Kill it; the lines it wrote until then, but for one that was cut."""
    child.kill()
    rest, _ = child.communicate()
    lines = [line for line in rest.split("\n")[:-1] if line]
    return [json.loads(line) for line in lines]


def _kill_talking(data: Path, number: int, moment: str, draw: random.Random) -> Trial:
    """While an answer streams, or within 20 ms after an answer was handed to the library."""
    child = _start("talk", data)
    told: list[list] = []
    while not told or told[-1][0] != ("end" if moment == "save" else "text"):
        told.append(json.loads(child.stdout.readline()))
    after = draw.uniform(0, 0.02 if moment == "save" else 2.5)
    time.sleep(after)
    killed = time.time()
    told += _end(child)
    paths = AppPaths.below(data)
    store = ConversationStore(paths.database)
    interrupted = store.mark_interrupted()
    problems = store.check()
    lost = [f"database: {problem}" for problem in problems]
    lost += _untold(store, told, killed)
    store.close()
    return Trial(number, moment, after, 0.0, tuple(lost), f"({interrupted} interrupted)")


def _untold(store: ConversationStore, told: list[list], killed: float) -> list[str]:
    """What the screen showed more than a second before the kill and the disk does not have."""
    (meta,) = store.list()
    saved = store.load(meta.id)
    lost = []
    for kind, when, message_id, text in told:
        if when > killed - 1.0:
            continue
        if message_id not in saved:
            lost.append(f"{kind} of {killed - when:.2f} s before")
        elif not saved[message_id].text.startswith(text):
            lost.append(f"text of {killed - when:.2f} s before")
    if any(message.state is MessageState.STREAMING for message in saved.messages.values()):
        lost.append("an answer still looks as if it were on its way")
    return lost


# A second layout that takes a while, as a real one over many chats would.
_SLOW_STEP: migrations.Step = (
    "ALTER TABLE messages ADD COLUMN words INTEGER NOT NULL DEFAULT 0",
    "UPDATE messages SET words = length(text) - length(replace(text, ' ', ''))",
    "CREATE INDEX messages_words ON messages(words)",
)


def _kill_migration(data: Path, number: int, moment: str, draw: random.Random) -> Trial:
    paths = AppPaths.below(data)
    paths.create()
    store = ConversationStore(paths.database)
    before = _filled(store)
    store.close()
    child = _start("migrate", data)
    child.stdout.readline()
    after = draw.uniform(0, 0.12)
    time.sleep(after)
    done = bool(_end(child))
    layout = _layout(paths.database)
    steps = (*migrations.STEPS, _SLOW_STEP) if layout > len(migrations.STEPS) else None
    store = ConversationStore(paths.database, steps)
    lost = [f"database: {problem}" for problem in store.check()]
    if store.load("big").messages != before.messages:
        lost.append("messages")
    if done and layout == len(migrations.STEPS):
        lost.append("the finished migration")
    store.close()
    return Trial(number, moment, after, 0.0, tuple(lost), f"(layout {layout})")


def _filled(store: ConversationStore) -> Conversation:
    from app.core.conversation import ConversationMeta, Text

    conversation = Conversation(ConversationMeta("big"))
    parent = None
    for number in range(4000):
        text = Text(f"message {number} of a long chat " * 10)
        message = Message(str(number), parent, Role.USER, (text,))
        conversation.add(message)
        parent = message.id
    store.save_conversation(conversation)
    return conversation


def _layout(database: Path) -> int:
    connection = sqlite3.connect(database)
    found = migrations.version(connection)
    connection.close()
    return found


def _told(trial: Trial) -> Trial:
    sys.stderr.write(trial.line() + "\n")
    return trial


# --- bodies of the child processes ---------------------------------------------------------------


def _say(kind: str, message_id: str, text: str) -> None:
    sys.stdout.write(json.dumps([kind, time.time(), message_id, text]) + "\n")
    sys.stdout.flush()


def _talk(data: Path) -> None:
    """The app asking one question after the other, telling what its screen shows."""
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    options = AppOptions(data_dir=str(data), script=write_script(data), in_process=True)
    app = build_app(options)
    chat = app.state.chat

    def ask(_message_id: str = "") -> None:
        question = chat.send("a question")
        _say("sent", question, "a question")

    def changed(message_id: str) -> None:
        _say("text", message_id, chat.conversation[message_id].text)

    chat.message_changed.connect(changed)
    chat.finished.connect(lambda message_id: _say("end", message_id, ""))
    chat.finished.connect(ask)
    app.engine.start()
    app.state.models.load("scripted")
    ask()
    application.exec()


def _migrate(data: Path) -> None:
    sys.stdout.write("begin\n")
    sys.stdout.flush()
    paths = AppPaths.below(data)
    ConversationStore(paths.database, (*migrations.STEPS, _SLOW_STEP)).close()
    sys.stdout.write('["done"]\n')
    sys.stdout.flush()
    time.sleep(60)


def main(words: list[str]) -> int:
    """`engine N`, `app N` (the last number counts), or the body of a child."""
    children: dict[str, Callable[[Path], None]] = {"talk": _talk, "migrate": _migrate}
    if words[0] in children:
        children[words[0]](Path(words[1]))
        return 0
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    run = {"engine": kill_engine, "app": kill_app}[words[0]]
    with tempfile.TemporaryDirectory() as folder:
        trials = run(Path(folder), int(words[-1]))
    lost = [trial for trial in trials if trial.lost]
    ready = sorted(trial.ready_s for trial in trials if trial.ready_s)
    sys.stdout.write(f"{len(trials)} trials, {len(lost)} lost something\n")
    if ready:
        middle, worst = statistics.median(ready), ready[-1]
        sys.stdout.write(f"ready again: median {middle:.2f} s, worst {worst:.2f} s\n")
    del application
    return 1 if lost else 0
