"""`./run figures documents [PAGES]`: a long PDF in the window, with the scripted engine.

Window, engine and workers are processes of their own, as in the app. Seconds from the drop to the
first page's text; gaps between two turns of the window's event loop while all pages are read and
turned, on the clock and in processor time of the window's thread (which other programs on the
machine do not change); memory of all processes on the way and at the end, with and without the
pictures the window keeps (at most 96 MB). Once through the text layer, once as if every page had to
be looked at.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from app.controllers.document_state import OpenDocument

TICK_MS = 4


def memory() -> int:
    """Bytes that this process and its children hold."""
    me = psutil.Process()
    total = me.memory_info().rss
    for child in me.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total


@dataclass
class Gaps:
    """Between two turns of the event loop, in seconds: on the clock, and of processor time."""

    clock: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    _last: tuple[float, float] = (0.0, 0.0)

    def begin(self) -> None:
        self._last = time.perf_counter(), time.thread_time()

    def tick(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self.clock.append(now[0] - self._last[0])
        self.busy.append(now[1] - self._last[1])
        self._last = now


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[round((len(ordered) - 1) * share)] * 1000, 1)


class Reading:
    """One reading of a PDF of `pages` pages, watched."""

    def __init__(self, folder: Path, pages: int, text_layer: str) -> None:
        from tests.documents import reader_files
        from tests.documents.test_reader_page import Show

        self.pages, self.text_layer = pages, text_layer
        self.path = reader_files.printed(folder / "long.pdf", pages)
        self.show = Show(folder, in_process=False)
        self.show.wait(lambda: self.show.app.state.models.loaded is not None)
        self.show.read(reader_files.printed(folder / "first.pdf", 1))
        gc.freeze()  # as the app does after its first paint
        self.gaps = Gaps()
        self.memory: dict[str, int] = {}

    def run(self) -> dict[str, object]:
        from PySide6.QtCore import QTimer

        show, pages = self.show, self.pages
        timer = QTimer(interval=TICK_MS)
        timer.timeout.connect(self.gaps.tick)
        began = time.perf_counter()
        self.gaps.begin()
        timer.start()
        (document_id,) = show.documents.add([str(self.path)])
        document = show.documents.document(document_id)
        if self.text_layer != "use":
            show.documents.set_reading(document_id, text_layer=self.text_layer)
        show.wait(lambda: document.done > 0 and bool(document.pages[0].text))
        first = time.perf_counter() - began
        for name, share in (("a_third", 3), ("two_thirds", 1.5), ("the_end", 1)):
            self._until(document, round(pages / share))
            self._weigh(name)
        seconds = time.perf_counter() - began
        timer.stop()
        show.window.close()
        show.app.close()
        return {
            "pages": pages,
            "first_page_s": round(first, 2),
            "all_pages_s": round(seconds, 1),
            "gaps": len(self.gaps.clock),
            "gap_median_ms": percentile(self.gaps.clock, 0.5),
            "gap_p99_ms": percentile(self.gaps.clock, 0.99),
            "busy_p99_ms": percentile(self.gaps.busy, 0.99),
            "busy_most_ms": percentile(self.gaps.busy, 1.0),
            **self.memory,
            "load": round(os.getloadavg()[0], 1),
        }

    def _until(self, document: OpenDocument, done: int) -> None:
        """A person turns pages while the rest is read."""
        while document.done < done or (done == self.pages and document.wanted):
            self.show.wait(lambda at=document.done: document.done > at or not document.wanted)
            self.show.documents.show_page(document.done - 1)

    def _weigh(self, name: str) -> None:
        held = memory()
        self.memory[f"memory_at_{name}_mb"] = held >> 20
        pictures = self.show.documents.pictures.cached_bytes
        self.memory[f"without_pictures_at_{name}_mb"] = (held - pictures) >> 20


def main(words: list[str]) -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    pages = int(words[0]) if words else 300
    for layer in ("use", "ignore"):
        with tempfile.TemporaryDirectory() as folder:
            found = {f"text layer: {layer}": Reading(Path(folder), pages, layer).run()}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        sys.stdout.flush()
    del application
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
