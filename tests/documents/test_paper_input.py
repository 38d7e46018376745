"""Every kind of file: found by its content, its pages and text right."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from PIL import Image, ImageDraw
from reportlab.pdfgen.canvas import Canvas

from app.documents.host import DocumentHost
from app.documents.intake import expand
from app.documents.pdf_text import string
from app.documents.sizing import budget_area, wanted_size
from app.documents.types import DocumentError, DocumentKind, DocumentProblem, PagePart
from mlx_gemma4.image_processing import BUDGETS, resized_size
from tests.documents.paper_files import locked_pdf, pdf_words, run, text_pdf
from tests.documents.paper_pages import font


@pytest.fixture(scope="module")
def host():
    with DocumentHost() as opened:
        yield opened


def marked(size=(300, 200), corner="top left") -> Image.Image:
    """White with one red corner."""
    image = Image.new("RGB", size, "white")
    places = {"top left": (0, 0), "bottom right": (size[0] - 40, size[1] - 40)}
    x, y = places[corner]
    ImageDraw.Draw(image).rectangle((x, y, x + 39, y + 39), fill=(220, 0, 0))
    return image


def pixels(picture) -> np.ndarray:
    return np.frombuffer(picture.rgb, np.uint8).reshape(picture.height, picture.width, 3)


def is_red(pixel: np.ndarray) -> bool:
    return bool(pixel[0] > 150 and pixel[1] < 90 and pixel[2] < 90)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "gif", "bmp", "heic"])
def test_pictures_are_known_by_content(host, tmp_path, kind):
    if kind == "heic":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    path = tmp_path / "misnamed.docx"
    marked().save(path, "HEIF" if kind == "heic" else kind.upper())
    info = host.open(path)
    assert (info.kind, info.format, info.pages) == (DocumentKind.PAGES, kind, 1)
    shown = pixels(host.picture(path, 0, longest=5000, prepared=False).picture)
    assert shown.shape == (200, 300, 3), "never enlarged"
    assert is_red(shown[10, 10])
    assert not is_red(shown[190, 290])


def test_photo_is_turned_upright(host, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    marked().save(path, exif=exif, quality=95)
    shown = pixels(host.picture(path, 0, prepared=False).picture)
    assert shown.shape == (300, 200, 3)
    assert is_red(shown[10, 190])


def test_pages_of_a_tiff_made_by_imagemagick(host, tmp_path):
    for number, corner in enumerate(("top left", "bottom right")):
        marked(corner=corner).save(tmp_path / f"{number}.png")
    path = tmp_path / "pages.tif"
    run("convert", "0.png", "1.png", "-compress", "LZW", str(path), folder=tmp_path)
    assert host.open(path).pages == 2
    for page, (row, column) in enumerate(((10, 10), (190, 290))):
        assert is_red(pixels(host.picture(path, page, prepared=False).picture)[row, column])


def test_animation_says_that_one_frame_is_read(host, tmp_path):
    path = tmp_path / "moving.gif"
    marked().save(path, save_all=True, append_images=[marked(corner="bottom right")])
    info = host.open(path)
    assert info.pages == 1
    assert info.notices


def test_pdf_text_layer_and_its_places(host, tmp_path):
    lines = ["First line of it", "Second: 12.5 %", "and a third"]
    path = text_pdf(tmp_path / "a.pdf", [lines, ["Page two"]])
    info = host.open(path)
    assert (info.format, info.pages, info.title) == ("pdf", 2, "A title")
    found = host.lines(path, 0)
    assert [line.text for line in found] == lines
    left, top, right, bottom = found[0].box
    assert 0.11 < left < 0.13
    assert 0.06 < top < bottom < 0.1
    assert right < 0.35
    assert host.lines(path, 1)[0].text == "Page two"


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_pages_are_shown_upright_with_their_text(host, tmp_path, degrees):
    """Turned by qpdf: what the reader sees and where the text layer says it is must agree."""
    flat = text_pdf(tmp_path / "flat.pdf", [["Turned words here"]], size=30)
    path = tmp_path / "turned.pdf"
    run("qpdf", f"--rotate={degrees}:1", str(flat), str(path))
    line = host.lines(path, 0)[0]
    shown = pixels(host.picture(path, 0, longest=800).picture).min(axis=2)
    dark = np.argwhere(shown < 128)
    top, left = dark.min(axis=0) / shown.shape
    bottom, right = dark.max(axis=0) / shown.shape
    assert np.allclose(line.box, (left, top, right, bottom), atol=0.02)
    width, height = host.facts(path, 0).width, host.facts(path, 0).height
    assert (width > height) == (degrees in (90, 270))


SIDEWAYS = ["Quarterly report of the house", "The tenant pays 840 euros", "and so on and so on"]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pages_whose_text_lies_sideways_are_turned_upright(host, tmp_path, degrees):
    """A sheet fed the wrong way round: text and places are those of the upright page."""
    flat = text_pdf(tmp_path / "flat.pdf", [SIDEWAYS])
    path = tmp_path / "turned.pdf"
    run("qpdf", f"--rotate={degrees}:1", str(flat), str(path))
    upright = host.lines(flat, 0)
    turned = host.lines(path, 0)
    assert [line.text for line in turned] == SIDEWAYS
    for line, same in zip(turned, upright, strict=True):
        assert np.allclose(line.box, same.box, atol=0.01)
        assert np.isclose(line.size, same.size, atol=0.001)
    assert host.facts(path, 0).height > host.facts(path, 0).width


def test_text_in_two_directions_leaves_the_page_as_it_is(host, tmp_path):
    path = tmp_path / "both.pdf"
    canvas = Canvas(str(path), pagesize=(842, 595))
    canvas.drawString(60, 500, "The greater part of it reads as usual, from left to right")
    canvas.rotate(90)
    canvas.drawString(60, -40, "and a long remark stands in the margin")
    canvas.save()
    host.open(path)
    assert host.facts(path, 0).width > host.facts(path, 0).height


def test_size_of_print_does_not_depend_on_the_letters(host, tmp_path):
    path = text_pdf(tmp_path / "a.pdf", [["on a new sea we can swim", "Ägypten (größer), jq"]])
    low, high = host.lines(path, 0)
    assert np.isclose(low.size, high.size, rtol=0.02)


def test_marks_of_lists_from_symbol_fonts_are_bullets():
    assert string([0xF0B7, 0x20, 0x61]) == "• a"


def test_cropped_page_keeps_places_right(host, tmp_path):
    path = text_pdf(tmp_path / "a.pdf", [["Words in a cropped page"]])
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        pdf.pages[0].CropBox = [50, 600, 400, 800]
        pdf.save(path)
    line = host.lines(path, 0)[0]
    shown = pixels(host.picture(path, 0, longest=900).picture).min(axis=2)
    dark = np.argwhere(shown < 128)
    assert np.allclose(line.box[:2], (dark.min(axis=0) / shown.shape)[::-1], atol=0.03)


def test_locked_pdf_asks_for_its_password(tmp_path):
    path = locked_pdf(tmp_path / "locked.pdf", text_pdf(tmp_path / "a.pdf", [["secret"]]), "sesame")
    with DocumentHost() as host:
        with pytest.raises(DocumentError) as caught:
            host.open(path)
        assert caught.value.kind is DocumentProblem.PASSWORD
        with pytest.raises(DocumentError) as caught:
            host.open(path, "wrong")
        assert caught.value.kind is DocumentProblem.WRONG_PASSWORD
        assert host.open(path, "sesame").pages == 1
        assert host.lines(path, 0)[0].text == "secret", "the password is kept"


def test_text_layer_agrees_with_poppler(host, tmp_path):
    rng = random.Random(4)
    words = ["über", "naïve", "1,234.56", "end.", "Straße", "x²", "fine"]
    lines = [" ".join(rng.choices(words, k=7)) for _ in range(25)]
    path = text_pdf(tmp_path / "a.pdf", [lines])
    ours = " ".join(line.text for line in host.lines(path, 0)).split()
    assert ours == pdf_words(path)


# --- the size rule -------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", BUDGETS)
def test_a_page_fills_the_budget_the_model_gives_it(host, tmp_path, tokens):
    """Drawn with as many pixels as the model keeps: its own resize never enlarges it."""
    path = text_pdf(tmp_path / "a.pdf", [["Words"]])
    picture = host.picture(path, 0, soft_tokens=tokens).picture
    area = picture.width * picture.height
    assert area <= budget_area(tokens) == tokens * 48 * 48
    high, wide = resized_size(picture.height, picture.width, tokens)
    assert picture.height >= high - 1
    assert picture.width >= wide - 1


@pytest.mark.parametrize(("width", "height"), [(595, 842), (3000, 100), (1, 5000), (4e5, 3e5)])
@pytest.mark.parametrize("tokens", BUDGETS)
def test_size_keeps_shape_and_budget(width, height, tokens):
    wide, high = wanted_size(width, height, longest=None, soft_tokens=tokens)
    assert wide * high <= tokens * 48 * 48
    if min(wide, high) > 20:
        assert abs(wide / high / (width / height) - 1) < 0.06


def test_longest_never_takes_pixels_the_budget_asks_for():
    small, large = ({"longest": side, "soft_tokens": 1120} for side in (100, 4000))
    assert wanted_size(600, 800, **small) == wanted_size(600, 800, longest=None, soft_tokens=1120)
    assert max(wanted_size(600, 800, **large)) == 4000


def test_a_part_gets_the_whole_budget(host, tmp_path):
    path = text_pdf(tmp_path / "a.pdf", [["Words"] * 30])
    part = PagePart((0.0, 0.0, 1.0, 0.25))
    picture = host.picture(path, 0, soft_tokens=560, part=part).picture
    assert 0.97 * budget_area(560) < picture.width * picture.height <= budget_area(560)
    assert picture.width > 2.5 * picture.height


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
)
def test_encodings(host, tmp_path, encoding):
    text = "Grüße aus Köln, señor: 100 £\nzweite Zeile\n"
    path = tmp_path / "note.txt"
    path.write_bytes(text.encode(encoding))
    assert host.open(path).kind is DocumentKind.TEXT
    assert host.text(path) == text


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_becomes_a_table(host, tmp_path, delimiter):
    path = tmp_path / "data.csv"
    rows = [["name", "count"], ["a|b", "1"], ["c", "-2,5" if delimiter == ";" else "-2.5"]]
    path.write_text("\n".join(delimiter.join(row) for row in rows))
    assert host.text(path).splitlines() == [
        "| name | count |",
        "| --- | --- |",
        "| a\\|b | 1 |",
        f"| c | {rows[2][1]} |",
    ]


def test_web_page(host, tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(
        b"<html><head><meta charset='iso-8859-1'><title>t</title><script>no()</script></head>"
        b"<body><h2>K\xf6ln</h2><p>One <b>two</b><p>Three<ul><li>a<li>b<ol><li>c</ol></ul>"
        b"<table><tr><th>k<th>v<tr><td colspan=2>wide<tr><td>1<td>2</table><pre>x\n  y</pre>"
    )
    assert host.open(path).format == "html"
    blocks = host.text(path).split("\n\n")
    assert blocks[:3] == ["## Köln", "One two", "Three"]
    assert blocks[3] == "- a\n- b\n    1. c"
    assert blocks[4].splitlines()[2:] == ["| wide |  |", "| 1 | 2 |"]
    assert blocks[5] == "```\nx\n  y\n```\n"


def test_presentation(host, tmp_path):
    import pptx

    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Plans"
    slide.placeholders[1].text = "one\ntwo"
    slide.notes_slide.notes_text_frame.text = "say hello"
    deck.save(tmp_path / "a.pptx")
    assert host.text(tmp_path / "a.pptx") == "## Plans\n\n- one\n- two\n\n> say hello\n"


def test_word_document_with_merged_cells(host, tmp_path):
    import docx

    document = docx.Document()
    document.add_heading("Parts", 2)
    paragraph = document.add_paragraph("A ")
    paragraph.add_run("strong").bold = True
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Number")
    table = document.add_table(2, 3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "both"
    table.cell(1, 2).text = "last"
    document.save(str(tmp_path / "a.docx"))
    assert host.text(tmp_path / "a.docx").split("\n\n") == [
        "## Parts",
        "A **strong**",
        "- one\n1. two",
        "| both |  |  |\n| --- | --- | --- |\n|  |  | last |\n",
    ]


def test_workbook_values(host, tmp_path):
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Year"
    for row in (["day", "sum"], [datetime.date(2026, 3, 1), 2.0], [None, None], ["x", True]):
        book.active.append(row)
    book.create_sheet("Hidden").sheet_state = "hidden"
    book.save(tmp_path / "a.xlsx")
    assert host.text(tmp_path / "a.xlsx").splitlines() == [
        "## Year",
        "",
        "| day | sum |",
        "| --- | --- |",
        "| 2026-03-01 | 2 |",
        "| x | TRUE |",
    ]


# --- folders -------------------------------------------------------------------------------------


def test_folders_are_expanded_in_natural_order(tmp_path):
    for name in ("page10.txt", "page2.txt", ".hidden.txt", "sub/a.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("words")
    (tmp_path / "blob.bin").write_bytes(bytes(range(256)) * 20)
    found = expand([tmp_path])
    assert [path.name for path in found.files] == ["page2.txt", "page10.txt", "a.md"]
    assert found.skipped == ()
    named = expand([tmp_path / "blob.bin", tmp_path / "page2.txt", tmp_path])
    assert [path.name for path in named.files] == ["page2.txt", "page10.txt", "a.md"]
    assert "blob.bin" in named.skipped[0]


def test_folders_are_bounded(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("x")
    found = expand([tmp_path], limit=20)
    assert len(found.files) == 20
    assert found.cut


def test_long_document_keeps_its_memory(tmp_path):
    """300 pages drawn one after the other: what the worker holds does not grow."""
    import psutil

    picture = Image.new("L", (620, 877), 255)
    ImageDraw.Draw(picture).text((60, 60), "A scanned page", 0, font(30))
    pdf = pikepdf.Pdf.new()
    data = zlib.compress(picture.tobytes())
    for _ in range(300):
        page = pdf.add_blank_page(page_size=(595, 842))
        image = pikepdf.Stream(pdf, data)
        image.stream_dict = pikepdf.Dictionary(
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=620,
            Height=877,
            ColorSpace=pikepdf.Name.DeviceGray,
            BitsPerComponent=8,
            Filter=pikepdf.Name.FlateDecode,
        )
        page.obj.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(I=image))
        page.obj.Contents = pdf.make_stream(b"595 0 0 842 0 0 cm /I Do")
    path = Path(tmp_path / "long.pdf")
    pdf.save(path)
    with DocumentHost() as host:
        assert host.open(path).pages == 300
        held = []
        for number in range(300):
            host.picture(path, number, soft_tokens=70, prepared=False)
            if number % 50 == 49:
                held.append(psutil.Process(host.pid).memory_info().rss)
    assert max(held[1:]) - held[0] < 24 << 20
