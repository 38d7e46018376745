"""Dense pages in columns, made by LibreOffice and scanned: each column is read on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.documents.host import DocumentHost
from app.documents.order import page_blocks, reading_order, reordered, right_to_left
from app.documents.stitch import Stitched, stitch_page
from app.documents.tiles import TilePlan, plan
from app.documents.types import Box, PagePart
from tests.documents.column_pages import in_columns, scanned, words_on
from tests.documents.paper_files import soffice

PAGES = {
    "english": {},
    "arabic": {"arabic": True},
    "abstract": {"abstract": 40, "paragraphs": 12},
    "three": {"columns": 3, "size": 6, "paragraphs": 34},
    "one": {"columns": 1},
}
Word = tuple[str, Box]


class Scan:
    """A scanned page, the words that stand on it, and what is measured on it."""

    def __init__(self, pdf: Path, words: list[str], host: DocumentHost) -> None:
        self.words = words
        self.placed = words_on(pdf)
        picture = scanned(pdf)
        self.facts = host.facts(picture, 0)
        self.segments = host.segments(picture, 0)

    @property
    def tiles(self) -> TilePlan:
        facts = self.facts
        return plan(facts.width, facts.height, facts.letter_height, self.segments)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scan]:
    folder = tmp_path_factory.mktemp("columns")
    sources = {name: folder / f"{name}.fodt" for name in PAGES}
    words = {name: in_columns(sources[name], **PAGES[name]) for name in PAGES}
    soffice(folder, "pdf", *sources.values())
    with DocumentHost() as host:
        return {name: Scan(folder / f"{name}.pdf", words[name], host) for name in PAGES}


def seen(words: list[Word], part: PagePart, *, rtl: bool) -> str:
    """What a faultless reader says about a part: its rows, across whatever stands in them."""
    left, top, right, bottom = part.box
    inside = []
    for text, box in words:
        # poppler's boxes are as high as the line; a quarter of that on both sides is no ink.
        blank = 0.25 * (box[3] - box[1])
        whole = top <= box[1] + blank and box[3] - blank <= bottom
        if whole and left <= (box[0] + box[2]) / 2 <= right:
            inside.append((text, box))
    rows: list[list[Word]] = []
    for word in sorted(inside, key=lambda each: each[1][3]):
        if rows and word[1][3] - rows[-1][-1][1][3] < 0.002:
            rows[-1].append(word)
        else:
            rows.append([word])
    sign = -1 if rtl else 1
    return "\n".join(
        " ".join(text for text, _ in sorted(row, key=lambda each: sign * each[1][0]))
        for row in rows
    )


def read(scan: Scan, tiles: TilePlan) -> Stitched:
    rtl = right_to_left(" ".join(scan.words))
    return stitch_page([seen(scan.placed, part, rtl=rtl) for part in tiles.parts], tiles)


def numbers(text: str) -> list[str]:
    """The numbers of the sentences, each of which stands once on the page."""
    return [word.strip(".") for word in text.split() if word.strip(".").isdigit()]


@pytest.mark.parametrize("name", PAGES)
def test_columns_are_read_one_after_the_other(scans: dict[str, Scan], name: str) -> None:
    scan = scans[name]
    found = read(scan, scan.tiles)
    assert found.doubtful == 0
    assert numbers(found.text) == numbers(" ".join(scan.words))
    if name != "arabic":  # poppler gives Arabic words their visual order of marks
        assert found.text.split() == scan.words


def test_a_strip_over_both_columns_would_mix_them(scans: dict[str, Scan]) -> None:
    scan = scans["english"]
    blind = plan(scan.facts.width, scan.facts.height, scan.facts.letter_height)
    assert numbers(read(scan, blind).text) != numbers(" ".join(scan.words))


def test_tiles_cover_the_page_and_stay_few(scans: dict[str, Scan]) -> None:
    for name, blocks in (("english", 3), ("abstract", 3), ("three", 4), ("one", 1)):
        tiles = scans[name].tiles
        assert len(tiles.blocks) == blocks, name
        seen_at = np.zeros((200, 200), bool)
        for part in tiles.parts:
            x0, y0, x1, y1 = (round(200 * side) for side in part.box)
            seen_at[y0:y1, x0:x1] = True
        assert seen_at.all(), name
        assert len(tiles.parts) <= 16
    assert scans["abstract"].tiles.right_to_left == (0, 2, 1)


def test_lines_of_an_arabic_page_begin_on_the_right(scans: dict[str, Scan]) -> None:
    scan = scans["arabic"]
    whole = np.array(scan.segments) * 1600
    height = scan.facts.letter_height * 1600 / scan.facts.height
    ordered = reading_order(whole.astype(np.int64), height, rtl=True)
    middles = [(box[0] + box[2]) / 2 for box in ordered[1:]]
    half = len(middles) // 2
    assert min(middles[: half - 2]) > 800 > max(middles[half + 2 :])


def test_a_sentence_goes_on_in_the_next_column() -> None:
    tiles = plan(600, 800, 5, [(0.1, y, 0.45, y + 0.01) for y in np.arange(0.1, 0.9, 0.02)]
        + [(0.55, y, 0.9, y + 0.01) for y in np.arange(0.1, 0.9, 0.02)])  # fmt: skip
    assert len(tiles.blocks) == 2

    def joined(left: str, right: str) -> str:
        texts = {0: left, len(tiles.blocks[0]): right}
        return stitch_page([texts.get(n, "") for n in range(len(tiles.parts))], tiles).text

    assert joined("The rent is", "paid monthly.") == "The rent is\npaid monthly."
    assert joined("The rent is paid.", "A deposit too.") == "The rent is paid.\n\nA deposit too."
    assert joined("# Costs", "rent and heating") == "# Costs\n\nrent and heating"
    assert joined("- rent", "- heating") == "- rent\n\n- heating"
    assert joined("", "alone") == "alone"


def test_cells_of_a_table_are_no_columns() -> None:
    cells = [(0.1 + 0.2 * x, y, 0.16 + 0.2 * x, y + 0.01) for x in range(4) for y in
             np.arange(0.1, 0.9, 0.02)]  # fmt: skip
    assert len(plan(600, 800, 5, cells).blocks) == 1
    assert len(page_blocks(np.zeros((0, 4), np.int64), 5, (0, 0, 1, 1))) == 1


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), letter=st.sampled_from([0.0, 0.5, 5.0, 30.0]))
def test_whatever_lies_on_a_page_all_of_it_is_read(seed: int, letter: float) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    corner = rng.random((count, 2))
    size = rng.random((count, 2)) * rng.choice([0, 1e-5, 0.05, 0.4], 2)
    boxes = [tuple(box) for box in np.hstack([corner, np.minimum(corner + size, 1)]).tolist()]
    shape = (float(rng.integers(1, 3000)), float(rng.integers(1, 3000)))
    assert sorted(reordered(boxes, letter, shape)) == sorted(boxes)
    tiles = plan(*shape, letter, boxes)
    assert sorted(tiles.right_to_left) == list(range(len(tiles.blocks)))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (part.box for part in tiles.parts)]
    assert min(areas) > 0
    assert sum(areas) > 0.99
