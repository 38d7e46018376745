"""Microphones, speakers, cameras and what the system allows, for the doctor."""

from __future__ import annotations

from collections.abc import Iterator

from app.live.access import Access, Capture
from app.services.diagnostics import Finding, Section


def device_sections() -> Iterator[Section]:
    """Permissions and devices. Needs a running Qt application; asks the person for nothing."""
    yield Section("Permissions", tuple(_permissions()))
    yield Section("Devices", (*_sound(), *_cameras()))


def _permissions() -> Iterator[Finding]:
    from app.services.permissions import QtPermissions

    permissions = QtPermissions()
    for capture in (Capture.MICROPHONE, Capture.CAMERA):
        state = permissions.state(capture)
        bad = state in (Access.DENIED, Access.RESTRICTED)
        yield Finding(capture.name.capitalize(), state.name.lower().replace("_", " "), not bad)


def _sound() -> Iterator[Finding]:
    try:
        from app.services.microphone import sound_devices

        for title, output, needed in (
            ("Microphones", False, "talking needs one"),
            ("Speakers", True, "hearing answers needs one"),
        ):
            names = [device.name for device in sound_devices(output=output)]
            yield Finding(title, ", ".join(names) or f"none connected ({needed})")
    except OSError as problem:
        # PortAudio itself is missing or broken.
        yield Finding("Sound", f"not usable ({problem})", ok=False)


def _cameras() -> Iterator[Finding]:
    from app.services.camera import camera_devices

    names = [device.name for device in camera_devices()]
    yield Finding("Cameras", ", ".join(names) or "none connected (showing things live needs one)")
