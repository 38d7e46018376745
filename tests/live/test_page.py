"""The live page and its controller on fakes: every permission state, keys, devices, engine loss."""

import numpy as np
import pytest

from app.core.errors import ErrorKind
from app.core.events import JobFailed, LiveReady, ModelInfo, ModelReady
from app.live import reports
from app.live.access import Access, Capture, access_card, settings_link
from app.services.camera import opencv_order
from tests.live.fakes import FakeCamera, FakeMicrophone, make_controller

pytestmark = pytest.mark.gui


@pytest.fixture(scope="module")
def theme(qapp):
    from app.ui.theme import Theme

    made = Theme("light")
    made.apply()
    return made


@pytest.fixture
def open_page(qapp, qtbot, theme):
    """Makes a page on a controller and stops everything afterwards."""
    from app.ui.live.live_page import LivePage

    opened = []

    def make(**words):
        controller, client, permissions = make_controller(**words)
        page = LivePage(theme, controller)
        qtbot.addWidget(page)
        page.resize(1100, 700)
        page.show()
        opened.append(controller)
        return page, controller, client, permissions

    yield make
    for controller in opened:
        controller.stop()


@pytest.mark.parametrize("capture", [Capture.MICROPHONE, Capture.CAMERA])
@pytest.mark.parametrize("state", [Access.NOT_ASKED, Access.DENIED, Access.RESTRICTED])
def test_each_permission_state_has_its_card(open_page, capture, state):
    page, controller, client, permissions = open_page()
    permissions.states = {capture: state}
    controller.start()
    controller.use_camera(True)
    panel = page.preview.panel if capture is Capture.CAMERA else page.microphone_panel
    card = access_card(capture, state)
    assert panel.title == card.title
    other = Capture.MICROPHONE if capture is Capture.CAMERA else Capture.CAMERA
    assert controller.access(other) is Access.GRANTED, "the rest of live mode works"
    controller.ask("Still here?")
    controller.session._runner.stop()
    assert "LiveReply" in _names(client, page)


def _names(client, page):
    from PySide6.QtWidgets import QApplication

    QApplication.processEvents()
    return client.names()


@pytest.mark.parametrize("state", [Access.NO_DEVICE, Access.BUSY])
def test_a_device_that_cannot_be_opened_has_its_card_and_a_way_out(open_page, state):
    microphone, camera = FakeMicrophone(state), FakeCamera(state)
    page, controller, _, _ = open_page(microphone=microphone, camera=camera)
    controller.start()
    controller.use_camera(True)
    assert page.microphone_panel.title == access_card(Capture.MICROPHONE, state).title
    assert page.preview.panel.title == access_card(Capture.CAMERA, state).title
    microphone.failing = camera.failing = None
    page.preview.panel._button.click()
    assert page.preview.panel.title == page.microphone_panel.title == ""
    assert controller.camera_on
    assert controller.microphone_on


def test_a_device_lost_in_the_middle_of_a_turn_keeps_what_was_said(open_page):
    microphone, camera = FakeMicrophone(), FakeCamera()
    page, controller, _, _ = open_page(microphone=microphone, camera=camera)
    controller.start()
    controller.use_camera(True)
    microphone.lost = camera.lost = Access.LOST
    controller._look_after_devices()
    assert page.microphone_panel.title == access_card(Capture.MICROPHONE, Access.LOST).title
    assert page.preview.panel.title == access_card(Capture.CAMERA, Access.LOST).title
    assert microphone.stopped
    assert camera.stopped
    microphone.lost = camera.lost = None
    controller.look_again()
    assert controller.microphone_on
    assert controller.camera_on


def test_the_question_is_asked_only_after_the_explanation(open_page):
    page, controller, _, permissions = open_page(microphone=None)
    permissions.states = {Capture.MICROPHONE: Access.NOT_ASKED}
    controller.start()
    assert not controller.microphone_on
    assert "stays on this Mac" in page.microphone_panel.accessibleName()
    page.microphone_panel._button.click()
    assert controller.microphone_on


def test_denied_leads_to_the_right_pane(open_page):
    page, controller, _, permissions = open_page()
    permissions.states = {Capture.CAMERA: Access.DENIED}
    controller.start()
    controller.use_camera(True)
    page.preview.panel._button.click()
    assert permissions.opened == [Capture.CAMERA]
    assert settings_link(Capture.CAMERA).endswith("Privacy_Camera")


def test_the_camera_is_off_at_first_and_its_mark_shows_when_on(open_page):
    page, controller, _, _ = open_page()
    controller.start()
    assert not controller.camera_on
    assert page.preview.accessibleName() == "Camera off"
    page.camera_button.click()
    assert page.preview.accessibleName() == "Camera on"
    page.camera_button.click()
    assert not controller.camera_on


def test_a_model_that_cannot_hear_offers_typing(open_page):
    page, controller, _client, _ = open_page(hears=False)
    seen = []
    controller.report.connect(seen.append)
    controller.start()
    kinds = [r.kind for r in seen if isinstance(r, reports.LiveNotice)]
    assert "cannot_hear" in kinds
    assert page.ask_line.isEnabled()


def test_a_model_that_cannot_hear_is_not_said_to_listen(open_page):
    from app.ui.live.floating_card import FloatingCard
    from tests.live.screens import state

    page, controller, client, _ = open_page()
    card = FloatingCard(page._theme, controller)
    controller.start()
    controller._on_report(state())
    assert (page.badge.look.word, card.badge.look.word) == ("Listening …", "Listening …")
    client.received.emit(LiveReady(controller.session.setup.job_id, False, True, ""))
    assert not controller.microphone_on
    assert (page.badge.look.word, card.badge.look.word) == ("Not listening", "Not listening")
    card.deleteLater()


def test_a_headset_in_telephone_quality_is_told(open_page):
    microphone = FakeMicrophone()
    microphone.narrow = True
    page, controller, _, _ = open_page(microphone=microphone)
    controller.start()
    assert "8 kHz" in page.notice.text()
    assert controller.microphone_on


def test_keys(open_page, qtbot):
    from PySide6.QtCore import Qt

    page, controller, _client, _ = open_page()
    controller.start()
    page.setFocus()
    done = []
    controller.press_talk = lambda: done.append("press")
    controller.release_talk = lambda: done.append("release")
    controller.interrupt = lambda: done.append("stop")
    controller.mute = lambda on: done.append(f"mute {on}")
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Escape, Qt.Key.Key_M):
        qtbot.keyClick(page, key)
    assert done == ["press", "release", "stop", "mute True"]


def test_model_text_is_never_read_as_markup(open_page):
    page, controller, _, _ = open_page()
    controller.start()
    evil = "<img src=x> <b>bold</b>"
    controller._on_report(reports.TurnOpened(0.0, 1))
    controller._on_report(reports.ReplyText(0.1, 1, 0, evil))
    assert "<img" not in page.caption.text()
    controller._on_report(reports.CaptionMoved(0.2, 1, evil, 3))
    assert "<img" not in page.caption.text()


def test_an_engine_that_died_is_given_the_conversation_again(open_page, qtbot):
    _, controller, client, _ = open_page()
    controller.start()
    job = controller.session.setup.job_id
    for report in (
        reports.TurnOpened(0.0, 1),
        reports.TurnClosed(1.0, 1, 0, "silence", 1.0, 1, 0.4),
        reports.ReplyText(1.1, 1, 0, "Red."),
        reports.ReplyDone(2.0, 1, "Red.", "stop", 4),
        reports.Transcript(2.5, 1, "what colour"),
    ):
        controller._on_report(report)
    client.received.emit(JobFailed(job, ErrorKind.ENGINE_STOPPED, "The engine stopped."))
    client.received.emit(ModelReady("load", ModelInfo("demo", "Demo")))
    starts = [c for c in client.sent if type(c).__name__ == "LiveStart"]
    assert len(starts) == 2
    assert [m.parts[0].text for m in starts[1].messages] == ["what colour", "Red."]


def test_the_words_of_a_talk_become_a_chat(open_page):
    _, controller, _, _ = open_page()
    kept = []
    controller.talk_grown.connect(kept.append)
    controller.start()
    for report in (
        reports.TurnOpened(0.0, 1),
        reports.ReplyText(1.1, 1, 0, "The mug is green."),
        reports.ReplyDone(2.0, 1, "The mug is green.", "interrupted", 7),
        reports.Transcript(2.5, 1, "what colour"),
    ):
        controller._on_report(report)
    controller.talk_edited(1, "what colour is it")
    controller.stop()
    assert [m.text for m in kept[-1].path()] == ["what colour is it", "The mug"]
    assert kept[-1].meta.title == "what colour is it"


def test_a_talk_is_found_by_the_search_before_it_ends(open_page, tmp_path, qtbot):
    from app.controllers.library_controller import LibraryController
    from app.controllers.talk_keeper import TalkKeeper
    from app.core.paths import AppPaths
    from app.services.library import Library

    library = Library(AppPaths.below(tmp_path))
    conversations = LibraryController(library)
    _, controller, _, _ = open_page()
    keeper = TalkKeeper(conversations, library)
    controller.talk_grown.connect(keeper.keep)
    controller.start()
    controller._on_report(reports.TurnOpened(0.0, 1))
    controller._on_report(reports.ReplyDone(2.0, 1, "A lighthouse.", "stop", 13))
    controller._on_report(reports.Transcript(2.5, 1, "what stands on the cliff"))
    assert controller.session, "the talk goes on"
    for word in ("lighthouse", "cliff"):
        with qtbot.waitSignal(library.search_done, timeout=30_000) as found:
            library.search(word)
        assert {hit.conversation_id for hit in found.args[1]} == {controller.talk.id}, word
    (meta,) = conversations.conversations()
    assert meta.title == "what stands on the cliff"
    conversations.rename(meta.id, "Holiday")
    controller._on_report(reports.TurnOpened(5.0, 2, "and how old is it"))
    controller._on_report(reports.ReplyDone(7.0, 2, "Two hundred years.", "stop", 18))
    assert len(library.load(meta.id).path()) == 4
    assert conversations.meta(meta.id).title == "Holiday"
    conversations.delete(meta.id)
    controller.stop()
    assert not conversations.conversations(), "what was deleted stays deleted"
    library.close()


def test_a_question_not_yet_written_down_is_kept_with_its_answer(open_page):
    _, controller, _, _ = open_page()
    kept = []
    controller.talk_grown.connect(kept.append)
    controller.start()
    for report in (
        reports.TurnOpened(0.0, 1),
        reports.TurnClosed(2.0, 1, 0, "silence", 2.2, 1, 0.4),
        reports.ReplyDone(3.0, 1, "Red.", "stop", 4),
    ):
        controller._on_report(report)
    controller.stop()
    assert [m.text for m in kept[-1].path()] == ["(A spoken question, 2 s.)", "Red."]


def test_the_log_tells_what_was_sent_and_what_it_cost(open_page):
    from PySide6.QtWidgets import QLabel

    page, controller, _, _ = open_page()
    controller.start()
    small = np.zeros((18, 32, 3), np.uint8)
    for report in (
        reports.TurnOpened(0.0, 1),
        reports.FrameSent(0.1, 0.05, 640, 360, small),
        reports.FrameSent(1.1, 1.05, 640, 360, small),
        reports.FrameUsed(1.2, 1.05, skipped=True),
        reports.TurnClosed(2.0, 1, 0, "silence", 2.0, 1, 0.4),
        reports.Timing(2.2, 1, 0.4, 0.03, 0.05, 0.3, 0.5),
    ):
        controller._on_report(report)
    words = [label.text() for label in page.talk_view.findChildren(QLabel)]
    assert sum("70 tokens" in text for text in words) == 1
    assert sum("nothing new in it" in text for text in words) == 1
    assert any("2.0 s of sound, 1 clip · 50 tokens" in text for text in words)
    assert any("first sound 500 ms" in text for text in words)
    page.info.setChecked(True)
    assert "prefill 50 ms" in page.timing.text()


def test_the_card_appears_when_the_page_is_out_of_sight(open_page):
    from app.ui.live.floating_card import FloatingCard

    page, controller, _, _ = open_page()
    card = FloatingCard(page._theme, controller)
    page.out_of_sight.connect(lambda hidden: card.appear() if hidden else card.vanish())
    page.hide()
    assert not card.isVisible(), "nothing is captured"
    page.show()
    controller.start()
    controller.use_camera(True)
    page.hide()
    assert card.isVisible()
    assert card.preview.isVisible()
    controller._on_report(reports.CaptionMoved(1.0, 1, "It is red.", 3))
    assert card.caption.text() == "It is red."
    wanted = []
    card.expand_wanted.connect(lambda: wanted.append(1))
    card.expand_button.click()
    page.show()
    assert wanted
    assert not card.isVisible()
    page.hide()
    card.end_button.click()
    assert not card.isVisible()
    assert controller.session is None


def test_in_a_narrow_window_the_words_take_the_cameras_place(open_page, qtbot):
    page, controller, _, _ = open_page()
    page.resize(640, 600)
    controller.start()
    qtbot.waitUntil(lambda: page.words_button.isVisible(), timeout=30_000)
    assert not page.talk_view.isVisible()
    page.words_button.click()
    assert page.talk_view.isVisible()
    assert not page.preview.isVisible()


def test_an_ear_is_named_and_its_loss_is_told(open_page):
    from app.core.events import EarLost

    page, controller, client, _ = open_page(hears=True, ear="Gemma 4 E2B")
    told = []
    controller.report.connect(lambda r: told.append(r) if isinstance(r, reports.LiveNotice) else 0)
    controller.start()
    assert [r.kind for r in told] == ["ear"]
    assert "Gemma 4 E2B" in told[0].text
    client.received.emit(EarLost(controller.session.setup.job_id, "Gemma 4 E2B"))
    assert told[-1].kind == "ear_lost"
    assert not controller.microphone_on
    assert page.ask_line.isEnabled()


def test_the_smallest_installed_model_that_hears_is_the_ear():
    from app.controllers.live_controller import choose_ear
    from app.core.events import Capabilities

    hears = Capabilities(image=True, audio=True)
    deaf = ModelInfo("31b", "31B", capabilities=Capabilities(image=True))
    models = [
        deaf,
        ModelInfo("demo", "Demo", size=1, capabilities=hears, source="demo"),
        ModelInfo("e4b", "E4B", size=9, capabilities=hears),
        ModelInfo("e2b", "E2B", size=5, capabilities=hears),
        ModelInfo("broken", "E2B", size=2, capabilities=hears, problem="damaged"),
    ]
    assert choose_ear(deaf, models) == "e2b"
    assert choose_ear(models[2], models) == ""
    assert choose_ear(deaf, models[:2]) == ""


def test_stop_releases_everything(open_page):
    microphone, camera = FakeMicrophone(), FakeCamera()
    page, controller, client, _ = open_page(microphone=microphone, camera=camera)
    controller.start()
    controller.use_camera(True)
    controller.stop()
    assert microphone.stopped
    assert camera.stopped
    assert _names(client, page)[-1] == "LiveEnd"
    assert page.start_button.isVisible()


def test_every_state_can_be_pictured(theme, tmp_path):
    from tests.live import screens

    for name in ("speaking", "camera-lost", "german"):
        path = screens.render(theme, name, tmp_path)
        assert path.stat().st_size > 5000


def test_camera_ids_become_opencv_numbers():
    assert opencv_order(["b2", "a1"], "darwin") == {"a1": 0, "b2": 1}
    assert opencv_order(["/dev/video2", "x"], "linux") == {"/dev/video2": 2}


def test_picture_folder_and_video_as_camera(tmp_path):
    import time

    import cv2

    from app.live.clock import SystemClock
    from app.services.camera import CameraError, open_source

    red = np.full((48, 64, 3), (0, 0, 255), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), red)
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20, (64, 48))
    for _ in range(10):
        writer.write(red)
    writer.release()
    for what in ("a.png", "v.avi", "."):
        frames = []
        camera = open_source(SystemClock(), str(tmp_path / what))
        camera.start(lambda rgb, _t, kept=frames: kept.append(rgb))
        deadline = time.monotonic() + 5
        while len(frames) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        camera.stop()
        assert frames[0][24, 32].argmax() == 0, "RGB, not BGR"
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(CameraError, match="cannot be read as a video"):
        open_source(SystemClock(), str(tmp_path / "broken.mp4")).start(lambda *_: None)


def test_after_the_end_nothing_of_the_talk_is_left_on_the_page(open_page):
    page, controller, _, _ = open_page()
    controller.start()
    controller.use_camera(True)
    page.preview.add_seen(np.zeros((9, 16, 3), np.uint8))
    controller.context_changed.emit(100, 5000)
    controller.report.emit(reports.LiveNotice(1.0, "silence", "The microphone sends only silence."))
    assert page.notice.isVisible()
    assert page.context.isVisible()
    controller.stop()
    assert page.preview._strip == []
    assert not page.notice.isVisible()
    assert not page.context.isVisible()
    end, stop = page.end_button, page.stop_button
    assert not end.isEnabled()
    assert colours(end) == colours(stop), "what cannot be pressed is not red"


def colours(button):
    """How many pixels of the words are reddish."""
    image = button.grab().toImage()
    pixels = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
    return sum(p.red() > p.green() + 60 for p in pixels)
