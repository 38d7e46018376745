"""Facet.icns from assets/facet.svg, on any machine: Qt draws the SVG, Pillow writes the file."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from facet_bundle import facts
from facet_bundle.errors import PackagingError

SIZES = (16, 32, 64, 128, 256, 512, 1024)


def source() -> Path:
    """The drawing in assets."""
    return facts.ROOT / "assets" / "facet.svg"


def write_icns(svg: Path, target: Path) -> None:
    """Every size macOS asks for, each drawn from the vectors and not scaled from another."""
    if not svg.is_file():
        raise PackagingError(f"{svg.name} is missing in assets; the app icon is drawn from it.")
    pictures = [draw(svg, (size, size)) for size in SIZES]
    pictures[-1].save(target, format="ICNS", append_images=pictures[:-1])


def draw(svg: Path, size: tuple[int, int]) -> Image.Image:
    """The drawing at (width, height) pixels with a transparent background."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtCore import QBuffer, QIODevice
    from PySide6.QtGui import QGuiApplication, QImage, QImageWriter, QPainter
    from PySide6.QtSvg import QSvgRenderer

    application = QGuiApplication.instance() or QGuiApplication([])
    renderer = QSvgRenderer(str(svg))
    if not renderer.isValid():
        raise PackagingError(f"{svg.name} is not a drawing that can be read.")
    image = QImage(*size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, b"PNG").write(image)
    del application
    return Image.open(io.BytesIO(bytes(buffer.data().data()))).convert("RGBA")
