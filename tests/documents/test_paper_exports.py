"""Exports, opened again by readers that are not ours."""

from __future__ import annotations

import csv
import json
import random
from html.parser import HTMLParser
from pathlib import Path

import docx
import openpyxl
import pytest

from app.documents.export import ExportFormat, export
from app.documents.export.json import read_fields
from app.documents.export.tables import is_number, safe_cell
from app.documents.types import DocumentError, PageText
from tests.documents.paper_files import soffice

WORDS = ("Äpfel", "brown|bread", "tea & <milk>", "كتاب", "日本語", 'a "quote"', "x, y; z", "50 %")
DANGEROUS = ("=SUM(A1:A9)", "+1+1", "-cmd|' /C calc'!A0", "@SUM(1)", "=1+1", "-", "+44 20 7946")
NUMBERS = ("0", "-12.5", "1024", "3.50", "1e5", "007", "1,234.56", "12345678901234567", "-0.25")
PAGE = """# Report

Some **bold** and *slanted* words, with $x^2$.

1. first
2. second
    - inner

Between.

1. anew

> A remark.

| item | price |
| --- | --- |
| tea | -12.5 |

```
code  kept
```
"""


def generated_table(seed: int) -> list[list[str]]:
    rng = random.Random(seed)
    pool = WORDS + DANGEROUS + NUMBERS + ("", "plain words", "two\nlines")
    width = rng.randint(2, 7)
    head = [f"column {n}" for n in range(width)]
    return [head, *([rng.choice(pool) for _ in head] for _ in range(rng.randint(1, 12)))]


def pipe_table(rows: list[list[str]]) -> str:
    def cell(text: str) -> str:
        special = {"|": "\\|", "<": "\\<", "*": "\\*", "&": "\\&", "\n": "<br>", "@": "\\@"}
        return "".join(special.get(character, character) for character in text)

    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def html_table(rows: list[list[str]]) -> str:
    from html import escape

    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(c).replace(chr(10), '<br>')}</td>" for c in row) + "</tr>"
        for row in rows
    )
    return f"<table>\n{body}\n\n</table>"


def model_page(seed: int) -> tuple[str, list[list[str]]]:
    """A reply as models write it, pipes or HTML, with text around."""
    rows = generated_table(seed)
    table = html_table(rows) if seed % 3 == 0 else pipe_table(rows)
    fence = ("```markdown\n", "\n```") if seed % 7 == 0 else ("", "")
    return f"{fence[0]}## Table {seed}\n\nBefore it.\n\n{table}\n\nAfter it.{fence[1]}", rows


def test_fifty_tables_are_exact_in_workbook_csv_and_word(tmp_path):
    """The cells a scripted model wrote, through every export that keeps tables."""
    pages, tables = [], []
    for seed in range(50):
        text, rows = model_page(seed)
        pages.append(PageText(seed, text))
        tables.append(rows)
    (book_path,) = export(ExportFormat.XLSX, pages, tmp_path / "t.xlsx")
    csv_paths = export(ExportFormat.CSV, pages, tmp_path / "t.csv")
    (word_path,) = export(ExportFormat.DOCX, pages, tmp_path / "t.docx")
    (json_path,) = export(ExportFormat.JSON, pages, tmp_path / "t.json")
    book = openpyxl.load_workbook(book_path)
    word = docx.Document(str(word_path))
    content = json.loads(json_path.read_text(encoding="utf-8"))
    assert len(book.worksheets) == len(csv_paths) == len(word.tables) == 50
    for number, rows in enumerate(tables):
        assert content["pages"][number]["tables"][0] == rows
        assert word_cells(word.tables[number]) == rows
        with csv_paths[number].open(encoding="utf-8-sig", newline="") as source:
            assert [[unquoted(cell) for cell in row] for row in csv.reader(source)] == rows
        sheet = book.worksheets[number]
        for r, row in enumerate(rows, 1):
            for c, text in enumerate(row, 1):
                assert sheet_text(sheet.cell(r, c)) == text


def word_cells(table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def sheet_text(cell) -> str:
    """What a person sees in the cell; a formula would be of type "f"."""
    assert cell.data_type in ("s", "n")
    if cell.value is None:
        return ""
    if cell.data_type == "n" and "." in cell.number_format:
        return f"{cell.value:.{len(cell.number_format.partition('.')[2])}f}"
    return str(cell.value)


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_is_a_formula(text, tmp_path):
    assert safe_cell(text) == "'" + text
    page = PageText(0, pipe_table([["a", "b"], [text, "x"]]))
    (path,) = export(ExportFormat.XLSX, [page], tmp_path / "t.xlsx")
    assert openpyxl.load_workbook(path).active["A2"].data_type == "s"


def test_plain_numbers_stay_numbers(tmp_path):
    assert [text for text in NUMBERS if is_number(text)] == ["0", "-12.5", "1024", "3.50", "-0.25"]
    assert safe_cell("-12.5") == "-12.5"
    page = PageText(0, pipe_table([["a", "b"], ["-12.5", "007"]]))
    (path,) = export(ExportFormat.XLSX, [page], tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(path).active
    assert sheet["A2"].value == -12.5
    assert sheet["B2"].value == "007"


@pytest.mark.parametrize("text", ["\t=1", "\r=1", " =1", "＝1"])
def test_formulas_behind_white_space_are_made_safe(text):
    assert safe_cell(text).startswith("'")


def test_word_document_is_real(tmp_path):
    (path,) = export(ExportFormat.DOCX, [PageText(0, PAGE)], tmp_path / "a.docx", title="Name")
    document = docx.Document(str(path))
    styles = [(p.style.name, p.text) for p in document.paragraphs if p.text]
    assert styles[:2] == [("Title", "Name"), ("Heading 1", "Report")]
    assert ("List Number", "first") in styles
    assert ("List Bullet 2", "inner") in styles
    assert ("Quote", "A remark.") in styles
    bold = [run.text for p in document.paragraphs for run in p.runs if run.bold]
    assert bold == ["bold"]
    numbers = [p._p.pPr.numPr.numId.val for p in document.paragraphs if p.text in ("first", "anew")]
    assert len(set(numbers)) == 2, "the second list counts from one again"
    assert document.tables[0].cell(1, 1).text == "-12.5"


def test_right_to_left_text_is_marked(tmp_path):
    page = PageText(0, "שלום עולם\n\nplain")
    (path,) = export(ExportFormat.DOCX, [page], tmp_path / "a.docx")
    first, second = docx.Document(str(path)).paragraphs[:2]
    assert "w:bidi" in first._p.xml
    assert "w:bidi" not in second._p.xml


def test_web_page_is_inert(tmp_path):
    evil = "<script>alert(1)</script> ![x](http://a/b.png) [y](javascript:alert(1))\n\n<img src=x>"
    (path,) = export(ExportFormat.HTML, [PageText(0, evil)], tmp_path / "a.html", title="<b>")
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            assert not {"src", "href", "onerror"} & {name for name, _ in attrs}

    Reader().feed(path.read_text(encoding="utf-8"))
    assert not {"script", "img", "a", "iframe", "link"} & set(tags)
    assert "default-src 'none'" in path.read_text(encoding="utf-8")


def test_text_and_markdown_keep_pages_and_notices(tmp_path):
    pages = [PageText(0, PAGE), PageText(4, "Last.", notices=("It was cut.",))]
    (text,) = export(ExportFormat.TEXT, pages, tmp_path / "a.txt")
    first, second = text.read_text(encoding="utf-8").split("\f")
    assert "**" not in first
    assert "tea" in first
    assert second.strip() == "Last."
    (markdown,) = export(ExportFormat.MARKDOWN, pages, tmp_path / "a.md")
    written = markdown.read_text(encoding="utf-8")
    assert "<!-- page 5 -->\n\n> **Note:** It was cut.\n\nLast." in written


def test_fields_by_schema(tmp_path):
    page = PageText(2, '```json\n{"total": -12.5, "name": null}\n```', source="a.pdf")
    (path,) = export(ExportFormat.JSON, [page], tmp_path / "a.json")
    found = json.loads(path.read_text(encoding="utf-8"))["pages"][0]
    assert found["fields"] == {"total": -12.5, "name": None}
    assert (found["page"], found["source"]) == (3, "a.pdf")
    assert read_fields("[" * 100_000, "none") == "none"


def test_pages_without_tables_are_refused_and_the_old_file_stays(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("old")
    with pytest.raises(DocumentError, match="no table"):
        export(ExportFormat.CSV, [PageText(0, "words")], target)
    assert target.read_text() == "old"


def test_a_failed_export_leaves_nothing_behind(tmp_path, monkeypatch):
    target = tmp_path / "a.docx"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("docx.document.Document.save", full)
    with pytest.raises(OSError, match="No space"):
        export(ExportFormat.DOCX, [PageText(0, "words")], target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.docx"]


def test_control_characters_break_no_format(tmp_path):
    page = PageText(0, "a\x00b\x0b\x1f \ud800 c\n\n| x\x01 | y |\n|---|---|\n| \x02 | z |")
    for kind in ExportFormat:
        if kind is not ExportFormat.PDF:
            assert export(kind, [page], tmp_path / f"a.{kind}")


# --- tables made by LibreOffice ------------------------------------------------------------------

REAL = {
    f"real{number}": [
        ["item", "count", "price", "note"],
        *(
            [f"thing {row}", str(row * 7), f"{row * 2.25 + number:.2f}", f"word {row % number + 1}"]
            for row in range(1, 4 + number)
        ),
    ]
    for number in range(1, 11)
}


@pytest.fixture(scope="module")
def office_files(tmp_path_factory) -> list[Path]:
    """Ten small tables: four workbooks and six Word documents, written by LibreOffice."""
    folder = tmp_path_factory.mktemp("office")
    sheets, pages = [], []
    for number, (name, rows) in enumerate(REAL.items()):
        if number < 4:
            path = folder / f"{name}.csv"
            with path.open("w", newline="") as out:
                csv.writer(out).writerows(rows)
            sheets.append(path)
        else:
            path = folder / f"{name}.html"
            path.write_text(f"<html><body><h1>{name}</h1>{html_table(rows)}</body></html>")
            pages.append(path)
    soffice(folder, "xlsx", *sheets)
    soffice(folder, "docx:MS Word 2007 XML", *pages)
    return [path.with_suffix(".xlsx") for path in sheets] + [
        path.with_suffix(".docx") for path in pages
    ]


def test_ten_tables_made_by_libreoffice_come_through(office_files, tmp_path):
    """Read by the worker as Markdown, exported, and compared cell by cell."""
    from app.documents.host import DocumentHost

    exact = 0
    with DocumentHost() as host:
        for number, path in enumerate(office_files):
            assert host.open(path).format == path.suffix[1:]
            page = PageText(number, host.text(path))
            (written,) = export(ExportFormat.CSV, [page], tmp_path / f"{number}.csv")
            with written.open(encoding="utf-8-sig", newline="") as source:
                found = list(csv.reader(source))
            wanted = list(REAL.values())[number]
            exact += [[same_number(c) for c in r] for r in found] == [
                [same_number(c) for c in r] for r in wanted
            ]
    assert exact == 10


def same_number(text: str) -> str:
    """A workbook keeps 3.5, not how many zeros were written after it."""
    return f"{float(text):g}" if is_number(text) else text
