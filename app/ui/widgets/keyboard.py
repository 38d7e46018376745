"""Where the keyboard is, and that it stays on its page when the control that had it goes away.

Qt hands the focus of a control that is hidden, switched off or deleted to the next one of the
window, wherever that is: someone who downloads a model with the space bar would find himself in the
side bar.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QApplication, QStackedWidget, QWidget
from shiboken6 import isValid


def has_keyboard(widget: QWidget) -> bool:
    """The focus is in the widget or one of its parts."""
    focus = QApplication.focusWidget()
    return focus is not None and (focus is widget or widget.isAncestorOf(focus))


class FocusKeeper(QObject):
    """Gives the focus back to the page on show in `stack` when its control went away."""

    def __init__(self, stack: QStackedWidget) -> None:
        super().__init__(stack)
        self._stack = stack
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def _on_focus(self, old: QWidget | None, now: QWidget | None) -> None:
        page = self._stack.currentWidget()
        if old is None or page is None or not page.isAncestorOf(old):
            return
        if now is None or not page.isAncestorOf(now):
            # Whether `old` is on its way out is certain only once Qt is done with it.
            QTimer.singleShot(0, self, lambda: self._check(old, page))

    def _check(self, old: QWidget, page: QWidget) -> None:
        stays = isValid(old) and old.isVisible() and old.isEnabled()
        if (
            not stays
            and not has_keyboard(page)
            and page is self._stack.currentWidget()
            and page.isActiveWindow()
        ):
            page.setFocus(Qt.FocusReason.OtherFocusReason)
