"""Devices that come, go and are chosen; battery and heat; Qt as fallback camera; screen access."""

import numpy as np
import pytest

from app.live import reports
from app.live.access import Access, Capture, access_card
from app.live.buffers import RATE
from app.live.clock import SystemClock
from app.live.mixer import Mixer
from app.live.spoken_text import Piece
from app.services.camera import SCREEN, CameraError, FallbackCamera, fitted, open_source
from app.services.microphone import MicrophoneError
from app.services.power import PowerState, SystemPower, thermal_state
from tests.live.fakes import FakeCamera, FakeMicrophone, make_controller

pytestmark = pytest.mark.gui


@pytest.fixture
def start(qapp):
    """Makes a running conversation on fakes; stops it afterwards."""
    running = []

    def make(**words):
        controller, client, permissions = make_controller(**words)
        notices = []
        controller.report.connect(
            lambda r: notices.append(r.kind) if isinstance(r, reports.LiveNotice) else None
        )
        controller.start()
        running.append(controller)
        return controller, notices, client, permissions

    yield make
    for controller in running:
        controller.stop()


def test_a_lost_microphone_is_replaced_in_the_middle_of_the_turn(start):
    chosen, own = FakeMicrophone(), FakeMicrophone()
    rescans = []
    words = {"system_microphone": lambda _clock: own, "rescan": lambda: rescans.append(1)}
    controller, notices, _, _ = start(microphone=chosen, devices=words)
    chosen.lost = Access.LOST
    controller._look_after_devices()
    assert controller.session.microphone is own
    assert chosen.stopped
    assert rescans == [1]
    assert "microphone_changed" in notices
    assert controller.access(Capture.MICROPHONE) is Access.GRANTED


def test_without_another_microphone_the_card_is_shown(start):
    chosen, own = FakeMicrophone(), FakeMicrophone(Access.NO_DEVICE)
    controller, _, _, _ = start(
        microphone=chosen, devices={"system_microphone": lambda _clock: own}
    )
    chosen.lost = Access.LOST
    controller._look_after_devices()
    assert controller.access(Capture.MICROPHONE) is Access.LOST
    assert not controller.microphone_on


def test_a_lost_loudspeaker_gives_way_to_the_systems_own(start):
    controller, notices, _, _ = start(devices={"speaker": "Headphones"})
    speaker = controller.session.speaker
    speaker.device, speaker.lost = "Headphones", Access.LOST

    def begin():
        speaker.started.append(speaker.device)
        if speaker.device:
            raise MicrophoneError(Access.NO_DEVICE, "No loudspeaker was found.")

    speaker.start = begin
    controller._look_after_devices()
    assert speaker.started[-2:] == ["Headphones", ""]
    assert "speaker_changed" in notices


def test_what_is_plugged_in_is_found_when_nobody_speaks(start):
    rescans = []
    controller, _, _, _ = start(devices={"rescan": lambda: rescans.append(1)})
    taker = controller.session.pipeline.taker
    taker.press()
    controller.keeper.sound_changed()
    controller._look_after_devices()
    assert rescans == [], "not in the middle of a sentence"
    taker.drop_turn()
    controller._look_after_devices()
    assert rescans == [1]
    assert controller.microphone_on


def test_another_choice_is_used_at_once(start):
    words = {"speaker": ""}
    controller, _, _, _ = start(devices=words)
    controller.use_camera(True)
    first = controller.session.microphone, controller.session.camera
    words |= {"speaker": "Headphones", "camera": Capture.SCREEN}
    controller.devices_chosen()
    assert controller.session.speaker.started[-1] == "Headphones"
    assert controller.session.microphone is not first[0]
    assert controller.session.camera is not first[1]
    assert controller.access(Capture.SCREEN) is Access.GRANTED


def test_the_menu_lists_devices_and_marks_the_chosen_one(qapp):
    from app.services.sound_devices import Choice, DeviceChoices
    from app.ui.live.device_menu import DeviceMenu

    found = DeviceChoices(
        (Choice("", "The system's choice"), Choice("USB", "USB")),
        (Choice("", "The system's choice"),),
        (Choice("", "First camera"), Choice(SCREEN, "Screen")),
    )
    chosen = {"microphone": "USB", "speaker": "Gone", "camera": ""}
    menu = DeviceMenu(lambda: found, chosen.get, chosen.__setitem__)
    menu.fill()
    actions = {a.text(): a for a in menu.actions() if not a.isSeparator()}
    assert actions["USB"].isChecked()
    assert actions["Gone (not connected)"].isChecked()
    actions["Screen"].trigger()
    assert chosen["camera"] == SCREEN


@pytest.mark.parametrize("state", [Access.NOT_ASKED, Access.DENIED, Access.RESTRICTED])
def test_screen_recording_has_its_own_states(start, state):
    controller, _, _, permissions = start(devices={"camera": Capture.SCREEN})
    permissions.states = {Capture.SCREEN: state}
    shown = []
    controller.access_changed.connect(lambda *seen: shown.append(seen))
    controller.use_camera(True)
    assert shown[-1] == (Capture.SCREEN, state)
    assert "screen" in access_card(Capture.SCREEN, state).title
    assert not controller.camera_on
    controller.ask_permission(Capture.SCREEN)
    assert controller.camera_on


class FakePower:
    def __init__(self, state):
        self.now = state

    def state(self):
        return self.now


def test_the_camera_looks_less_often_on_battery_and_when_hot(start):
    power = FakePower(PowerState(battery=True))
    controller, notices, _, _ = start(devices={"power": power})
    session = controller.session
    controller.use_camera(True)
    controller.keeper.save_power()
    power.now = PowerState(hot=True)
    controller.keeper.save_power()
    power.now = PowerState()
    controller.keeper.save_power()
    session._runner.stop()
    assert notices.count("power") == 2
    assert session.pipeline.options.fps == 1.0
    assert PowerState(battery=True).slowed(1.0) == 0.5
    assert PowerState(battery=True, hot=True).slowed(2.0) == 0.2


def test_this_machine_tells_its_power_state():
    assert isinstance(SystemPower().state(), PowerState)
    assert thermal_state("linux") == 0


def test_the_next_source_is_tried_when_the_first_cannot_open():
    broken, working = FakeCamera(Access.BUSY), FakeCamera()
    camera = FallbackCamera(broken, working)
    seen = []
    camera.start(lambda rgb, t: seen.append(rgb))
    assert len(seen) == 1
    working.lost = Access.LOST
    assert camera.problem() is Access.LOST
    camera.stop()
    assert working.stopped
    with pytest.raises(CameraError):
        FallbackCamera(FakeCamera(Access.BUSY), FakeCamera(Access.LOST)).start(print)


def test_qt_frames_become_pictures(qapp):
    from PySide6.QtGui import QColor, QImage
    from PySide6.QtMultimedia import QVideoFrame

    from app.services.qt_camera import QtCamera, rgb_of

    image = QImage(70, 40, QImage.Format.Format_RGB32)
    image.fill(QColor(200, 30, 10))
    rgb = rgb_of(QVideoFrame(image))
    assert rgb.shape == (40, 70, 3)
    assert rgb[20, 35].tolist() == [200, 30, 10]
    with pytest.raises(CameraError, match="No camera"):
        QtCamera(SystemClock(), "no such camera").start(print)
    assert fitted(np.zeros((3000, 4000, 3), np.uint8)).shape == (960, 1280, 3)


def test_the_screen_can_be_chosen_as_camera(qapp):
    from app.services.qt_camera import ScreenCamera

    assert isinstance(open_source(SystemClock(), SCREEN), ScreenCamera)


def test_another_loudspeaker_goes_on_in_the_middle_of_a_sentence():
    mixer = Mixer(RATE)
    tone = np.sin(np.arange(RATE) * 2 * np.pi * 300 / RATE).astype(np.float32)
    mixer.play(Piece("one two three", 0, "one two three"), tone, RATE)
    mixer.render(RATE // 2)
    mixer.set_rate(48_000)
    rest = mixer.render(48_000)
    assert np.abs(rest[: 48_000 // 2 - 100]).max() > 0.9
    assert not np.any(rest[48_000 // 2 + 100 :])
    assert mixer.heard_characters() == 13
