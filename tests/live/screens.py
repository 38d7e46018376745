"""Pictures of every state of the live page; `python -m tests.live.screens FOLDER` writes them."""

import sys
from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QApplication

from app.controllers.live_controller import CANNOT_HEAR, EAR_LISTENS, EAR_LOST
from app.live import reports
from app.live.access import Access, Capture
from app.live.pipeline import COMPLAINTS, HALF_DUPLEX, HEADPHONES
from app.live.reports import Duplex
from app.live.signals import AgentState, UserState
from app.services.sound_devices import Choice, DeviceChoices
from app.ui.live.device_menu import DeviceMenu
from app.ui.live.floating_card import FloatingCard
from app.ui.live.live_page import LivePage
from app.ui.theme import Theme
from tests.live.fakes import FakeCamera, FakeMicrophone, make_controller


def scene(shape="circle", color=(200, 60, 50)):
    """A picture as a camera might see it: a coloured shape on a table."""
    rows, columns = np.mgrid[0:360, 0:640]
    picture = np.empty((360, 640, 3), np.uint8)
    shade = 205 - rows // 6 + (columns // 40 % 2) * 4
    picture[...] = np.stack([shade, shade - 8, shade - 20], axis=2)
    inside = (rows - 190) ** 2 + (columns - 330) ** 2 < 90**2
    if shape == "square":
        inside = (abs(rows - 190) < 80) & (abs(columns - 330) < 80)
    picture[inside] = color
    return picture


def state(user=UserState.LISTENING, agent=AgentState.LISTENING, muted=False, duplex=Duplex.FULL):
    return reports.StateChanged(0.0, user, agent, muted, duplex)


def levels(speech=True):
    rng = np.random.default_rng(3)
    for i in range(48):
        loud = speech and i > 10
        level = -28 + 9 * np.sin(i / 2) + rng.normal() * 3 if loud else -62 + rng.normal()
        yield reports.Level(i / 30, float(level), -52.0, loud, 18.2 if loud else 0.0)


QUESTION = "what colour is the mug on the table"
ANSWER = "The mug is dark green. It stands on the left."
GERMAN = (
    "Die Donaudampfschifffahrtsgesellschaftskapitänsmütze liegt neben der "
    "Geschwindigkeitsbegrenzungstafel auf dem Wohnzimmertisch."
)


def exchange(turn=1, said=QUESTION, answer=ANSWER, heard=None, over=True):
    """The reports of one question and its answer."""
    yield reports.TurnOpened(0.5, turn)
    yield reports.TurnClosed(3.0, turn, 0, "silence", 2.3, 1, 0.42)
    yield reports.ReplyText(3.1, turn, 0, answer)
    yield reports.Timing(3.2, turn, 0.42, 0.031, 0.048, 0.29, 0.47)
    if over:
        kind = "interrupted" if heard else "stop"
        yield reports.ReplyDone(5.0, turn, answer, kind, heard or len(answer))
        yield reports.Transcript(5.5, turn, said)


def show(page, *given):
    for report in given:
        page._controller._on_report(report)


def hearing(page):
    page._controller.use_camera(True)
    show(page, *exchange(), *levels(), state(UserState.SPEAKING))
    show(page, reports.TurnOpened(7.0, 2), reports.FrameSent(7.0, 7.0, 640, 360, scene()[::5, ::5]))


def thinking(page):
    page._controller.use_camera(True)
    show(
        page,
        *levels(speech=False),
        *list(exchange(over=False))[:2],
        state(agent=AgentState.THINKING),
    )


def speaking(page):
    page._controller.use_camera(True)
    first = scene("square", (60, 90, 200))
    show(page, reports.TurnOpened(0.5, 1), reports.FrameSent(1.0, 1.0, 640, 360, first[::5, ::5]))
    show(page, reports.FrameSent(2.0, 2.0, 640, 360, scene()[::5, ::5]))
    show(page, *list(exchange(over=False))[1:], state(agent=AgentState.SPEAKING))
    show(page, *levels(speech=False), reports.Transcript(3.4, 1, QUESTION))
    show(page, reports.CaptionMoved(3.5, 1, "The mug is dark green.", 11))
    page.info.setChecked(True)
    page._on_context(3100, 8192)


def half_duplex(page):
    speaking(page)
    show(page, state(agent=AgentState.SPEAKING, duplex=Duplex.HALF))
    show(page, reports.LiveNotice(4.0, "half_duplex", HALF_DUPLEX))


def headphones(page):
    show(page, *levels(speech=False), state())
    show(page, reports.LiveNotice(4.0, "headphones", HEADPHONES))


def interrupted(page):
    show(page, *exchange(heard=22), *levels(), state(UserState.SPEAKING))
    show(page, reports.TurnOpened(6.0, 2))


def muted(page):
    page._mute(True)
    show(page, *exchange(), state(muted=True))


def silent(page):
    show(page, *levels(speech=False), state())
    show(page, reports.LiveNotice(3.0, "silent", COMPLAINTS["silent"]))


def engine_lost(page):
    show(page, *exchange(), *levels(), state(UserState.SPEAKING))
    text = "The engine stopped and is being restarted; keep talking."
    show(page, reports.LiveNotice(3.0, "engine", text))


def german(page):
    page._controller.use_camera(True)
    show(page, *exchange(said=GERMAN, answer=GERMAN, over=False), state(agent=AgentState.SPEAKING))
    show(page, reports.CaptionMoved(3.5, 1, GERMAN, 40), reports.Transcript(4.0, 1, GERMAN))


def with_camera(page):
    page._controller.use_camera(True)


def nothing(page):
    show(page, state())


def listening_ear(page):
    hearing(page)
    show(page, reports.LiveNotice(4.0, "ear", EAR_LISTENS.format("Gemma 4 E2B")))


def deaf(page):
    show(page, state())
    page._controller.session.use_microphone(None)
    show(page, reports.LiveNotice(4.0, "cannot_hear", CANNOT_HEAR))


def transcript(page):
    page.words_button.setChecked(True)
    speaking(page)


def pressed(page):
    show(page, *exchange(), state())
    page._controller.session.use_microphone(None)
    show(page, reports.LiveNotice(4.0, "ear_lost", EAR_LOST.format("Gemma 4 E2B")))


DEVICES = DeviceChoices(
    (Choice("", "The system's choice"), Choice("MacBook Microphone", "MacBook Microphone")),
    (Choice("", "The system's choice"), Choice("AirPods", "AirPods")),
    (Choice("", "First camera"), Choice("screen", "Screen")),
)
DARK = ("hearing", "speaking", "half-duplex", "ear", "camera-denied", "microphone-denied")
NARROW, WIDE = (640, 600), (1200, 900)
"""The page beside the side bar of a window 880 and 1440 pixels wide."""
STATES = {
    "listening": (nothing, {}),
    "hearing": (hearing, {}),
    "thinking": (thinking, {}),
    "speaking": (speaking, {}),
    "transcript": (transcript, {}),
    "interrupted": (interrupted, {}),
    "muted": (muted, {}),
    "half-duplex": (half_duplex, {}),
    "headphones": (headphones, {}),
    "microphone-silent": (silent, {}),
    "engine-restarting": (engine_lost, {}),
    "cannot-hear": (deaf, {"hears": False}),
    "ear": (listening_ear, {"ear": "Gemma 4 E2B"}),
    "ear-lost": (pressed, {"ear": "Gemma 4 E2B"}),
    "microphone-not-asked": (nothing, {"microphone": Access.NOT_ASKED}),
    "microphone-denied": (nothing, {"microphone": Access.DENIED}),
    "microphone-restricted": (nothing, {"microphone": Access.RESTRICTED}),
    "microphone-missing": (nothing, {"device": FakeMicrophone(Access.NO_DEVICE)}),
    "microphone-busy": (nothing, {"device": FakeMicrophone(Access.BUSY)}),
    "camera-not-asked": (with_camera, {"camera": Access.NOT_ASKED}),
    "camera-denied": (with_camera, {"camera": Access.DENIED}),
    "camera-restricted": (with_camera, {"camera": Access.RESTRICTED}),
    "camera-missing": (with_camera, {"eye": FakeCamera(Access.NO_DEVICE)}),
    "camera-busy": (with_camera, {"eye": FakeCamera(Access.BUSY)}),
    "camera-lost": (with_camera, {"eye": FakeCamera(), "lose": True}),
    "german": (german, {}),
}


def make_page(theme, words):
    """A running page in a state's surroundings."""
    words = dict(words)
    device, eye = words.pop("device", None), words.pop("eye", None) or FakeCamera(picture=scene())
    lose, hears, ear = words.pop("lose", False), words.pop("hears", True), words.pop("ear", "")
    states = {k: v for k, v in words.items() if k in ("microphone", "camera")}
    microphone_state = states.pop("microphone", Access.GRANTED)
    camera_state = states.pop("camera", Access.GRANTED)
    controller, _client, permissions = make_controller(
        hears=hears, microphone=device, camera=eye, ear=ear
    )
    permissions.states = {Capture.MICROPHONE: microphone_state, Capture.CAMERA: camera_state}
    page = LivePage(theme, controller)
    page.use_devices(DeviceMenu(lambda: DEVICES, lambda _kind: "", lambda *_: None))
    controller.start()
    QApplication.processEvents()
    controller.session._runner.stop()  # from here on only the script speaks
    show(page, state())
    return page, (eye if lose else None)


def render(theme, name, folder, size=(1180, 720), suffix=""):
    """Write the picture of one state."""
    act, words = STATES[name]
    page, lost = make_page(theme, words)
    page.resize(*size)
    page.show()
    QApplication.processEvents()
    act(page)
    if lost is not None:
        lost.lost = Access.LOST
        page._controller._look_after_devices()
    for _ in range(3):
        page.preview.refresh()
        QApplication.processEvents()
    path = folder / f"live-{name}{suffix}.png"
    page.grab().save(str(path))
    page._controller.stop()
    page.close()
    page.deleteLater()
    return path


def render_card(theme, name, folder, suffix=""):
    """The floating card in a state of the page."""
    act, words = STATES[name]
    page, _ = make_page(theme, words)
    card = FloatingCard(theme, page._controller)
    act(page)
    card.appear()
    page._controller.report.emit(reports.CaptionMoved(3.5, 1, "The mug is dark green.", 11))
    for _ in range(3):
        card._refresh()
        QApplication.processEvents()
    path = folder / f"live-card-{name}{suffix}.png"
    card.grab().save(str(path))
    page._controller.stop()
    card.close()
    page.close()
    page.deleteLater()
    card.deleteLater()
    return path


def render_off(theme, folder, suffix=""):
    """The page before anything was started."""
    controller, _, _ = make_controller()
    page = LivePage(theme, controller)
    page.resize(1180, 720)
    page.show()
    QApplication.processEvents()
    page.grab().save(str(folder / f"live-off{suffix}.png"))
    page.close()


def render_all(folder):
    """Every state in light; the main ones in dark, narrow and at 200 %, and the floating card."""
    folder.mkdir(parents=True, exist_ok=True)
    theme = Theme("light")
    theme.apply()
    for mode in ("light", "dark"):
        theme.set_mode(mode)
        suffix = "" if mode == "light" else "-dark"
        render_off(theme, folder, suffix)
        for name in STATES if mode == "light" else DARK:
            render(theme, name, folder, suffix=suffix)
        for name in ("speaking", "listening"):
            render_card(theme, name, folder, suffix)
        render(theme, "speaking", folder, NARROW, f"-880{suffix}")
        render(theme, "speaking", folder, WIDE, f"-1440{suffix}")
        render(theme, "transcript", folder, NARROW, f"-880{suffix}")
    theme.set_mode("light")
    theme.set_scale(2.0)
    render(theme, "german", folder, WIDE, "-200")
    render(theme, "camera-denied", folder, NARROW, "-200-880")
    theme.set_scale(1.0)


if __name__ == "__main__":
    application = QApplication(sys.argv[:1])
    render_all(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))
