"""The settings page, generated from the schema: one card a group, one line a setting."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from app.controllers.settings_controller import SettingsController
from app.core.build_facts import build_facts
from app.core.settings import SettingSpec, specs
from app.ui.settings.fields import SettingLine
from app.ui.theme import Theme
from app.ui.widgets.buttons import TextButton
from app.ui.widgets.labels import Card, Label, line
from app.ui.widgets.notices import NoticeBar
from app.ui.widgets.scrolled import scrolled
from app.ui.widgets.turning_row import TurningRow

PAGE_WIDTH = 640


class SettingsPage(QWidget):
    """Every change holds at once. `devices_wanted`: test microphone and camera.

    `delete_data_wanted` comes after the person confirmed that everything is lost.
    """

    devices_wanted = Signal()
    delete_data_wanted = Signal()
    doctor_wanted = Signal()

    def __init__(self, theme: Theme, settings: SettingsController) -> None:
        super().__init__()
        self.setProperty("kind", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._theme = theme
        self._settings = settings
        self.lines: dict[str, SettingLine] = {}
        self.notice = NoticeBar(theme, self)
        self._build()
        settings.changed.connect(self._on_changed)
        settings.failed.connect(self.notice.show_notice)

    def _build(self) -> None:
        inner = QWidget()
        inner.setMaximumWidth(self._theme.px(PAGE_WIDTH))
        column = QVBoxLayout(inner)
        column.setContentsMargins(24, 20, 24, 32)
        column.setSpacing(self._theme.px(8))
        column.addWidget(Label("Settings", "title"))
        groups: dict[str, list[SettingSpec]] = {}
        for spec in specs():
            if not spec.hidden and (spec.needs != "updates" or build_facts().feed):
                groups.setdefault(spec.group, []).append(spec)
        for title, group in groups.items():
            column.addSpacing(self._theme.px(8))
            column.addWidget(Label(title, "section"))
            column.addWidget(self._build_group(title, group))
        column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner, "Settings"))

    def _build_group(self, title: str, group: list[SettingSpec]) -> Card:
        card = Card("card")
        column = QVBoxLayout(card)
        pad = self._theme.px(16)
        column.setContentsMargins(pad, self._theme.px(6), pad, self._theme.px(6))
        column.setSpacing(0)
        for number, spec in enumerate(group):
            if number:
                column.addWidget(line())
            column.addWidget(self._build_line(spec))
        for words, description, kind, call in self._extras(title):
            column.addWidget(line())
            column.addWidget(self._build_button(words, description, kind, call))
        return card

    def _build_line(self, spec: SettingSpec) -> SettingLine:
        widget = SettingLine(self._theme, spec, self._settings.offered)
        widget.field.set_value(getattr(self._settings.settings, spec.name))
        widget.field.edited.connect(lambda value, name=spec.name: self._settings.set(name, value))
        self.lines[spec.name] = widget
        return widget

    def _extras(self, title: str) -> list[tuple[str, str, str, Callable[[], object]]]:
        if title == "Live":
            words = "See the camera's picture and the microphone's level."
            return [("Test microphone and camera …", words, "plain", self.devices_wanted.emit)]
        if title == "Privacy":
            words = "Chats, attachments and settings. Downloaded models stay."
            report = "What this machine and the engine say about themselves."
            return [
                ("Doctor …", report, "plain", self.doctor_wanted.emit),
                ("Delete all data …", words, "danger", self._confirm_delete),
            ]
        return []

    def _build_button(
        self, words: str, description: str, kind: str, call: Callable[[], object]
    ) -> QWidget:
        button = TextButton(self._theme, words, kind)
        button.clicked.connect(lambda: call())
        return TurningRow(self._theme, Label(description, "caption", wrap=True), button)

    def _on_changed(self, name: str) -> None:
        widget = self.lines.get(name)
        if widget is not None:
            widget.field.set_value(getattr(self._settings.settings, name))

    def _confirm_delete(self) -> None:
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Warning)
        box.setText("Delete all chats, attachments and settings?")
        box.setInformativeText("They cannot be brought back. Facet closes afterwards.")
        delete = box.addButton("Delete everything", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        delete.clicked.connect(self.delete_data_wanted)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
