"""The documents page in the real window: from the empty list to export, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QFileDialog, QLineEdit, QTextEdit

from app.core.errors import ErrorKind
from app.documents.export import ExportFormat
from app.main import App, AppOptions, build_app
from app.pages import add_documents_page
from app.store.documents import PageState
from app.ui.documents.page import DocumentsPage
from app.ui.main_window import MainWindow
from app.ui.theme import Theme
from tests.app_engine.conftest import wait_until
from tests.documents import reader_files
from tests.documents.conftest import PAGES, RULES


class Show:
    """A window with the documents page."""

    def __init__(self, folder: Path, *, in_process: bool = True) -> None:
        import json

        script = folder / "script.json"
        script.write_text(json.dumps({"pages": PAGES, "rules": RULES}))
        options = AppOptions(
            data_dir=str(folder / "data"), script=str(script), in_process=in_process
        )
        self.app: App = build_app(options)
        self.window = MainWindow(self.app.state, Theme("light"))
        self.documents = add_documents_page(self.app, self.window)
        page = self.window.page("documents")
        assert isinstance(page, DocumentsPage)
        self.page = page
        self.window.resize(1280, 800)
        self.app.engine.start()
        self.app.state.models.load("scripted")
        self.window.show()
        self.window.show_page("documents")

    def wait(self, condition: object) -> None:
        wait_until(condition, 180)

    def read(self, path: Path) -> object:
        self.window.open_files([str(path)])
        document = self.documents.current
        self.wait(lambda: document.opened and not document.wanted and not document.live)
        return document

    def shown_text(self) -> str:
        return self.page.reader.text.rendered.toPlainText()


@pytest.fixture
def show(qapp: QApplication, tmp_path: Path) -> Iterator[Show]:
    made = Show(tmp_path)
    yield made
    made.window.close()
    made.app.close()


def test_drop_read_look_edit_copy_and_export(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, documents, reader = show.page, show.documents, show.page.reader
    assert page.list.invitation.isVisibleTo(page)
    document = show.read(reader_files.scan(tmp_path / "Lease.pdf", 3))

    # What was read stands beside its page; thumbnails lead to the others.
    assert "840 euros" in show.shown_text()
    show.wait(lambda: reader.picture._image is not None)
    assert reader.thumbnails.pages.rowCount() == 3
    reader.thumbnails.setFocus()
    QTest.keyClick(reader.thumbnails, Qt.Key.Key_Down)
    assert documents.page == 1
    assert "2520" in show.shown_text()

    # A click on a line of the page shows it in the text.
    documents.show_page(0)
    show.wait(lambda: reader.picture._image is not None)
    line = next(each for each in document.pages[0].lines if each.text)
    middle = reader.picture._rect(line).center()
    assert reader.picture.line_at(QPointF(middle)) >= 0
    QTest.mouseClick(reader.picture.viewport(), Qt.MouseButton.LeftButton, pos=middle.toPoint())
    assert reader.picture._marked

    # Copying one block, then the page.
    reader.text.rendered.copy_block(1)
    assert QGuiApplication.clipboard().text() == PAGES[0].split("\n\n")[1]
    reader.head.copy.click()
    assert QGuiApplication.clipboard().text() == PAGES[0]

    # Editing in place is saved, also by leaving the page.
    reader.head.edit.click()
    reader.text.editor.setPlainText("# Lease\n\nChanged by hand.")
    documents.show_page(1)
    assert document.pages[0].shown == "# Lease\n\nChanged by hand."
    assert document.pages[1].edited is None

    # Export through the dialog.
    target = tmp_path / "out.md"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    done: list[str] = []
    page._export.finished.connect(lambda words, path: done.append(words))
    reader.bar.export.emit(ExportFormat.MARKDOWN)
    show.wait(lambda: bool(done))
    assert "Changed by hand." in target.read_text(encoding="utf-8")
    assert "2520" in target.read_text(encoding="utf-8")


def test_questions_say_their_way_and_citations_lead_to_pages(show: Show, tmp_path: Path) -> None:
    document = show.read(reader_files.scan(tmp_path / "Lease.pdf", 3))
    ask = show.page.ask
    show.page.reader.bar.ask_button.click()
    ask.edit.setPlainText("How much is the deposit?")
    show.wait(lambda: "whole text fits" in ask.cost.text())
    ask.send.click()
    show.wait(lambda: len(ask._rows) == 2 and not ask._asking.busy)
    show.wait(lambda: "2520" in ask._rows[1].text.toPlainText())
    show.wait(lambda: "known already" in ask.cost.text())
    ask._follow("facet-page:0/2")
    assert show.documents.page == 1
    # The talk is a chat like any other, and comes back with its document.
    titles = [meta.title for meta in show.app.state.conversations.conversations()]
    assert "How much is the deposit?" in titles
    assert document.record.conversation_id == ask._asking.chat.conversation.id


def test_problems_have_one_sentence_and_one_button(show: Show, tmp_path: Path) -> None:
    path = reader_files.printed(tmp_path / "secret.pdf", 1, password="pw")
    show.window.open_files([str(path)])
    card = show.page.problem
    show.wait(lambda: card.isVisibleTo(show.page))
    assert "password" in card.words.text()
    QTest.keyClicks(card.field, "pw")
    QTest.keyClick(card.field, Qt.Key.Key_Return)
    document = show.documents.current
    show.wait(lambda: document.done == 1)
    assert not card.isVisibleTo(show.page)
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 rubbish")
    show.window.open_files([str(tmp_path / "broken.pdf")])
    show.wait(lambda: card.isVisibleTo(show.page))
    assert card.words.text()
    assert card.button.text() == "Try again"
    assert show.documents.current.record.failure.kind is ErrorKind.BAD_FILE


def test_every_control_has_a_name_and_escape_goes_back(show: Show, tmp_path: Path) -> None:
    show.read(reader_files.scan(tmp_path / "Lease.pdf", 1))
    show.page.reader.bar.ask_button.click()
    for kind in (QAbstractButton, QLineEdit, QTextEdit):
        for control in show.page.findChildren(kind):
            if control.isVisibleTo(show.page) and control.objectName() != "qt_toolbar_ext_button":
                assert control.accessibleName(), control
    QTest.keyClick(show.page, Qt.Key.Key_Escape)
    assert show.documents.current is None
    assert show.page.stack.currentWidget() is show.page.list
    assert len(show.page.list.rows) == 1
    QTest.keyClick(show.page.list.rows[0], Qt.Key.Key_Return)
    assert show.documents.current is not None


def test_the_clipboards_picture_becomes_text(show: Show) -> None:
    show.wait(lambda: show.app.state.models.loaded is not None)
    QGuiApplication.clipboard().setImage(QImage.fromData(reader_files.png()))
    show.window.menus.actions["read-clipboard"].trigger()
    show.wait(lambda: "on the clipboard" in show.window.notice.text)
    assert QGuiApplication.clipboard().text() == PAGES[0]
    show.window.menus.actions["read-clipboard"].trigger()
    assert "no picture" in show.window.notice.text


def test_state_of_a_page_is_told_in_words(show: Show, tmp_path: Path) -> None:
    document = show.read(reader_files.scan(tmp_path / "Lease.pdf", 1))
    model = show.page.reader.thumbnails.pages
    role = Qt.ItemDataRole.AccessibleTextRole
    assert model.data(model.index(0, 0), role) == "Page 1: read"
    assert document.pages[0].state is PageState.DONE
