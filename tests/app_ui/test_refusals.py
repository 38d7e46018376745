"""A file the model cannot take is refused on every way in, with the reason and what would work."""

import wave
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QFileOpenEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from app.controllers.drafts import DraftState, refusal
from app.core.conversation import MediaKind
from app.core.events import Capabilities
from app.main import _FileOpener
from app.ui.main_window import MainWindow
from app.ui.widgets.notices import NoticeBar

DEAF = Capabilities(image=True, video=True)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "memo.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(32_000))
    return path


@pytest.fixture
def deaf(window: MainWindow) -> MainWindow:
    """The window with a model that cannot hear."""
    models = window.state.models
    models.loaded = replace(models.loaded, label="Gemma 4 26B", capabilities=DEAF)
    models.state_changed.emit()
    return window


def mime(path: Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    return data


def drop(window: MainWindow, path: Path, _patch: pytest.MonkeyPatch) -> None:
    data, left = mime(path), Qt.MouseButton.LeftButton
    copy, no_key = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(300, 300), copy, data, left, no_key))
    QApplication.sendEvent(window, QDropEvent(QPointF(300, 300), copy, data, left, no_key))


def paste(window: MainWindow, path: Path, _patch: pytest.MonkeyPatch) -> None:
    QGuiApplication.clipboard().setMimeData(mime(path))
    window.chat_page.composer.edit.paste()


def attach(window: MainWindow, path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(path)], ""))
    window.chat_page.composer.attach_button.click()


def open_with(window: MainWindow, path: Path, _patch: pytest.MonkeyPatch) -> None:
    opener = _FileOpener()
    opener.opened.connect(window.open_files)
    assert opener.eventFilter(opener, QFileOpenEvent(str(path)))


def recent(window: MainWindow, path: Path, _patch: pytest.MonkeyPatch) -> None:
    window.state.settings.remember_file(str(path))
    window.menus._fill_recent()
    window.menus.recent.actions()[0].trigger()


def test_a_recording_for_a_deaf_model_is_refused_on_every_way_in(
    deaf: MainWindow, qtbot, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composer, chat = deaf.chat_page.composer, deaf.state.chat
    for way_in in (drop, paste, attach, open_with, recent):
        composer.set_text("")
        way_in(deaf, recording, monkeypatch)
        assert len(chat.drafts.items()) == 1, way_in.__name__
        qtbot.waitUntil(lambda: chat.drafts.all_settled, timeout=30_000)
        (draft,) = chat.drafts.items()
        assert draft.state is DraftState.READY
        assert draft.refused == (
            "Gemma 4 26B cannot hear. E2B, E4B and 12B can: choose one of them under Models."
        )
        qtbot.keyClicks(composer.edit, "What is said here?")
        assert not composer.send_button.isEnabled()
        qtbot.keyClick(composer.edit, Qt.Key.Key_Return)
        assert "cannot hear" in deaf.chat_page.notice.text
        assert composer.text == "What is said here?"
        assert chat.messages() == []
        chat.drafts.remove(draft.id)
        assert chat.drafts.obstacle == ""


def test_it_goes_once_the_file_is_removed_or_another_model_hears(
    deaf: MainWindow, qtbot, recording: Path
) -> None:
    composer, chat, models = deaf.chat_page.composer, deaf.state.chat, deaf.state.models
    deaf.open_files([str(recording)])
    qtbot.waitUntil(lambda: chat.drafts.all_settled, timeout=30_000)
    composer.set_text("What is said here?")
    assert not composer.send_button.isEnabled()
    hearing = Capabilities(image=True, audio=True, video=True)
    models.loaded = replace(models.loaded, label="Gemma 4 E4B", capabilities=hearing)
    models.state_changed.emit()
    assert composer.send_button.isEnabled()
    composer.send_button.click()
    qtbot.waitUntil(lambda: len(chat.messages()) == 2 and not chat.busy, timeout=30_000)
    assert chat.messages()[0].attachments[0].name == "memo.wav"


def test_a_scan_without_text_is_sent_to_the_documents_page(window, qtbot, tmp_path: Path) -> None:
    from PIL import Image

    scan = tmp_path / "scan.pdf"
    Image.new("RGB", (200, 300), "white").save(scan)
    window.open_files([str(scan)])
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: drafts.all_settled, timeout=30_000)
    assert "Documents" in drafts.items()[0].refused
    assert drafts.items()[0].part() is None
    window.chat_page.composer._chips[0].removed.emit(drafts.items()[0].id)
    assert drafts.obstacle == ""


def test_the_words_name_what_would_work() -> None:
    nothing = Capabilities()
    assert "vision" in refusal(MediaKind.IMAGE, nothing, "Text model")
    assert "vision" in refusal(MediaKind.VIDEO, nothing, "Text model")
    assert refusal(MediaKind.DOCUMENT, nothing, "Text model") == ""
    base = Capabilities(image=True, audio=True, video=True, chat=False)
    assert "only continues text" in refusal(MediaKind.IMAGE, base, "Base")


def test_a_document_in_a_chat_gets_one_notice_that_says_what_is_true(
    window: MainWindow, qtbot, tmp_path: Path
) -> None:
    from PIL import Image

    asked: list[list[str]] = []
    window.add_page("documents", "Documents", "scan-text", QWidget())
    window.documents_wanted.connect(asked.append)
    scan, note = tmp_path / "scan.pdf", tmp_path / "note.txt"
    Image.new("RGB", (200, 300), "white").save(scan)
    note.write_text("Remember the milk.")
    window.open_files([str(note)])
    qtbot.waitUntil(lambda: window.notice.isVisible(), timeout=30_000)
    assert window.notice.text == "Its text goes into the chat."
    window.state.chat.drafts.remove(window.state.chat.drafts.items()[0].id)
    window.open_files([str(scan)])
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: drafts.all_settled, timeout=30_000)
    assert window.notice.text == drafts.items()[0].refused
    window.chat_page.composer.set_text("What does it say?")
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Return)
    assert window.notice.text == drafts.obstacle
    assert [bar for bar in window.findChildren(NoticeBar) if bar.isVisible()] == [window.notice]
    window.notice._button.click()
    assert asked == [[str(scan)]]
