"""Files are recognised by their bytes; bad ones get one sentence, whatever they are."""

import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.core.commands import Describe
from app.core.conversation import MediaKind
from app.core.events import Described
from app.engine.describe import decode_text, describe_file, sniff


def look(path: Path, name: str = "", thumbnail: int = 64) -> Described:
    answer = describe_file(Describe("q", str(path), name, thumbnail))
    assert answer.query_id == "q"
    return answer


def wav(seconds: float) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(np.zeros(int(16000 * seconds), "<i2").tobytes())
    return buffer.getvalue()


def pdf(pages: int) -> bytes:
    from reportlab.pdfgen import canvas

    buffer = io.BytesIO()
    sheet = canvas.Canvas(buffer)
    for number in range(pages):
        sheet.drawString(100, 700, f"Words of page {number + 1}")
        sheet.showPage()
    sheet.save()
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_pictures(tmp_path: Path, form: str) -> None:
    path = tmp_path / "renamed.txt"
    Image.new("RGB", (300, 150), "red").save(path, form)
    answer = look(path)
    assert (answer.kind, answer.width, answer.height) == (MediaKind.IMAGE, 300, 150)
    assert (answer.thumbnail_width, answer.thumbnail_height) == (64, 32)
    assert len(answer.thumbnail) == 64 * 32 * 4
    assert look(path, thumbnail=0).thumbnail == b""


def test_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(wav(1.5))
    answer = look(path)
    assert answer.kind is MediaKind.AUDIO
    assert answer.seconds == pytest.approx(1.5)


def test_video(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for shade in range(20):
        writer.write(np.full((48, 64, 3), shade * 10, np.uint8))
    writer.release()
    answer = look(path)
    assert answer.kind is MediaKind.VIDEO
    assert (answer.width, answer.height) == (64, 48)
    assert answer.seconds == pytest.approx(2.0, abs=0.2)
    assert answer.thumbnail


def test_pdf_pages_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(3))
    answer = look(path)
    assert (answer.kind, answer.pages) == (MediaKind.DOCUMENT, 3)
    assert answer.text == "Words of page 1\n\nWords of page 2\n\nWords of page 3"
    assert answer.thumbnail


def test_tables_of_a_pdf_keep_their_columns(tmp_path: Path) -> None:
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

    path = tmp_path / "a.pdf"
    cells = [["Month", "Rent", "Heat"], ["May", "810", "64"], ["June", "", "12"]]
    table = Table(cells, style=[("GRID", (0, 0), (-1, -1), 1, "black")])
    words = Paragraph("What the flat costs", getSampleStyleSheet()["Normal"])
    SimpleDocTemplate(str(path)).build([words, table])
    text = look(path).text
    assert text.splitlines()[0].endswith("What the flat costs")
    rows = [[c.strip() for c in r.strip("|").split("|")] for r in text.splitlines() if "|" in r]
    assert [rows[0], *rows[2:]] == cells


def test_a_pdf_with_a_password_is_refused_with_what_works(tmp_path: Path) -> None:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen import canvas

    path = tmp_path / ("f" * 64)
    sheet = canvas.Canvas(str(path), encrypt=StandardEncryption("secret"))
    sheet.drawString(100, 700, "Words")
    sheet.save()
    answer = look(path, "lease.pdf")
    assert answer.problem == "“lease.pdf” asks for a password."
    assert "Documents" in answer.remedy


def test_text_of_any_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert decode_text("Grüße €".encode(encoding)) == "Grüße €"
    path = tmp_path / "notes.md"
    path.write_text("# Überschrift\n" * 300)
    assert look(path).text.startswith("# Überschrift")


def test_office_files_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "any.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert look(path).kind in (MediaKind.DOCUMENT, MediaKind.UNKNOWN)
    assert sniff(b"PK\x03\x04", path)[0] is MediaKind.DOCUMENT
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anything.txt", "x")
    answer = look(path, "holiday.zip")
    assert "holiday.zip" in answer.problem
    assert "work" in answer.remedy


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0 cut",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"RIFF\x10\x00\x00\x00AVI rubbish",
        b"%PDF-1.7 rubbish",
        b"PK\x03\x04 rubbish",
        b"\x00\x00\x00\x18ftypmp42 rubbish",
        b"\x00\x00\x00\x18ftypheic rubbish",
        b"\x1a\x45\xdf\xa3 rubbish",
        b"ID3 rubbish",
        bytes(range(256)),
    ],
)
def test_bad_files_get_one_sentence_with_their_own_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("f" * 64)
    path.write_bytes(content)
    answer = look(path, "holiday.png")
    assert answer.problem
    assert "\n" not in answer.problem
    assert "f" * 64 not in answer.problem
    assert "holiday.png" in answer.problem


def test_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in look(tmp_path / "gone", "gone.png").problem


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    answer = look(path, "any")
    assert answer.problem or answer.kind is not MediaKind.UNKNOWN
