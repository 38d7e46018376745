"""Everything the window shows, in one object: handed to `MainWindow` and to every page."""

from __future__ import annotations

from dataclasses import dataclass

from app.controllers.chat_controller import ChatController
from app.controllers.doctor_controller import DoctorController
from app.controllers.library_controller import LibraryController
from app.controllers.model_controller import ModelController
from app.controllers.picture_controller import PictureController
from app.controllers.settings_controller import SettingsController


@dataclass(frozen=True, slots=True)
class AppState:
    """The controllers of one running app. notices: sentences to show once after the start."""

    settings: SettingsController
    conversations: LibraryController
    chat: ChatController
    pictures: PictureController
    models: ModelController
    doctor: DoctorController
    notices: tuple[str, ...] = ()
