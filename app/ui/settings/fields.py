"""One control for each setting, chosen by its type, bounds and choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.controllers.settings_controller import SYSTEM_CHOICE
from app.core.settings import SettingSpec, SettingValue
from app.ui.theme import Theme
from app.ui.widgets.buttons import IconButton, Switch, TextButton
from app.ui.widgets.combo import ComboBox, PickBox
from app.ui.widgets.labels import ElidedLabel, Label
from app.ui.widgets.turning_row import TurningRow

Offered = Callable[[str], Sequence[tuple[str, str]]]
LONG_TEXTS = frozenset({"system_prompt", "live_prompt"})
# Ranges up to this many steps get a slider beside the number.
SLIDER_STEPS = 200
STEP = {
    "context_tokens": 1024,
    "max_reply_tokens": 256,
    "text_size": 10,
    "speech_rate": 10,
    "speech_volume": 10,
}


class Field(QWidget):
    """A control; `edited(value)` when the person changed it."""

    edited = Signal(object)

    def set_value(self, value: SettingValue) -> None:
        """Show `value` without `edited`."""
        raise AssertionError("each field shows its own kind of value")


class SwitchField(Field):
    """True or false."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        self.switch = Switch(theme, spec.title)
        row = _row(self)
        row.addStretch()
        row.addWidget(self.switch)
        self.switch.clicked.connect(lambda on: self.edited.emit(on))

    def set_value(self, value: SettingValue) -> None:
        """Show it."""
        self.switch.setChecked(bool(value))


class ChoiceField(Field):
    """One of a few."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        self.box = ComboBox(theme, spec.title)
        self.box.setMinimumWidth(theme.px(160))
        for value, label in spec.choices:
            self.box.addItem(label, value)
        row = _row(self)
        row.addStretch()
        row.addWidget(self.box)
        self.box.activated.connect(lambda _index: self.edited.emit(self.box.currentData()))

    def set_value(self, value: SettingValue) -> None:
        """Show it."""
        self.box.setCurrentIndex(self.box.findData(value))


class PickField(Field):
    """One of what is there now; looked up when the list is opened."""

    def __init__(self, theme: Theme, spec: SettingSpec, offered: Offered) -> None:
        super().__init__()
        self._name, self._offered = spec.name, offered
        self.box = PickBox(theme, spec.title)
        self.box.setFixedWidth(theme.px(220))
        row = _row(self)
        row.addStretch()
        row.addWidget(self.box)
        self.box.opening.connect(self._fill)
        self.box.activated.connect(lambda _index: self.edited.emit(self.box.currentData()))

    def set_value(self, value: SettingValue) -> None:
        """Show it by its name; the usual choice is named without looking."""
        if value and self.box.findData(value) < 0:
            self._fill()
        elif self.box.count() == 0:
            self.box.addItem(SYSTEM_CHOICE, "")
        self.box.setCurrentIndex(self.box.findData(value))

    def _fill(self) -> None:
        chosen = self.box.currentData()
        self.box.clear()
        for value, label in self._offered(self._name):
            self.box.addItem(label, value)
        self.box.setCurrentIndex(max(0, self.box.findData(chosen)))


class NumberField(Field):
    """A number within bounds; short ranges have a slider, too."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        low, high = (int(bound) for bound in spec.bounds or (0, 1_000_000))
        step = STEP.get(spec.name, 1)
        self.spin = QSpinBox()
        self.spin.setAccessibleName(spec.title)
        self.spin.setRange(low, high)
        self.spin.setSingleStep(step)
        self.spin.setGroupSeparatorShown(True)
        self.spin.setKeyboardTracking(False)
        self.spin.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.spin.setMinimumWidth(theme.px(110))
        if spec.unit:
            self.spin.setSuffix(f" {spec.unit}")
        row = _row(self)
        row.addStretch()
        if high - low <= SLIDER_STEPS:
            row.addWidget(self._build_slider(theme, spec, low, high, step))
        row.addWidget(self.spin)
        self.spin.valueChanged.connect(lambda value: self.edited.emit(value))

    def _build_slider(
        self, theme: Theme, spec: SettingSpec, low: int, high: int, step: int
    ) -> QSlider:
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName(f"{spec.title}, slider")
        self.slider.setRange(low, high)
        self.slider.setSingleStep(step)
        self.slider.setPageStep(step)
        self.slider.setFixedWidth(theme.px(100))
        self.slider.setTracking(False)
        self.slider.valueChanged.connect(lambda n: self.spin.setValue(round(n / step) * step))
        self.spin.valueChanged.connect(self.slider.setValue)
        return self.slider

    def set_value(self, value: SettingValue) -> None:
        """Show it."""
        blocked = self.blockSignals(True)
        self.spin.setValue(int(str(value)))
        self.blockSignals(blocked)


class TextField(Field):
    """One line."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        self.edit = QLineEdit()
        self.edit.setAccessibleName(spec.title)
        self.edit.setMinimumWidth(theme.px(180))
        row = _row(self)
        row.addStretch()
        row.addWidget(self.edit)
        self.edit.editingFinished.connect(lambda: self.edited.emit(self.edit.text()))

    def set_value(self, value: SettingValue) -> None:
        """Show it."""
        self.edit.setText(str(value))


class LongTextField(Field):
    """Several lines, kept when the keyboard leaves."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        self.edit = QPlainTextEdit()
        self.edit.setProperty("kind", "field")
        self.edit.setAccessibleName(spec.title)
        self.edit.setTabChangesFocus(True)
        self.edit.setFixedHeight(theme.px(76))
        self._theme = theme
        row = _row(self)
        row.addWidget(self.edit)
        self.edit.textChanged.connect(lambda: self.edited.emit(self.edit.toPlainText()))

    def set_value(self, value: SettingValue) -> None:
        """Show it; the cursor stays where it is while it is being written."""
        if self.edit.toPlainText() != value:
            self.edit.setPlainText(str(value))


class FoldersField(Field):
    """A list of folders with add and remove."""

    def __init__(self, theme: Theme, spec: SettingSpec) -> None:
        super().__init__()
        self._theme = theme
        self._value: tuple[str, ...] = ()
        self._lines = QVBoxLayout()
        self._lines.setSpacing(0)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._lines)
        self.add_button = TextButton(theme, "Add folder …")
        self.add_button.setAccessibleName(f"{spec.title}: add a folder")
        self.add_button.clicked.connect(self._add)
        column.addWidget(self.add_button, 0, Qt.AlignmentFlag.AlignRight)

    def set_value(self, value: SettingValue) -> None:
        """Show the folders."""
        self._value = tuple(str(each) for each in value) if isinstance(value, tuple) else ()
        while (item := self._lines.takeAt(0)) is not None:
            item.widget().hide()
            item.widget().deleteLater()
        for folder in self._value:
            self._lines.addWidget(self._line(folder))

    def _line(self, folder: str) -> QWidget:
        holder = QWidget()
        row = _row(holder)
        row.addWidget(ElidedLabel(folder, "secondary"), 1)
        remove = IconButton(self._theme, "x", f"Remove {folder}", size=14)
        rest = tuple(each for each in self._value if each != folder)
        remove.clicked.connect(lambda: self.edited.emit(rest))
        row.addWidget(remove)
        return holder

    def _add(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with models")
        if folder and folder not in self._value:
            self.edited.emit((*self._value, folder))


def make_field(theme: Theme, spec: SettingSpec, offered: Offered) -> Field:
    """The control for a setting; offered: the choices of one that is picked from what is there."""
    if spec.picked:
        return PickField(theme, spec, offered)
    if spec.choices:
        return ChoiceField(theme, spec)
    if spec.type is bool:
        return SwitchField(theme, spec)
    if spec.type in {int, float}:
        return NumberField(theme, spec)
    if spec.type is tuple:
        return FoldersField(theme, spec)
    return LongTextField(theme, spec) if spec.name in LONG_TEXTS else TextField(theme, spec)


class SettingLine(QWidget):
    """Title and description on the left, the control on the right (or below, for long texts)."""

    def __init__(self, theme: Theme, spec: SettingSpec, offered: Offered) -> None:
        super().__init__()
        self.spec = spec
        self.field = make_field(theme, spec, offered)
        words = QWidget()
        lines = QVBoxLayout(words)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(0)
        lines.addWidget(Label(spec.title, wrap=True))
        if spec.description:
            lines.addWidget(Label(spec.description, "caption", wrap=True))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        if isinstance(self.field, LongTextField):
            column.setContentsMargins(0, theme.px(6), 0, theme.px(6))
            column.addWidget(words)
            column.addWidget(self.field)
        else:
            column.addWidget(TurningRow(theme, words, self.field))


def _row(holder: QWidget) -> QHBoxLayout:
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    return row
