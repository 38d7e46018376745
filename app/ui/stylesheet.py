"""The Qt style sheet, written out from the theme's tokens.

Widgets say what they are through the dynamic properties `role` (text) and `kind` (buttons,
cards); colours and sizes stand here only.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.ui.theme import Theme

_TEMPLATE = Template(
    """
QMainWindow, QDialog, QWidget[kind="page"] { background: $window; }
QWidget[kind="clear"] { background: transparent; }
QWidget[kind="sidebar"] { background: $sidebar; border: none; border-right: 1px solid $hairline; }
QFrame[kind="card"] { background: $surface; border: 1px solid $hairline; border-radius: 10px; }
QFrame[kind="well"] { background: $sunken; border: none; border-radius: 10px; }
QFrame[kind="composer"] { background: $surface; border: 1px solid $hairline; border-radius: 14px; }
QFrame[kind="composer"][focused="true"] { border: 1px solid $accent; }
QFrame[kind="notice"] { background: $surface; border: 1px solid $hairline; border-radius: 10px; }
QFrame[kind="error"] { background: $surface; border: 1px solid $danger; border-radius: 10px; }
QFrame[kind="line"] { background: $hairline; border: none; max-height: 1px; min-height: 1px; }

QLabel { background: transparent; color: $text; }
QLabel[role="secondary"] { color: $secondary; font-size: ${px12}px; }
QLabel[role="caption"] { color: $faint; font-size: ${px11}px; }
QLabel[role="section"] { font-size: ${px15}px; font-weight: 500; }
QLabel[role="title"] { font-size: ${px22}px; font-weight: 600; }
QLabel[role="ok"] { color: $ok; font-size: ${px12}px; }
QLabel[role="warn"] { color: $warn; font-size: ${px12}px; }
QLabel[role="danger"] { color: $danger; font-size: ${px12}px; }

QPushButton, QToolButton { border: none; border-radius: 6px; background: transparent; color: $text;
  padding: 0 ${px8}px; min-height: ${button}px; outline: none; }
QToolButton { padding: 0 ${px4}px; }
QPushButton:hover, QToolButton:hover { background: $hover; }
QPushButton:pressed, QToolButton:pressed { background: $pressed; }
QPushButton:focus, QToolButton:focus { border: 2px solid $accent; }
QPushButton:disabled, QToolButton:disabled { color: $faint; }
QPushButton[kind="primary"] { background: $accent; color: $on_accent; font-weight: 500;
  padding: 0 ${px16}px; }
QPushButton[kind="primary"]:hover { background: $accent_hover; }
QPushButton[kind="primary"]:focus { border: 2px solid $text; }
QPushButton[kind="primary"]:disabled { background: $sunken; color: $faint; }
QPushButton[kind="plain"] { background: $surface; border: 1px solid $hairline;
  padding: 0 ${px12}px; }
QPushButton[kind="plain"]:hover { background: $sunken; }
QPushButton[kind="plain"]:focus { border: 2px solid $accent; }
QPushButton[kind="danger"] { background: $surface; color: $danger; border: 1px solid $hairline;
  padding: 0 ${px12}px; }
QPushButton[kind="danger"]:disabled { color: $faint; }
QPushButton[compact="true"] { padding: 0 ${px4}px; }
QPushButton[kind="danger"]:focus { border: 2px solid $danger; }
QPushButton[kind="chip"], QToolButton[kind="chip"] { background: transparent; color: $secondary;
  font-size: ${px12}px; padding: 0 ${px8}px; }
QPushButton[kind="row"] { text-align: left; padding: 0 ${px8}px; }
QPushButton[kind="row"]:checked { background: $pressed; }
QPushButton[kind="pill"] { background: $surface; border: 1px solid $hairline;
  border-radius: ${pill}px; padding: 0 ${px12}px; }
QPushButton[kind="suggestion"] { background: $surface; border: 1px solid $hairline;
  border-radius: 10px; text-align: left; min-height: ${card}px; }
QPushButton[kind="suggestion"]:hover { border: 1px solid $accent; }
QPushButton[kind="suggestion"]:focus { border: 2px solid $accent; }
QToolButton[kind="send"] { background: $accent; border-radius: ${send}px; min-height: ${button}px; }
QToolButton[kind="send"]:hover { background: $accent_hover; }
QToolButton[kind="send"]:focus { border: 2px solid $text; }
QToolButton[kind="send"]:disabled { background: $sunken; }
QToolButton::menu-indicator, QPushButton::menu-indicator { image: none; width: 0; }

QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox { background: $surface; color: $text;
  border: 1px solid $hairline; border-radius: 6px; padding: 0 ${px8}px; min-height: ${button}px;
  selection-background-color: $accent; selection-color: $on_accent; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {
  border: 2px solid $accent; }
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button { width: 0; border: none; }
QAbstractSpinBox QLineEdit { background: transparent; border: none; min-height: 0;
  padding: 0 ${px8}px 0 0; }
QLineEdit[kind="search"] { background: $hover; border: 1px solid transparent;
  padding-left: ${px28}px; }
QLineEdit[kind="search"]:focus { background: $surface; border: 2px solid $accent; }
QComboBox::drop-down { border: none; width: ${px20}px; }
QComboBox QAbstractItemView { background: $surface; color: $text; border: 1px solid $hairline;
  selection-background-color: $accent; selection-color: $on_accent; outline: none; }
QPlainTextEdit, QTextEdit { background: transparent; color: $text; border: none;
  selection-background-color: $accent; selection-color: $on_accent; }
QPlainTextEdit[kind="field"] { background: $surface; border: 1px solid $hairline;
  border-radius: 6px; padding: ${px4}px; }
QPlainTextEdit[kind="field"]:focus { border: 2px solid $accent; }
QTextBrowser[kind="message"]:focus { border: none; }

QListView, QTreeView { background: transparent; border: none; outline: none; }
QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; border: none; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 2px; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 2px; }
QScrollBar::handle { background: $pressed; border-radius: 3px; min-height: 32px; min-width: 32px; }
QScrollBar::handle:disabled { background: transparent; }
QScrollBar::handle:hover { background: $control; }
QScrollBar::add-line, QScrollBar::sub-line { height: 0; width: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: none; }

QMenu { background: $surface; color: $text; border: 1px solid $hairline; border-radius: 6px;
  padding: 4px; }
QMenu::item { padding: ${px4}px ${px20}px ${px4}px ${px12}px; border-radius: 4px;
  min-height: ${px20}px; }
QMenu::item:selected { background: $accent; color: $on_accent; }
QMenu::item:disabled { color: $faint; }
QMenu::separator { height: 1px; background: $hairline; margin: 4px 8px; }
QMenuBar { background: $sidebar; color: $text; font-size: ${px12}px; }
QMenuBar::item { padding: 4px 8px; background: transparent; border-radius: 4px; }
QMenuBar::item:selected { background: $hover; }
QToolTip { background: $surface; color: $text; border: 1px solid $hairline; padding: 4px 6px; }
QProgressBar { background: $sunken; border: none; border-radius: 3px; max-height: 6px;
  min-height: 6px; text-align: center; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QSlider { min-height: ${button}px; }
QSlider::groove:horizontal { height: 4px; background: $control; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal { background: $surface; border: 1px solid $control; width: 14px;
  margin: -6px 0; border-radius: 8px; }
QSlider::handle:horizontal:focus { border: 2px solid $accent; }
QCheckBox { color: $text; spacing: 8px; min-height: ${button}px; background: transparent; }
QSplitter::handle { background: $hairline; }
"""
)


def _mix(over: str, amount: float) -> str:
    """Return the colour text `rgba(r,g,b,a)` moved towards black by `amount`."""
    parts = [int(p) for p in over[5:-1].split(",")]
    red, green, blue = (round(c * (1 - amount)) for c in parts[:3])
    return f"rgba({red},{green},{blue},{parts[3]})"


def build_stylesheet(theme: Theme) -> str:
    """Return the style sheet of the whole application for `theme`."""
    values = theme.css()
    values |= {f"px{n}": str(theme.px(n)) for n in (4, 8, 11, 12, 15, 16, 20, 22, 28)}
    values |= {
        "accent_hover": _mix(values["accent"], 0.1),
        "button": str(theme.px(28)),
        "card": str(theme.px(118)),
        "send": str(theme.px(28) // 2),
        "pill": str(theme.px(28) // 2),
    }
    return _TEMPLATE.substitute(values)
