"""The page where microphone, speaker and camera are tried out, on fakes of the devices."""

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from app.controllers.device_test import SILENCE_DB, DeviceTest, Trial
from app.live.access import Access, Capture
from app.live.buffers import RATE
from app.live.clock import VirtualClock
from app.services.microphone import MicrophoneError
from app.ui.settings.device_page import DevicePage
from app.ui.theme import Theme
from tests.live.fakes import FakeCamera, FakeMicrophone, FakePermissions, FakeSpeaker


class Room:
    """The page with its fake devices."""

    def __init__(self, theme: Theme, **states: Access) -> None:
        self.permissions = FakePermissions(**states)
        self.microphone, self.speaker, self.camera = FakeMicrophone(), FakeSpeaker(), FakeCamera()
        self.speaker_fails = False
        self.clock = VirtualClock()
        self.test = DeviceTest(
            self.permissions,
            lambda _clock: self.microphone,
            lambda _clock, _far: self._make_speaker(),
            lambda _clock: self.camera,
            clock=self.clock,
        )
        self.page = DevicePage(theme, self.test)

    def _make_speaker(self) -> FakeSpeaker:
        if self.speaker_fails:
            raise MicrophoneError(Access.NO_DEVICE, "No loudspeaker was found.")
        return self.speaker

    def pass_time(self, seconds: float, pcm: np.ndarray | None = None) -> None:
        if pcm is not None:
            self.microphone.sink(pcm, self.clock.now())
        self.clock.advance(seconds)
        self.test._on_tick()


@pytest.fixture
def enter(qapp: QApplication, theme: Theme, qtbot) -> Callable[..., Room]:
    def make(**states: Access) -> Room:
        room = Room(theme, **states)
        qtbot.addWidget(room.page)
        room.page.resize(800, 900)
        room.page.show()
        qtbot.waitExposed(room.page)
        return room

    return make


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(RATE * seconds)) * 0.2)).astype(np.float32)


def test_the_level_is_shown_and_three_seconds_are_played_back(enter) -> None:
    room = enter()
    assert room.test.listening
    assert room.page.meter.isVisible()
    room.pass_time(0.05, tone(0.1))
    assert room.test.level_db > -20
    room.page.record_button.click()
    assert room.test.trial is Trial.RECORDING
    assert not room.page.tone_button.isEnabled()
    for _ in range(3):
        room.pass_time(1.0, tone(1.0))
    assert room.test.trial is Trial.PLAYING
    assert room.speaker.started == [""]
    played = room.speaker.mixer.render(3 * RATE)
    assert np.abs(played).max() == pytest.approx(0.3, abs=0.02)
    room.pass_time(3.5)
    assert room.test.trial is Trial.IDLE
    assert room.page.microphone_words.text() == "The microphone hears you."


def test_a_mute_microphone_is_said(enter) -> None:
    room = enter()
    room.page.record_button.click()
    room.pass_time(3.1, np.zeros(RATE, np.float32))
    room.pass_time(5.0)
    assert room.page.microphone_words.text().startswith("Nothing was heard.")


def test_a_tone_is_played_or_the_reason_said(enter) -> None:
    room = enter()
    room.page.tone_button.click()
    assert np.abs(room.speaker.mixer.render(RATE // 2)).max() == pytest.approx(0.2, abs=0.01)
    room.pass_time(2.0)
    room.speaker_fails = True
    room.page.tone_button.click()
    assert room.page.speaker_words.text() == "No loudspeaker was found."
    assert room.page.tone_button.isEnabled()


def test_the_camera_is_switched_on_and_off(enter) -> None:
    room = enter()
    assert not room.test.looking
    room.page.camera_button.click()
    assert room.test.looking
    room.pass_time(0.05)
    assert room.page.preview.accessibleName() == "Camera on"
    assert room.test.newest_frame() is not None
    room.page.camera_button.click()
    assert room.camera.stopped
    assert room.test.newest_frame() is None


def test_nothing_is_asked_before_the_person_wants_it(enter) -> None:
    room = enter(microphone=Access.NOT_ASKED, camera=Access.NOT_ASKED)
    assert not room.test.listening
    assert room.page.microphone_panel.title == "Use the microphone?"
    room.page.microphone_panel.acted.emit("ask")
    assert room.test.listening
    assert room.page.meter.isVisible()
    room.page.camera_button.click()
    assert room.test.looking


@pytest.mark.parametrize("access", [Access.DENIED, Access.RESTRICTED])
def test_a_denial_is_explained_and_leads_to_the_settings(enter, access: Access) -> None:
    room = enter(microphone=access, camera=access)
    assert room.page.microphone_panel.title
    assert not room.page.record_button.isVisible()
    room.page.camera_button.click()
    assert room.page.preview.panel.title
    room.page.preview.panel.acted.emit("settings")
    assert room.permissions.opened == [Capture.CAMERA]


def test_a_device_that_goes_away_is_said_and_can_come_back(enter) -> None:
    room = enter()
    room.page.record_button.click()
    room.microphone.lost = Access.LOST
    room.pass_time(0.05)
    assert room.page.microphone_panel.title == "The microphone is gone"
    assert room.test.trial is Trial.IDLE
    room.microphone.lost = None
    room.page.microphone_panel.acted.emit("retry")
    assert room.test.listening


def test_leaving_the_page_releases_everything(enter) -> None:
    room = enter()
    room.page.camera_button.click()
    room.pass_time(0.05, tone(0.1))
    room.page.hide()
    assert room.microphone.stopped
    assert room.camera.stopped
    assert room.test.level_db == SILENCE_DB
    assert not room.test.listening


def test_the_settings_lead_to_it_and_back(window, app) -> None:
    from app.pages import add_device_page

    add_device_page(app, window)
    window.show_page("settings")
    window.page("settings").devices_wanted.emit()
    assert window.current_page == "devices"
    assert window.sidebar._pages["settings"].isChecked()
    window.page("devices").back.emit()
    assert window.current_page == "settings"
