"""The real window with the scripted engine: what a person does, and what then is there."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PilImage
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import (
    QColor,
    QDesktopServices,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QImage,
    QKeySequence,
)
from PySide6.QtWidgets import (
    QApplication,
    QWidget,
)

from app.controllers.drafts import DraftState
from app.core.conversation import ImageDetail, MessageState, Role
from app.core.errors import ErrorKind, Failure
from app.core.events import Capabilities, EngineStopped
from app.ui.drop import drop_words
from app.ui.main_window import MainWindow
from app.ui.theme import Theme
from tests.app_ui.talking import answer_row, ask, write_and_send

# --- talking ---------------------------------------------------------------------------------


def test_a_question_is_answered_on_the_screen(window, qtbot) -> None:
    ask(window, qtbot, "Show me a table")
    page = window.chat_page
    assert page.composer.text == ""
    qtbot.waitUntil(lambda: "Banana" in answer_row(window).text_view.toPlainText())
    assert [m.role for m in window.state.chat.messages()] == [Role.USER, Role.MODEL]
    assert window.windowTitle() == "Show me a table – Facet"
    qtbot.waitUntil(page.header.meter.isVisible)


def test_shift_enter_starts_a_line_and_the_setting_swaps_the_keys(window, qtbot) -> None:
    edit = window.chat_page.composer.edit
    qtbot.keyClicks(edit, "one")
    qtbot.keyClick(edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(edit, "two")
    assert window.chat_page.composer.text == "one\ntwo"
    window.state.settings.set("send_key", "command")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    assert window.state.chat.messages() == []
    qtbot.keyClick(edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: len(window.state.chat.messages()) == 2)
    qtbot.waitUntil(lambda: not window.state.chat.busy)


def test_escape_stops_and_keeps_what_was_said(window, qtbot) -> None:
    write_and_send(window, qtbot, "a long answer please")
    chat = window.state.chat
    qtbot.waitUntil(lambda: bool(chat.messages()[-1].text), timeout=30_000)
    assert window.chat_page.composer.send_button.accessibleName().startswith("Stop")
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not chat.busy, timeout=30_000)
    assert chat.messages()[-1].state is MessageState.STOPPED
    assert chat.messages()[-1].text
    qtbot.waitUntil(lambda: answer_row(window)._status.text() == "Stopped.")


def test_streaming_draws_at_most_thirty_rows_a_second(window, qtbot) -> None:
    import time

    view = window.chat_page.transcript
    start, drawn = time.monotonic(), view.updates_drawn
    ask(window, qtbot, "a long answer please")
    seconds = time.monotonic() - start
    assert 0 < view.updates_drawn - drawn <= 31 * seconds + 2


def test_again_makes_a_version_and_the_arrows_walk(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    first = window.state.chat.messages()[-1].id
    answer_row(window).action.emit("regenerate", first)
    qtbot.waitUntil(lambda: not window.state.chat.busy)
    second = window.state.chat.messages()[-1].id
    assert second != first
    row = answer_row(window)
    row.setFocus()
    assert window.chat_page._version_of(second) == (2, 2)
    row.action.emit("previous", second)
    assert window.state.chat.messages()[-1].id == first


def test_a_sent_message_can_be_changed(window, qtbot) -> None:
    ask(window, qtbot, "first words")
    question = window.state.chat.messages()[0].id
    window.chat_page._on_action("edit", question)
    assert window.chat_page.composer.text == "first words"
    assert window.chat_page.composer._editing.isVisible()
    window.chat_page.composer.set_text("other words")
    qtbot.keyClick(window.chat_page.composer.edit, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not window.state.chat.busy)
    shown = window.state.chat.messages()[0]
    assert shown.text == "other words"
    assert window.state.chat.conversation.version_of(shown.id) == (2, 2)
    assert not window.chat_page.composer._editing.isVisible()


def test_a_branch_opens_a_copy(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    before = window.state.chat.conversation.id
    window.chat_page._on_action("branch", window.state.chat.messages()[-1].id)
    assert window.state.chat.conversation.id != before
    assert len(window.state.chat.messages()) == 2


def test_a_failure_has_words_and_one_button(window, qtbot) -> None:
    ask(window, qtbot, "break please")
    qtbot.waitUntil(lambda: answer_row(window)._error is not None)
    card = answer_row(window)._error
    assert "told me to fail" in card.accessibleName()
    assert window.state.chat.messages()[-1].text
    card.mend.emit(card._failure)
    qtbot.waitUntil(lambda: window.state.chat.busy)
    qtbot.waitUntil(lambda: not window.state.chat.busy)
    assert window.state.chat.conversation.version_of(window.state.chat.messages()[-1].id) == (2, 2)


def test_marks_are_drawn_on_the_picture(window, qtbot, picture) -> None:
    window.open_files([str(picture)])
    qtbot.waitUntil(lambda: window.state.chat.drafts.all_settled, timeout=30_000)
    ask(window, qtbot, "where are they")
    qtbot.waitUntil(lambda: answer_row(window)._marks is not None)
    assert [mark.label for mark in answer_row(window)._marks._marks] == ["cup", "spoon"]


def test_a_link_opens_only_after_its_target_was_shown(window, qtbot, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    window.chat_page._ask_to_open("https://example.org/a?b=c")
    assert opened == []
    assert window.chat_page.notice.text == "https://example.org/a?b=c"
    window.chat_page.notice._button.click()
    assert opened == ["https://example.org/a?b=c"]
    window.chat_page._ask_to_open("file:///etc/passwd")
    assert window.chat_page.notice.text == "https://example.org/a?b=c"


def test_the_answer_is_announced_in_sentences(window, qtbot) -> None:
    ask(window, qtbot, "a long answer please")
    spoken = window.chat_page._announcer.spoken
    assert " ".join(spoken) == window.state.chat.messages()[-1].text.strip()
    assert len(spoken) < 20


# --- files -----------------------------------------------------------------------------------


def drag(window: MainWindow, files: list[Path]) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in files])
    event = QDragEnterEvent(
        QPoint(300, 300),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(window, event)
    return data


def test_a_drag_dims_the_window_and_a_drop_attaches(window, qtbot, picture) -> None:
    data = drag(window, [picture])
    assert window.overlay.isVisible()
    assert window.overlay.words == "Show this picture to Gemma 4 E4B"
    window.show_page("settings")
    drop = QDropEvent(
        QPointF(300, 300),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(window, drop)
    assert not window.overlay.isVisible()
    assert window.current_page == "chat"
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: drafts.items()[0].state is DraftState.READY, timeout=30_000)
    chip = window.chat_page.composer._chips[0]
    assert chip.visibleRegion().boundingRect().height() == chip.height(), "it can be seen whole"
    chip.detail_chosen.emit(drafts.items()[0].id, ImageDetail.FINE)
    assert drafts.items()[0].detail is ImageDetail.FINE
    window.chat_page.composer._chips[0].removed.emit(drafts.items()[0].id)
    assert drafts.items() == []


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_every_attached_file_can_be_seen_or_scrolled_to(window, qtbot, tmp_path, scale) -> None:
    """Also large text in the smallest window, and a file that is refused with many words."""
    window.resize(880, 600)
    window.theme.set_scale(scale)
    drafts, composer = window.state.chat.drafts, window.chat_page.composer
    folder = tmp_path / "dropped"
    folder.mkdir()
    PilImage.new("RGB", (64, 64), "teal").save(folder / "a picture with a long name.png")
    (folder / "nothing.bin").write_bytes(bytes(range(256)))
    (folder / "words.txt").write_text("some words")
    window.open_files([str(path) for path in sorted(folder.iterdir())])
    qtbot.waitUntil(lambda: len(drafts.items()) == 3 and drafts.all_settled, timeout=30_000)
    tray, inner = composer._tray, composer._tray.widget()

    def seen(chip: QWidget) -> bool:
        whole = chip.height() >= chip.layout().heightForWidth(chip.width())
        return whole and inner.rect().contains(chip.geometry())

    qtbot.waitUntil(lambda: all(map(seen, composer._chips)), timeout=30_000)
    qtbot.waitUntil(lambda: inner.width() <= tray.viewport().width(), timeout=30_000)
    qtbot.waitUntil(lambda: tray.geometry().bottom() <= composer.edit.y(), timeout=30_000)
    window.notice.show_notice("Something happened.")
    top = composer.mapTo(window.notice.parentWidget(), QPoint(0, 0)).y()
    assert window.notice.geometry().bottom() < top, "a notice covers no file"


def test_what_a_drop_will_do() -> None:
    deaf = Capabilities(image=True, video=True)
    assert drop_words(["a.wav"], "26B", deaf, "E2B")[0] == "26B cannot hear: transcribe with E2B?"
    assert drop_words(["a.wav"], "26B", deaf)[0].startswith("26B cannot hear.")
    assert drop_words(["/x/lease.pdf"], "E4B", deaf)[0] == "Read lease.pdf"
    assert drop_words(["a.png", "b.jpg"], "", None)[0] == "Show these 2 pictures"
    assert drop_words(["a.png", "b.pdf"], "E4B", deaf)[0] == "Add 2 files to your message"
    assert drop_words([], "E4B", deaf)[0] == "Add this text"
    assert drop_words(["a.png"], "Base", Capabilities())[0] == "Base cannot see pictures."


def test_a_very_long_text_is_pasted_as_a_file(window, qtbot) -> None:
    composer, drafts = window.chat_page.composer, window.state.chat.drafts
    QApplication.clipboard().setText("short words")
    composer.edit.paste()
    QApplication.clipboard().setText("A line of a long letter.\n" * 40_000)  # a million characters
    composer.edit.paste()
    assert composer.text == "short words"
    qtbot.waitUntil(lambda: drafts.items()[0].state is DraftState.READY, timeout=30_000)
    assert drafts.items()[0].name == "Pasted text.txt"
    assert drafts.items()[0].text.startswith("A line of a long letter.")
    assert not drafts.obstacle


def test_a_picture_is_pasted(window, qtbot) -> None:
    image = QImage(40, 30, QImage.Format.Format_RGB32)
    image.fill(QColor("red"))
    QGuiApplication.clipboard().setImage(image)
    edit = window.chat_page.composer.edit
    edit.setFocus()
    qtbot.keyClick(edit, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: bool(drafts.items()) and drafts.all_settled, timeout=30_000)
    draft = drafts.items()[0]
    assert draft.state is DraftState.READY
    assert (draft.attachment.width, draft.attachment.height) == (40, 30)
    assert window.chat_page.composer.send_button.isEnabled()


def test_a_bad_file_is_refused_with_the_reason(window, qtbot, tmp_path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    window.open_files([str(bad)])
    drafts = window.state.chat.drafts
    qtbot.waitUntil(lambda: drafts.all_settled, timeout=30_000)
    assert drafts.items()[0].state is DraftState.REFUSED
    assert drafts.items()[0].problem
    assert not window.chat_page.composer.send_button.isEnabled()


def test_recent_files_are_remembered(window, qtbot, picture) -> None:
    window.open_files([str(picture)])
    window.menus._fill_recent()
    assert window.menus.recent.actions()[0].text() == picture.name
    qtbot.waitUntil(lambda: window.state.chat.drafts.all_settled, timeout=30_000)


# --- the list --------------------------------------------------------------------------------


def test_delete_and_undo(window, qtbot) -> None:
    ask(window, qtbot, "remember me")
    chat_id = window.state.chat.conversation.id
    window.menus.actions["delete"].trigger()
    assert window.sidebar.model.row_of(chat_id) is None
    assert window.state.chat.messages() == []
    assert window.notice.isVisible()
    window.notice._button.click()
    assert window.state.chat.conversation.id == chat_id
    assert window.sidebar.model.row_of(chat_id) is not None


def test_search_finds_and_opens_the_message(window, qtbot) -> None:
    ask(window, qtbot, "the zebra crossing")
    chat_id = window.state.chat.conversation.id
    window.new_chat()
    qtbot.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    window.menus.actions["find"].trigger()
    assert window.sidebar.search_field.hasFocus()
    qtbot.keyClicks(window.sidebar.search_field, "zebra")
    model = window.sidebar.model
    qtbot.waitUntil(lambda: model.rowCount() > 0 and bool(model.entry(0).conversation_id))
    qtbot.keyClick(window.sidebar.search_field, Qt.Key.Key_Return)
    assert window.state.chat.conversation.id == chat_id


def test_rename_in_the_header_and_in_the_list(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    title = window.chat_page.header.title
    title.start()
    qtbot.keyClicks(title.edit, "Better name")
    qtbot.keyClick(title.edit, Qt.Key.Key_Return)
    chat_id = window.state.chat.conversation.id
    row = window.sidebar.model.row_of(chat_id)
    assert window.sidebar.model.entry(row).title == "Better name"
    window.sidebar.model.setData(window.sidebar.model.index(row), "Best name")
    assert window.state.conversations.meta(chat_id).title == "Best name"


def test_pinned_chats_stand_on_top(window, qtbot) -> None:
    ask(window, qtbot, "hello")
    window.state.conversations.set_pinned(window.state.chat.conversation.id, True)
    assert window.sidebar.model.entry(0).title == "Pinned"
    assert window.sidebar.model.entry(1).pinned


# --- pages, menus, settings ------------------------------------------------------------------


def test_pages_plug_in(window) -> None:
    extra = QWidget()
    window.add_page("live", "Live", "audio-lines", extra, before="models")
    window.show_page("live")
    assert window.stack.currentWidget() is extra
    assert window.page("live") is extra
    assert window.sidebar._pages["live"].isChecked()
    assert "page-live" in window.menus.actions


def test_the_menu_bar_has_what_a_mac_expects(window) -> None:
    titles = [a.text().replace("&", "") for a in window.menuBar().actions()]
    assert titles == ["File", "Edit", "View", "Window", "Help"]
    keys = {name: a.shortcut().toString() for name, a in window.menus.actions.items()}
    assert keys["new"] == "Ctrl+N"
    assert keys["jump"] == "Ctrl+K"
    assert keys["find"] == "Ctrl+F"
    assert keys["settings"] == "Ctrl+,"
    roles = {name: a.menuRole().name for name, a in window.menus.actions.items()}
    assert roles["about"] == "AboutRole"
    assert roles["settings"] == "PreferencesRole"
    assert roles["quit"] == "QuitRole"


def test_no_two_entries_share_a_shortcut(window) -> None:
    seen: dict[str, str] = {}
    for name, action in window.menus.actions.items():
        key = action.shortcut().toString(QKeySequence.SequenceFormat.PortableText)
        assert key == "" or key not in seen, f"{name} and {seen.get(key)} share {key}"
        seen[key] = name


def test_settings_hold_at_once(window, qtbot) -> None:
    window.show_page("settings")
    lines = window.page("settings").lines
    lines["theme"].field.box.setCurrentIndex(2)
    lines["theme"].field.box.activated.emit(2)
    assert window.theme.is_dark
    lines["text_size"].field.spin.setValue(150)
    assert window.theme.scale == 1.5
    lines["show_details"].field.switch.click()
    assert window.state.settings.settings.show_details
    window.menus.actions["normal"].trigger()
    assert lines["text_size"].field.spin.value() == 100


def test_a_device_is_picked_from_what_is_there(window) -> None:
    settings = window.state.settings
    plugged = [("", "The system's choice"), ("cam-1", "Desk camera")]
    asked = []
    settings.offer("camera", lambda: (asked.append(1), plugged)[1])
    box = window.page("settings").lines["camera"].field.box
    assert [box.itemText(n) for n in range(box.count())] == ["The system's choice"]
    assert not asked, "nothing is looked up before somebody wants to choose"
    box.showPopup()
    assert box.itemText(1) == "Desk camera"
    box.setCurrentIndex(1)
    box.activated.emit(1)
    box.hidePopup()
    assert settings.settings.camera == "cam-1"
    plugged.pop()
    box.showPopup()
    assert box.currentText() == "Not connected now"
    box.hidePopup()
    settings.set("camera", "")
    assert box.currentText() == "The system's choice"


def test_every_visible_setting_has_a_line(window) -> None:
    from app.core.settings import specs

    wanted = {spec.name for spec in specs() if not spec.hidden and not spec.needs}
    assert set(window.page("settings").lines) == wanted


def test_the_first_start_page_is_first(app, qtbot) -> None:
    window = MainWindow(app.state, Theme("light"))
    qtbot.addWidget(window)
    assert window.current_page == "first"
    page = window.page("first")
    assert "memory" in page._chip.text()
    assert app.state.models.recommended().label in page._name.text()


def test_the_models_page_lists_one_version_each(window, qtbot) -> None:
    window.show_page("models")
    page = window.page("models")
    few = len(page.row_widgets)
    page.all_button.click()
    assert len(page.row_widgets) > few
    names = [row.accessibleName() for row in page.row_widgets]
    assert any("sound" in name for name in names)
    assert any("sound" not in name for name in names)


def test_the_doctor_reports(window, qtbot) -> None:
    window.show_page("doctor")
    qtbot.waitUntil(lambda: window.page("doctor")._cards != [])
    window.page("doctor").copy_button.click()
    assert "PySide6" in QGuiApplication.clipboard().text()


def test_a_dead_engine_is_told_in_words(window) -> None:
    reason = "The engine stopped: it ran out of memory."
    stopped = EngineStopped(-9, False, reason, ErrorKind.OUT_OF_MEMORY)
    window.state.models.engine_stopped.emit(stopped)
    assert window.notice.text == f"{reason} It could not be restarted."
    window.notice._button.click()
    assert window.current_page == "models"


def test_a_long_job_in_the_background_gives_a_quiet_notice(window, qtbot, monkeypatch) -> None:
    ask(window, qtbot, "hello")
    chat = window.state.chat
    last = chat.messages()[-1]
    chat.conversation.replace(replace(last, usage=replace(last.usage, total_s=60.0)))
    monkeypatch.setattr(MainWindow, "isActiveWindow", lambda _self: False)
    chat.finished.emit(last.id)
    assert window.notice.text == "Your answer is ready."


def test_the_send_key_of_the_settings_holds_from_the_start(app, qtbot) -> None:
    app.state.settings.set("send_key", "command")
    window = MainWindow(app.state, Theme("light"))
    qtbot.addWidget(window)
    assert window.chat_page.composer.edit.send_key == "command"


def test_a_loaded_model_ends_the_first_start(app, qtbot) -> None:
    window = MainWindow(app.state, Theme("light"))
    qtbot.addWidget(window)
    assert window.current_page == "first"
    app.engine.start()
    app.state.models.load("/models/scripted")
    qtbot.waitUntil(lambda: window.current_page == "chat", timeout=30_000)
    assert app.state.settings.settings.first_start_done


def test_only_a_name_can_be_downloaded(window, qtbot, monkeypatch) -> None:
    wanted: list[str] = []
    monkeypatch.setattr(window.state.models, "download", wanted.append)
    window.show_page("models")
    page = window.page("models")
    for words in ("not a repo", "../../etc"):
        page.repo_field.setText(words)
        qtbot.keyClick(page.repo_field, Qt.Key.Key_Return)
        assert page.name_problem.isVisible()
        assert page.repo_field.text() == words
        qtbot.keyClicks(page.repo_field, "x")
        assert not page.name_problem.isVisible()
    page.repo_field.setText("https://huggingface.co/google/gemma-4-E2B-it")
    qtbot.keyClick(page.repo_field, Qt.Key.Key_Return)
    assert wanted == ["google/gemma-4-E2B-it"]
    assert page.repo_field.text() == ""


def test_a_failed_download_is_said_once(window, monkeypatch) -> None:
    from app.services.downloads import DownloadState, DownloadStatus

    models, status = window.state.models, DownloadStatus("a/b", DownloadState.FAILED, problem="No.")
    monkeypatch.setattr(models._downloads, "statuses", lambda: {"a/b": status})
    window.show_page("models")
    page = window.page("models")
    models._on_download_failed("a/b", Failure(ErrorKind.NETWORK, "No."))
    page.refresh()
    assert page._error is None
    assert not window.notice.isVisible()
    row = next(row for row in page.row_widgets if row.row.key == "a/b")
    assert row._progress_words.text().startswith("No.")
    assert "pictures" not in row.accessibleName(), "nobody knows yet"
    window.new_chat()
    models._on_download_failed("a/b", Failure(ErrorKind.NETWORK, "No."))
    assert window.notice.text == "No."


def test_a_title_keeps_its_ampersands(window) -> None:
    title = window.chat_page.header.title
    title.set_title("Salt & pepper")
    assert title.button.text() == "Salt && pepper"


def test_the_digits_follow_the_side_bar(window, qtbot) -> None:
    window.add_page("live", "Live", "audio-lines", QWidget(), before="models")
    window.add_page("documents", "Documents", "scan-text", QWidget(), before="models")
    keys = ["chat", "live", "documents", "models", "settings"]
    digits = [window.menus.actions[f"page-{key}"].shortcut().toString() for key in keys]
    assert digits == [f"Ctrl+{number}" for number in range(1, 6)]
    shown = [action.text() for action in window.menus._pages.actions()][-5:]
    assert shown == ["Chat", "Live", "Documents", "Models", "Settings"]
    window.menus.actions["page-live"].trigger()
    assert window.current_page == "live"
    window.menus.actions["page-chat"].trigger()
    assert window.current_page == "chat"
