"""Pictures of the documents page; part of `./run screenshots`."""

from __future__ import annotations

import json
from pathlib import Path

from app.services.camera import open_file
from app.services.document_camera import LONGEST_SIDE
from tests.documents import reader_files
from tests.live.fakes import FakePermissions
from tests.tools.screenshots import Stage, each_look, stage

PAGE = """# Rent and costs

The tenant pays the rent on the **first working day** of every month. The deposit is kept on an
account of its own and is paid back with interest when the flat is handed over.

| Item | Euro |
|:-----|-----:|
| Rent | 840.00 |
| Heating | 95.50 |
| Garden | 12.00 |

1. Repairs up to 80 euros are borne by the tenant.
2. The garden is shared by all who live in the house.

With interest rate $r$ the deposit grows to $D (1 + r)^n$.
"""
ANSWER = (
    "Heating costs **95.50 euros** a month [p. 1]. The deposit is three months\u2019 rent [p. 2], "
    "and the garden is shared [pp. 1, 3]."
)
SCRIPT = {
    "pages": [PAGE, "# Deposit\n\nThe deposit is three months\u2019 rent.", PAGE],
    "word_s": 0.002,
    "rules": [{"match": "heating", "answer": ANSWER}],
}


def render_all(target: Path) -> None:
    """The page empty, while reading, read, with a question, and in its special states."""
    with stage(target, json.dumps(SCRIPT)) as show:
        show.window.show()
        show.fill()
        show.window.show_page("documents")
        each_look(show, "documents-empty")
        folder = show.picture.parent
        _render_camera(show, folder)
        _render_reading(show, folder)
        _render_question(show)
        _render_states(show, folder)


def _render_camera(show: Stage, folder: Path) -> None:
    """Three photographs of a page waiting to be read, and no camera at all."""
    page = show.window.page("documents")
    camera = page._photographs
    camera._permissions = FakePermissions()
    photo = reader_files.photo(folder / "page.jpg")
    camera._make_camera = lambda clock: open_file(clock, str(photo), LONGEST_SIDE)
    page.photograph()
    show.wait(lambda: camera.outline is not None, 60)
    for _ in range(3):
        camera.take()
    each_look(show, "documents-camera")
    camera.shots.clear()
    camera.close()
    camera._make_camera = lambda clock: open_file(clock, "", LONGEST_SIDE)
    camera.open()
    each_look(show, "documents-no-camera")
    page._documents.show("", -1)


def _render_reading(show: Stage, folder: Path) -> None:
    page = show.window.page("documents")
    page.open_files([str(reader_files.scan(folder / "Lease 2026.pdf", 8))])
    show.wait(lambda: page._documents.current is not None)
    document = page._documents.current
    show.wait(lambda: document.done >= 3, 60)
    page._documents.show_page(0)
    show.window.resize(1440, 900)
    show.window.theme.set_mode("light")
    show.shoot("documents-reading-light-1440")
    show.wait(lambda: document.done == 8 and not document.wanted, 60)
    show.settle(1.0)
    each_look(show, "documents")


def _render_question(show: Stage) -> None:
    page = show.window.page("documents")
    page.reader.bar.ask_button.setChecked(True)
    page.ask.edit.setPlainText("How much is the heating?")
    asking = page.ask._asking
    show.wait(lambda: asking.plan is not None and bool(asking.plan.pages), 60)
    page.ask.send.click()
    show.wait(lambda: not asking.busy and len(page.ask._rows) == 2, 60)
    each_look(show, "documents-ask")
    page.reader.bar.ask_button.setChecked(False)


def _render_states(show: Stage, folder: Path) -> None:
    page, window = show.window.page("documents"), show.window
    window.theme.set_mode("light")
    window.theme.set_scale(2.0)
    for name, size in (("1440", (1440, 900)), ("880", (880, 600))):
        window.resize(*size)
        show.shoot(f"documents-200-light-{name}")
    window.theme.set_scale(1.0)
    window.resize(1440, 900)
    page.open_files([str(reader_files.printed(folder / "Secret.pdf", 3, "pw"))])
    show.settle(2.0)
    show.shoot("documents-password-light-1440")
    page.open_files([str(reader_files.photo(folder / "photo.jpg"))])
    photo = page._documents.current
    show.wait(lambda: photo.done == 1, 60)
    show.settle(1.0)
    show.shoot("documents-photo-light-1440")
    page._documents.show("", -1)
    show.settle(1.0)
    each_look(show, "documents-list")
