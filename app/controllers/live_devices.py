"""Microphone, camera and loudspeaker of a running conversation: opened, watched, replaced.

Lives on the UI thread. Whatever happens to a device ends in one of three ways: it is opened again,
another one takes its place with one sentence, or its card says what helps. Live mode goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from app.live.access import Access, Capture
from app.live.clock import Clock
from app.live.echo import EchoReference
from app.live.ports import SpeechSynth
from app.services.camera import CameraError, CameraSource
from app.services.live_session import LiveSession
from app.services.microphone import MicrophoneError, MicrophoneSource
from app.services.permissions import Permissions
from app.services.playback import Speaker
from app.services.power import Power

SPEAKER_GONE = "The loudspeaker is gone. Connect one; until then answers are only shown."
SPEAKER_CHANGED = "The loudspeaker is gone; the system's own speaks now."
MICROPHONE_CHANGED = "The microphone is gone; the system's own listens now."
NARROW_BAND = (
    "The headset records in telephone quality (8 kHz), so words are harder to understand. "
    "The Mac's own microphone is better."
)
ON_BATTERY = "On battery I look less often; Settings can change that."
HOT = "The machine is hot, so I look at one picture in five seconds."


def _nothing() -> None:
    """Nothing to rescan."""


@dataclass(frozen=True, slots=True)
class LiveDevices:
    """How devices are made; tests and the command line bring their own.

    camera: what `make_camera` opens, the camera or the screen. system_microphone: takes the place
    of a chosen one that went away. rescan: lets the sound system see what was plugged in; every
    stream is closed then.
    """

    make_microphone: Callable[[Clock], MicrophoneSource]
    make_speaker: Callable[[Clock, EchoReference], Speaker]
    make_camera: Callable[[Clock], CameraSource]
    synth: SpeechSynth | None = None
    echo: bool = True
    half_duplex: bool = False
    camera: Capture = Capture.CAMERA
    speaker: str = ""
    system_microphone: Callable[[Clock], MicrophoneSource] | None = None
    rescan: Callable[[], None] = _nothing
    power: Power | None = None


class DeviceKeeper(QObject):
    """See the module docstring.

    Signals: `access_changed(Capture, Access)`; `noticed(kind, text)` one quiet line.

    Args:
        permissions: what the system allows.
        session: gives the running conversation, None while there is none.
    """

    access_changed = Signal(object, object)
    noticed = Signal(str, str)

    def __init__(
        self,
        permissions: Permissions,
        session: Callable[[], LiveSession | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.devices: LiveDevices | None = None
        self.fps = 1.0
        self._permissions, self._session = permissions, session
        self._access = dict.fromkeys(Capture, Access.NOT_ASKED)
        self._rescan_due = False
        self._power_told = ""

    # -- what is used -------------------------------------------------------------------------

    def access(self, capture: Capture) -> Access:
        """State as last seen."""
        return self._access[capture]

    @property
    def camera(self) -> Capture:
        """What the camera button switches: the camera or the screen."""
        return self.devices.camera if self.devices else Capture.CAMERA

    def open(self, capture: Capture) -> None:
        """Open a device, or show why not."""
        session = self._session()
        if session is None:
            return
        access = self._permissions.state(capture)
        if access is Access.GRANTED:
            access = self._open_device(capture, session)
        self._set(capture, access)

    def close_camera(self) -> None:
        """Switch the camera off."""
        if session := self._session():
            session.use_camera(None)
            self.access_changed.emit(self.camera, self._access[self.camera])

    def ask_permission(self, capture: Capture) -> None:
        """The user read why and agreed: show the system's question."""
        self._permissions.request(capture, lambda access: self._on_answer(capture, access))

    def look_again(self) -> None:
        """The app came to the front or a device was plugged in: try what did not work."""
        for capture in (Capture.MICROPHONE, self.camera):
            wanted = capture is Capture.MICROPHONE or self._access[capture] is not Access.NOT_ASKED
            if self._session() and wanted and self._access[capture] is not Access.GRANTED:
                self.open(capture)

    def change(self, devices: LiveDevices) -> None:
        """Another microphone, loudspeaker or camera was chosen: use it at once."""
        before, self.devices = self.devices, devices
        session = self._session()
        if session is None or before is None:
            return
        if session.microphone:
            self.open(Capture.MICROPHONE)
        if devices.speaker != session.speaker.device:
            session.speaker.device = devices.speaker
            self._restart_speaker(session)
        if session.camera:
            session.use_camera(None)
            self.access_changed.emit(before.camera, self._access[before.camera])
            self.open(devices.camera)

    # -- what happens to them -----------------------------------------------------------------

    def look_after(self) -> None:
        """Called twice a second: lost devices are replaced, plugged ones noticed."""
        session = self._session()
        if session is None:
            return
        if session.microphone and (problem := session.microphone.problem()):
            self._microphone_lost(session, problem)
        if session.camera and (problem := session.camera.problem()):
            session.use_camera(None)
            self._set(self.camera, problem)
        if session.speaker.problem():
            self._restart_speaker(session)
        if self._rescan_due and not session.pipeline.taker.in_turn:
            self._rescan_due = False
            self._rescan(session)

    def sound_changed(self) -> None:
        """Something was plugged in or out: look at it when nobody is speaking."""
        self._rescan_due = True

    def save_power(self) -> None:
        """Called now and then: fewer pictures on battery and when hot."""
        session = self._session()
        if session is None or self.devices is None or self.devices.power is None:
            return
        state = self.devices.power.state()
        session.post(session.pipeline.set_fps, state.slowed(self.fps))
        words = HOT if state.hot else ON_BATTERY if state.battery else ""
        if words and words != self._power_told and session.camera:
            self.noticed.emit("power", words)
        self._power_told = words

    def _microphone_lost(self, session: LiveSession, problem: Access) -> None:
        """Another one goes on in the middle of the turn; without one the turn is answered."""
        session.use_microphone(None)
        devices = self.devices
        if devices and devices.system_microphone:
            self._quietly_rescan(session)
            try:
                session.use_microphone(devices.system_microphone(session.clock))
            except MicrophoneError:
                pass
            else:
                self.noticed.emit("microphone_changed", MICROPHONE_CHANGED)
                return
        session.post(session.pipeline.finish_turn)
        self._set(Capture.MICROPHONE, problem)

    def _rescan(self, session: LiveSession) -> None:
        listening = session.microphone is not None
        session.use_microphone(None)
        self._quietly_rescan(session)
        if listening:
            self.open(Capture.MICROPHONE)
        self.look_again()

    def _quietly_rescan(self, session: LiveSession) -> None:
        """PortAudio forgets every stream: the loudspeaker is closed before and opened after."""
        assert self.devices is not None
        session.speaker.stop()
        self.devices.rescan()
        self._restart_speaker(session)

    def _restart_speaker(self, session: LiveSession) -> None:
        """Start the loudspeaker again, on the system's own where the chosen one is gone."""
        session.speaker.stop()
        try:
            session.speaker.start()
        except MicrophoneError:
            if session.speaker.device:
                session.speaker.device = ""
                self.noticed.emit("speaker_changed", SPEAKER_CHANGED)
                self._restart_speaker(session)
            else:
                self.noticed.emit("speaker", SPEAKER_GONE)

    def _open_device(self, capture: Capture, session: LiveSession) -> Access:
        assert self.devices is not None
        try:
            if capture is not Capture.MICROPHONE:
                session.use_camera(self.devices.make_camera(session.clock))
                return Access.GRANTED
            microphone = self.devices.make_microphone(session.clock)
            session.use_microphone(microphone)
            if microphone.narrow:
                self.noticed.emit("narrow_band", NARROW_BAND)
        except (CameraError, MicrophoneError) as problem:
            self.noticed.emit(f"{capture}_problem", str(problem))
            return problem.access
        return Access.GRANTED

    def _on_answer(self, capture: Capture, access: Access) -> None:
        if access is Access.GRANTED:
            self.open(capture)
        else:
            self._set(capture, access)

    def _set(self, capture: Capture, access: Access) -> None:
        self._access[capture] = access
        self.access_changed.emit(capture, access)
