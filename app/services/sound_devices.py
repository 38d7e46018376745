"""Which devices there are, and when that changes.

PortAudio takes its list of devices when it is initialised and never again; Qt notices plugging.
So Qt says *that* something changed, PortAudio is initialised anew (no stream may be open then) and
says *what* there is. A sound device is known by its name, the one thing PortAudio keeps across
sessions; a camera by Qt's id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtMultimedia import QMediaDevices

from app.services.camera import SCREEN, camera_devices
from app.services.microphone import sound_devices

_SETTLE_MS = 600
"""One plug makes several changes (input, output, default)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A device as the picker shows it; `id` "" is the system's choice."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class DeviceChoices:
    """What can be picked, the system's choice first."""

    microphones: tuple[Choice, ...] = ()
    speakers: tuple[Choice, ...] = ()
    cameras: tuple[Choice, ...] = ()


def device_choices() -> DeviceChoices:
    """What is there now, as far as PortAudio knows since its last rescan."""
    return DeviceChoices(
        _sound_choices(output=False),
        _sound_choices(output=True),
        (
            Choice("", "First camera"),
            *(Choice(device.id, device.name) for device in camera_devices()),
            Choice(SCREEN, "Screen"),
        ),
    )


def _sound_choices(*, output: bool) -> tuple[Choice, ...]:
    names = dict.fromkeys(device.name for device in sound_devices(output=output))
    return (Choice("", "The system's choice"), *(Choice(name, name) for name in names))


class DeviceWatch(QObject):
    """Signals `sound_changed` and `cameras_changed` after something was plugged or unplugged."""

    sound_changed = Signal()
    cameras_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._devices = QMediaDevices(self)
        sound = self._settling(self.sound_changed.emit)
        self._devices.audioInputsChanged.connect(sound.start)
        self._devices.audioOutputsChanged.connect(sound.start)
        self._devices.videoInputsChanged.connect(self._settling(self.cameras_changed.emit).start)

    def _settling(self, call: Callable[[], None]) -> QTimer:
        timer = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        timer.timeout.connect(call)
        return timer
