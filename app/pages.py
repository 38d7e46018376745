"""Part of the composition root: the pages that are made after the first paint.

Their controllers pull in numpy, PortAudio and Qt Multimedia, which the first paint must not wait
for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.core.build_facts import build_facts
from app.ui.about import version
from app.ui.qt import qt_application

if TYPE_CHECKING:
    from app.controllers.document_controller import DocumentController
    from app.controllers.live_controller import LiveController, LiveDevices
    from app.core.conversation import Conversation
    from app.core.settings import Settings
    from app.main import App
    from app.ui.main_window import MainWindow


def add_live_page(app: App, window: MainWindow) -> LiveController:
    """The live page with the devices of the settings; nothing is opened before it is started."""
    from app.controllers.live_controller import LiveController
    from app.services.permissions import QtPermissions
    from app.ui.live.live_page import LivePage

    settings = app.state.settings
    controller = LiveController(
        app.engine, QtPermissions(), _devices(settings.settings), parent=window
    )
    controller.talk_ended.connect(lambda chat: _keep(app, chat))
    # Before `App.close`: devices are released and the words of a running talk are kept.
    qt_application().aboutToQuit.connect(controller.stop)
    window.add_page(
        "live", "Live", "audio-lines", LivePage(window.theme, controller), before="models"
    )
    return controller


def add_documents_page(app: App, window: MainWindow) -> DocumentController:
    """The documents page; its worker is started when the first file is opened."""
    from app.controllers.document_controller import DocumentController
    from app.controllers.document_export import DocumentExport
    from app.services.document_export import ExportService
    from app.services.document_library import DocumentLibrary
    from app.services.document_pages import DocumentPages
    from app.ui.documents.page import DocumentsPage

    library = DocumentLibrary(app.paths.database, parent=window)
    pictures, exports = DocumentPages(parent=window), ExportService(parent=window)
    controller = DocumentController(library, pictures, app.engine, app.paths.documents, window)
    export = DocumentExport(exports, parent=window)
    page = DocumentsPage(window.theme, controller, export, app.state.models, app.state.settings)
    page.models_wanted.connect(lambda: window.show_page("models"))
    page.done.connect(window.job_done)
    window.add_page("documents", "Documents", "scan-text", page, before="models")
    window.documents_wanted.connect(page.open_files)
    window.documents_wanted.connect(lambda _paths: window.show_page("documents"))
    for service in (pictures, exports, library):
        app.closing.append(service.close)
    app.closing.insert(0, page.reader.text.save_now)
    controller.reading.resume()
    return controller


def add_updates(app: App, window: MainWindow) -> None:
    """The check for new versions, where this build names a feed; otherwise nothing of it exists."""
    feed = build_facts().feed
    if not feed:
        return
    from PySide6.QtCore import QStandardPaths

    from app.controllers.update_controller import UpdateController
    from app.services.updates import Updates
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


def _keep(app: App, chat: Conversation) -> None:
    """A talk that is over becomes a chat in the list, found by the search like any other."""
    app.state.conversations.update(chat.meta)
    for message in chat.walk():
        app.library.save_message(chat.id, message)


def _devices(settings: Settings) -> LiveDevices:
    from app.controllers.live_controller import LiveDevices
    from app.services.camera import open_source
    from app.services.microphone import Microphone
    from app.services.playback import Playback
    from app.services.speech import SpeechOptions, system_synth

    return LiveDevices(
        make_microphone=lambda clock: Microphone(clock, settings.microphone),
        make_speaker=lambda clock, reference: Playback(clock, reference, settings.speaker),
        make_camera=lambda clock: open_source(clock, settings.camera),
        synth=system_synth(SpeechOptions(settings.voice, settings.speech_rate / 100)),
        half_duplex=not settings.barge_in,
    )
