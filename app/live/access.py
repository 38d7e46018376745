"""What can be wrong with camera, microphone and screen, and the words and the way out for each."""

from dataclasses import dataclass
from enum import StrEnum


class Capture(StrEnum):
    """What is captured."""

    MICROPHONE = "microphone"
    CAMERA = "camera"
    SCREEN = "screen"


class Access(StrEnum):
    """States of a capture device; `RESTRICTED`: forbidden by the administrator of the machine."""

    NOT_ASKED = "not_asked"
    GRANTED = "granted"
    DENIED = "denied"
    RESTRICTED = "restricted"
    NO_DEVICE = "no_device"
    BUSY = "busy"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class AccessCard:
    """What is shown in place of a picture or a level: two sentences and one button at most.

    action: "ask", "settings", "retry", "choose" or "" (nothing can be done here).
    """

    title: str
    text: str
    button: str = ""
    action: str = ""


_PANES = {
    Capture.MICROPHONE: "Privacy_Microphone",
    Capture.CAMERA: "Privacy_Camera",
    Capture.SCREEN: "Privacy_ScreenCapture",
}
_NAMES = {
    Capture.MICROPHONE: "microphone",
    Capture.CAMERA: "camera",
    Capture.SCREEN: "screen",
}
_WHY = {
    Capture.MICROPHONE: "Facet listens to you while live mode is open. The sound stays on this "
    "Mac and is not stored unless you ask for it.",
    Capture.CAMERA: "Facet looks through the camera while you have it switched on. The pictures "
    "stay on this Mac and are not stored unless you ask for it.",
    Capture.SCREEN: "Facet looks at the screen while you have it switched on. The pictures stay "
    "on this Mac and are not stored unless you ask for it.",
}
_WITHOUT = {
    Capture.MICROPHONE: "Typing and the camera still work.",
    Capture.CAMERA: "Talking and typing still work.",
    Capture.SCREEN: "Talking, typing and the camera still work.",
}


def settings_link(capture: Capture) -> str:
    """Address of the pane of System Settings where access is given."""
    return f"x-apple.systempreferences:com.apple.preference.security?{_PANES[capture]}"


def access_card(capture: Capture, access: Access, without: str = "") -> AccessCard | None:
    """The card for a state; None where everything is well. without: what works all the same."""
    name, without = _NAMES[capture], without or _WITHOUT[capture]
    match access:
        case Access.GRANTED:
            return None
        case Access.NOT_ASKED:
            return AccessCard(f"Use the {name}?", _WHY[capture], f"Allow the {name}", "ask")
        case Access.DENIED:
            text = f"Access to the {name} was denied. Allow it in System Settings. {without}"
            return AccessCard(f"No access to the {name}", text, "Open System Settings", "settings")
        case Access.RESTRICTED:
            text = f"This Mac's administrator does not allow the {name}. {without}"
            return AccessCard(f"The {name} is not allowed here", text)
        case Access.NO_DEVICE:
            text = f"No {name} was found. Connect one and it is used at once. {without}"
            return AccessCard(f"No {name}", text, "Look again", "retry")
        case Access.BUSY:
            text = f"Another app holds the {name}. Close it there, then try again. {without}"
            return AccessCard(f"The {name} is in use", text, "Try again", "retry")
        case Access.LOST:
            text = f"The {name} was disconnected. Connect it again or choose another. {without}"
            return AccessCard(f"The {name} is gone", text, "Try again", "retry")
