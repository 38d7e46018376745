"""`python -m tests.documents.figures [PAGES]`: a long PDF in the window with the scripted engine.

Seconds from the drop to the first page's text, gaps between two turns of the window's event loop
while all pages are read, and memory of all processes at a sixth of the way and at the end. Once
through the text layer, once as if every page had to be looked at. The machine should be idle.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

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


def long_pdf(pages: int, text_layer: str) -> dict[str, float]:
    """One reading of a PDF of `pages` pages."""
    from PySide6.QtCore import QTimer

    from tests.documents import reader_files
    from tests.documents.test_reader_page import Show

    with tempfile.TemporaryDirectory() as folder:
        show = Show(Path(folder))
        path = reader_files.printed(Path(folder) / "long.pdf", pages)
        show.wait(lambda: show.app.state.models.loaded is not None)
        show.read(reader_files.printed(Path(folder) / "first.pdf", 1))
        gaps: list[float] = []
        last = time.perf_counter()

        def tick() -> None:
            nonlocal last
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

        timer = QTimer(interval=TICK_MS)
        timer.timeout.connect(tick)
        began = last = time.perf_counter()
        timer.start()
        (document_id,) = show.documents.add([str(path)])
        document = show.documents.document(document_id)
        if text_layer != "use":
            show.documents.set_reading(document_id, text_layer=text_layer)
        show.wait(lambda: document.done > 0 and bool(document.pages[0].text))
        first = time.perf_counter() - began
        show.wait(lambda: document.done >= pages // 6)
        early = memory()
        while not (document.done == pages and not document.wanted):
            show.wait(lambda at=document.done: document.done > at or not document.wanted)
            # A person turning pages while the rest is read.
            show.documents.show_page(document.done - 1)
        seconds = time.perf_counter() - began
        late = memory()
        timer.stop()
        show.window.close()
        show.app.close()
    ordered = sorted(gaps)
    return {
        "pages": pages,
        "first_page_s": round(first, 2),
        "all_pages_s": round(seconds, 1),
        "gap_median_ms": round(ordered[len(ordered) // 2] * 1000, 1),
        "gap_p99_ms": round(ordered[round((len(ordered) - 1) * 0.99)] * 1000, 1),
        "gaps": len(gaps),
        "memory_at_a_sixth_mb": early >> 20,
        "memory_at_the_end_mb": late >> 20,
    }


def main(words: list[str]) -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    application = QApplication([])
    pages = int(words[0]) if words else 300
    for layer in ("use", "ignore"):
        found = {f"text layer: {layer}": long_pdf(pages, layer)}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        sys.stdout.flush()
    del application
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
