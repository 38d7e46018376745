"""Tiles: what is cut into overlapping strips and read with slips comes together whole."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.documents.stitch import stitch
from app.documents.suggest import LEAST_LETTER, letter_at
from app.documents.tiles import MOST_TILES, plan
from app.documents.types import PagePart, ReadingDetail
from tests.documents.paper_pages import WORDS


def text_lines(rng: random.Random, count: int) -> list[str]:
    lines = []
    for number in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(4, 11))]
        if rng.random() < 0.4:
            words.insert(rng.randrange(len(words)), str(rng.randint(0, 99999)))
        if rng.random() < 0.15:
            words[0] = "- " + words[0]
        blank = "\n" if number and rng.random() < 0.15 else ""
        lines.append(blank + " ".join(words))
    return lines


def slip(rng: random.Random, line: str) -> str:
    """One letter of a long line read wrongly."""
    at = [i for i, character in enumerate(line) if character.isalpha()]
    spot = rng.choice(at)
    return line[:spot] + rng.choice("eaocl") + line[spot + 1 :]


def windows(lines: list[str], length: int, overlap: int) -> list[tuple[int, int]]:
    found, start = [], 0
    while True:
        end = min(start + length, len(lines))
        found.append((start, end))
        if end == len(lines):
            return found
        start = end - overlap


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(20, 90),
    length=st.integers(14, 30),
    overlap=st.integers(4, 7),
)
def test_windows_without_slips_give_the_original(seed, count, length, overlap):
    rng = random.Random(seed)
    lines = text_lines(rng, count)
    texts = ["\n".join(lines[a:b]) for a, b in windows(lines, length, overlap)]
    stitched = stitch(texts)
    assert stitched.text == "\n".join(lines).strip("\n")
    assert stitched.doubtful == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(30, 80), overlap=st.integers(5, 8))
def test_slips_and_half_lines_at_the_borders_are_left_out(seed, count, overlap):
    """The lines nearest the borders are misread and half of a line beyond is garbage."""
    rng = random.Random(seed)
    lines = text_lines(rng, count)
    texts = []
    cuts = windows(lines, 22, overlap)
    for index, (start, end) in enumerate(cuts):
        tile = lines[start:end]
        if index:
            tile[0] = slip(rng, tile[0])
            tile.insert(0, "~ rn iv. tt")
        if index < len(cuts) - 1:
            tile[-1] = slip(rng, tile[-1])
            tile.append("ii. oo nn")
        texts.append("\n".join(tile))
    stitched = stitch(texts)
    assert stitched.doubtful == 0
    assert stitched.text.split() == "\n".join(lines).split()


def test_rows_that_are_alike_keep_their_number():
    lines = [f"line {n} of the form with field{n * 7 % 13} and value {n * 31}" for n in range(60)]
    texts = ["\n".join(lines[:30] + ["garbg hlf ln"]), "\n".join(["~~ xx qq", *lines[26:]])]
    assert stitch(texts).text == "\n".join(lines)


def test_a_paragraph_is_joined_inside_a_line():
    words = [f"word{n}" for n in range(200)]
    texts = [" ".join(words[:120]), " ".join(words[100:])]
    assert stitch(texts).text == " ".join(words)


def test_a_table_crosses_a_seam_without_its_repeated_head():
    rows = [f"| item {n} | {n * 17} | {n * 3}.50 |" for n in range(30)]
    first = "\n".join(["| name | count | price |", "| --- | --- | --- |", *rows[:18]])
    second = "\n".join([rows[14], "| --- | --- | --- |", *rows[15:]])
    assert stitch([first, second]).text.splitlines()[2:] == rows


def test_tiles_that_share_nothing_are_joined_and_said():
    stitched = stitch(["alpha beta gamma delta", "one two three four"])
    assert stitched.text == "alpha beta gamma delta\none two three four"
    assert stitched.doubtful == 1


def test_empty_tiles_are_no_seams():
    assert stitch(["", "one two", "", "  "]) == stitch(["one two"])
    assert stitch([]).text == ""


@given(width=st.floats(100, 5000), height=st.floats(100, 5000), letter=st.floats(0, 60))
def test_strips_cover_the_page_and_overlap(width, height, letter):
    parts = plan(width, height, letter).parts
    assert 2 <= len(parts) <= MOST_TILES
    assert parts[0].box[1] == 0
    assert parts[-1].box[3] > 1 - 1e-9
    for above, below in itertools.pairwise(parts):
        assert above.box[3] - below.box[1] > 0.03
        assert above.box[0] == 0
        assert above.box[2] == 1


def test_strips_give_small_print_its_pixels():
    # 5-point print on A4: letters of about 2.5 points.
    parts = plan(595, 842, 2.5).parts
    high = 842 * (parts[0].box[3] - parts[0].box[1])
    assert letter_at(ReadingDetail.TILES, 595, high, 2.5) >= LEAST_LETTER
    assert len(parts) < MOST_TILES


def test_parts_tell_how_far_to_look():
    lines = text_lines(random.Random(5), 60)
    parts = [PagePart((0, 0, 1, 0.6)), PagePart((0, 0.5, 1, 1))]
    assert stitch(["\n".join(lines[:36]), "\n".join(lines[30:])], parts).text == "\n".join(lines)
