"""A newer version, in the window: one menu entry and one quiet notice with one button."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices

from app.controllers.update_controller import UpdateController
from app.core.updates import Release

if TYPE_CHECKING:
    from app.ui.main_window import MainWindow


class UpdateNotices(QObject):
    """Connects the controller to the window's menu and its notice line."""

    def __init__(self, window: MainWindow, controller: UpdateController) -> None:
        super().__init__(window)
        self._window = window
        self._controller = controller
        self._page = ""
        window.menus.add_update_check(controller.check_now)
        controller.offered.connect(self._on_offered)
        controller.said.connect(window.notice.show_notice)
        controller.fetched.connect(self._on_fetched)

    def _on_offered(self, release: Release) -> None:
        self._page = release.page
        words = f"Facet {release.version} is there."
        self._window.notice.show_notice(words, "Download", lambda: self._controller.fetch(release))

    def _on_fetched(self, path: str) -> None:
        """The image is not opened by itself: the person decides when to replace the app."""
        words = f"{Path(path).name} is in {Path(path).parent.name}, its checksum verified."
        self._window.notice.show_notice(words, "What is new", self._open_page)

    def _open_page(self) -> None:
        QDesktopServices.openUrl(QUrl(self._page))
