"""Tables of printed PDFs: every cell comes out as it was written, and prose is never a table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pikepdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Table as Drawn

from app.documents import markdown as md
from app.documents.export import ExportFormat, export
from app.documents.grids import find_grids, joined
from app.documents.host import DocumentHost
from app.documents.types import PageLayer, PageText, TextLine, TextTable
from app.engine.page_lines import layer_is_good, layer_markdown
from tests.documents import table_files
from tests.documents.column_pages import in_columns
from tests.documents.paper_files import soffice, text_pdf
from tests.documents.paper_pages import WORDS
from tests.documents.table_files import SALES, Case, Rows

COLUMNS = {
    "two": {},
    "two-large": {"size": 11, "paragraphs": 6},
    "three": {"columns": 3, "size": 6, "paragraphs": 34},
    "four": {"columns": 4, "size": 6, "paragraphs": 40},
    "arabic-two": {"arabic": True},
    "abstract": {"abstract": 40, "paragraphs": 12},
}


class Printed:
    """All files, printed in one start of LibreOffice."""

    def __init__(self, folder: Path, host: DocumentHost) -> None:
        self.folder, self.host = folder, host
        self.cases = table_files.cases(folder)
        self.prose = table_files.prose(folder)
        for name, options in COLUMNS.items():
            in_columns(folder / f"columns-{name}.fodt", **options)
            self.prose.append(folder / f"columns-{name}.fodt")
        soffice(folder, "pdf", *(case.source for case in self.cases), *self.prose)

    def page(self, path: Path, page: int = 0) -> PageText:
        text = layer_markdown(self.host.layer(path, page))
        return PageText(page, text, from_layer=True)

    def of(self, case: Case) -> PageText:
        return self.page(case.source.with_suffix(".pdf"))


@pytest.fixture(scope="module")
def host() -> Iterator[DocumentHost]:
    with DocumentHost() as made:
        yield made


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, host: DocumentHost) -> Printed:
    return Printed(tmp_path_factory.mktemp("tables"), host)


def cells(page: PageText) -> list[Rows]:
    return [[list(row) for row in table.rows] for table in md.tables(page.markdown)]


def test_every_cell_is_exact(printed: Printed) -> None:
    wrong = {case.name: found for case in printed.cases if (found := cells(printed.of(case))) !=
             case.tables}  # fmt: skip
    assert wrong == {}
    assert sum(len(row) for case in printed.cases for rows in case.tables for row in rows) > 350


def test_csv_and_workbook_hold_the_same_cells(printed: Printed, tmp_path: Path) -> None:
    for case in printed.cases:
        page = printed.of(case)
        written = export(ExportFormat.CSV, [page], tmp_path / f"{case.name}.csv")
        for number, path in enumerate(written):
            with path.open(encoding="utf-8-sig", newline="") as file:
                read = [[text.removeprefix("'") for text in row] for row in csv.reader(file)]
            assert read == case.tables[number], case.name
        (path,) = export(ExportFormat.XLSX, [page], tmp_path / f"{case.name}.xlsx")
        sheets = openpyxl.load_workbook(path).worksheets
        for sheet, rows in zip(sheets, case.tables, strict=True):
            shown = [
                [_shown(sheet.cell(i + 1, j + 1)) for j in range(len(row))]
                for i, row in enumerate(rows)
            ]
            assert shown == rows, case.name


def _shown(cell: Any) -> str:
    decimals = len(cell.number_format.partition(".")[2])
    if isinstance(cell.value, float) or (decimals and isinstance(cell.value, int)):
        return f"{cell.value:.{decimals}f}"
    return str(cell.value or "")


def test_text_around_a_table_stays_and_nothing_is_lost(printed: Printed) -> None:
    (case,) = (case for case in printed.cases if case.name == "three")
    kinds = [type(block).__name__ for block in md.blocks(printed.of(case).markdown)]
    assert kinds == ["Heading", *["Paragraph", "Table"] * 3, "Paragraph"]
    for case in printed.cases:
        path = case.source.with_suffix(".pdf")
        layer = printed.host.layer(path, 0)
        inside = "".join("".join(row) for table in layer.tables for row in table.rows)
        outside = "".join(line.text for line in layer.lines)
        whole = "".join(line.text for line in printed.host.lines(path, 0))
        assert _letters(inside + outside) == _letters(whole), case.name
        assert _letters("".join(line.text for line in layer.all_lines)) == _letters(whole)


def _letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


def test_prose_forms_and_contents_are_no_tables(printed: Printed) -> None:
    for source in printed.prose:
        path = source.with_suffix(".pdf")
        for page in range(printed.host.open(path).pages):
            layer = printed.host.layer(path, page)
            assert layer.tables == (), source.name
            assert layer.lines == printed.host.lines(path, page)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_pages_turned_in_the_file(printed: Printed, tmp_path: Path, angle: int) -> None:
    for name in ("merged", "wrapped", "sheet-bare"):
        (case,) = (case for case in printed.cases if case.name == name)
        turned = tmp_path / f"{name}.pdf"
        with pikepdf.open(case.source.with_suffix(".pdf")) as pdf:
            page = pdf.pages[0]
            wide, high = (float(side) for side in page.mediabox[2:])
            # A sheet fed sideways: its content is turned, and the page turned back to be read.
            moves = {90: (0, 1, -1, 0, high, 0), 180: (-1, 0, 0, -1, wide, high),
                     270: (0, -1, 1, 0, 0, wide)}[angle]  # fmt: skip
            matrix = " ".join(map(str, moves))
            page.contents_add(f"q {matrix} cm".encode(), prepend=True)
            page.contents_add(b"Q")
            if angle != 180:
                page.mediabox = pikepdf.Array([0, 0, high, wide])
                page.cropbox = page.mediabox
            page.rotate(angle, relative=False)
            pdf.save(turned)
        assert cells(printed.page(turned)) == case.tables


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_any_grid_with_merged_cells(
    tmp_path_factory: pytest.TempPathFactory, host: DocumentHost, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, spans = _random_table(rng)
    drawn = Drawn(rows, colWidths=90)
    lines = [("GRID", (0, 0), (-1, -1), float(rng.choice([0.2, 1.0, 2.5])), "black")]
    drawn.setStyle([*lines, *(("SPAN", first, last) for first, last in spans)])
    path = tmp_path_factory.mktemp("random") / "table.pdf"
    canvas = Canvas(str(path), pagesize=A4)
    canvas.drawString(60, 780, "What is paid, to whom and when: all of it in one table.")
    if rng.random() < 0.5:  # inside a form that is moved and made smaller
        canvas.beginForm("table")
        drawn.wrapOn(canvas, 500, 600)
        drawn.drawOn(canvas, 10, 10)
        canvas.endForm()
        canvas.translate(30, 300)
        canvas.scale(0.9, 0.9)
        canvas.doForm("table")
    else:
        drawn.wrapOn(canvas, 500, 600)
        drawn.drawOn(canvas, 50, 300)
    canvas.save()
    (table,) = host.layer(path, 0).tables
    assert [list(row) for row in table.rows] == rows


def _random_table(rng: np.random.Generator) -> tuple[Rows, list[tuple[tuple[int, int], ...]]]:
    """Words and figures with holes, and one or two cells over several places."""
    high, wide = int(rng.integers(3, 9)), int(rng.integers(2, 6))
    rows = [
        [str(rng.choice(WORDS)) if rng.random() < 0.6 else f"{rng.integers(1, 9999)}.50"
         for _ in range(wide)]
        for _ in range(high)
    ]  # fmt: skip
    spans = []
    top, left = int(rng.integers(0, high - 1)), int(rng.integers(0, wide - 1))
    below, right = (top + 1, left) if rng.random() < 0.5 else (top, left + 1)
    if wide > 2:
        rows[below][right] = ""
        spans.append(((left, top), (right, below)))
    rows[-1][0] = ""
    return rows, [span for span in spans if span[0] != (0, high - 1)]


def test_two_tables_side_by_side_and_text_beside_a_table(
    tmp_path: Path, host: DocumentHost
) -> None:
    canvas = Canvas(str(tmp_path / "beside.pdf"), pagesize=A4)
    for left, rows in ((50, SALES), (310, [row[::-1] for row in SALES])):
        drawn = Drawn(rows, colWidths=58)
        drawn.setStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")])
        drawn.wrapOn(canvas, 250, 600)
        drawn.drawOn(canvas, left, 650)
    small = Drawn(SALES, colWidths=58)
    small.setStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")])
    small.wrapOn(canvas, 250, 600)
    small.drawOn(canvas, 50, 400)
    for row, line in enumerate(("The rent is paid", "on the first working", "day of each month.")):
        canvas.drawString(320, 470 - 18 * row, line)
    canvas.save()
    layer = host.layer(tmp_path / "beside.pdf", 0)
    found = [[list(row) for row in table.rows] for table in layer.tables]
    assert found == [SALES, [row[::-1] for row in SALES], SALES]
    said = " ".join(line.text for line in layer.lines)
    assert said == "The rent is paid on the first working day of each month."


def test_what_only_looks_like_a_grid(tmp_path: Path, host: DocumentHost) -> None:
    canvas = Canvas(str(tmp_path / "drawing.pdf"), pagesize=A4)
    for step in range(11):  # the grid behind a chart
        canvas.line(100, 400 + 20 * step, 300, 400 + 20 * step)
        canvas.line(100 + 20 * step, 400, 100 + 20 * step, 600)
        canvas.drawString(70, 397 + 20 * step, str(10 * step))
    canvas.drawString(150, 512, "Rent in euros")
    canvas.rect(60, 60, 480, 740)
    for box in range(6):  # the boxes of a form, each on its own
        canvas.rect(100 + 70 * box, 300, 30, 20)
        canvas.drawString(105 + 70 * box, 305, str(box))
    canvas.save()
    assert host.layer(tmp_path / "drawing.pdf", 0).tables == ()


@pytest.mark.parametrize("kind", ["strokes", "grid", "dots", "forms", "words"])
def test_hostile_pages_are_given_up_and_still_read(
    tmp_path: Path, host: DocumentHost, kind: str
) -> None:
    rng = np.random.default_rng(1)
    path = text_pdf(tmp_path / "hostile.pdf", [["All is well, and nothing but well."]])
    ends = rng.integers(0, 800, (60_000, 2))
    content = {
        "strokes": lambda: "\n".join(f"{x} {y} m {x} 900 l S" for x, y in ends),
        "grid": lambda: "\n".join(
            f"{4 * i} 0 m {4 * i} 9000 l S 0 {4 * i} m 9000 {4 * i} l S" for i in range(1500)
        ),
        "dots": lambda: "\n".join(f"{x} {y} 1 1 re f" for x, y in ends[:30_000]),
        "forms": lambda: "/F0 Do " * 5000,
        "words": lambda: (
            "BT /F1 2 Tf\n"
            + "\n".join(f"1 0 0 1 {x} {y} Tm ({x % 10}) Tj" for x, y in ends[:20_000])
            + "\nET"
        ),
    }[kind]()
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        page = pdf.pages[0]
        page.contents_add(content.encode())
        if kind == "forms":
            box = pikepdf.Array([0, 0, 600, 800])
            form = pdf.make_stream(b"0 0 m 9 0 l S " * 100)
            form.update({"/Type": pikepdf.Name.XObject, "/Subtype": pikepdf.Name.Form,
                         "/BBox": box})  # fmt: skip
            page.Resources["/XObject"] = pikepdf.Dictionary(F0=form)
        pdf.save()
    layer = host.layer(path, 0)
    assert layer.all_lines[0].text.startswith("All is well")


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 40))
def test_grids_of_any_lines(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)

    def lines() -> np.ndarray:
        starts = rng.integers(0, 30, (count, 1)) * rng.choice([1.0, 7.3, 20.0])
        return np.hstack([rng.integers(0, 12, (count, 1)) * 17.0, starts, starts + 60])

    for grid in find_grids(joined(lines()), joined(lines())):
        rows, columns = grid.shape
        assert (len(grid.ys), len(grid.xs)) == (rows + 1, columns + 1)
        assert (np.diff(grid.xs) > 0).all()
        assert (np.diff(grid.ys) > 0).all()
        assert grid.owner.ravel()[grid.owner].ravel().tolist() == grid.owner.ravel().tolist()


def test_a_table_of_few_words_is_a_page() -> None:
    lines = (
        TextLine("Month Rent", (0.1, 0.1, 0.5, 0.2)),
        TextLine("May 950", (0.1, 0.3, 0.5, 0.4)),
    )
    table = TextTable((("Month", "Rent"), ("May", "950")), (0.1, 0.1, 0.5, 0.4), lines)
    assert layer_is_good(PageLayer((), (table,)))
    assert not layer_is_good(PageLayer(lines))
    assert layer_markdown(PageLayer((), (table,))) == "\n".join(
        ("| Month | Rent |", "| --- | --- |", "| May | 950 |")
    )
    figures = TextTable((("1", "2"), ("3", "4")), (0, 0, 1, 1), lines)
    (read,) = md.tables(layer_markdown(PageLayer(lines, (figures,))))
    assert (read.rows, read.head) == ((("1", "2"), ("3", "4")), False)
