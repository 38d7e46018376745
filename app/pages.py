"""Part of the composition root: the pages that are made after the first paint.

Their controllers pull in numpy, PortAudio and Qt Multimedia, which the first paint must not wait
for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.core.build_facts import build_facts
from app.ui.qt import qt_application

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from app.controllers.document_controller import DocumentController
    from app.controllers.live_controller import LiveController, LiveStartOptions
    from app.controllers.live_devices import LiveDevices
    from app.controllers.transcribe_controller import TranscribeController
    from app.core.settings import Settings
    from app.main import App
    from app.ui.live.recording_page import RecordingPage
    from app.ui.main_window import MainWindow


def add_pages(app: App, window: MainWindow) -> None:
    """Everything that is not there at the first paint."""
    add_live_page(app, window)
    add_device_page(app, window)
    add_recordings(app, window)
    add_documents_page(app, window)
    add_updates(app, window)
    offer_devices(app)


def offer_devices(app: App) -> None:
    """What the settings of devices and of the voice let one pick from."""
    from app.services.sound_devices import device_choices
    from app.services.speech import voice_choices

    settings = app.state.settings
    settings.offer("microphone", lambda: [(c.id, c.name) for c in device_choices().microphones])
    settings.offer("speaker", lambda: [(c.id, c.name) for c in device_choices().speakers])
    settings.offer("camera", lambda: [(c.id, c.name) for c in device_choices().cameras])
    settings.offer("voice", voice_choices)


def add_live_page(app: App, window: MainWindow) -> LiveController:
    """The live page and its floating card; no device is opened before it is started."""
    from app.controllers.live_controller import LiveController
    from app.controllers.talk_keeper import TalkKeeper
    from app.services.permissions import QtPermissions
    from app.services.sound_devices import DeviceWatch, device_choices
    from app.ui.live.device_menu import DeviceMenu
    from app.ui.live.floating_card import FloatingCard
    from app.ui.live.live_page import LivePage

    settings = app.state.settings
    controller = LiveController(
        app.engine,
        QtPermissions(),
        lambda: _devices(settings.settings),
        lambda: _live_start(app),
        parent=window,
    )
    keeper = TalkKeeper(app.state.conversations, app.library)
    # Through a function that holds it: a connection to a method alone keeps no object alive.
    controller.talk_grown.connect(lambda chat: keeper.keep(chat))
    # Before `App.close`: devices are released and the words of a running talk are kept.
    qt_application().aboutToQuit.connect(controller.stop)
    page, card = LivePage(window.theme, controller), FloatingCard(window.theme, controller)
    page.out_of_sight.connect(lambda hidden: card.appear() if hidden else card.vanish())
    card.expand_wanted.connect(lambda: _bring_back(window))
    qt_application().aboutToQuit.connect(card.deleteLater)

    def choose(kind: str, device: str) -> None:
        settings.set(kind, device)
        controller.devices_chosen()

    page.use_devices(
        DeviceMenu(device_choices, lambda kind: getattr(settings.settings, kind), choose)
    )
    watch = DeviceWatch(window)
    watch.sound_changed.connect(controller.keeper.sound_changed)
    watch.cameras_changed.connect(controller.keeper.look_again)
    window.add_page("live", "Live", "audio-lines", page, before="models")
    return controller


def add_device_page(app: App, window: MainWindow) -> None:
    """Where microphone, speaker and camera are tried out; the settings lead to it."""

    def make() -> QWidget:
        from app.controllers.device_test import DeviceTest
        from app.services.permissions import QtPermissions
        from app.ui.settings.device_page import DevicePage

        values = app.state.settings
        test = DeviceTest(
            QtPermissions(),
            lambda clock: _devices(values.settings).make_microphone(clock),
            lambda clock, far: _devices(values.settings).make_speaker(clock, far),
            lambda clock: _devices(values.settings).make_camera(clock),
            parent=window,
        )
        qt_application().aboutToQuit.connect(test.stop)
        page = DevicePage(window.theme, test)
        page.back.connect(lambda: window.show_page("settings"))
        return page

    window.add_inner_page("devices", "Microphone, speaker and camera", make, parent="settings")


def add_recordings(app: App, window: MainWindow) -> TranscribeController:
    """Voice notes in the chat, and the page where long recordings are written down."""
    from app.controllers.live_controller import choose_ear
    from app.controllers.recorder_controller import RecorderController
    from app.controllers.transcribe_controller import TranscribeController
    from app.services.camera import open_source
    from app.services.microphone import Microphone
    from app.services.permissions import QtPermissions
    from app.ui.live.recorder_bar import RecorderBar
    from app.ui.live.recording_page import RecordingPage

    values, chat = app.state.settings, window.chat_page
    recorder = RecorderController(
        QtPermissions(),
        lambda clock: Microphone(clock, values.settings.microphone),
        lambda clock: open_source(clock, values.settings.camera),
        parent=window,
    )
    recorder.recorded.connect(lambda files: [app.state.chat.drafts.add_file(*f) for f in files])
    recorder.failed.connect(chat.notice.show_notice)
    qt_application().aboutToQuit.connect(recorder.close)
    chat.add_strip(RecorderBar(window.theme, recorder))
    chat.record.connect(recorder.start)
    chat.composer.set_recordable(True)

    models = app.state.models
    transcriber = TranscribeController(
        app.engine,
        lambda: choose_ear(models.loaded, [row.info for row in models.rows() if row.info]),
        parent=window,
    )
    page = RecordingPage(window.theme, transcriber)
    chat.transcribe_wanted.connect(lambda path, name: _write_down(window, page, path, name))
    page.to_chat.connect(lambda text, name: _ask_about(app, window, text, name))
    window.add_page("recordings", "Recordings", "ear", page, before="models")
    return transcriber


def _write_down(window: MainWindow, page: RecordingPage, path: str, name: str) -> None:
    window.show_page("recordings")
    page.add(path, name)


def _ask_about(app: App, window: MainWindow, text: str, name: str) -> None:
    window.show_page("chat")
    app.state.chat.drafts.add_bytes(text.encode(), name)


def _bring_back(window: MainWindow) -> None:
    window.show_page("live")
    window.showNormal()
    window.raise_()
    window.activateWindow()


def _live_start(app: App) -> LiveStartOptions:
    """What a talk starts with: spoken style, pace of the camera, and an ear where one is needed."""
    from app.controllers.live_controller import LiveStartOptions, choose_ear
    from app.core.commands import PromptMessage, PromptText, ReplyOptions
    from app.core.conversation import Role, preset_named
    from app.live.pipeline import LiveOptions

    values, models = app.state.settings.settings, app.state.models
    prompt = values.live_prompt.strip()
    messages = (PromptMessage("live-instructions", Role.SYSTEM, (PromptText(prompt),)),)
    ear = choose_ear(models.loaded, [row.info for row in models.rows() if row.info])
    return LiveStartOptions(
        messages=messages if prompt else (),
        ear=ear if values.use_ear else "",
        live=LiveOptions(fps=values.live_fps),
        reply=ReplyOptions(preset_named(values.preset)),
        volume=values.speech_volume / 100,
    )


def add_documents_page(app: App, window: MainWindow) -> DocumentController:
    """The documents page; its worker is started when the first file is opened."""
    from app.controllers.chat_controller import ChatController
    from app.controllers.document_asking import DocumentAsking
    from app.controllers.document_camera import DocumentCamera
    from app.controllers.document_controller import DocumentController
    from app.controllers.document_drop import DropCounter
    from app.controllers.document_export import DocumentExport
    from app.services.document_camera import open_page_camera
    from app.services.document_export import ExportService
    from app.services.document_library import DocumentLibrary
    from app.services.document_pages import DocumentPages
    from app.services.permissions import QtPermissions
    from app.services.sound_devices import DeviceWatch
    from app.ui.documents.page import DocumentsPage

    library = DocumentLibrary(app.paths.database, parent=window)
    pictures, exports = DocumentPages(parent=window), ExportService(parent=window)
    controller = DocumentController(library, pictures, app.engine, app.paths.documents, window)
    export = DocumentExport(exports, parent=window)
    state = app.state
    chat = ChatController(
        app.library, app.engine, state.conversations, lambda: state.settings.settings, window
    )
    asking = DocumentAsking(controller, library, app.library, app.engine, chat, window)
    camera = DocumentCamera(
        controller,
        QtPermissions(),
        lambda clock: open_page_camera(clock, state.settings.settings.camera),
        app.paths.documents,
        window,
    )
    DeviceWatch(window).cameras_changed.connect(camera.look_again)
    qt_application().aboutToQuit.connect(camera.end)
    page = DocumentsPage(
        window.theme, controller, asking, export, camera, state.models, state.settings
    )
    page.chat_wanted.connect(window.open_chat)
    page.models_wanted.connect(lambda: window.show_page("models"))
    page.done.connect(window.job_done)
    window.add_page("documents", "Documents", "scan-text", page, before="models")
    window.drops.use(DropCounter(pictures, window))
    window.documents_wanted.connect(page.open_files)
    window.documents_wanted.connect(lambda _paths: window.show_page("documents"))
    for service in (pictures, exports, library):
        app.closing.append(service.close)
    app.closing[:0] = [page.reader.text.save_now, chat.save_now]
    _add_quick_reading(app, window)
    controller.reading.resume()
    return controller


def _add_quick_reading(app: App, window: MainWindow) -> None:
    """Two commands: read the clipboard's picture, or a region of the screen, to the clipboard."""
    from app.controllers.quick_reading import QuickReading
    from app.services.screen_picture import ScreenRegion

    quick = QuickReading(app.engine, ScreenRegion(window), window)
    quick.said.connect(window.notice.show_notice)
    add = window.menus.add_to_edit
    add("read-clipboard", "Read the Clipboard's Picture", "Ctrl+Shift+V", quick.read_clipboard)
    add("read-screen", "Read a Region of the Screen …", "Ctrl+Shift+2", quick.read_region)


def add_updates(app: App, window: MainWindow) -> None:
    """The check for new versions, where this build names a feed; otherwise nothing of it exists."""
    feed = build_facts().feed
    if not feed:
        return
    from PySide6.QtCore import QStandardPaths

    from app.controllers.update_controller import UpdateController
    from app.services.updates import Updates
    from app.ui.about import version
    from app.ui.updates import UpdateNotices

    downloads = QStandardPaths.StandardLocation.DownloadLocation
    controller = UpdateController(
        Updates(feed, version()),
        app.state.settings,
        Path(QStandardPaths.writableLocation(downloads)),
        parent=window,
    )
    UpdateNotices(window, controller)
    qt_application().aboutToQuit.connect(controller.stop)
    controller.check_if_due()


def _devices(settings: Settings) -> LiveDevices:
    from app.controllers.live_devices import LiveDevices
    from app.live.access import Capture
    from app.services.camera import SCREEN, open_source
    from app.services.microphone import Microphone, rescan_devices
    from app.services.playback import Playback
    from app.services.power import SystemPower
    from app.services.speech import SpeechOptions, system_synth

    return LiveDevices(
        make_microphone=lambda clock: Microphone(clock, settings.microphone),
        make_speaker=lambda clock, reference: Playback(clock, reference, settings.speaker),
        make_camera=lambda clock: open_source(clock, settings.camera),
        synth=system_synth(SpeechOptions(settings.voice, settings.speech_rate / 100)),
        half_duplex=not settings.barge_in,
        camera=Capture.SCREEN if settings.camera == SCREEN else Capture.CAMERA,
        speaker=settings.speaker,
        system_microphone=lambda clock: Microphone(clock, ""),
        rescan=rescan_devices,
        power=SystemPower() if settings.live_saves_power else None,
    )
