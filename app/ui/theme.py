"""Colours, type, sizes and motion of the window; the one place that knows them.

A `Theme` is made once in the composition root and passed to every widget. Widgets ask it for
colours by token name, for fonts by role and for lengths in grid pixels; `Theme.changed` tells
them to ask again. Lives on the UI thread.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Literal

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QGuiApplication, QPalette

from app.ui.qt import qt_application
from app.ui.stylesheet import build_stylesheet

Mode = Literal["system", "light", "dark"]
FontRole = Literal["body", "secondary", "caption", "section", "title", "code"]

# Role -> (pixel size at 100 %, weight). ui.md, "Type".
FONT_ROLES: dict[str, tuple[int, QFont.Weight]] = {
    "body": (13, QFont.Weight.Normal),
    "secondary": (12, QFont.Weight.Normal),
    "caption": (11, QFont.Weight.Normal),
    "section": (15, QFont.Weight.Medium),
    "title": (22, QFont.Weight.DemiBold),
    "code": (12, QFont.Weight.Normal),
}
CAPTION_TRACKING = 0.2
LINE_HEIGHT = 1.45
MEASURE_CHARACTERS = 72
MIN_HIT_AREA = 28
SCALE_RANGE = (0.8, 2.0)
# Free families close to the system font of the Mac, used where that one does not exist.
SANS_FAMILIES = ("Inter", "Noto Sans", "Open Sans", "DejaVu Sans")
MONO_FAMILIES = ("JetBrains Mono", "Fira Code", "Hack", "Noto Sans Mono", "DejaVu Sans Mono")
# Scripts that those families lack; the first installed one of each line serves as fallback.
SCRIPT_FAMILIES = (
    ("Noto Sans Arabic", "Noto Naskh Arabic"),
    ("Noto Sans Devanagari",),
    ("Noto Sans CJK SC", "Droid Sans Fallback"),
    ("Noto Sans Hebrew",),
    ("Noto Sans Thai",),
)
MEASURE_SAMPLE = "the quick brown fox jumps over a lazy dog, and then it sleeps for long "


@dataclass(frozen=True)
class Tokens:
    """One colour set. Values are #RRGGBB or, where they lie over others, #RRGGBBAA."""

    window: str
    sidebar: str
    surface: str
    sunken: str
    hairline: str
    hover: str
    pressed: str
    control: str
    text: str
    secondary: str
    faint: str
    accent: str
    accent_soft: str
    on_accent: str
    ok: str
    warn: str
    danger: str
    scrim: str
    code_keyword: str
    code_string: str
    code_number: str
    code_comment: str
    code_name: str

    def color(self, name: str) -> QColor:
        """Return token `name` as a colour; KeyError text names an unknown token."""
        return parse_color(getattr(self, name))


LIGHT = Tokens(
    window="#F6F6F7",
    sidebar="#EFEFF1",
    surface="#FFFFFF",
    sunken="#EFEFF1",
    hairline="#0000001A",
    hover="#0000000D",
    pressed="#0000001A",
    control="#85858B",
    text="#1D1D1F",
    secondary="#5B5B60",
    faint="#6C6C72",
    accent="#4F5BD5",
    accent_soft="#4F5BD51C",
    on_accent="#FFFFFF",
    ok="#1A7A42",
    warn="#965500",
    danger="#C0302A",
    scrim="#F6F6F7CC",
    code_keyword="#8A2F9C",
    code_string="#A5322B",
    code_number="#1F5FB4",
    code_comment="#62626A",
    code_name="#2F5E8C",
)
DARK = Tokens(
    window="#1C1C1E",
    sidebar="#161618",
    surface="#242426",
    sunken="#161618",
    hairline="#FFFFFF1F",
    hover="#FFFFFF12",
    pressed="#FFFFFF21",
    control="#7C7C82",
    text="#F2F2F4",
    secondary="#A9A9AF",
    faint="#8E8E94",
    accent="#8C95FF",
    accent_soft="#8C95FF2E",
    on_accent="#1C1C1E",
    ok="#4CC38A",
    warn="#F0B45A",
    danger="#FF7A70",
    scrim="#1C1C1ED9",
    code_keyword="#E08CF0",
    code_string="#FF9C8F",
    code_number="#82B4FF",
    code_comment="#9A9AA2",
    code_name="#8CC8FF",
)


def parse_color(value: str) -> QColor:
    """Read #RRGGBB or #RRGGBBAA (Qt itself reads eight digits as #AARRGGBB)."""
    if len(value) == 9:
        return QColor(f"#{value[7:]}{value[1:7]}")
    return QColor(value)


def css_color(value: str) -> str:
    """Return the token value in a form Qt style sheets read."""
    color = parse_color(value)
    return f"rgba({color.red()},{color.green()},{color.blue()},{color.alpha()})"


def system_wants_reduced_motion() -> bool:
    """Read the Mac's "Reduce motion" switch; False where there is no such switch."""
    if sys.platform != "darwin":
        return False
    stored = QSettings("apple.com", "universalaccess").value("reduceMotion", 0)
    return str(stored).lower() in {"1", "true"}


def _first_installed(wanted: tuple[str, ...], installed: set[str]) -> str | None:
    return next((family for family in wanted if family in installed), None)


class Theme(QObject):
    """The current look: colour set, text scale and motion."""

    changed = Signal()

    def __init__(
        self, mode: Mode = "system", scale: float = 1.0, reduced_motion: bool | None = None
    ) -> None:
        super().__init__()
        self._mode: Mode = mode
        self._scale = self._bounded(scale)
        self._reduced_motion = reduced_motion
        self._families = self._find_families()
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._on_system_scheme)

    @property
    def mode(self) -> Mode:
        """The chosen mode; `is_dark` says what it comes to."""
        return self._mode

    @property
    def scale(self) -> float:
        """Text size as a factor, 0.8 to 2."""
        return self._scale

    @property
    def is_dark(self) -> bool:
        """True when the dark set is in force."""
        if self._mode != "system":
            return self._mode == "dark"
        return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark

    @property
    def tokens(self) -> Tokens:
        """The colour set in force."""
        return DARK if self.is_dark else LIGHT

    def set_mode(self, mode: Mode) -> None:
        """Choose light, dark or the system's own."""
        if mode != self._mode:
            self._mode = mode
            self.apply()

    def set_scale(self, scale: float) -> None:
        """Set the text size; values outside 0.8 to 2 are brought inside."""
        bounded = self._bounded(scale)
        if bounded != self._scale:
            self._scale = bounded
            self.apply()

    def set_reduced_motion(self, reduced: bool | None) -> None:
        """Switch animations off (True), on (False) or follow the system (None)."""
        self._reduced_motion = reduced

    def duration(self, milliseconds: int) -> int:
        """Length of an animation: as asked, or 0 when motion is reduced."""
        reduced = self._reduced_motion
        if reduced is None:
            reduced = system_wants_reduced_motion()
        return 0 if reduced else milliseconds

    def color(self, token: str) -> QColor:
        """Colour of a token."""
        return self.tokens.color(token)

    def px(self, length: float) -> int:
        """Scale a length that goes with text (padding, row heights, icon sizes)."""
        return round(length * self._scale)

    def font(self, role: FontRole = "body") -> QFont:
        """Font of a role at the current text size."""
        size, weight = FONT_ROLES[role]
        font = QFont()
        font.setFamilies(self._families["code" if role == "code" else "text"])
        font.setPixelSize(self.px(size))
        font.setWeight(weight)
        if role == "code":
            # Ligatures would show other characters than those that are copied.
            for feature in ("calt", "liga"):
                font.setFeature(QFont.Tag(feature), 0)
        if role == "caption":
            font.setLetterSpacing(QFont.SpacingType.AbsoluteSpacing, CAPTION_TRACKING)
        return font

    def measure(self) -> int:
        """Width in pixels of a line of 72 average characters of message text."""
        metrics = QFontMetricsF(self.font("body"))
        per_character = metrics.horizontalAdvance(MEASURE_SAMPLE) / len(MEASURE_SAMPLE)
        return round(per_character * MEASURE_CHARACTERS)

    def apply(self) -> None:
        """Give the application the fonts, palette and style sheet of this theme."""
        app = qt_application()
        app.setFont(self.font("body"))
        app.setPalette(self._qt_palette())
        app.setStyleSheet(build_stylesheet(self))
        self.changed.emit()

    def css(self) -> dict[str, str]:
        """Every token in style-sheet form, by name."""
        return {f.name: css_color(getattr(self.tokens, f.name)) for f in fields(Tokens)}

    def _on_system_scheme(self) -> None:
        if self._mode == "system":
            self.apply()

    def _bounded(self, scale: float) -> float:
        low, high = SCALE_RANGE
        return min(high, max(low, scale))

    def _find_families(self) -> dict[str, list[str]]:
        if sys.platform == "darwin":
            text = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont).family()
            code = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont).family()
            return {"text": [text], "code": [code]}
        installed = set(QFontDatabase.families())
        fallbacks = [f for f in (_first_installed(s, installed) for s in SCRIPT_FAMILIES) if f]
        text = _first_installed(SANS_FAMILIES, installed) or "Sans Serif"
        code = _first_installed(MONO_FAMILIES, installed) or "Monospace"
        return {"text": [text, *fallbacks], "code": [code, *fallbacks]}

    def _qt_palette(self) -> QPalette:
        roles = {
            QPalette.ColorRole.Window: "window",
            QPalette.ColorRole.WindowText: "text",
            QPalette.ColorRole.Base: "surface",
            QPalette.ColorRole.AlternateBase: "sunken",
            QPalette.ColorRole.Text: "text",
            QPalette.ColorRole.Button: "surface",
            QPalette.ColorRole.ButtonText: "text",
            QPalette.ColorRole.ToolTipBase: "surface",
            QPalette.ColorRole.ToolTipText: "text",
            QPalette.ColorRole.Highlight: "accent",
            QPalette.ColorRole.HighlightedText: "on_accent",
            QPalette.ColorRole.Link: "accent",
            QPalette.ColorRole.PlaceholderText: "faint",
        }
        palette = QPalette()
        for role, token in roles.items():
            palette.setColor(role, self.color(token))
        for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, role, self.color("faint"))
        return palette
