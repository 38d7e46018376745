"""Live mode for the window: permissions, devices, the running conversation and its record.

Lives on the UI thread. The conversation itself runs on its own thread (`LiveSession`); its reports
and its commands come over through queued signals.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from app.controllers.live_talk import Talk
from app.core.commands import Command, LiveStart, PromptMessage, ReplyOptions
from app.core.conversation import new_id
from app.core.errors import ErrorKind
from app.core.events import Event, JobFailed, LiveContext, LiveReady, ModelReady, Notice
from app.live.access import Access, Capture
from app.live.clock import Clock
from app.live.echo import EchoReference
from app.live.pipeline import LiveOptions
from app.live.ports import SpeechSynth
from app.live.reports import LiveNotice, Report
from app.services.camera import CameraError, CameraSource
from app.services.engine_client import EngineClient
from app.services.live_session import LiveSession, LiveSetup
from app.services.microphone import MicrophoneError, MicrophoneSource
from app.services.permissions import Permissions
from app.services.playback import Speaker

log = logging.getLogger(__name__)

_WATCH_MS = 500
_LOST_KINDS = (ErrorKind.ENGINE_STOPPED, ErrorKind.OUT_OF_MEMORY)
CANNOT_HEAR = (
    "This model sees but does not hear. Type your questions here, or choose E2B, E4B or 12B under "
    "Models to talk."
)
SPEAKER_GONE = "The loudspeaker is gone. Connect one; until then answers are only shown."
NARROW_BAND = (
    "The headset records in telephone quality (8 kHz), so words are harder to understand. "
    "The Mac's own microphone is better."
)


@dataclass(frozen=True, slots=True)
class LiveDevices:
    """How devices are made; tests and the command line bring their own.

    make_camera gets the chosen camera's id ("" for the first); it raises CameraError.
    """

    make_microphone: Callable[[Clock], MicrophoneSource]
    make_speaker: Callable[[Clock, EchoReference], Speaker]
    make_camera: Callable[[Clock], CameraSource]
    synth: SpeechSynth | None = None
    echo: bool = True
    half_duplex: bool = False


@dataclass(frozen=True, slots=True)
class LiveStartOptions:
    """What a conversation starts with; messages: the chat it goes on from."""

    conversation_id: str = ""
    messages: tuple[PromptMessage, ...] = ()
    live: LiveOptions = field(default_factory=LiveOptions)
    reply: ReplyOptions = field(default_factory=ReplyOptions)
    volume: float = 1.0


class LiveController(QObject):
    """State of the live page.

    Signals: `report(Report)`; `access_changed(Capture, Access)`; `running_changed(bool)`;
    `failed(str)` live mode could not go on; `context_changed(tokens, context)`;
    `talk_ended(Conversation)` the words of a conversation that is over, to be kept.
    """

    report = Signal(object)
    access_changed = Signal(object, object)
    running_changed = Signal(bool)
    failed = Signal(str)
    context_changed = Signal(int, int)
    talk_ended = Signal(object)
    _reported = Signal(object)
    _commanded = Signal(object)

    def __init__(
        self,
        client: EngineClient,
        permissions: Permissions,
        devices: LiveDevices,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.talk = Talk()
        self._client, self._permissions, self._devices = client, permissions, devices
        self._session: LiveSession | None = None
        self._options = LiveStartOptions()
        self._access = {Capture.MICROPHONE: Access.NOT_ASKED, Capture.CAMERA: Access.NOT_ASKED}
        self._lost = False
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
        """State of microphone or camera as last seen."""
        return self._access[capture]

    def start(self, options: LiveStartOptions | None = None) -> None:
        """Begin; the microphone follows as soon as it may be used."""
        if self._session is not None:
            return
        self._options = options or LiveStartOptions()
        self.talk = Talk()
        setup = LiveSetup(
            new_id(),
            self._devices.make_speaker,
            self._devices.synth,
            self._options.live,
            self._options.reply,
            self._devices.echo,
            self._devices.half_duplex,
            self._options.volume,
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
        if chat := self.talk.conversation(time.time()):
            self.talk_ended.emit(chat)

    def use_microphone(self) -> None:
        """Open the microphone, or show why not."""
        self._open(Capture.MICROPHONE)

    def use_camera(self, on: bool) -> None:
        """Switch the camera on or off."""
        if on:
            self._open(Capture.CAMERA)
        elif self._session:
            self._session.use_camera(None)
            self.access_changed.emit(Capture.CAMERA, self._access[Capture.CAMERA])

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
        self._permissions.request(capture, lambda access: self._on_answer(capture, access))

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

    def look_again(self) -> None:
        """The app came to the front or a device was plugged in: try what did not work."""
        for capture in (Capture.MICROPHONE, Capture.CAMERA):
            wanted = capture is Capture.MICROPHONE or self._access[capture] is not Access.NOT_ASKED
            if self._session and wanted and self._access[capture] is not Access.GRANTED:
                self._open(capture)

    # -- devices ------------------------------------------------------------------------------

    def _open(self, capture: Capture) -> None:
        if self._session is None:
            return
        access = self._permissions.state(capture)
        if access is Access.GRANTED:
            access = self._open_device(capture, self._session)
        self._set_access(capture, access)

    def _open_device(self, capture: Capture, session: LiveSession) -> Access:
        try:
            if capture is Capture.CAMERA:
                session.use_camera(self._devices.make_camera(session.clock))
                return Access.GRANTED
            microphone = self._devices.make_microphone(session.clock)
            session.use_microphone(microphone)
            if microphone.narrow:
                self._notice("narrow_band", NARROW_BAND)
        except (CameraError, MicrophoneError) as problem:
            self._notice(f"{capture}_problem", str(problem))
            return problem.access
        return Access.GRANTED

    def _on_answer(self, capture: Capture, access: Access) -> None:
        if access is Access.GRANTED:
            self._open(capture)
        else:
            self._set_access(capture, access)

    def _set_access(self, capture: Capture, access: Access) -> None:
        self._access[capture] = access
        self.access_changed.emit(capture, access)

    @Slot()
    def _look_after_devices(self) -> None:
        session = self._session
        if session is None:
            return
        if session.microphone and (problem := session.microphone.problem()):
            session.use_microphone(None)
            session.post(session.pipeline.finish_turn)
            self._set_access(Capture.MICROPHONE, problem)
        if session.camera and (problem := session.camera.problem()):
            session.use_camera(None)
            self._set_access(Capture.CAMERA, problem)
        if session.speaker.problem():
            self._reopen_speaker(session)

    def _reopen_speaker(self, session: LiveSession) -> None:
        """The loudspeaker went away or stalled: start it again, on whatever is there now."""
        session.speaker.stop()
        try:
            session.speaker.start()
        except MicrophoneError:
            self._notice("speaker", SPEAKER_GONE)

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
            case LiveContext():
                self.context_changed.emit(event.tokens, event.context)
            case Notice():
                self._notice("context", event.text)
        session.on_event(event)

    def _notice(self, kind: str, text: str) -> None:
        if self._session:
            self.report.emit(LiveNotice(self._session.clock.now(), kind, text))
