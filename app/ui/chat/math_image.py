"""LaTeX to small pictures that stand on the text's baseline."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from app.ui.qt import qt_application

log = logging.getLogger(__name__)

# Longer formulas are shown as their source.
MAX_LATEX_CHARACTERS = 2_000


@dataclass(frozen=True)
class MathSvg:
    """A drawn formula: SVG text, width and height in pixels, depth below the baseline."""

    svg: str
    width: float
    height: float
    depth: float


@lru_cache(maxsize=512)
def render_svg(latex: str, size: int, display: bool, color: str) -> MathSvg | None:
    """Draw `latex` at font size `size` px; None when it is no LaTeX that we can draw."""
    if len(latex) > MAX_LATEX_CHARACTERS:
        return None
    import ziamath

    ziamath.config.svg2 = False  # pyright: ignore[reportPrivateImportUsage]
    try:
        formula = ziamath.Latex(  # pyright: ignore[reportPrivateImportUsage]
            latex, size=size, color=color, inline=not display
        )
        svg = formula.svg()
    # ziamath and latex2mathml raise whatever their parsers trip over (KeyError, IndexError and
    # own types without a common base), and the text comes from a model.
    except Exception:
        log.debug("formula not drawn: %s", latex, exc_info=True)
        return None
    width, height, top = _box(svg)
    return MathSvg(svg, width, height, max(0.0, height + top))


def _box(svg: str) -> tuple[float, float, float]:
    """Width, height and top edge of the SVG's view box; the baseline is y = 0."""
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    _, top, width, height = (float(value) for value in box)
    return width, height, top


def draw_image(formula: MathSvg, above: float, below: float) -> QImage:
    """Rasterise a formula with at least `above` and `below` pixels around its baseline."""
    ascent = max(formula.height - formula.depth, above)
    depth = max(formula.depth, below)
    ratio = qt_application().devicePixelRatio()
    size = QSize(round(formula.width), round(ascent + depth)) * ratio
    image = QImage(size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(ratio, ratio)
    top = ascent - (formula.height - formula.depth)
    target = QRectF(0, top, formula.width, formula.height)
    QSvgRenderer(QByteArray(formula.svg.encode())).render(painter, target)
    painter.end()
    image.setDevicePixelRatio(ratio)
    return image
