"""Searchable PDFs: they look the same, and pdftotext finds the words in order."""

from __future__ import annotations

import random

import numpy as np
import pikepdf
import pytest
from PIL import Image, ImageDraw

from app.documents.export.pdf import visual_order
from app.documents.export.placing import place, text_lines
from app.documents.host import DocumentHost
from app.documents.types import DocumentError, PageText
from tests.documents.paper_files import locked_pdf, pdf_words, run, scan_pdf, text_pdf
from tests.documents.paper_pages import photograph, text_page


@pytest.fixture(scope="module")
def host():
    with DocumentHost() as opened:
        yield opened


def differing(folder, one, other, page: int = 1) -> float:
    """Share of pixels that differ when poppler draws both."""
    pictures = []
    for name, path in (("one", one), ("other", other)):
        number = str(page)
        options = ("-r", "60", "-f", number, "-l", number, "-singlefile", "-png")
        run("pdftoppm", *options, str(path), str(folder / name))
        pictures.append(np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), int))
    assert pictures[0].shape == pictures[1].shape
    return float((np.abs(pictures[0] - pictures[1]).max(axis=2) > 24).mean())


def as_markdown(lines: list[str]) -> str:
    return f"# {lines[0]}\n\n" + "\n".join(lines[1:])


def test_scan_keeps_its_looks_and_gets_its_words(host, tmp_path):
    pages = [text_page(seed, letters=24) for seed in (1, 2)]
    scan = scan_pdf(tmp_path / "scan.pdf", [Image.fromarray(page) for page, _ in pages])
    target = tmp_path / "out.pdf"
    texts = [PageText(number, as_markdown(lines)) for number, (_, lines) in enumerate(pages)]
    done = host.searchable_pdf(scan, texts, target)
    wanted = " ".join(" ".join(lines) for _, lines in pages).split()
    assert pdf_words(target) == wanted
    assert pdf_words(target, "-raw") == wanted
    assert (done.pages, done.unmatched) == (2, 0)
    assert all(differing(tmp_path, scan, target, page) <= 0.01 for page in (1, 2))
    run("qpdf", "--check", str(target))


def test_paragraphs_the_model_flowed_together_find_their_lines(host, tmp_path):
    page, lines = text_page(5, letters=24)
    path = tmp_path / "page.png"
    Image.fromarray(page).save(path, dpi=(150, 150))
    flowed = f"# {lines[0]}\n\n{' '.join(lines[1:12])}\n\n{' '.join(lines[12:])}"
    target = tmp_path / "out.pdf"
    done = host.searchable_pdf(path, [PageText(0, flowed)], target)
    assert pdf_words(target, "-raw") == " ".join(lines).split()
    assert done.unmatched == 0
    assert done.lines >= len(lines) - 2, "spread over the lines of the page"


def test_photo_gets_its_words_along_slanting_lines(host, tmp_path):
    page, lines = text_page(3, letters=30)
    photo, _ = photograph(page, 5)
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=92)
    target = tmp_path / "out.pdf"
    host.searchable_pdf(path, [PageText(0, as_markdown(lines))], target)
    assert pdf_words(target, "-raw") == " ".join(lines).split()
    run("pdfimages", "-all", str(target), str(tmp_path / "kept"))
    assert (tmp_path / "kept-000.jpg").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_scans(host, tmp_path, degrees):
    page, lines = text_page(8, letters=30)
    # Scanned on its side, and turned upright by the page's own rotation.
    lying = Image.fromarray(page).rotate(degrees, expand=True)
    flat = scan_pdf(tmp_path / "flat.pdf", [lying])
    path = tmp_path / "turned.pdf"
    run("qpdf", f"--rotate=+{degrees}", str(flat), str(path))
    target = tmp_path / "out.pdf"
    host.searchable_pdf(path, [PageText(0, as_markdown(lines))], target)
    assert pdf_words(target) == " ".join(lines).split()
    assert differing(tmp_path, path, target) <= 0.01


def test_pages_drawn_by_a_program_stay_as_they_are(host, tmp_path):
    path = text_pdf(tmp_path / "a.pdf", [["Its own words"]])
    target = tmp_path / "out.pdf"
    done = host.searchable_pdf(path, [PageText(0, "Other words")], target)
    assert pdf_words(target) == ["Its", "own", "words"]
    assert done.lines == 0


def test_hidden_text_of_an_earlier_run_is_replaced(host, tmp_path):
    page, lines = text_page(6, letters=30)
    scan = scan_pdf(tmp_path / "scan.pdf", [Image.fromarray(page)])
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    host.searchable_pdf(scan, [PageText(0, "Wrong words altogether")], first)
    assert "Wrong" in pdf_words(first)
    host.searchable_pdf(first, [PageText(0, as_markdown(lines))], second)
    assert pdf_words(second) == " ".join(lines).split()


def test_locked_scan(tmp_path):
    page, lines = text_page(6, letters=30)
    scan = scan_pdf(tmp_path / "scan.pdf", [Image.fromarray(page)])
    locked = locked_pdf(tmp_path / "locked.pdf", scan, "sesame")
    with DocumentHost() as host:
        host.open(locked, "sesame")
        host.searchable_pdf(locked, [PageText(0, as_markdown(lines))], tmp_path / "out.pdf")
    assert pdf_words(tmp_path / "out.pdf") == " ".join(lines).split()


SCRIPTS = {
    "hebrew": ["שלום עולם טוב", "הבית גדול 123 מאוד"],
    "arabic": ["السلام عليكم جميعا", "هذا كتاب جديد"],
    "chinese": ["今天天气很好", "我们去公园散步"],
    "japanese": ["これは本です", "東京タワー"],
    "beyond 16 bits": ["emoji 😀 and 𝒳 here", "second line"],
    "accents": ["Ελληνικά και Ünïcödé", "Привет мир"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_can_be_extracted(host, tmp_path, name):
    """The page's ink is bars of the right length: the places count, not the letters."""
    lines = SCRIPTS[name]
    image = Image.new("RGB", (900, 500), "white")
    draw = ImageDraw.Draw(image)
    for number in range(len(lines)):
        for column in range(14):
            x, y = 90 + column * 26, 100 + number * 120
            draw.rectangle((x, y, x + 17, y + 30), fill="black")
    path = tmp_path / "page.png"
    image.save(path)
    target = tmp_path / "out.pdf"
    done = host.searchable_pdf(path, [PageText(0, "\n".join(lines))], target)
    assert done.unmatched == 0
    found = " ".join(pdf_words(target, "-raw"))
    for mark in "\u202a\u202b\u202c\u200e\u200f":
        found = found.replace(mark, "")
    assert found == " ".join(lines)


def test_a_folder_that_cannot_be_written_is_said(host, tmp_path):
    path = tmp_path / "page.png"
    Image.new("RGB", (600, 800), "white").save(path)
    (tmp_path / "file").touch()
    with pytest.raises(DocumentError, match="written"):
        host.searchable_pdf(path, [PageText(0, "words")], tmp_path / "file" / "out.pdf")


def test_numbers_keep_their_direction_among_hebrew():
    assert visual_order("הבית 123 גדול") == "לודג 123 תיבה"
    assert visual_order("plain words") == "plain words"


def test_lines_without_places_stay_in_order_and_are_counted(host, tmp_path):
    path = tmp_path / "blank.png"
    Image.new("RGB", (600, 800), "white").save(path)
    lines = [f"line number {n}" for n in range(5)]
    done = host.searchable_pdf(path, [PageText(0, "\n".join(lines))], tmp_path / "out.pdf")
    assert (done.lines, done.unmatched) == (5, 5)
    assert pdf_words(tmp_path / "out.pdf", "-raw") == " ".join(lines).split()


def test_placing_never_loses_a_word():
    rng = random.Random(9)
    for _ in range(25):
        lines = ["w " * rng.randint(1, 30) + "end" for _ in range(rng.randint(0, 30))]
        boxes = [
            (0.1, n / 40, 0.1 + rng.random() * 0.8, n / 40 + 0.02)
            for n in range(rng.randint(0, 30))
        ]
        placed = place(lines, boxes, 0.7)
        assert " ".join(line.text for line in placed).split() == " ".join(lines).split()


def test_huge_pages_are_placed_in_bounded_time():
    lines = [f"row {n} with words" for n in range(500)]
    boxes = [(0.1, n / 500, 0.6, (n + 0.8) / 500) for n in range(500)]
    placed = place(lines, boxes, 1.0)
    assert [line.text for line in placed] == lines
    few = place(lines[:3], boxes, 1.0)
    assert " ".join(line.text for line in few) == " ".join(lines[:3])


def test_cells_that_share_a_place_keep_a_gap():
    """Seen as one piece of writing; whoever takes the text out finds words, not one long word."""
    box = (0.1, 0.1, 0.9, 0.13)
    item, euro = place(["Item", "Euro"], [box], 0.7)
    letter = (item.box[2] - item.box[0]) / 4
    assert euro.box[0] - item.box[2] > 0.9 * letter
    assert euro.box[2] <= box[2]


def test_tables_are_placed_cell_by_cell():
    text = "# Head\n\n| a | b |\n|---|---|\n| 1 | two words |\n\n- item"
    assert text_lines(text) == ["Head", "a", "b", "1", "two words", "• item"]


def test_text_layer_of_a_scan_inside_a_mixed_document(host, tmp_path):
    """One page drawn, one scanned: only the scan gets text."""
    page, lines = text_page(6, letters=30)
    drawn = text_pdf(tmp_path / "drawn.pdf", [["Drawn page"]])
    scan = scan_pdf(tmp_path / "scan.pdf", [Image.fromarray(page)])
    mixed = tmp_path / "mixed.pdf"
    run("qpdf", "--empty", "--pages", str(drawn), str(scan), "--", str(mixed))
    texts = [PageText(0, "Drawn page"), PageText(1, as_markdown(lines))]
    host.searchable_pdf(mixed, texts, tmp_path / "out.pdf")
    assert pdf_words(tmp_path / "out.pdf") == ["Drawn", "page", *" ".join(lines).split()]
    with pikepdf.open(tmp_path / "out.pdf") as pdf:
        assert len(pdf.pages) == 2
