"""What holds for one chat: instructions, style, thinking."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtWidgets import (
    QDialog,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QPlainTextEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.controllers.chat_controller import ChatController
from app.core.conversation import PRESETS, SamplingPreset
from app.ui.theme import Theme
from app.ui.widgets.buttons import Switch, TextButton
from app.ui.widgets.combo import ComboBox
from app.ui.widgets.labels import Label

OWN_STYLE = "My own"


class ChatSettings(QDialog):
    """Changes take effect with the next message; nothing needs saving."""

    def __init__(
        self, theme: Theme, chat: ChatController, parent: QWidget, *, show_details: bool
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._chat = chat
        meta = chat.conversation.meta
        self.setWindowTitle("This chat")
        self.setAccessibleName("Settings of this chat")
        self.prompt = self._text_field("Instructions", meta.system_prompt, 5)
        self.prompt.setPlaceholderText("What the model should keep in mind in this chat")
        self.think = Switch(theme, "Think before answering")
        self.think.setChecked(meta.think)
        self._build_style(meta.preset, show_details=show_details)
        self._build_form()
        self.resize(theme.px(460), self.sizeHint().height())

    def _text_field(self, name: str, text: str, lines: int) -> QPlainTextEdit:
        field = QPlainTextEdit(text)
        field.setProperty("kind", "field")
        field.setAccessibleName(name)
        field.setTabChangesFocus(True)
        field.setFixedHeight(self._theme.px(20) * lines)
        return field

    def _build_style(self, preset: SamplingPreset, *, show_details: bool) -> None:
        self.style_box = ComboBox(self._theme, "Style")
        self.style_box.addItems([each.name for each in PRESETS])
        if preset not in PRESETS:
            self.style_box.addItem(OWN_STYLE)
        self.style_box.setCurrentText(preset.name if preset in PRESETS else OWN_STYLE)
        self.style_box.currentTextChanged.connect(self._on_style)
        self.temperature = QDoubleSpinBox()
        self.temperature.setAccessibleName("Temperature")
        self.temperature.setRange(0, 2)
        self.temperature.setSingleStep(0.1)
        self.top_p = QDoubleSpinBox()
        self.top_p.setAccessibleName("Top-p")
        self.top_p.setRange(0.05, 1)
        self.top_p.setSingleStep(0.05)
        self.top_k = QSpinBox()
        self.top_k.setAccessibleName("Top-k")
        self.top_k.setRange(1, 1000)
        self._details = QWidget()
        row = QHBoxLayout(self._details)
        row.setContentsMargins(0, 0, 0, 0)
        fields = (("Temp.", self.temperature), ("top-p", self.top_p), ("top-k", self.top_k))
        for words, field in fields:
            row.addWidget(Label(words, "caption"))
            row.addWidget(field)
        self._shows_details = show_details
        self._show_numbers(preset)

    def _build_form(self) -> None:
        form = QFormLayout()
        form.setVerticalSpacing(self._theme.px(12))
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        form.addRow(Label("Instructions"), self.prompt)
        form.addRow(Label("Style"), self.style_box)
        if self._shows_details:
            form.addRow(Label(""), self._details)
        form.addRow(Label("Think before answering"), self.think)
        done = TextButton(self._theme, "Done", "primary")
        done.setDefault(True)
        done.clicked.connect(self.accept)
        foot = QHBoxLayout()
        foot.addStretch()
        foot.addWidget(done)
        column = QVBoxLayout(self)
        column.setContentsMargins(*[self._theme.px(20)] * 4)
        column.addLayout(form)
        column.addLayout(foot)

    def accept(self) -> None:
        """Keep what was entered."""
        self._chat.set_system_prompt(self.prompt.toPlainText())
        self._chat.set_think(self.think.isChecked())
        self._chat.set_preset(self._chosen_preset())
        super().accept()

    def _chosen_preset(self) -> SamplingPreset:
        named = next((p for p in PRESETS if p.name == self.style_box.currentText()), None)
        base = named or self._chat.conversation.meta.preset
        mine = replace(
            base,
            temperature=round(self.temperature.value(), 2),
            top_p=round(self.top_p.value(), 2),
            top_k=self.top_k.value(),
        )
        return base if mine == base else replace(mine, name=OWN_STYLE)

    def _on_style(self, name: str) -> None:
        preset = next((p for p in PRESETS if p.name == name), None)
        if preset is not None:
            self._show_numbers(preset)

    def _show_numbers(self, preset: SamplingPreset) -> None:
        self.temperature.setValue(preset.temperature)
        self.top_p.setValue(preset.top_p)
        self.top_k.setValue(preset.top_k)
