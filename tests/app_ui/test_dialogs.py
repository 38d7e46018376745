"""Dialogs and players with real files: what a person chooses is what happens."""

import shutil
import subprocess
import wave
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtMultimedia import QMediaPlayer
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QMessageBox

from app.core.conversation import PRESETS, Attachment, MediaKind
from app.core.events import Pong
from app.core.paths import demo_model_dir, film_copy, play_copy
from app.services.film_strip import FilmStrip
from app.ui.chat.chat_menus import with_ending
from app.ui.chat.chat_settings import OWN_STYLE, ChatSettings
from app.ui.chat.players import PlayerBar, SilentPlayer, VideoPlayer, clock
from app.ui.models.words import size_words
from tests.app_ui.talking import ask


def choose(monkeypatch: pytest.MonkeyPatch, *, save: Path | None = None, read: str = "") -> None:
    """The person chooses these in the system's file dialogs."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(save or ""), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (read, ""))


def press(qtbot, label: str) -> None:
    """Press this button of the message box that is open, and see it close."""
    qtbot.waitUntil(lambda: isinstance(QApplication.activeModalWidget(), QMessageBox))
    box = QApplication.activeModalWidget()
    assert isinstance(box, QMessageBox)
    next(b for b in box.buttons() if b.text().replace("&", "") == label).click()
    qtbot.waitUntil(lambda: QApplication.activeModalWidget() is None)


# --- export and import -----------------------------------------------------------------------


def test_a_chat_is_exported_in_three_forms_and_comes_back_whole(
    window, qtbot, picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open_files([str(picture)])
    chat = window.state.chat
    qtbot.waitUntil(lambda: chat.drafts.all_settled, timeout=30_000)
    ask(window, qtbot, "Show me a table")
    before = chat.messages()
    for suffix, words in (("md", "| Banana | 0.35 |"), ("html", "<"), ("facet.json", "Banana")):
        target = tmp_path / f"chat.{suffix}"
        choose(monkeypatch, save=target)
        window.chat_page.menus.export()
        assert words in target.read_text(encoding="utf-8")
        assert target.name in window.chat_page.notice.text
    assert "<script" not in (tmp_path / "chat.html").read_text(encoding="utf-8")
    choose(monkeypatch, read=str(tmp_path / "chat.facet.json"))
    window.import_chat()
    after = chat.messages()
    assert [m.text for m in after] == [m.text for m in before]
    assert after[0].attachments[0].sha256 == before[0].attachments[0].sha256
    assert len(window.state.conversations.conversations()) == 2


def test_no_name_chosen_writes_nothing_and_a_bad_place_is_said(
    window, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(window, qtbot, "hello")
    choose(monkeypatch)
    window.chat_page.menus.export()
    (tmp_path / "taken.md").mkdir()
    choose(monkeypatch, save=tmp_path / "taken.md")
    window.chat_page.menus.export()
    assert "“taken.md” could not be written" in window.notice.text
    bad = tmp_path / "bad.json"
    bad.write_text('{"facet": 1}', encoding="utf-8")
    choose(monkeypatch, read=str(bad))
    window.import_chat()
    assert window.notice.text
    assert len(window.state.conversations.conversations()) == 1


def test_a_name_without_an_ending_gets_that_of_the_chosen_form() -> None:
    assert with_ending("/x/My chat", "Web page (*.html)") == "/x/My chat.html"
    assert with_ending("/x/My chat", "") == "/x/My chat.md"
    assert with_ending("/x/v1.2", "Facet (*.facet.json)") == "/x/v1.2.facet.json"
    assert with_ending("/x/chat.MD", "Web page (*.html)") == "/x/chat.MD"


# --- delete everything -----------------------------------------------------------------------


def test_all_data_is_deleted_only_after_a_yes(window, qtbot) -> None:
    window.show_page("settings")
    page = window.page("settings")
    wanted: list[bool] = []
    window.delete_data_wanted.connect(lambda: wanted.append(True))
    for label, outcome in (("Cancel", []), ("Delete everything", [True])):
        page._confirm_delete()
        press(qtbot, label)
        assert wanted == outcome


# --- delete a model --------------------------------------------------------------------------


def test_a_model_is_deleted_only_after_a_yes_and_frees_what_was_said(
    window, qtbot, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "mine"
    shutil.copytree(demo_model_dir(), folder)
    size = size_words(sum(file.stat().st_size for file in folder.iterdir()))
    state = window.state
    state.settings.set("model_folders", (str(folder.parent),))
    state.models.refresh()

    def rows() -> list:
        return [r for r in state.models.rows() if r.info and r.info.path == str(folder)]

    qtbot.waitUntil(lambda: bool(rows()), timeout=30_000)
    window.show_page("models")
    page = window.page("models")
    for label in ("Cancel", "Delete"):
        assert folder.exists()
        page._on_action("delete", rows()[0])
        qtbot.waitUntil(lambda: isinstance(QApplication.activeModalWidget(), QMessageBox))
        assert size in QApplication.activeModalWidget().informativeText()
        press(qtbot, label)
    qtbot.waitUntil(lambda: not folder.exists(), timeout=30_000)
    qtbot.waitUntil(lambda: bool(page.notice.text), timeout=30_000)
    assert size in page.notice.text
    qtbot.waitUntil(lambda: not rows(), timeout=30_000)
    assert folder.parent.exists()


# --- what holds for one chat -----------------------------------------------------------------


def test_settings_of_a_chat_hold_after_done(window, qtbot) -> None:
    chat = window.state.chat
    window.chat_page.menus.edit_settings()
    (dialog,) = window.findChildren(ChatSettings)
    assert dialog.isVisible()
    dialog.prompt.setPlainText("Answer like a pirate.")
    dialog.think.setChecked(True)
    dialog.style_box.setCurrentText("Precise")
    dialog.accept()
    assert not dialog.isVisible()
    meta = chat.conversation.meta
    assert meta.system_prompt == "Answer like a pirate."
    assert meta.think
    assert meta.preset == next(p for p in PRESETS if p.name == "Precise")


def test_numbers_of_ones_own_make_a_style_of_ones_own(window) -> None:
    dialog = ChatSettings(window.theme, window.state.chat, window, show_details=True)
    dialog.temperature.setValue(0.37)
    dialog.accept()
    preset = window.state.chat.conversation.meta.preset
    assert (preset.name, preset.temperature) == (OWN_STYLE, 0.37)
    assert dialog.result() == QDialog.DialogCode.Accepted
    dialog.deleteLater()


# --- players ---------------------------------------------------------------------------------


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "memo.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(bytes(64_000))
    return path


def kept(app, qtbot, path: Path) -> Attachment:
    """The file as a message would carry it."""
    found: list[Attachment] = []
    app.library.imported.connect(lambda _token, attachment: found.append(attachment))
    app.library.import_file("t", str(path), path.name)
    qtbot.waitUntil(lambda: bool(found), timeout=30_000)
    return found[0]


def test_a_recording_is_played_from_a_copy_a_worker_made(window, app, qtbot, sound) -> None:
    attachment = kept(app, qtbot, sound)
    bar = PlayerBar(window.theme, attachment, window.state.chat.copies)
    qtbot.addWidget(bar)
    assert bar._player is None
    bar.toggle()
    assert bar._time.text() == "Preparing …"
    bar.toggle()  # impatient
    qtbot.waitUntil(lambda: 1900 <= bar._slider.maximum() <= 2100, timeout=60_000)
    assert isinstance(bar._player, QMediaPlayer)
    original = app.library.attachment_path(attachment)
    assert bar._player.source().toLocalFile() == str(play_copy(original))
    bar._seek(1000)
    bar._player.stop()


def test_a_file_that_cannot_be_played_says_so(window, app, qtbot, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF not really")
    bar = PlayerBar(window.theme, kept(app, qtbot, bad), window.state.chat.copies)
    qtbot.addWidget(bar)
    bar.toggle()
    qtbot.waitUntil(lambda: bar._time.text() == "cannot be played", timeout=60_000)
    assert not bar.is_playing


@pytest.mark.parametrize("with_sound", [True, False])
def test_a_film_takes_the_place_of_its_still(window, app, qtbot, tmp_path, with_sound) -> None:
    path = tmp_path / "film.mp4"
    source = ["-f", "lavfi", "-i", "color=c=red:s=64x48:r=25:d=1.5"]
    track = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1.5"] if with_sound else []
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *track, str(path)], check=True)
    attachment = replace(kept(app, qtbot, path), kind=MediaKind.VIDEO)
    player = VideoPlayer(window.chat_page._context, attachment)
    qtbot.addWidget(player)
    player.show()
    assert player._screen is None
    player.bar.toggle()
    qtbot.waitUntil(lambda: player._screen is not None, timeout=60_000)
    assert not player._still.isVisible()
    assert isinstance(player.bar._player, QMediaPlayer if with_sound else SilentPlayer)
    qtbot.waitUntil(lambda: 1400 <= player.bar._slider.maximum() <= 1600, timeout=30_000)
    shown = player._screen.pixmap().toImage().pixelColor(20, 20)
    assert (shown.red() > 200, shown.green() < 60) == (True, True)
    player.bar._seek(1200)
    player.bar._player.stop()
    assert not player.is_playing
    strip = FilmStrip(film_copy(app.library.attachment_path(attachment)))
    assert strip.seconds == pytest.approx(1.5, abs=0.2)
    assert strip.jpeg(99) == strip.jpeg(1.5)
    strip.close()


def test_clock_of_a_player() -> None:
    assert [clock(s) for s in (0, 5, 65, 3600)] == ["0:00", "0:05", "1:05", "60:00"]


# --- memory ----------------------------------------------------------------------------------


def test_the_memory_gauge_follows_the_engine(window) -> None:
    models, menus = window.state.models, window.chat_page.menus
    models.memory_changed.emit(Pong(1, 3_000_000_000, 500_000_000, 5_100_000_000, 1_000_000_000))
    words = "Uses 3.5 GB of memory, 5.1 GB at most"
    assert words in window.chat_page.header.model_chip.toolTip()
    menus._fill_models()
    assert words in [action.text() for action in window.chat_page.header.model_menu.actions()]
