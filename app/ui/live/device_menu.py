"""Which microphone, loudspeaker and camera: a menu made anew each time it opens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu, QWidget

from app.services.sound_devices import Choice, DeviceChoices


class DeviceMenu(QMenu):
    """Three groups, one choice each.

    Args:
        choices: what there is now.
        chosen: the chosen id of "microphone", "speaker" or "camera".
        choose: told which kind is to be which id.
    """

    def __init__(
        self,
        choices: Callable[[], DeviceChoices],
        chosen: Callable[[str], str],
        choose: Callable[[str, str], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._choices, self._chosen, self._choose = choices, chosen, choose
        self.setAccessibleName("Devices")
        self.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """Show what is there now."""
        self.clear()
        found = self._choices()
        self._add_group("Microphone", "microphone", found.microphones)
        self._add_group("Loudspeaker", "speaker", found.speakers)
        self._add_group("Camera", "camera", found.cameras)

    def _add_group(self, title: str, kind: str, choices: tuple[Choice, ...]) -> None:
        self.addSection(title)
        group = QActionGroup(self)
        present = self._chosen(kind)
        if present and all(choice.id != present for choice in choices):
            choices = (*choices, Choice(present, f"{present} (not connected)"))
        for choice in choices:
            action = QAction(choice.name, group)
            action.setCheckable(True)
            action.setChecked(choice.id == present)
            action.triggered.connect(partial(self._choose, kind, choice.id))
            self.addAction(action)
