"""Battery and heat: when the camera should look less often."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

_SERIOUS = 2
"""NSProcessInfoThermalState: nominal 0, fair 1, serious 2, critical 3."""


@dataclass(frozen=True, slots=True)
class PowerState:
    """Running from the battery; slowed down by heat."""

    battery: bool = False
    hot: bool = False

    def slowed(self, fps: float) -> float:
        """Frames a second to use in place of `fps`: half of it on battery, least when hot."""
        if self.hot:
            return min(fps, 0.2)
        return max(0.2, fps / 2) if self.battery else fps


class Power(Protocol):
    """Tells the present state; asked every few seconds."""

    def state(self) -> PowerState:
        """How things are now."""
        ...


class SystemPower:
    """This machine."""

    def state(self) -> PowerState:
        """Battery from psutil; heat from macOS, which alone says when it slows down."""
        battery = psutil.sensors_battery()
        plugged = battery is None or battery.power_plugged is not False
        return PowerState(not plugged, thermal_state() >= _SERIOUS)


def thermal_state(platform: str = sys.platform) -> int:
    """`NSProcessInfo.thermalState`; 0 where the system has no such thing."""
    path = ctypes.util.find_library("objc") if platform == "darwin" else None
    if path is None:
        return 0
    ctypes.CDLL(ctypes.util.find_library("Foundation"))
    objc: Any = ctypes.CDLL(path)
    objc.objc_getClass.restype = objc.sel_registerName.restype = ctypes.c_void_p
    send = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    ask = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    call = ctypes.cast(objc.objc_msgSend, ctypes.c_void_p).value
    assert call is not None
    info = send(call)(objc.objc_getClass(b"NSProcessInfo"), objc.sel_registerName(b"processInfo"))
    return int(ask(call)(info, objc.sel_registerName(b"thermalState")))
