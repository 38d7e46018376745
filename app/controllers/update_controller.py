"""When to look for a newer version and what to say about it; off unless switched on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.controllers.settings_controller import SettingsController
from app.core.errors import Failure
from app.core.updates import Release
from app.services.updates import Updates

DAY = 24 * 3600


class UpdateController(QObject):
    """Signals: `offered(Release)` there is a newer version, `said(str)` one sentence to show.

    `fetched(path)`: the disk image is there, its checksum verified.
    """

    offered = Signal(object)
    said = Signal(str)
    fetched = Signal(str)

    def __init__(
        self,
        updates: Updates,
        settings: SettingsController,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._updates = updates
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._asked = False
        updates.found.connect(self.offered)
        updates.none_found.connect(self._on_none)
        updates.failed.connect(self._on_failed)
        updates.fetched.connect(self.fetched)

    def check_now(self) -> None:
        """The person asks: whatever comes out is said."""
        self._asked = True
        self._check()

    def check_if_due(self) -> None:
        """Once a day, where the setting allows it; silent unless there is something new."""
        values = self._settings.settings
        if values.check_updates and self._clock() - values.last_update_check >= DAY:
            self._check()

    def fetch(self, release: Release) -> None:
        """Download the release into the person's own folder for downloads."""
        self._asked = True
        self.said.emit(f"Facet {release.version} is being downloaded …")
        self._updates.fetch(release, self._folder)

    def stop(self) -> None:
        """End what runs."""
        self._updates.stop()

    def _check(self) -> None:
        self._settings.set("last_update_check", int(self._clock()))
        self._updates.check()

    def _on_none(self) -> None:
        if self._asked:
            self.said.emit("This is the newest version of Facet.")
        self._asked = False

    def _on_failed(self, failure: Failure) -> None:
        if self._asked:
            self.said.emit(f"{failure.message} {failure.remedy}".strip())
        self._asked = False
