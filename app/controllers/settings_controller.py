"""The settings as the window sees them: one object, one signal per changed field."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Signal

from app.core.settings import Settings, SettingValue, spec

Choices = Sequence[tuple[str, str]]
SYSTEM_CHOICE = "The system's choice"
GONE = "Not connected now"


class SettingsController(QObject):
    """Owns the current `Settings`; every change is checked, saved and announced."""

    changed = Signal(str)
    failed = Signal(str)

    def __init__(
        self,
        settings: Settings,
        save: Callable[[Settings], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._settings = settings
        self._save = save
        self._offers: dict[str, Callable[[], Choices]] = {}

    @property
    def settings(self) -> Settings:
        """The current values."""
        return self._settings

    def set(self, name: str, value: SettingValue) -> bool:
        """Change one setting; False (and `failed` with the reason) where it is not allowed."""
        try:
            updated = self._settings.changed(**{name: value})
        except ValueError as problem:
            self.failed.emit(str(problem))
            return False
        if updated == self._settings:
            return True
        self._settings = updated
        try:
            self._save(updated)
        except OSError as problem:
            self.failed.emit(f"The settings could not be saved: {problem.strerror}.")
        self.changed.emit(name)
        return True

    def offer(self, name: str, choices: Callable[[], Choices]) -> None:
        """Say where the choices of a `picked` setting come from; asked whenever they are shown."""
        self._offers[name] = choices

    def offered(self, name: str) -> Choices:
        """What can be picked now; the present value is always among it."""
        ask = self._offers.get(name)
        found = {"": SYSTEM_CHOICE, **dict(ask() if ask else ())}
        found.setdefault(str(getattr(self._settings, name)), GONE)
        return list(found.items())

    def reset(self, name: str) -> bool:
        """Back to the default."""
        return self.set(name, spec(name).default)

    def remember_file(self, path: str, limit: int = 12) -> None:
        """Put a file on top of the recent list."""
        others = [each for each in self._settings.recent_files if each != path]
        self.set("recent_files", (path, *others)[:limit])
