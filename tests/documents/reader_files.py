"""Documents for the tests and screenshots of the documents page, made on the spot."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WORDS = (
    "The tenant pays the rent on the first working day of every month. The deposit is kept on an "
    "account of its own and is paid back with interest when the flat is handed over. Repairs up to "
    "80 euros are borne by the tenant. The garden is shared by all who live in the house."
)
TITLES = (
    "Lease",
    "Rent and costs",
    "Deposit",
    "Repairs",
    "Garden and cellar",
    "Animals",
    "End of the lease",
    "Signatures",
)


def letter(title: str, number: int, size: tuple[int, int] = (1240, 1754)) -> Image.Image:
    """A page of print as a scanner sees it."""
    page = Image.new("RGB", size, "#FCFBF8")
    draw = ImageDraw.Draw(page)
    left, top = size[0] // 10, size[1] // 12
    draw.text((left, top), title, fill="#222222", font=ImageFont.load_default(size[0] // 24))
    font = ImageFont.load_default(size[0] // 50)
    y = top + size[0] // 10
    for line in _wrapped(f"{number}. {WORDS} {WORDS}", 78):
        draw.text((left, y), line, fill="#333333", font=font)
        y += size[0] // 34
    draw.text((size[0] // 2, size[1] - top), str(number), fill="#777777", font=font)
    return page


def scan(path: Path, pages: int = 8, size: tuple[int, int] = (620, 877)) -> Path:
    """A PDF of scanned pages: pictures, no text layer."""
    drawn = [letter(TITLES[n % len(TITLES)], n + 1, size) for n in range(pages)]
    drawn[0].save(path, save_all=True, append_images=drawn[1:], resolution=size[0] / 8.27)
    return path


def printed(path: Path, pages: int = 3, password: str = "") -> Path:
    """A PDF made by a program: every page has a text layer."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), pagesize=A4, encrypt=password or None)
    for number in range(pages):
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawString(72, 760, TITLES[number % len(TITLES)])
        canvas.setFont("Helvetica", 11)
        for row, line in enumerate(_wrapped(f"Page {number + 1}. {WORDS}", 84)):
            canvas.drawString(72, 720 - 16 * row, line)
        canvas.showPage()
    canvas.save()
    return path


def photo(path: Path) -> Path:
    """A photographed page: in perspective, on a dark table, with a shadow."""
    import cv2
    import numpy as np

    page = np.array(letter("Garden", 1, (800, 1100)))
    corners = np.float32([[0, 0], [800, 0], [800, 1100], [0, 1100]])
    seen = np.float32([[210, 130], [900, 180], [980, 1260], [120, 1190]])
    matrix = cv2.getPerspectiveTransform(corners, seen)
    table = np.full((1400, 1100, 3), (62, 48, 40), np.uint8)
    cv2.warpPerspective(page, matrix, (1100, 1400), table, borderMode=cv2.BORDER_TRANSPARENT)
    light = np.linspace(0.62, 1.0, 1100)[None, :, None]
    Image.fromarray((table * light).astype(np.uint8)).save(path, quality=90)
    return path


def png(title: str = "Note") -> bytes:
    """A pasted picture."""
    buffer = io.BytesIO()
    letter(title, 1, (640, 480)).save(buffer, "PNG")
    return buffer.getvalue()


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line]
