"""Kill -9 of the engine or of the whole app while a document of 40 pages is read.

Every page that was shown must be on disk, and none of them may be asked for again. Five kills of
each run with the tests; `python -m tests.documents.kill_trials engine 20` and `… app 20` run all.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from app.core.commands import ReadDocument
from app.core.events import PageFinished
from app.core.paths import AppPaths
from app.store.documents import DocumentStore, PageState
from tests.documents import reader_files

PAGES = 40
TEXTS = [f"# Page {n}\n\nThis is what stands on page {n} of the file." for n in range(1, PAGES + 1)]
SCRIPT = {"pages": TEXTS, "word_s": 0.01}


@dataclass(frozen=True)
class Outcome:
    """kills done; lost: pages that were shown and are not on disk; twice: pages read again."""

    kills: int
    lost: tuple[int, ...]
    twice: tuple[int, ...]
    missing: tuple[int, ...]

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.missing)


def saved_pages(data: Path) -> dict[int, str]:
    """What is on disk, read with fresh eyes."""
    store = DocumentStore(AppPaths.below(data).database)
    try:
        (document,) = store.list()
        pages = store.pages(document.id)
    finally:
        store.close()
    return {page.page: page.text for page in pages if page.state is PageState.DONE}


def kill_engine(folder: Path, kills: int, seed: int = 0) -> Outcome:
    """One reading with `kills` deaths of its engine; needs a running Qt application."""
    from tests.documents.conftest import open_desk

    draw = random.Random(seed)
    path = reader_files.scan(folder / "forty.pdf", PAGES)
    desk = open_desk(folder, SCRIPT, in_process=False)
    asked: list[tuple[int, ...]] = []
    finished: Counter[int] = Counter()
    submit = desk.app.engine.submit

    def submitted(job: object) -> None:
        if isinstance(job, ReadDocument):
            asked.append(job.pages)
        submit(job)

    def received(event: object) -> None:
        if isinstance(event, PageFinished):
            finished[event.page] += 1

    desk.app.engine.submit = submitted  # type: ignore[method-assign]
    desk.app.engine.received.connect(received)
    try:
        desk.load()
        (document_id,) = desk.documents.add([str(path)])
        document = desk.documents.document(document_id)
        done = 0
        for number in range(kills):
            desk.wait(lambda at=done: document.done > at, 90)
            time.sleep(draw.uniform(0, 0.1))
            done = document.done
            if not document.wanted:
                kills = number
                break
            os.kill(desk.app.engine.pid, signal.SIGKILL)
        desk.wait(lambda: not document.wanted and not document.arriving, 180)
        desk.library.flush()
        disk = saved_pages(desk.app.paths.data)
        shown = {page.page: page.text for page in document.pages if page.state is PageState.DONE}
    finally:
        desk.app.close()
    return _outcome(kills, shown, disk, [page for page, count in finished.items() if count > 1])


def _outcome(kills: int, shown: dict[int, str], disk: dict[int, str], twice: list[int]) -> Outcome:
    lost = [page for page, text in shown.items() if disk.get(page) != text]
    missing = [page for page in range(PAGES) if disk.get(page) != TEXTS[page]]
    return Outcome(kills, tuple(lost), tuple(sorted(twice)), tuple(missing))


def kill_app(folder: Path, kills: int, seed: int = 0) -> Outcome:
    """One reading over `kills` + 1 lives of the app."""
    draw = random.Random(seed)
    path = reader_files.scan(folder / "forty.pdf", PAGES)
    shown: dict[int, str] = {}
    twice: list[int] = []
    done = 0
    for number in range(kills + 1):
        last = number == kills
        lines = _life(folder, path, draw, done, to_the_end=last)
        for kind, page, text in lines:
            if kind == "asked" and page in shown:
                twice.append(page)
            elif kind == "shown":
                shown[page] = text
        done = len(shown)
        disk = saved_pages(folder / "data")
        lost = [page for page, seen in shown.items() if disk.get(page) != seen]
        if lost or done == PAGES:
            break
    disk = saved_pages(folder / "data")
    return _outcome(number, shown, disk, twice)


def _life(folder: Path, path: Path, draw: random.Random, done: int, *, to_the_end: bool) -> list:
    """Start the app, let it read a page or two, kill it; what it said until then."""
    command = [sys.executable, "-m", "tests.documents.kill_trials", "body", str(folder), str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    told: list = []
    assert child.stdout is not None
    for line in child.stdout:
        told.append(json.loads(line))
        if told[-1][0] == "end":
            break
        if not to_the_end and told[-1][0] == "shown":
            break
    if not to_the_end:
        time.sleep(draw.uniform(0, 0.15))
    child.kill()
    rest, _ = child.communicate()
    told += [json.loads(line) for line in rest.split("\n")[:-1] if line]
    return told


def body(folder: Path, path: Path) -> None:
    """One life of the app: reads the document, tells what it asks for and what it shows."""
    from PySide6.QtCore import QCoreApplication

    from tests.documents.conftest import open_desk

    application = QCoreApplication([])
    desk = open_desk(folder, SCRIPT)
    documents = desk.documents
    told: set[int] = set()

    def say(kind: str, page: int, text: str = "") -> None:
        sys.stdout.write(json.dumps([kind, page, text]) + "\n")
        sys.stdout.flush()

    submit = desk.app.engine.submit

    def submitted(job: object) -> None:
        if isinstance(job, ReadDocument):
            for page in job.pages:
                say("asked", page)
        submit(job)

    def shown(document_id: str, page: int) -> None:
        record = documents.document(document_id).pages[page]
        if record.state is PageState.DONE and record.text and page not in told:
            told.add(page)
            say("shown", page, record.text)

    desk.app.engine.submit = submitted  # type: ignore[method-assign]
    documents.page_changed.connect(shown)
    documents.reading_finished.connect(lambda _id: say("end", -1))
    for document in documents.documents():
        told |= {page.page for page in document.pages if page.state is PageState.DONE}
        if not document.wanted and len(told) == PAGES:
            say("end", -1)
    desk.app.state.models.load("scripted")
    if not documents.documents():
        documents.add([str(path)])
    application.exec()


def main(words: list[str]) -> int:
    if words[0] == "body":
        body(Path(words[1]), Path(words[2]))
        return 0
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    trial = {"engine": kill_engine, "app": kill_app}[words[0]]
    with tempfile.TemporaryDirectory() as folder:
        outcome = trial(Path(folder), int(words[1]))
    sys.stdout.write(f"{outcome}\n")
    del application
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
