"""Outline icons from assets/icons, tinted with a theme colour when they are asked for."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from app.core.paths import assets_dir
from app.ui.theme import Theme

PIXEL_RATIOS = (1, 2)


def icon_pixmap(
    theme: Theme, name: str, token: str = "secondary", size: int = 16, ratio: float = 2
) -> QPixmap:
    """Draw icon `name` in the colour of `token`; `size` in logical pixels at 100 % text size."""
    return _tinted(name, theme.color(token).name(), theme.px(size), ratio)


def icon(theme: Theme, name: str, token: str = "secondary", size: int = 16, gap: int = 0) -> QIcon:
    """Return icon `name` for buttons and menus, with a faint version for the disabled state.

    gap: clear pixels after the icon, where a style sets the words too close to it.
    """
    result = QIcon()
    for ratio in PIXEL_RATIOS:
        for colour, mode in ((token, QIcon.Mode.Normal), ("faint", QIcon.Mode.Disabled)):
            pixmap = icon_pixmap(theme, name, colour, size, ratio)
            result.addPixmap(_with_gap(pixmap, theme.px(gap)) if gap else pixmap, mode)
    return result


def _with_gap(pixmap: QPixmap, gap: int) -> QPixmap:
    ratio = pixmap.devicePixelRatio()
    wide = QPixmap(pixmap.width() + round(gap * ratio), pixmap.height())
    wide.setDevicePixelRatio(ratio)
    wide.fill(Qt.GlobalColor.transparent)
    painter = QPainter(wide)
    painter.drawPixmap(0, 0, pixmap)
    painter.end()
    return wide


@cache
def _icon_folder() -> Path:
    return assets_dir() / "icons"


@lru_cache(maxsize=1024)
def _tinted(name: str, color: str, pixels: int, ratio: float) -> QPixmap:
    svg = (_icon_folder() / f"{name}.svg").read_text(encoding="utf-8")
    return _render(svg.replace("currentColor", color), pixels, ratio)


def app_icon() -> QIcon:
    """Return the application's own icon."""
    svg = (assets_dir() / "facet.svg").read_text(encoding="utf-8")
    result = QIcon()
    for size in (16, 32, 64, 128, 256):
        result.addPixmap(_render(svg, size, 1))
    return result


def _render(svg: str, size: int, ratio: float) -> QPixmap:
    pixmap = QPixmap(QSize(size, size) * ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(
        painter, QRectF(0, 0, pixmap.width(), pixmap.height())
    )
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
