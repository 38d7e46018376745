"""Buttons: an icon, a text, or both. Each has a name a screen reader can say."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QKeySequence, QPainter, QPen
from PySide6.QtWidgets import QCheckBox, QPushButton, QToolButton, QWidget

from app.ui.icons import icon
from app.ui.theme import MIN_HIT_AREA, Theme

ICON_GAP = 4
# As in the style sheet.
WORDS_PADDING, COMPACT_PADDING = 12, 4
DISABLED_OPACITY = 0.45


class IconButton(QToolButton):
    """A square button with an icon; `name` is its tooltip and its accessible name."""

    def __init__(
        self,
        theme: Theme,
        icon_name: str,
        name: str,
        *,
        size: int = 16,
        token: str = "secondary",
        shortcut: str = "",
        kind: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._icon_name = icon_name
        self._icon_size = size
        self._token = token
        self._shortcut_hint = shortcut
        if kind:
            self.setProperty("kind", kind)
        self.set_name(name)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.changed.connect(self._restyle)
        self._restyle()

    def set_name(self, name: str) -> None:
        """Say what the button does now."""
        self.setAccessibleName(name)
        hint = QKeySequence(self._shortcut_hint).toString(QKeySequence.SequenceFormat.NativeText)
        self.setToolTip(f"{name} ({hint})" if hint else name)

    def set_icon(self, icon_name: str, token: str | None = None) -> None:
        """Show another icon, or the same in another colour."""
        self._icon_name = icon_name
        self._token = token or self._token
        self._restyle()

    def _restyle(self) -> None:
        pixels = self._theme.px(self._icon_size)
        side = self._theme.px(MIN_HIT_AREA)
        self.setIcon(icon(self._theme, self._icon_name, self._token, self._icon_size))
        self.setIconSize(QSize(pixels, pixels))
        self.setFixedSize(side, side)


class TextButton(QPushButton):
    """A button with words. kinds: plain, primary, danger, chip, row, pill, suggestion."""

    def __init__(
        self,
        theme: Theme,
        text: str,
        kind: str = "plain",
        *,
        icon_name: str = "",
        token: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self._theme = theme
        self._icon_name = icon_name
        self._compact = False
        self._token = token or ("on_accent" if kind == "primary" else "secondary")
        self.setProperty("kind", kind)
        self.setAccessibleName(text)
        self.setAutoDefault(False)
        theme.changed.connect(self._restyle)
        self._restyle()

    def set_text(self, text: str) -> None:
        """Change the words, for eyes and ears."""
        self.setAccessibleName(text)
        self.setText("" if self._compact else text)

    @property
    def full_width(self) -> int:
        """Pixels it takes with its words."""
        self.ensurePolished()
        words = self.fontMetrics().horizontalAdvance(self.accessibleName())
        padding = 2 * self._theme.px(WORDS_PADDING - COMPACT_PADDING) + self._theme.px(ICON_GAP)
        return self.sizeHint().width() + (words + padding if self._compact else 0)

    def set_compact(self, compact: bool) -> None:
        """Show the icon alone where there is no room; the words stay its name."""
        if compact != self._compact:
            self._compact = compact
            self.setProperty("compact", "true" if compact else "false")
            self.style().unpolish(self)
            self.style().polish(self)
            self.set_text(self.accessibleName())
            self._restyle()

    def set_icon(self, icon_name: str) -> None:
        """Show another icon; empty takes it away."""
        self._icon_name = icon_name
        self._restyle()

    def _restyle(self) -> None:
        if self._icon_name:
            pixels = self._theme.px(16)
            gap = ICON_GAP if self.text() else 0
            self.setIcon(icon(self._theme, self._icon_name, self._token, gap=gap))
            self.setIconSize(QSize(pixels + self._theme.px(gap), pixels))


class Switch(QCheckBox):
    """An on/off switch drawn like the Mac's."""

    def __init__(self, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setAccessibleName(name)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme.changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        """38 x 28 px at 100 %."""
        return QSize(self._theme.px(38), self._theme.px(MIN_HIT_AREA))

    def hitButton(self, _position: object) -> bool:
        """The whole widget switches."""
        return True

    def paintEvent(self, _event: object) -> None:
        """Draw the track, the knob and, with focus, a ring."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(1.0 if self.isEnabled() else DISABLED_OPACITY)
        width, height = self._theme.px(32), self._theme.px(18)
        track = QRectF(3, (self.height() - height) / 2, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("accent" if self.isChecked() else "control"))
        painter.drawRoundedRect(track, height / 2, height / 2)
        inset = 2
        knob = height - 2 * inset
        left = track.right() - knob - inset if self.isChecked() else track.left() + inset
        painter.setBrush(self._theme.color("on_accent" if self.isChecked() else "surface"))
        painter.drawEllipse(QRectF(left, track.top() + inset, knob, knob))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._theme.color("text"), 1.5))
            ring = track.adjusted(-2, -2, 2, 2)
            painter.drawRoundedRect(ring, ring.height() / 2, ring.height() / 2)
