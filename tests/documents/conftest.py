"""The documents page under test: the real window parts, a scripted engine, real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from app.controllers.chat_controller import ChatController
from app.controllers.document_asking import DocumentAsking
from app.controllers.document_controller import DocumentController
from app.controllers.document_state import OpenDocument
from app.main import App, AppOptions, build_app
from app.services.document_library import DocumentLibrary
from app.services.document_pages import DocumentPages
from tests.app_engine.conftest import wait_until

PAGES = (
    "# Lease\n\nThe tenant pays **840 euros** on the first day of the month.",
    "# Deposit\n\n| Item | Euro |\n|---|---:|\n| Deposit | 2520 |\n| Garden | 12 |",
    "# Repairs\n\nRepairs up to 80 euros are borne by the tenant.",
)
RULES = [
    {"match": "helps to answer", "answer": "The deposit is 2520 euros [p. 2]."},
    {"match": "deposit", "answer": "It is 2520 euros [p. 2]."},
]


@dataclass
class Desk:
    """A running app with documents and no window."""

    app: App
    library: DocumentLibrary
    pictures: DocumentPages
    documents: DocumentController
    asking: DocumentAsking

    def wait(self, condition: object, seconds: float = 180.0) -> None:
        wait_until(condition, seconds)

    def load(self) -> None:
        self.app.state.models.load("scripted")
        self.wait(lambda: self.app.state.models.loaded is not None)

    def read(self, path: Path) -> OpenDocument:
        """Open a file and wait until all of it is read."""
        (document_id,) = self.documents.add([str(path)])
        document = self.documents.document(document_id)
        self.wait(lambda: document.opened and not document.wanted and not document.live)
        return document


def open_desk(folder: Path, script: dict, *, in_process: bool = True) -> Desk:
    file = folder / "script.json"
    file.write_text(json.dumps({"pages": PAGES, "rules": RULES, **script}))
    options = AppOptions(data_dir=str(folder / "data"), script=str(file), in_process=in_process)
    app = build_app(options)
    library, pictures = DocumentLibrary(app.paths.database), DocumentPages()
    documents = DocumentController(library, pictures, app.engine, app.paths.documents)
    state = app.state
    chat = ChatController(
        app.library, app.engine, state.conversations, lambda: state.settings.settings
    )
    asking = DocumentAsking(documents, library, app.library, app.engine, chat)
    app.closing[:] = [chat.save_now, pictures.close, library.close]
    app.engine.start()
    return Desk(app, library, pictures, documents, asking)


@pytest.fixture
def desk(qapp: QApplication, tmp_path: Path) -> Iterator[Desk]:
    made = open_desk(tmp_path, {})
    yield made
    made.app.close()
