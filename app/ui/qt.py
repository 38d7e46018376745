"""The running Qt application, typed: PySide6 declares it as perhaps missing."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication


def qt_application() -> QApplication:
    """The one application object; made before any window."""
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    return app
