"""Asking the system for microphone and camera, through Qt's permission API (UI thread).

OpenCV would ask on its own when it opens the camera; once Qt has the answer it is told not to.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import (
    QCameraPermission,
    QCoreApplication,
    QMicrophonePermission,
    QObject,
    QPermission,
    Qt,
    QUrl,
)
from PySide6.QtGui import QDesktopServices

from app.live.access import Access, Capture, settings_link


class Permissions(Protocol):
    """May this be captured?"""

    def state(self, capture: Capture) -> Access:
        """NOT_ASKED, GRANTED, DENIED or RESTRICTED."""
        ...

    def request(self, capture: Capture, answer: Callable[[Access], None]) -> None:
        """Show the system's question (once); `answer` is called on the UI thread."""
        ...

    def open_settings(self, capture: Capture) -> None:
        """Show the pane where the answer can be changed."""
        ...


_STATES = {
    Qt.PermissionStatus.Undetermined: Access.NOT_ASKED,
    Qt.PermissionStatus.Granted: Access.GRANTED,
    Qt.PermissionStatus.Denied: Access.DENIED,
}


class QtPermissions(QObject):
    """The system's own answers. Qt reports a restriction by policy as a denial.

    Screen recording is asked of CoreGraphics, which does not tell "never asked" from "denied":
    before the first request of this run it counts as not asked.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._screen_asked = False

    def state(self, capture: Capture) -> Access:
        """What the system says now."""
        permission = _permission(capture)
        if permission is None:
            no = Access.DENIED if self._screen_asked else Access.NOT_ASKED
            return Access.GRANTED if _screen("CGPreflightScreenCaptureAccess") else no
        application = QCoreApplication.instance()
        assert application is not None, "permissions need a running application"
        return self._known(capture, _STATES[application.checkPermission(permission)])

    def request(self, capture: Capture, answer: Callable[[Access], None]) -> None:
        """Ask; the system shows its dialog only if it never asked before."""
        permission = _permission(capture)
        application = QCoreApplication.instance()
        if permission is None or application is None:
            self._screen_asked = True
            allowed = _screen("CGRequestScreenCaptureAccess")
            answer(Access.GRANTED if allowed else Access.DENIED)
            return

        def told(given: QPermission) -> None:
            answer(self._known(capture, _STATES[given.status()]))

        # The stubs list one overload per permission and none for their union.
        application.requestPermission(permission, self, told)  # pyright: ignore

    def open_settings(self, capture: Capture) -> None:
        """Open System Settings at the right pane."""
        QDesktopServices.openUrl(QUrl(settings_link(capture)))

    def _known(self, capture: Capture, access: Access) -> Access:
        if capture is Capture.CAMERA and access is Access.GRANTED:
            os.environ["OPENCV_AVFOUNDATION_SKIP_AUTH"] = "1"
        return access


def _permission(capture: Capture) -> QCameraPermission | QMicrophonePermission | None:
    match capture:
        case Capture.CAMERA:
            return QCameraPermission()
        case Capture.MICROPHONE:
            return QMicrophonePermission()
    return None


def _screen(function: str) -> bool:
    """Ask CoreGraphics; elsewhere the screen needs no permission."""
    if sys.platform != "darwin":
        return True
    graphics = ctypes.CDLL(ctypes.util.find_library("CoreGraphics"))
    ask = getattr(graphics, function)
    ask.restype = ctypes.c_bool
    return bool(ask())
