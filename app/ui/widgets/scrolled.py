"""A page that scrolls up and down when it does not fit, its content centred and not too wide."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QWidget


def scrolled(inner: QWidget, name: str) -> QScrollArea:
    """Put `inner` into a scroll area; its maximum width, if any, holds. `name` for the reader."""
    holder = QWidget()
    center = QHBoxLayout(holder)
    center.setContentsMargins(0, 0, 0, 0)
    center.addWidget(inner)
    area = QScrollArea()
    area.setAccessibleName(name)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(holder)
    return area
