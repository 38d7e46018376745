"""Photos are straightened, clean pages stay untouched, lines are found in reading order."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from app.documents.host import DocumentHost
from app.documents.pdf import PdfSource
from app.documents.prepare import Plan, plan
from app.documents.rasters import RasterSource
from app.documents.segment import find_lines
from app.documents.skew import text_angle
from app.documents.types import Preparation, ReadingDetail
from tests.documents.paper_files import scan_pdf, text_pdf
from tests.documents.paper_pages import font, photograph, text_page


def planned(pixels: np.ndarray, folder: Path) -> tuple[Plan, RasterSource]:
    path = folder / "page.png"
    Image.fromarray(pixels).save(path, compress_level=1)
    source = RasterSource(path, "png")
    return plan(source, 0), source


def paper_light(grey: np.ndarray) -> np.ndarray:
    closed = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((25, 25)))
    return cv2.resize(closed, (32, 32), interpolation=cv2.INTER_AREA)[1:-1, 1:-1]


@pytest.mark.parametrize("seed", range(6))
def test_photo_of_a_page_becomes_flat(seed, tmp_path):
    """Perspective, shadow, blur, noise, desks of different light, upright and lying photos."""
    page, _ = text_page(seed, letters=(26, 22, 34)[seed % 3], columns=1 + seed % 2)
    size = ((1600, 1200), (1200, 1600))[seed % 2]
    shadow, desk = (0.5, 0.35, 0.8)[seed % 3], (90, 60, 130, 150)[seed % 4]
    photo, corners = photograph(page, seed, size, shadow=shadow, desk=desk)
    done, source = planned(photo, tmp_path)
    preparation = done.preparation
    assert preparation.outline is not None
    found = np.array(preparation.outline) * [size[1], size[0]]
    error = np.linalg.norm(found - corners, axis=1).max() / np.hypot(*size)
    assert error < 0.003, "corners within 0.3 % of the diagonal"
    assert abs(done.height / done.width / (1754 / 1240) - 1) < 0.12
    flat = cv2.cvtColor(
        done.draw(source, 0, round(done.width), round(done.height)), cv2.COLOR_RGB2GRAY
    )
    assert text_angle(flat) == 0.0
    light = paper_light(flat)
    assert preparation.shadow
    assert np.percentile(light, 4) > 0.9 * np.percentile(light, 96)


def clean_pages() -> dict[str, np.ndarray]:
    """What must not be touched: drawn by programs, scanned well, or no page at all."""
    page, _ = text_page(1, letters=24)
    columns, _ = text_page(2, letters=20, columns=2)
    rng = np.random.default_rng(3)
    framed = Image.fromarray(page.copy())
    ImageDraw.Draw(framed).rectangle((60, 60, 1180, 1690), outline="black", width=6)
    header = Image.fromarray(columns.copy())
    ImageDraw.Draw(header).rectangle((0, 0, 1240, 300), fill=(20, 40, 90))
    with_picture = page.copy()
    with_picture[500:1200, 150:1050] = cv2.resize(
        rng.uniform(0, 255, (6, 8, 3)).astype(np.uint8), (900, 700), interpolation=cv2.INTER_CUBIC
    )
    slope = np.linspace(1, 0.6, page.shape[0])[:, None, None]
    grain = rng.normal(0, 2.5, page.shape)
    packed = io.BytesIO()
    Image.fromarray(page).save(packed, "JPEG", quality=60)
    window = np.full((1200, 1800, 3), 45, np.uint8)
    window[100:1100, 300:1500] = cv2.resize(page[:1000], (1200, 1000))
    coloured = np.full(page.shape, (150, 190, 150), np.float32)
    coloured[600:1100, 150:1050] = page[300:800, 100:1000]
    coloured[:560] = np.where(page[:560, :, :1] < 128, 20, coloured[:560])
    chart = Image.new("RGB", (1600, 1200), "white")
    draw = ImageDraw.Draw(chart)
    draw.line((100, 1100, 1500, 200), fill="blue", width=5)
    draw.polygon([(300, 900), (800, 500), (1200, 950)], fill=(200, 220, 255))
    pages = {
        "text": page,
        "columns": columns,
        "framed": np.asarray(framed),
        "coloured header": np.asarray(header),
        "with a picture": with_picture,
        "light on dark": 255 - page,
        "gradient behind": (page * slope),
        "clean scan": page * 0.93 + grain,
        "jpeg": np.asarray(Image.open(packed)),
        "window": window,
        "fax": (page > 128) * 255.0,
        "box on coloured paper": coloured + grain,
        "chart": np.asarray(chart),
        "white": np.full((800, 600, 3), 255.0),
        "black": np.zeros((800, 600, 3)),
    }
    return {name: pixels.clip(0, 255).astype(np.uint8) for name, pixels in pages.items()}


@pytest.mark.parametrize(("name", "pixels"), clean_pages().items())
def test_clean_pages_are_untouched(name, pixels, tmp_path):
    done, source = planned(pixels, tmp_path)
    assert done.preparation == Preparation(), name
    height, width = pixels.shape[:2]
    assert np.array_equal(done.draw(source, 0, width, height), pixels)


def test_born_digital_pdf_is_not_even_looked_at(tmp_path):
    path = text_pdf(tmp_path / "a.pdf", [["Some words"] * 20])
    source = PdfSource(path, "")
    assert not source.is_picture(0)
    assert not plan(source, 0).preparation.changed
    source.close()


@pytest.mark.parametrize("angle", [-8.0, -1.5, 0.8, 4.0])
def test_skewed_scan_is_levelled(angle, tmp_path):
    """Inside a PDF, as scanners make them."""
    page, _ = text_page(7, letters=24)
    turned = Image.fromarray(page).rotate(
        angle, resample=Image.Resampling.BICUBIC, fillcolor="white", expand=True
    )
    path = scan_pdf(tmp_path / "scan.pdf", [turned])
    with DocumentHost() as host:
        prepared = host.picture(path, 0, longest=1400)
        plain = host.picture(path, 0, longest=1400, prepared=False)
    assert abs(prepared.preparation.angle - angle) < 0.11
    assert not plain.preparation.changed
    picture = prepared.picture
    level = np.frombuffer(picture.rgb, np.uint8).reshape(picture.height, picture.width, 3)
    assert text_angle(cv2.cvtColor(level, cv2.COLOR_RGB2GRAY)) == 0.0


def test_points_of_the_prepared_page_lead_back_to_the_photo(tmp_path):
    page, _ = text_page(4)
    photo, corners = photograph(page, 4)
    preparation = planned(photo, tmp_path)[0].preparation
    unit = ((0, 0), (1, 0), (1, 1), (0, 1))
    found = np.array([preparation.to_original(point) for point in unit]) * [1200, 1600]
    assert np.abs(found - corners).max() < 6
    box = preparation.original_box((0, 0, 1, 1))
    assert np.allclose(np.array(box[:2]) * [1200, 1600], corners.min(axis=0), atol=6)


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "letters"), [(1, 26), (1, 40), (2, 22), (3, 18)])
def test_lines_are_found_in_reading_order(columns, letters):
    page, lines = text_page(columns * 10, letters=letters, columns=columns)
    small = cv2.resize(page, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    found = find_lines(small)
    assert len(found.boxes) == len(lines)
    # A body letter of DejaVu Sans is 0.55 of the font's size high.
    assert 0.45 < found.letter_height / (0.9 * letters) < 0.75
    # The widths follow those of the text: the order is the reading order.
    widths = np.array([x1 - x0 for x0, _, x1, _ in found.boxes], float)[1:]
    drawn = np.array([font(letters).getlength(line) for line in lines])[1:]
    assert np.abs(widths / 0.9 - drawn).max() < 0.5 * letters
    assert all(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in found.boxes)


def test_table_cells_are_read_row_by_row():
    image = Image.new("RGB", (1200, 800), "white")
    draw = ImageDraw.Draw(image)
    for row in range(8):
        for column in range(4):
            draw.text((80 + column * 280, 80 + row * 70), f"r{row}c{column}", "black", font(30))
    boxes = find_lines(np.asarray(image)).boxes
    assert len(boxes) == 32
    rows = [boxes[n : n + 4] for n in range(0, 32, 4)]
    assert all([b[0] for b in row] == sorted(b[0] for b in row) for row in rows)
    assert [row[0][1] for row in rows] == sorted(row[0][1] for row in rows)


def test_empty_page_has_no_lines():
    assert find_lines(np.full((900, 700, 3), 255, np.uint8)).boxes == ()


# --- the suggested detail ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (40, {ReadingDetail.QUICK, ReadingDetail.LIGHT}),
        (20, {ReadingDetail.LIGHT, ReadingDetail.NORMAL}),
        (11, {ReadingDetail.FINE, ReadingDetail.FINEST}),
        (5, {ReadingDetail.TILES}),
    ],
)
def test_detail_follows_the_size_of_the_letters(size, wanted, tmp_path):
    words = "measured letters decide how many pixels"
    path = text_pdf(tmp_path / "a.pdf", [[words] * int(600 / size / 1.5)], size=size)
    with DocumentHost() as host:
        facts = host.facts(path, 0)
    assert facts.suggested in wanted
    assert 0.4 < facts.letter_height / size < 0.8
    assert facts.has_text
