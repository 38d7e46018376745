"""The Qt application; where there is no screen, one sentence instead of Qt's own abort."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from PySide6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

log = logging.getLogger(__name__)

_NO_SCREEN = (
    "facet: There is no screen to open the window on; "
    "facet ocr, transcribe, live and doctor work without one.\n"
)
_EXIT_CODE = 2


def open_application(words: Sequence[str]) -> QApplication:
    """The one application of this process; ends the process where no window can be opened.

    Qt cannot be asked beforehand: it tries its platform plugins and aborts if none of them starts.
    """
    usual = qInstallMessageHandler(_on_message)
    try:
        return QApplication(list(words))
    finally:
        qInstallMessageHandler(usual)


def _on_message(kind: QtMsgType, _context: QMessageLogContext, message: str) -> None:
    log.warning("while Qt starts: %s", message)
    if kind is QtMsgType.QtFatalMsg:
        sys.stderr.write(_NO_SCREEN)
        sys.stderr.flush()
        os._exit(_EXIT_CODE)  # returning, or an exception, would end in the abort
