"""Files for the tests, made by other programs where that matters."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pikepdf
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas


def text_pdf(path: Path, pages: list[list[str]], *, size: float = 12) -> Path:
    """A PDF drawn by a program, one list of lines a page."""
    drawing = canvas.Canvas(str(path), pagesize=A4)
    drawing.setTitle("A title")
    for lines in pages:
        drawing.setFont("Helvetica", size)
        for number, line in enumerate(lines):
            drawing.drawString(72, 770 - number * size * 1.5, line)
        drawing.showPage()
    drawing.save()
    return path


def scan_pdf(path: Path, pictures: list[Image.Image]) -> Path:
    """A PDF of pictures alone."""
    pictures[0].save(path, save_all=True, append_images=pictures[1:], resolution=150)
    return path


def locked_pdf(path: Path, source: Path, password: str) -> Path:
    with pikepdf.open(source) as pdf:
        pdf.save(path, encryption=pikepdf.Encryption(owner="owner", user=password, R=6))
    return path


def run(*command: str, folder: Path | None = None) -> str:
    """A program of the system; its output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pdf_words(path: Path, *options: str) -> list[str]:
    return run("pdftotext", *options, str(path), "-").split()


def soffice(folder: Path, target: str, *files: Path) -> None:
    """Convert files with LibreOffice, all in one start."""
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = ["soffice", profile, "--headless", "--norestore", "--convert-to", target]
    environment = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "PYTHONPATH")}
    done = subprocess.run(
        [*command, "--outdir", str(folder), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment | {"HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
