"""Text that is only read: labels by role, a label that elides, lines and cards."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from app.ui.icons import icon_pixmap
from app.ui.theme import Theme


class Label(QLabel):
    """A label. roles: body, secondary, caption, section, title, ok, warn, danger."""

    def __init__(
        self,
        text: str = "",
        role: str = "body",
        *,
        wrap: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self.setProperty("role", role)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wrap)

    def set_role(self, role: str) -> None:
        """Change colour and size."""
        if self.property("role") != role:
            self.setProperty("role", role)
            self.style().unpolish(self)
            self.style().polish(self)


class ElidedLabel(Label):
    """One line that ends in … where there is no room; the tooltip has all of it."""

    def __init__(self, text: str = "", role: str = "body", parent: QWidget | None = None) -> None:
        super().__init__(text, role, parent=parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setText(text)

    def setText(self, text: str) -> None:
        """Show `text`."""
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """May become very narrow."""
        return QSize(24, super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw as much as fits."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        rect = self.contentsRect()
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, rect.width())
        painter.drawText(rect, int(Qt.AlignmentFlag.AlignVCenter), text)


class IconLabel(QLabel):
    """An icon beside words; it has no meaning of its own for a screen reader."""

    def __init__(
        self, theme: Theme, icon_name: str, token: str = "secondary", size: int = 16
    ) -> None:
        super().__init__()
        self._theme = theme
        self._icon_name = icon_name
        self._token = token
        self._icon_size = size
        theme.changed.connect(self._restyle)
        self._restyle()

    def set_icon(self, icon_name: str, token: str) -> None:
        """Show another icon."""
        self._icon_name, self._token = icon_name, token
        self._restyle()

    def _restyle(self) -> None:
        pixmap: QPixmap = icon_pixmap(self._theme, self._icon_name, self._token, self._icon_size)
        self.setPixmap(pixmap)
        self.setFixedWidth(self._theme.px(self._icon_size))


class Card(QFrame):
    """A framed surface. kinds: card, well, composer, notice, error."""

    def __init__(self, kind: str = "card", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", kind)


def line() -> QFrame:
    """A hairline across."""
    return Card("line")
