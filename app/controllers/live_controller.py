"""Live mode for the window: permissions, devices, the running conversation and its record.

Lives on the UI thread. The conversation itself runs on its own thread (`LiveSession`); its reports
and its commands come over through queued signals.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.live_devices import DeviceKeeper, LiveDevices
from app.controllers.live_talk import Talk
from app.core.commands import Command, LiveStart, PromptMessage, ReplyOptions
from app.core.conversation import new_id
from app.core.errors import ErrorKind
from app.core.events import (
    EarLost,
    Event,
    JobFailed,
    LiveContext,
    LiveReady,
    ModelInfo,
    ModelReady,
    Notice,
)
from app.live.access import Access, Capture
from app.live.pipeline import LiveOptions
from app.live.reports import LiveNotice, ReplyDone, Report, Transcript
from app.services.engine_client import EngineClient
from app.services.live_session import LiveSession, LiveSetup
from app.services.microphone import MicrophoneError
from app.services.permissions import Permissions

log = logging.getLogger(__name__)

_WATCH_MS = 500
_LOST_KINDS = (ErrorKind.ENGINE_STOPPED, ErrorKind.OUT_OF_MEMORY)
CANNOT_HEAR = (
    "This model sees but does not hear. Type your questions here, or choose E2B, E4B or 12B under "
    "Models to talk."
)
EAR_LISTENS = "{} writes your questions down, because this model cannot hear them itself."
EAR_LOST = (
    "Memory runs short, so {} was let go. Type your questions here; close other apps and start "
    "again to talk."
)
_POWER_EVERY = 20
"""Looks after devices between two looks at battery and heat."""


@dataclass(frozen=True, slots=True)
class LiveStartOptions:
    """What a conversation starts with.

    messages: the chat it goes on from, instructions first. ear: folder of a model that hears, for
    a loaded one that does not.
    """

    conversation_id: str = ""
    messages: tuple[PromptMessage, ...] = ()
    ear: str = ""
    live: LiveOptions = field(default_factory=LiveOptions)
    reply: ReplyOptions = field(default_factory=ReplyOptions)
    volume: float = 1.0


class LiveController(QObject):
    """State of the live page.

    Signals: `report(Report)`; `access_changed(Capture, Access)`; `running_changed(bool)`;
    `failed(str)` live mode could not go on; `context_changed(tokens, context)`;
    `talk_grown(Conversation)` the words so far, to be kept, at the end of each turn and after.

    Args:
        client: the engine.
        permissions: what the system allows.
        devices: how devices are made now; asked at every start and after a choice.
        options: what a conversation starts with where nothing else is given.
    """

    report = Signal(object)
    access_changed = Signal(object, object)
    running_changed = Signal(bool)
    failed = Signal(str)
    context_changed = Signal(int, int)
    talk_grown = Signal(object)
    _reported = Signal(object)
    _commanded = Signal(object)

    def __init__(
        self,
        client: EngineClient,
        permissions: Permissions,
        devices: Callable[[], LiveDevices],
        options: Callable[[], LiveStartOptions] = LiveStartOptions,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.talk = Talk()
        self._client, self._permissions = client, permissions
        self._make_devices, self._make_options = devices, options
        self._session: LiveSession | None = None
        self._options = LiveStartOptions()
        self.keeper = DeviceKeeper(permissions, lambda: self._session, self)
        self.keeper.access_changed.connect(self.access_changed)
        self.keeper.noticed.connect(self._notice)
        self._lost = False
        self._looks = 0
        self._watch = QTimer(self, interval=_WATCH_MS)
        self._watch.timeout.connect(self._look_after_devices)
        self._reported.connect(self._on_report)
        self._commanded.connect(self._on_command)
        client.received.connect(self._on_event)

    # -- what the page asks -------------------------------------------------------------------

    @property
    def session(self) -> LiveSession | None:
        """The running conversation."""
        return self._session

    def access(self, capture: Capture) -> Access:
        """State of microphone, camera or screen as last seen."""
        return self.keeper.access(capture)

    def start(self, options: LiveStartOptions | None = None) -> None:
        """Begin; the microphone follows as soon as it may be used."""
        if self._session is not None:
            return
        self._options = options or self._make_options()
        self.talk = Talk()
        devices = self.keeper.devices = self._make_devices()
        self.keeper.fps = self._options.live.fps
        setup = LiveSetup(
            new_id(),
            devices.make_speaker,
            devices.synth,
            self._options.live,
            self._options.reply,
            devices.echo,
            devices.half_duplex,
            self._options.volume,
            self._options.ear,
        )
        try:
            self._session = LiveSession(setup, self._commanded.emit, self._reported.emit)
            self._session.start(self._options.conversation_id, self._options.messages)
        except MicrophoneError as problem:
            self._session = None
            self.failed.emit(str(problem))
            return
        self._watch.start()
        self.running_changed.emit(True)
        self.use_microphone()

    def stop(self) -> None:
        """End the conversation and release every device."""
        session, self._session = self._session, None
        if session is None:
            return
        self._watch.stop()
        session.stop()
        self.running_changed.emit(False)
        self._keep()

    def use_microphone(self) -> None:
        """Open the microphone, or show why not."""
        self.keeper.open(Capture.MICROPHONE)

    def use_camera(self, on: bool) -> None:
        """Switch the camera (or the screen, if that was chosen) on or off."""
        if on:
            self.keeper.open(self.keeper.camera)
        else:
            self.keeper.close_camera()

    def devices_chosen(self) -> None:
        """Another device stands in the settings: use it now."""
        self.keeper.change(self._make_devices())

    @property
    def camera_on(self) -> bool:
        """The camera delivers pictures."""
        return self._session is not None and self._session.camera is not None

    @property
    def microphone_on(self) -> bool:
        """The microphone delivers sound (muted or not)."""
        return self._session is not None and self._session.microphone is not None

    def ask_permission(self, capture: Capture) -> None:
        """The user read why and agreed: show the system's question."""
        self.keeper.ask_permission(capture)

    def open_settings(self, capture: Capture) -> None:
        """Show where access is given."""
        self._permissions.open_settings(capture)

    def mute(self, muted: bool) -> None:
        """Close or open the microphone."""
        self._post("mute", muted)

    def press_talk(self) -> None:
        """Push-to-talk down."""
        self._post("press_talk")

    def release_talk(self) -> None:
        """Push-to-talk up."""
        self._post("release_talk")

    def interrupt(self) -> None:
        """Stop the answer."""
        self._post("interrupt", "key")

    def ask(self, text: str) -> None:
        """A typed question."""
        if text.strip():
            self._post("ask", text.strip())

    def talk_edited(self, turn: int, said: str) -> None:
        """The user corrected what was written down of a turn."""
        self.talk.edit(turn, said)
        self._keep()

    def look_again(self) -> None:
        """The app came to the front: try what did not work."""
        self.keeper.look_again()

    @Slot()
    def _look_after_devices(self) -> None:
        self.keeper.look_after()
        if self._looks % _POWER_EVERY == 0:
            self.keeper.save_power()
        self._looks += 1

    # -- engine and reports -------------------------------------------------------------------

    def _post(self, name: str, *args: object) -> None:
        if self._session:
            self._session.post(getattr(self._session.pipeline, name), *args)

    @Slot(object)
    def _on_command(self, command: Command) -> None:
        if isinstance(command, LiveStart):
            self._client.submit(command)
        else:
            self._client.send(command)

    @Slot(object)
    def _on_report(self, report: Report) -> None:
        self.talk.take(report)
        self.report.emit(report)
        if isinstance(report, (ReplyDone, Transcript)):
            self._keep()

    def _keep(self) -> None:
        if chat := self.talk.conversation(time.time()):
            self.talk_grown.emit(chat)

    @Slot(object)
    def _on_event(self, event: Event) -> None:
        session = self._session
        if session is None:
            return
        if isinstance(event, ModelReady) and self._lost:
            self._lost = False
            messages = self._options.messages + self.talk.messages()
            session.open_engine(self._options.conversation_id, messages)
            return
        if getattr(event, "job_id", "") != session.setup.job_id:
            return
        match event:
            case JobFailed() if event.kind in _LOST_KINDS:
                self._lost = True
            case JobFailed():
                self.stop()
                self.failed.emit(f"{event.message} {event.remedy}".strip())
                return
            case LiveReady(hears=False):
                session.use_microphone(None)
                self._notice("cannot_hear", CANNOT_HEAR)
            case LiveReady() if event.ear:
                self._notice("ear", EAR_LISTENS.format(event.ear))
            case EarLost():
                session.use_microphone(None)
                self._notice("ear_lost", EAR_LOST.format(event.label))
            case LiveContext():
                self.context_changed.emit(event.tokens, event.context)
            case Notice():
                self._notice("context", event.text)
        session.on_event(event)

    @Slot(str, str)
    def _notice(self, kind: str, text: str) -> None:
        if self._session:
            self.report.emit(LiveNotice(self._session.clock.now(), kind, text))


def choose_ear(loaded: ModelInfo | None, installed: Iterable[ModelInfo]) -> str:
    """Folder of the smallest installed model that hears, "" if none is needed or there.

    The demo understands only its few dozen words: it listens for nobody but itself.
    """
    if loaded is None or loaded.capabilities.audio:
        return ""
    hearing = [
        model
        for model in installed
        if model.capabilities.audio and model.source != "demo" and not model.problem
    ]
    return min(hearing, key=lambda model: model.size).path if hearing else ""
